import scrapy
from scrapy.http import FormRequest


class OrdersSpider(scrapy.Spider):
    name = "orders"

    def __init__(self, site=None, user="reader", password="secret", *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.site = site
        self.user = user
        self.password = password

    async def start(self):
        yield scrapy.Request(f"{self.site}/portal/login", callback=self.login, cookies={"locale": "en_GB"})

    def login(self, response):
        return FormRequest.from_response(
            response,
            formcss="form.login",
            formdata={"user": self.user, "password": self.password, "remember": None},
            headers={"X-Requested-With": "XMLHttpRequest"},
            cookies={"locale": "en_GB"},
            callback=self.after_login,
        )

    def after_login(self, response):
        if "wrong password" in response.text:
            self.logger.error("login failed")
            return
        session = response.css("body::attr(data-session)").get()
        yield {"user": response.css("h1::text").get()}
        for form in (0, 1):
            yield FormRequest.from_response(
                response,
                formnumber=form,
                formdata={"q": "straße & weg"},
                clickdata={"name": "go"},
                cookies={"locale": "en_GB", "session": session},
                callback=self.parse_orders,
                cb_kwargs={"session": session},
            )

    def parse_orders(self, response, session):
        for order in response.css("tr.order"):
            yield FormRequest(
                response.urljoin("order"),
                formdata={"id": order.attrib["data-id"], "part": ["head", "lines"]},
                cookies=[{"name": "locale", "value": "en_GB"}, {"name": "session", "value": session}],
                callback=self.parse_order,
            )

    def parse_order(self, response):
        yield {"order": response.css("h1::text").get(), "lines": response.css("li::text").getall()}
