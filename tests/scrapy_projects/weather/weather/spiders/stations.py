import scrapy
from scrapy.exceptions import DownloadTimeoutError, ResponseDataLossError
from scrapy.spidermiddlewares.httperror import HttpError


class StationsSpider(scrapy.Spider):
    name = "stations"
    handle_httpstatus_list = [404]

    def __init__(self, site=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.site = site

    def station(self, path, **how):
        how.setdefault("cookies", {"unit": "C", "lang": "en"})
        return scrapy.Request(f"{self.site}/weather/{path}", errback=self.failed, **how)

    async def start(self):
        yield self.station("ok", headers={"X-Station": ["a", "b"], "Referer": "http://www.example.com/"}, priority=5)
        yield self.station(
            "ok", dont_filter=True, cookies=[{"name": "unit", "value": "C"}, {"name": "lang", "value": "en"}]
        )
        yield self.station("ok")
        yield self.station("gone", callback=self.parse)
        yield self.station("teapot", cb_kwargs={"note": "given up"})
        yield self.station("teapot?wanted", meta={"handle_httpstatus_all": True}, cb_kwargs={"note": "all"})
        yield self.station("forbidden", meta={"handle_httpstatus_list": [403]})
        yield self.station("moved", meta={"dont_redirect": True, "handle_httpstatus_list": [301]})
        yield self.station("moved?follow", headers={"X-Station": "c"})
        yield self.station("busy", meta={"max_retry_times": 3})
        yield self.station("broken", cookies={}, headers={"Cookie": "unit=C; lang=en"})
        yield self.station("broken?once", meta={"dont_retry": True})
        yield self.station("slow", meta={"download_timeout": 0.5, "dont_retry": True, "station": "slow"})
        yield self.station("cut", meta={"dont_retry": True})
        yield self.station("form", method="PUT", body="größe=1", headers={b"Content-Type": b"text/plain"})

    def parse(self, response, note=""):
        yield {
            "path": response.url.partition("/weather/")[2],
            "status": response.status,
            "text": response.text,
            "note": note,
            "server": response.headers.get("X-Server", b"").decode(),
        }
        if response.status == 404:
            yield response.request.replace(url=response.url + "?again", callback=self.parse_again, priority=-1)

    async def parse_again(self, response):
        yield {"again": response.status, "asked": response.request.url.partition("/weather/")[2]}

    def failed(self, failure):
        request = failure.request
        path = request.url.partition("/weather/")[2]
        if failure.check(HttpError):
            response = failure.value.response
            yield {
                "failed": path,
                "status": response.status,
                "text": response.text,
                "note": request.cb_kwargs.get("note"),
            }
            if response.status == 418:
                yield request.replace(url=request.url + "?please", meta={"handle_httpstatus_list": [418]})
        elif failure.check(DownloadTimeoutError):
            yield {"failed": path, "why": "timeout", "station": request.meta["station"]}
        elif failure.check(ResponseDataLossError, DownloadTimeoutError):
            yield {"failed": path, "why": "cut"}
