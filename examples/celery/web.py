"""A web application that orders crawls and tells how far they are. Flask, FastAPI and Django would call the same tasks.

POST   /crawls?url=…  a whole crawl           GET    /crawls/ID  its state, progress, result or error
POST   /pages?url=…   one page, then `index`  DELETE /crawls/ID  stops it
"""

import json
import os
import sys
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from shop import app, index

from crawler.celery import crawl, fetch, state


def answer(environ, start_response):
    """The WSGI application."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/")
    url = parse_qs(environ["QUERY_STRING"]).get("url", [""])[0]
    if method == "POST" and path == ["crawls"]:
        status, said = "202 Accepted", {"id": crawl.delay([url], spider="quotes").id}
    elif method == "POST" and path == ["pages"]:
        status, said = "202 Accepted", {"id": (fetch.s(url, spider="quotes") | index.s()).delay().id}
    elif method == "GET" and path[0] == "crawls" and len(path) == 2:
        status, said = "200 OK", told(path[1])
    elif method == "DELETE" and path[0] == "crawls" and len(path) == 2:
        app.control.revoke(path[1])
        status, said = "202 Accepted", {"id": path[1]}
    else:
        status, said = "404 Not Found", {}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]


def told(id):
    """What is known of a task."""
    result = app.AsyncResult(id)
    if result.failed():
        return {"state": result.state, "error": str(result.result), "traceback": result.traceback}
    return {"state": state(id), "info": None if result.state == "REVOKED" else result.result}


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8080")), answer) as server:
        print(f"http://127.0.0.1:{server.server_port}/", file=sys.stderr)
        server.serve_forever()
