CELERY_APP = "shop:app"  # whose tasks the exporter tells what became of their crawls
