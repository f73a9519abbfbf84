import scrapy
from itemloaders.processors import Join, MapCompose, TakeFirst
from scrapy.loader import ItemLoader
from w3lib.html import remove_tags


class Book(scrapy.Item):
    url = scrapy.Field()
    title = scrapy.Field()
    price = scrapy.Field()
    currency = scrapy.Field()
    description = scrapy.Field()
    tags = scrapy.Field(output_processor=MapCompose(str.lower))
    author = scrapy.Field()
    born = scrapy.Field()


class BookLoader(ItemLoader):
    default_item_class = Book
    default_input_processor = MapCompose(remove_tags, str.strip)
    default_output_processor = TakeFirst()

    description_out = Join("\n")
