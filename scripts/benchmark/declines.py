"""Count the pages of folders that the scan of links, and that of the text, leave to the parser, by reason."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from crawler.parsing import visible
from crawler.parsing.charset import decode
from crawler.parsing.link_scan import MAX_PAGE, scan


def main(folders: list[Path]) -> int:
    """Print a table of the folders: pages, those left to the parser, and why. Return 0."""
    print("| folder | pages | upper case | links | text | reasons |\n|---|---|---|---|---|---|")
    for folder in folders:
        print(_row(folder))
    return 0


def _row(folder: Path) -> str:
    pages = sorted(page for page in folder.rglob("*.htm*") if page.suffix in (".html", ".htm") and page.is_file())
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for page in pages:
        text = decode(page.read_bytes(), "text/html")[0]
        found = scan(text)
        if found is None:
            counts["links"] += 1
            reasons[_reason(text)] += 1
            continue
        counts["upper"] += found.any_case
        elements = visible.elements_of(text, any_case=found.any_case)
        counts["text"] += elements is None or visible.scanned(elements.body) is None
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(4))
    return f"| {folder.name} | {len(pages):,} | {counts['upper']} | {counts['links']} | {counts['text']} | {why} |"


def _reason(text: str) -> str:
    """What the scan refuses, found by bisection: in a page with scripts and comments it may be a neighbour."""
    if len(text) > MAX_PAGE:
        return "too long"
    if "\0" in text:
        return "NUL"
    ends = [tag.start() for tag in re.finditer("<", text)]
    low, high = 0, len(ends) - 1
    while low < high:  # a page that begins with what the scan refuses is refused too
        middle = (low + high) // 2
        low, high = (middle + 1, high) if scan(text[: ends[middle + 1]]) else (low, middle)
    found = re.match(r"</?[a-zA-Z!?-]*", text[ends[low] :]) if ends else None
    return f"`{found[0].lower()}`" if found else "other"
