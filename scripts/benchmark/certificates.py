"""Certificates for the benchmark's hosts, by an authority that each run makes for itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import trustme


class Certificate(NamedTuple):
    """Two PEM files: `own` holds certificate and key, `authority` what clients must trust."""

    own: Path
    authority: Path


def issue(folder: Path, names: Iterable[str]) -> Certificate:
    """Write a certificate for host names (`*.` for all of a domain) and addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificate(folder / "hosts.pem", folder / "authority.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(files.authority)
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(files.own)
    return files
