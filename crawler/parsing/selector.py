"""The parsel selector over a page, whose errors name the expression."""

from __future__ import annotations

from typing import Any

from cssselect import SelectorError
from parsel import Selector, SelectorList


class PageSelector(Selector):
    """parsel's selector; what it selects are such selectors too."""

    def css(self, query: str) -> SelectorList[Any]:
        """Select with CSS. Raise `ValueError` for one that is malformed or not supported."""
        try:
            return super().css(query)
        except SelectorError as error:
            raise ValueError(f"css({query!r}): {error}") from None

    def xpath(self, query: str, *arguments: Any, **variables: Any) -> SelectorList[Any]:
        """Select with XPath. Raise `ValueError` for a malformed expression."""
        try:
            return super().xpath(query, *arguments, **variables)
        except ValueError as error:
            raise ValueError(f"xpath({query!r}): {str(error).partition(' in ')[0]}") from None
