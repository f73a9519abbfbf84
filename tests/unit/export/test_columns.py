"""The rule that makes rows of items: which type a column gets, and what of a value stays in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.export.sinks import columns
from crawler.export.sinks.columns import Columns, Kind

TYPES: list[tuple[list[str], Kind]] = [
    (["null"], Kind.NULL),
    (["null", "true", "false"], Kind.BOOL),
    (["1", "null", "-0", "9007199254740992"], Kind.INT),
    (["1", "9007199254740993"], Kind.BIG),
    (["-9223372036854775808", "9223372036854775807"], Kind.BIG),
    (["9223372036854775808"], Kind.TEXT),
    (["-9223372036854775809"], Kind.TEXT),
    (["9" * 5_000], Kind.TEXT),
    (["1", "2.5", "1e3", "-0.0"], Kind.FLOAT),
    (["1e400"], Kind.TEXT),
    (["9007199254740993", "0.5"], Kind.TEXT),
    (["0.5", "9007199254740993"], Kind.TEXT),
    (["true", "1"], Kind.TEXT),
    (["1", "true"], Kind.TEXT),
    (["true", "0.5"], Kind.TEXT),
    (["1", '"1"'], Kind.TEXT),
    (['"a"', "null"], Kind.TEXT),
    (["{}"], Kind.TEXT),
    (["[]", "[1]", '[1,"a",null]', '[{"a":[]}]'], Kind.TEXT),
    (["[1]", "1"], Kind.TEXT),
]


def table(*items: str, of: Columns | None = None) -> tuple[Columns, dict[str, list[Any]]]:
    found = of or Columns()
    rows = [item.encode() for item in items]
    found.widen(rows)
    return found, found.values(rows)


@pytest.mark.parametrize(("values", "kind"), TYPES, ids=lambda value: str(value)[:40])
def test_the_narrowest_type_that_holds_all_values(values: list[str], kind: Kind) -> None:
    for order in (values, values[::-1]):
        made, rows = table(*(f'{{"a":{value}}}' for value in order))
        assert made.kinds == {"a": kind}
        assert [_shown(cell) for cell in rows["a"]] == [_expected(value, kind) for value in order]


def _shown(cell: Any) -> Any:
    return float(cell) if isinstance(cell, int) else cell


def _expected(value: str, kind: Kind) -> Any:
    read = json.loads(value) if len(value) < 4_000 else value
    if read is None or isinstance(read, str):
        return read
    return value if kind is Kind.TEXT else float(read)


def test_rows_and_columns_are_kept_whatever_fields_an_item_has() -> None:
    made, rows = table('{"a":1}', "{}", '{"b":"x","a":2}', '{"c":null}')
    assert rows == {"a": [1, None, 2, None], "b": [None, None, "x", None], "c": [None] * 4}
    assert list(made.kinds) == ["a", "b", "c"]


def test_a_column_never_gets_narrower_and_never_goes() -> None:
    made, _ = table('{"a":"x","b":1}')
    again = Columns(json.loads(json.dumps(made.kinds)))
    _, rows = table('{"a":1}', '{"c":true}', of=again)
    assert again.kinds == {"a": Kind.TEXT, "b": Kind.INT, "c": Kind.BOOL}
    assert rows["a"] == ["1", None]


def test_names_are_columns_as_they_are() -> None:
    names = ["a.b", "A.B", "naïve", "k\0y", " ", "_position"]
    made, rows = table(json.dumps(dict.fromkeys(names, 1)))
    assert list(made.kinds) == names
    assert all(values == [1] for values in rows.values())


def test_of_two_values_of_one_name_the_last_counts() -> None:
    assert table('{"a":1,"a":2}')[1] == {"a": [2]}


def test_fields_without_a_column_of_their_own_stand_together() -> None:
    made, rows = table('{"":1,"_other":{"x":"y"},"a":2}', '{"a":3}', '{"_other":null}')
    assert made.kinds == {"a": Kind.INT, "_other": Kind.TEXT}
    assert [cell and json.loads(cell) for cell in rows["_other"]] == [
        {"": 1, "_other": {"x": "y"}},
        None,
        {"_other": None},
    ]


def test_the_number_of_columns_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST", 3)
    made, rows = table(*(f'{{"f{n}":{n},"a":"x"}}' for n in range(6)))
    assert list(made.kinds) == ["f0", "a", "f1", "_other"]
    assert [cell and json.loads(cell) for cell in rows["_other"]] == [
        None,
        None,
        {"f2": 2},
        {"f3": 3},
        {"f4": 4},
        {"f5": 5},
    ]
    assert rows["a"] == ["x"] * 6
