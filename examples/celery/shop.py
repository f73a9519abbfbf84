"""The application's Celery: its own task `index`, and those of the crawler."""

import json
import os

from celery import Celery

from crawler.celery import install

app = Celery(
    "shop",
    broker=os.environ.get("BROKER", "redis://127.0.0.1:6379/1"),
    backend=os.environ.get("RESULTS", "redis://127.0.0.1:6379/2"),
)
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_send_task_events = True  # for Flower
install(app, queue="crawls")


@app.task
def index(items):
    """Take the items of one page into the application: here, into a file."""
    with open("index.jsonl", "a") as file:
        for item in items:
            file.write(json.dumps(item) + "\n")
    return len(items)
