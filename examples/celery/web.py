"""A web application that orders crawls and tells how far they are: `uvicorn web:web`."""

from fastapi import FastAPI
from shop import app, index

from crawler.celery import crawl, fetch, state

web = FastAPI()


@web.post("/crawls", status_code=202)
def order_crawl(url: str):
    """Order a crawl of a whole site."""
    return {"id": crawl.delay([url], spider="quotes").id}


@web.post("/pages", status_code=202)
def order_page(url: str):
    """Order one page; its items go to the task `index`."""
    return {"id": (fetch.s(url, spider="quotes") | index.s()).delay().id}


@web.get("/crawls/{id}")
def tell(id: str):
    """Tell the state of a task, and its progress, result or error."""
    info = app.AsyncResult(id).result
    return {"state": state(id), "info": str(info) if isinstance(info, Exception) else info}


@web.delete("/crawls/{id}", status_code=202)
def stop(id: str):
    """Stop a crawl."""
    app.control.revoke(id)
    return {"id": id}
