"""Object stores for tests: two servers that speak S3, each a process of its own, and a proxy that fails on request."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import obstore
from obstore.store import S3Store

from tests.ports import free_port

KEY, SECRET = "TESTKEY1234567890AB", "not-a-real-secret-0123456789"
BUCKET = "bucket"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


class Server:
    """A server at a port of its own, with one bucket."""

    says = ""  # when it is ready

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self._process = subprocess.Popen(self.command, stderr=subprocess.PIPE, start_new_session=True)
        ready = threading.Event()
        assert self._process.stderr is not None
        threading.Thread(target=self._listen, args=(self._process.stderr, ready), daemon=True).start()
        assert ready.wait(60), "the S3 server does not start"

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listen(self, said: IO[bytes], ready: threading.Event) -> None:
        with said:
            for line in said:
                if self.says.encode() in line:
                    ready.set()


class Rclone(Server):
    """It checks signatures, ignores conditions, and keeps its objects as files."""

    says = "Starting s3 server"

    @property
    def command(self) -> Sequence[str]:
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)
        rclone = shutil.which("rclone", path=Path(sys.executable).parent) or "rclone"
        said = ("--config", "/dev/null", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}")
        return (rclone, "serve", "s3", *said, str(self.folder))


class Moto(Server):
    """It takes any key, honours conditions, and keeps its objects in memory."""

    says = "Running on"

    @property
    def command(self) -> Sequence[str]:
        return (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port))

    def start(self) -> None:
        super().start()
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("PUT", f"/{BUCKET}")
        connection.getresponse().read()
        connection.close()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def objects(server: Server, folder: str) -> dict[str, bytes]:
    """All objects of a folder by their names."""
    store = S3Store(
        BUCKET,
        endpoint=server.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    paths = [one["path"] for some in obstore.list(store, prefix=folder) for one in some]
    return {path.rpartition("/")[2]: bytes(obstore.get(store, path).bytes()) for path in sorted(paths)}


class Proxy:
    """Stands before a server, and does `fault` to each request of that method:

    a number   answers with that status, and does not ask the server
    lost       the server does it, the answer is lost
    cut        the connection ends before the server hears of it
    slow       the answer takes `slowness` seconds
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.fault: str | int = ""
        self.method = "PUT"
        self.slowness = 0.0
        self.faults = 0  # done so far
        self._http = ThreadingHTTPServer(("127.0.0.1", free_port()), self._handler())
        self._http.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self.fault if request.command == self.method else ""
        self.faults += bool(fault)
        if isinstance(fault, int):
            code = {403: "ExpiredToken", 503: "SlowDown"}.get(fault, "InternalError")
            self._answer(request, fault, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
            return
        if fault != "cut":
            status, answer = self._ask(request, body)
        if fault in ("cut", "lost"):
            request.close_connection = True
            request.connection.close()
            return
        if fault == "slow":
            time.sleep(self.slowness)  # that is the fault
        self._answer(request, status, answer)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port)
        try:
            upstream.request(request.command, request.path, body, dict(request.headers.items()))
            answer = upstream.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 502, b""
        finally:
            upstream.close()

    def _answer(self, request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", '"0"')
        request.send_header("Last-Modified", "Sun, 29 Nov 2026 23:00:00 GMT")
        request.end_headers()
        request.wfile.write(body)
