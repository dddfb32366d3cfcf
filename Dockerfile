# One image for the three processes: Dagster's webserver and daemon, and the server of answers.
FROM python:3.12-slim AS built
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY recsys_dagster recsys_dagster
# Where pip finds a build of torch for this machine's CPU or GPU, if not where it looks anyway.
ARG PIP_EXTRA_INDEX_URL
# Such as serve,demo,s3,postgres where tables or snapshots lie elsewhere.
ARG EXTRAS=serve,demo
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home recsys \
    && mkdir /data \
    && chown recsys /data
COPY --from=built /venv /venv
WORKDIR /app
COPY catalogs catalogs
COPY workspace.yaml ./
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RECSYS_HOME=/data \
    DAGSTER_HOME=/data/dagster \
    RECSYS_CATALOGS=/app/catalogs
USER 10001
VOLUME /data
CMD ["recsys", "serve", "--host", "0.0.0.0"]
