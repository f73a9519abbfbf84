"""A field that is empty on all of the first pages."""

from __future__ import annotations

from structlog.testing import capture_logs

from crawler.spiders.empty_fields import FIRST_PAGES, EmptyFields


def warned(*pages: list[bytes], callback: str = "parse") -> list[tuple[str, str]]:
    """(callback, field) of each warning about these pages."""
    fields = EmptyFields("shop")
    with capture_logs() as logs:
        for items in pages:
            fields.note(callback, items)
    return [(one["callback"], one["field"]) for one in logs]


def test_a_field_without_a_value_on_the_first_pages_is_named_once() -> None:
    nothing = [b'{"name":"x","price":null,"tags":[],"text":" ","zero":0,"no":false}']
    assert warned(*[nothing] * (FIRST_PAGES - 1)) == []
    assert warned(*[nothing] * 3 * FIRST_PAGES) == [("parse", "price"), ("parse", "tags"), ("parse", "text")]


def test_one_value_on_one_page_is_enough() -> None:
    without, having = [b'{"price":""}'], [b'{"price":null}', b'{"price":7}']
    assert warned(*[without] * (FIRST_PAGES - 1), having, *[without] * FIRST_PAGES) == []


def test_pages_without_items_do_not_count() -> None:
    assert warned(*[[]] * FIRST_PAGES, [b'{"price":null}']) == []
