import attr


@attr.s(auto_attribs=True)
class Product:
    sku: str
    name: str
    price: float
    stock: int | None = None
