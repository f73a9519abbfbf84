FROM python:3.13-slim

WORKDIR /opt/crawler
# or requirements-rabbitmq.lock, which has RabbitMQ's clients as well
ARG LOCK=requirements.lock
COPY ${LOCK} ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r "$LOCK"
COPY crawler ./crawler
RUN python -m compileall -q crawler # its user may not write there: it would compile everything at each start
ENV PYTHONPATH=/opt/crawler PYTHONUNBUFFERED=1

# the deployment's own settings.py and spiders/ are found in the working directory
RUN useradd --create-home --uid 10001 crawler && mkdir /data && chown crawler:crawler /data
COPY settings.py /project/
COPY spiders /project/spiders
WORKDIR /project
USER 10001

ENTRYPOINT ["python", "-m", "crawler"]
CMD ["worker"]
