"""A distributed web crawler built on reliable queues. These are the names spider authors import."""

from crawler.model import Request
from crawler.response import Response
from crawler.spider import DropItem, Spider

__all__ = ["DropItem", "Request", "Response", "Spider"]
