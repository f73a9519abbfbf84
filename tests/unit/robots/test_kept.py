"""Files are kept as long as an origin has them, and counted in bytes."""

from __future__ import annotations

import tracemalloc

from crawler.robots.kept import Files

RULES = b"User-agent: *\nDisallow: /private\n"


def test_a_file_is_kept_until_its_last_user_leaves() -> None:
    files = Files("bot", 1_000)
    first, second = files.take(RULES), files.take(RULES)
    assert first is second
    files.release(first)
    assert files.take(RULES) is second
    files.release(second)
    files.release(second)
    assert files.size == 0
    assert files.take(RULES) is not second


def test_rules_are_kept_until_the_last_file_with_them_leaves() -> None:
    files = Files("bot", 1_000)
    one, other = files.take(RULES), files.take(RULES + b"Sitemap: /s.xml\n")
    assert one.rules is other.rules
    files.release(one)
    assert files.take(RULES + b"# nothing\n").rules is other.rules


def test_only_the_rules_of_the_agent_count() -> None:
    files = Files("bot", 1_000)
    file = files.take(b"User-agent: other\nDisallow: /\nCrawl-delay: 9\n\nUser-agent: bot\nAllow: /x\nDisallow: /y\n")
    assert (file.rules.text, file.delay) == ("+/x\n-/y", None)


def test_few_rules_are_ready_but_the_last_always_are() -> None:
    files = Files("bot", 100)
    taken = [files.take(b"User-agent: *\nDisallow: /%d%s\n" % (number, b"x" * 60)) for number in range(10)]
    ready = [files.ready(file) for file in taken]
    assert files.ready(taken[-1]) is ready[-1]
    assert files.ready(taken[0]) is not ready[0]
    large = files.take(b"User-agent: *\nDisallow: /%s\n" % (b"y" * 200))
    assert files.ready(large) is files.ready(large)


def test_the_bytes_counted_are_about_those_of_the_memory() -> None:
    for body in (
        b"User-agent: *\nDisallow: /%d\n",
        b"User-agent: *\nDisallow: /a%d\nDisallow: /c\nAllow: /d\n# " + b"z" * 500,
        b"Sitemap: /a.xml\nSitemap: /b.xml\n#%d",
    ):
        files = Files("bot", 1_000)
        tracemalloc.start()
        for number in range(1_000):
            files.take(body % number)
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 0.5 < used / files.size < 1.4, body  # what Python keeps free for reuse is not seen
