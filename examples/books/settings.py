"""Settings of this project; `crawler settings` lists all there are."""

DOWNLOAD_DELAY = 0.5  # seconds between two requests to a host
ITEM_PIPELINES = {"pipelines.Priced": 100, "pipelines.InEuro": 200}
EXTENSIONS = {"extensions.Report": 500}
EURO_RATE = 1.25  # a setting of the project's own: euros for one pound
