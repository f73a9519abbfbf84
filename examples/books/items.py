"""What a book has, and how its fields are read."""

from itemloaders.processors import MapCompose, TakeFirst

from crawler import Field, Item, ItemLoader


class Book(Item):
    title = Field()
    isbn = Field()
    price = Field(input_processor=MapCompose(lambda text: text.strip("£ "), float))


class BookLoader(ItemLoader):
    default_item_class = Book
    default_input_processor = MapCompose(str.strip)
    default_output_processor = TakeFirst()
