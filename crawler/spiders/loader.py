"""`ItemLoader` of the package itemloaders: fills an item from a page, with processors for each field."""

from __future__ import annotations

from typing import Any

from crawler.errors import ConfigError
from crawler.program import extra
from crawler.response import Response

try:
    import itemloaders
    from parsel import Selector

    import crawler.spiders.adapters  # noqa: F401 - declared fields have processors, which the loader asks an adapter for
except ImportError:
    raise ConfigError(f"ItemLoader needs the extra `items`: {extra('items')}") from None


class ItemLoader(itemloaders.ItemLoader):
    """Fills an item from a response, a selector, or values.

        loader = ItemLoader(item=Quote(), response=response)
        loader.add_css("text", "span.text::text", MapCompose(str.strip))
        yield loader.load_item()

    The processors are those of `itemloaders.processors`. Without `item`, the item is a `default_item_class`, which is a
    dict unless a subclass names another. `selector` counts more than `response`, whose own selector is used without it.
    """

    default_item_class: type = dict

    def __init__(
        self,
        item: Any = None,
        selector: Any = None,
        response: Response | None = None,
        parent: itemloaders.ItemLoader | None = None,
        **context: Any,
    ) -> None:
        """Fill `item`. `context` reaches the processors that take a `loader_context`."""
        if selector is None and response is not None:
            selector = _selector(response)
        super().__init__(item=item, selector=selector, parent=parent, response=response, **context)


def _selector(response: Response) -> Selector:
    """Return the selector over the page; over the values of a JSON document, for `add_jmes`."""
    is_json = response.content_type.endswith("json")
    return Selector(text=response.text, type="json") if is_json else response.selector
