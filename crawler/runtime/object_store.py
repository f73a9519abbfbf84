"""A folder of an object store: `s3://bucket/folder`, `gs://bucket/folder`, `az://container/folder`. It blocks.

No request is conditional, because one server in use ignores conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from crawler.errors import ConfigError, OutputError
from crawler.program import extra
from crawler.runtime.safe_text import shown
from crawler.runtime.url_words import read

try:
    import obstore
    from obstore.exceptions import BaseError, NotFoundError
    from obstore.store import AzureStore, GCSStore, S3Store
except ImportError:
    raise ConfigError(f"s3://, gs:// and az:// need the extra `objects`: {extra('objects')}") from None

TRIES = 3  # of a request, within one call
CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0

_STORES: Final[dict[str, Any]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_SECRET: Final = re.compile(r"[?&][^=&]*(key|secret|token|password|sas)[^=&]*=", re.IGNORECASE)
_STATUS: Final = re.compile(r"status code: (\d{3}[\w ]*)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    endpoint: str = ""  # URL of a server other than the provider's own
    region: str = ""  # of S3


class ObjectFolder:
    """A folder of a store. The methods raise `OutputError`."""

    def __init__(self, url: str, seconds: float = REQUEST_SECONDS) -> None:
        """A request may take that many seconds. Raises `ConfigError` for a URL that cannot be used."""
        base, _, query = url.partition("?")
        parts = urlsplit(base)
        self._scheme = parts.scheme.lower()
        _check_no_credentials(url, self._scheme)
        words = read(query, base, Words)
        self.path = parts.path.strip("/")
        if not parts.netloc or not self.path:
            raise ConfigError(f"{shown(base)}: write {self._scheme}://BUCKET/FOLDER")
        self._bucket = parts.netloc
        self.location = f"{self._scheme}://{self._bucket}/{self.path}" + (
            f"?endpoint={words.endpoint}" if words.endpoint else ""
        )
        self._store = self._made(words, seconds)

    def names(self) -> Iterator[str]:
        """Yield the names of all objects in the folder, without the folder's."""
        try:
            for objects in obstore.list(self._store, prefix=self.path):
                yield from (one["path"].removeprefix(f"{self.path}/") for one in objects)
        except (BaseError, OSError) as error:
            raise self._cannot("read", error) from None

    def put(self, name: str, body: bytes) -> None:
        """Store an object, which others see when it is whole."""
        try:
            obstore.put(self._store, f"{self.path}/{name}", body, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._cannot("write", error) from None

    def get(self, name: str) -> bytes:
        """Return an object."""
        try:
            return bytes(obstore.get(self._store, f"{self.path}/{name}").bytes())
        except (BaseError, OSError) as error:
            raise self._cannot("read", error) from None

    def find(self, name: str) -> bytes | None:
        """Return an object; None if it is not there."""
        try:
            return bytes(obstore.get(self._store, f"{self.path}/{name}").bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise self._cannot("read", error) from None

    def has(self, name: str) -> bool:
        """Return whether the object is there."""
        try:
            obstore.head(self._store, f"{self.path}/{name}")
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise self._cannot("read", error) from None
        return True

    def delete(self, name: str) -> None:
        """Delete an object."""
        try:
            obstore.delete(self._store, f"{self.path}/{name}")
        except (BaseError, OSError) as error:
            raise self._cannot("write", error) from None

    def _made(self, words: Words, seconds: float) -> Any:
        its = {"endpoint": words.endpoint, "region": words.region}
        try:
            return _STORES[self._scheme](
                self._bucket,
                client_options={
                    "timeout": timedelta(seconds=seconds),
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "allow_http": words.endpoint.startswith("http://"),
                },
                retry_config={"max_retries": TRIES - 1, "retry_timeout": timedelta(seconds=seconds)},
                **{name: value for name, value in its.items() if value},
            )
        except (BaseError, OSError, ValueError) as error:
            raise ConfigError(f"{self.location}: {_first_line(error)}") from None

    def _cannot(self, verb: str, error: BaseException) -> OutputError:
        return OutputError(f"cannot {verb} {self.location}: {self._why(str(error))}; nothing is lost")

    def _why(self, said: str) -> str:
        """Return what the store answers, and what a person can do, without the request, which may hold a signature."""
        status, code = _STATUS.search(said), _CODE.search(said)
        answer = f"{status[1].strip()}{f' ({code[1]})' if code else ''}" if status else ""
        if answer.startswith(("401", "403")):
            return f"the store refuses the credentials with {answer}; it takes them from {_CREDENTIALS[self._scheme]}"
        if answer.startswith("404"):
            return f"there is no bucket {self._bucket} ({answer}); make it, or name another"
        return f"the store answers {answer}" if answer else f"the store does not answer ({_first_line(said)})"


def _check_no_credentials(url: str, scheme: str) -> None:
    if "@" in urlsplit(url).netloc or _SECRET.search(url):
        raise ConfigError(
            f"{scheme}://…: credentials do not belong in a URL, which stands in logs and lists of processes; set "
            f"{_CREDENTIALS[scheme]}"
        )


def _first_line(error: object) -> str:
    line = str(error).partition("\n")[0]
    return shown(line.rpartition(" - ")[2] or line)
