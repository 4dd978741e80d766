# syntax=docker/dockerfile:1
# All programs of Chorus in one image: `command-api`, `compat-api`, `projector`, `query-api`, and `chorus` for one machine.

FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --workspace --exclude tests --exclude bench --bins \
    && mkdir /programs \
    && cp target/dist/chorus target/dist/command-api target/dist/compat-api target/dist/projector target/dist/query-api /programs/

FROM debian:trixie-slim
# curl is for health checks; the certificates are for S3, SES and mail servers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data chorus \
    && install --directory --owner=chorus --group=chorus --mode=700 /data
COPY --from=build /programs/ /usr/local/bin/
USER chorus
WORKDIR /data
ENV CHORUS_DATA=/data CHORUS_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8080/livez"]
CMD ["chorus", "serve"]
