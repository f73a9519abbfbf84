"""nginx that serves a corpus on its own core. Its access log shows which pages a contender fetched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmark.certificates import Certificate
from scripts.benchmark.corpus import Corpus
from scripts.benchmark.process import pinned

_CONFIG = """
daemon off; worker_processes 1; worker_rlimit_nofile 16384; {user}
pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections 4096; }}
http {{
  types {{ text/html html htm; text/css css; text/plain txt; image/png png; application/javascript js; }}
  default_type application/octet-stream;
  log_format page '$scheme://$host:$server_port$request_uri $status';
  access_log {folder}/access.log page buffer=64k flush=1s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  keepalive_requests 1000000; sendfile on; absolute_redirect off;
  {more}
  {servers}
}}
"""
_SERVER = "server {{ listen {host}:{port}{tls}; server_name {host}; root {root}; }}"


# compressed for each answer, and therefore sent in chunks
_GZIP = "gzip on; gzip_comp_level 1; gzip_types text/html;"
_TLS = "ssl_certificate {own}; ssl_certificate_key {own}; ssl_session_cache shared:tls:10m;"


class MissingProgram(SystemExit):
    """A required program is missing; the text says what to install."""


class Nginx:
    """A running server. `fetched()` returns the pages fetched since `forget()`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "access.log"
        self._at = 0

    def forget(self) -> None:
        """Forget the pages fetched so far."""
        self._settle()
        self._at = self._log.stat().st_size

    def fetched(self) -> Counter[str]:
        """URL → number of answers with status 200, without robots.txt."""
        self._settle()
        with self._log.open() as log:
            log.seek(self._at)
            lines = [line.split() for line in log]
        return Counter(line[0] for line in lines if line[-1] == "200" and not line[0].endswith("/robots.txt"))

    def _settle(self) -> None:
        """Wait until the buffered log is on disk: it is flushed once a second."""
        size = -1
        while size != (size := self._log.stat().st_size):
            time.sleep(1.2)


@contextlib.contextmanager
def nginx(
    corpus: Corpus, folder: Path, core: int | None, certificate: Certificate | None = None, is_gzip: bool = False
) -> Iterator[Nginx]:
    """Serve the corpus, with a certificate over TLS. Raises `MissingProgram` if nginx is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise MissingProgram("scripts/bench needs nginx: apt install nginx-light, or brew install nginx")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "access.log").write_text("")
    tls = " ssl" if certificate else ""
    servers = "\n  ".join(
        _SERVER.format(host=host, port=corpus.port, root=root, tls=tls) for host, root in corpus.roots.items()
    )
    more = [_TLS.format(own=certificate.own)] if certificate else []
    more += [_GZIP] if is_gzip else []
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, servers=servers, more="\n  ".join(more), user=_user()))
    process = subprocess.Popen(
        [*pinned(core), program, "-p", str(folder), "-e", str(folder / "nginx.error"), "-c", str(config)],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, corpus, folder)
        yield Nginx(folder)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _user() -> str:
    """Return the `user` line: nginx started by root must still read files that only root may read."""
    return "user root;" if os.geteuid() == 0 else ""


def _wait(process: subprocess.Popen[bytes], corpus: Corpus, folder: Path) -> None:
    address = next(iter(corpus.roots)), corpus.port
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise MissingProgram(f"nginx did not start:\n{(folder / 'nginx.error').read_text()[-2000:]}")
