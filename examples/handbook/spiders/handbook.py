"""Handbook: the pages that a sitemap lists, each kind read by a callback of its own."""

from crawler import Spider


class Handbook(Spider):
    """Title and text of guides, signatures of references."""

    name = "handbook"
    sitemap_rules = (("/guide/", "parse_guide"), ("/reference/", "parse_reference"))

    def parse(self, response):
        return self.parse_sitemap(response)  # the seed is the sitemap itself

    def parse_guide(self, response):
        yield {"kind": "guide", "title": response.css("h1::text").get(), "text": response.visible_text}

    def parse_reference(self, response):
        for signature in response.css("code.signature::text").getall():
            yield {"kind": "reference", "signature": signature}
