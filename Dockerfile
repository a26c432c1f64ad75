# The image: one static binary and the certificates of public authorities; no shell, no libraries, no user but a number.
#
#   docker build -t resolvespec .
#       compiles in a container, for the architecture that the container has (--platform).
#   buildah bud --build-arg BINARY=ready -t resolvespec .
#       takes dist/resolvespec, which is static and ready, and dist/ca-certificates.crt; no image is pulled.

ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG BINARY=built

FROM ${BUILD_IMAGE} AS built
# SQLite, ring and the allocator are C, compiled against musl as well.
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools make ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY rust-toolchain.toml ./
RUN rustup target add "$(uname -m)-unknown-linux-musl"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    target=$(uname -m)-unknown-linux-musl && \
    TARGET_CC=musl-gcc cargo build --release --locked --bin resolvespec --target "$target" && \
    install -D "target/$target/release/resolvespec" /out/resolvespec && \
    strip --strip-debug /out/resolvespec && \
    install -m 644 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

FROM scratch AS ready
COPY dist/resolvespec dist/ca-certificates.crt /out/

FROM ${BINARY} AS binary

FROM scratch
COPY --from=binary /out/resolvespec /resolvespec
# Where NATS and databases are entered with TLS and no authorities are named.
COPY --from=binary /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Nobody, by number, so that Kubernetes sees that it is not root. Nothing is written to the image's own files.
USER 65532:65532
# What is free goes back to the system at once, and not only when more is wanted: thousands of connections that have left
# would leave their memory. Nothing of the rates that were measured goes with it.
ENV MIMALLOC_PURGE_DELAY=0
EXPOSE 8080 9090
ENTRYPOINT ["/resolvespec"]
