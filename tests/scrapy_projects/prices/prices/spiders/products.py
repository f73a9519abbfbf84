import json

import scrapy
from scrapy.http import JsonRequest

from prices.items import Product


class ProductsSpider(scrapy.Spider):
    name = "products"
    custom_settings = {
        "DEFAULT_REQUEST_HEADERS": {"Accept-Language": "de", "X-Client": "prices/1"},
    }

    def __init__(self, site=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.api = f"{site}/api"

    def page(self, number, category):
        return JsonRequest(
            f"{self.api}/search",
            data={"category": category, "page": number, "filters": {"name": "Käse", "in_stock": True}},
            callback=self.parse_page,
            cb_kwargs={"number": number},
            meta={"category": category},
        )

    def start_requests(self):
        for category in ("cheese", "bread"):
            yield self.page(1, category)

    async def start(self):
        for request in self.start_requests():
            yield request

    def parse_page(self, response, number):
        found = response.json()
        for sku in response.jmespath("hits[?price > `2`].sku").getall():
            yield scrapy.Request(
                f"{self.api}/products/{sku}",
                headers={"Accept": "application/json", "X-Page": str(number)},
                callback=self.parse_product,
            )
        if found["pages"] > number:
            yield self.page(number + 1, response.meta["category"])

    def parse_product(self, response):
        product = response.json()
        yield scrapy.Request(
            f"{self.api}/stock",
            method="POST",
            body=json.dumps({"sku": product["sku"]}),
            headers={"Content-Type": "application/json"},
            callback=self.parse_stock,
            cb_kwargs={"product": product},
        )

    def parse_stock(self, response, product):
        yield Product(product["sku"], product["name"], product["price"], json.loads(response.text)["stock"])
