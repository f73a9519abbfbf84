"""Reads the forms of a page: which one is meant, where it goes, and what it sends. The choices are Scrapy's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from lxml import etree

from crawler.parsing.charset import encoded
from crawler.parsing.json_values import shown

Pairs = Iterable[tuple[str, Any]]

METHODS = ("GET", "POST")
"""Methods that a form may have; any other means GET."""

_BUTTONS = frozenset({"submit", "image", "reset"})
_CHOICES = frozenset({"checkbox", "radio"})


def the_form(
    root: Any,
    *,
    name: str | None = None,
    id: str | None = None,
    xpath: str | None = None,
    number: int = 0,
) -> Any:
    """The form with this name, else with this id, else the one around what `xpath` selects, else that number of the
    page. Raises `ValueError` if there is none."""
    forms = root.xpath("//form")
    if not forms:
        raise ValueError("the page has no <form>")
    for attribute, value in (("name", name), ("id", id)):
        if value is not None and (found := [form for form in forms if form.get(attribute) == value]):
            return found[0]
    if xpath is not None:
        return _around(root, xpath)
    if not -len(forms) <= number < len(forms):
        raise ValueError(f"form number {number}: the page has {len(forms)}, counted from 0")
    return forms[number]


def _around(root: Any, xpath: str) -> Any:
    try:
        found = root.xpath(xpath)
    except etree.XPathError as error:
        raise ValueError(f"xpath({xpath!r}): {error}") from None
    element: Any = found[0] if isinstance(found, list) and found else None
    if not hasattr(element, "iterancestors"):  # a text knows its element
        element = element.getparent() if hasattr(element, "getparent") else None
    if element is not None:
        for one in (element, *element.iterancestors()):
            if one.tag == "form":
                return one
    raise ValueError(f"{xpath!r} selects nothing inside a <form>")


def pairs_of(formdata: Any) -> list[tuple[str, Any]]:
    """The pairs of form data: of a dict, or an iterable of pairs. Raises `ValueError`."""
    pairs = list(formdata.items() if isinstance(formdata, Mapping) else formdata or ())
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"formdata has {shown(pair)}; write a dict, or pairs of name and value")
    return [(name, value) for name, value in pairs]


def filled_in(form: Any, formdata: Any, clickdata: Mapping[str, Any] | None, *, click: bool) -> list[tuple[str, Any]]:
    """What the form sends if these values are entered, and an element that submits it is clicked (`clickdata`: its
    attributes, or its number `nr`; None: the first). A value of None leaves its field out. Raises `ValueError`."""
    given = pairs_of(formdata)
    names = {name for name, _ in given}
    sent = [(name, value) for name, value in map(_field, _fields(form)) if name and name not in names]
    if click and (clicked := _clicked(form, clickdata)) is not None:
        name = clicked.get("name")
        if name is not None and not (isinstance(formdata, Mapping) and name in names):
            sent.append((name, clicked.get("value") or ""))
    return [*sent, *((name, value) for name, value in given if value is not None)]


def _fields(form: Any) -> Iterator[Any]:
    for element in form.iterdescendants("textarea", "select", "input"):
        kind = element.get("type") if element.tag == "input" else None
        kind = (kind or "").lower()
        if kind not in _BUTTONS and (kind not in _CHOICES or element.get("checked") is not None):
            yield element


def _field(element: Any) -> tuple[str | None, Any]:
    name = element.get("name")
    if element.tag == "select":
        return _selected(name, element)
    if element.tag == "textarea":
        inner = (etree.tostring(one, method="html", encoding="unicode") for one in element)
        return name, "".join([element.text or "", *inner])
    is_choice = (element.get("type") or "").lower() in _CHOICES
    return name, (element.get("value") or "on") if is_choice else (element.get("value") or "")


def _selected(name: str | None, select: Any) -> tuple[str | None, Any]:
    options = list(select.iter("option"))
    chosen = [_option(one) for one in options if one.get("selected") is not None]
    if select.get("multiple") is not None:
        return name, chosen
    if chosen:
        return name, chosen[-1]
    enabled = [one for one in options if one.get("disabled") is None]
    first = (enabled or options)[:1]
    return (name, _option(first[0])) if first else (None, None)


def _option(option: Any) -> str:
    value = option.get("value")
    return (option.text or "").strip() if value is None else value


def _clicked(form: Any, clickdata: Mapping[str, Any] | None) -> Any:
    buttons = [one for one in form.iterdescendants("input", "button") if _submits(one)]
    if not buttons:
        return None
    if clickdata is None:
        return buttons[0]
    number = clickdata.get("nr")
    if number is not None:
        inputs = list(form.iter("select", "input", "textarea"))
        if isinstance(number, int) and -len(inputs) <= number < len(inputs):
            return inputs[number]
    found = [
        one
        for one in form.iterdescendants()
        if all(key in one.attrib and one.get(key) == str(value) for key, value in clickdata.items())
    ]
    if len(found) != 1:
        raise ValueError(f"clickdata {dict(clickdata)!r} matches {len(found)} elements of the form; it must match one")
    return found[0]


def _submits(element: Any) -> bool:
    kind = element.get("type")
    if element.tag == "button":
        return kind is None or kind.lower() == "submit"
    return kind is not None and kind.lower() in ("submit", "image")


def urlencoded(pairs: Pairs, encoding: str) -> str:
    """The pairs as `application/x-www-form-urlencoded`, in the bytes of an encoding; a list gives a pair for
    each. Characters that the encoding lacks become numeric references, as in browsers. Raises `ValueError`."""
    in_bytes = _in_bytes(encoding)
    flat = (
        (name, value)
        for name, values in pairs
        for value in (values if hasattr(values, "__iter__") and not isinstance(values, (str, bytes)) else [values])
    )
    return urlencode([(in_bytes(name, "a name"), in_bytes(value, f"formdata[{name!r}]")) for name, value in flat])


def _in_bytes(encoding: str) -> Callable[[Any, str], bytes]:
    def in_bytes(value: Any, what: str) -> bytes:
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return encoded(value, encoding)
        raise ValueError(f"{what} is {shown(value)}; write text, such as str(value)")

    return in_bytes
