"""Which requests of a page join the crawl: those in scope, on the right hosts, that can travel in a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from crawler.model import Lease, Request
from crawler.parsing.url import canonical, host_of
from crawler.visit.ready_spiders import ReadySpider


class SeededHosts(Protocol):
    """Returns those of the given hosts that were seeded in a job."""

    async def among(self, job: str, hosts: Iterable[str]) -> set[str]: ...


class MaybeNew(Protocol):
    """Leaves out requests that are certainly known in a job (see `Links.maybe_new`)."""

    def __call__(self, job: str, requests: Sequence[Request], /) -> Sequence[Request]: ...


class Admission:
    """`check(request)` returns the request as it will arrive, or raises `ValueError` if it would arrive changed."""

    def __init__(
        self,
        seeded: SeededHosts,
        check: Callable[[Request], Request],
        maybe_new: MaybeNew = lambda job, requests: requests,
    ) -> None:
        self._seeded = seeded
        self._check = check
        self._maybe_new = maybe_new

    def admit(
        self, lease: Lease, ready: ReadySpider, requests: list[Request], out: list[Request] | None = None
    ) -> tuple[list[Request], Mapping[str, int]]:
        """The requests in scope, completed with canonical URL, depth and spider; and how many others were left out, by
        reason. The others are added to `out`, and so are requests that are certainly known.

        Raises `ValueError` for a request that would not arrive unchanged."""
        parent = lease.request
        admitted: list[Request] = []
        left_out: dict[str, int] = defaultdict(int)
        news = self._maybe_new(lease.job, requests)
        if out is not None:
            kept = set(map(id, news))
            out += [request for request in requests if id(request) not in kept]
        for request in news:
            is_redirect = request.redirects > parent.redirects
            # A redirect has the depth of its source. A seed's redirect is a seed: it says where the site really is.
            depth = parent.depth if is_redirect else parent.depth + 1
            # A request from `response.follow` is canonical, and names the spider. `run_callback` keeps no other that
            # nobody can fetch.
            url = request.url if request.spider else canonical(request.url)
            reason = ready.scope.reason_out(url, depth)
            if reason == "offsite" and request.meta.get("allow_offsite"):
                reason = ready.scope.reason_too_deep(depth)
            if reason:
                left_out[reason] += 1
                if out is not None:
                    out.append(request)
            else:
                complete = replace(request, url=url, depth=depth, spider=request.spider or parent.spider)
                admitted.append(self._check(complete))
        return admitted, left_out

    async def on_seeded_hosts(
        self, lease: Lease, ready: ReadySpider, requests: list[Request]
    ) -> tuple[list[Request], Mapping[str, int]]:
        """The requests that the spider may follow: if it stays on seeded hosts, only those to such hosts. The others
        are counted as `offsite`."""
        if not ready.spider.stay_on_seeded_hosts:
            return requests, {}
        to = [host_of(request.url) for request in requests]
        moved = {host for host, request in zip(to, requests, strict=True) if request.depth == 0}  # a seed's redirect
        hosts = set(to) - {lease.host} - moved
        seeded = (await self._seeded.among(lease.job, hosts) if hosts else set()) | {lease.host} | moved
        kept = [request for host, request in zip(to, requests, strict=True) if host in seeded]
        return kept, {"offsite": len(requests) - len(kept)} if len(kept) < len(requests) else {}
