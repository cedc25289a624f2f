# One static binary in an empty image.
#
# The binary needs no libc, no shell and no user database; name resolution (hosts, DNS) is built in. It links against
# glibc rather than musl, whose allocator and resolver are weaker.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep the compiled dependencies between builds. Naming the target, although it is the machine's own, keeps
# the flag away from procedural macros, which must stay dynamic.
ARG REVISION=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-gnu" \
    && SIDEGATE_REVISION="$REVISION" RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --bin sidegate --target "$target" \
    && install -D "target/$target/release/sidegate" /out/sidegate \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

FROM scratch
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="sidegate" \
      org.opencontainers.image.description="A reverse-proxy auth sidecar: validates bearer tokens in front of an API" \
      org.opencontainers.image.source="https://github.com/sidegate/sidegate" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sidegate /usr/bin/sidegate
USER 65532:65532
# Requests; probes and metrics.
EXPOSE 8080 9901
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/sidegate", "health"]
ENTRYPOINT ["/usr/bin/sidegate"]
CMD ["run", "-c", "/etc/sidegate/sidegate.yaml"]
