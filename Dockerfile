# One static binary in an empty image.
#
# The binary needs no libc, no shell and no user database; name resolution (hosts, DNS) is built in. It links against
# glibc rather than musl, whose allocator and resolver are weaker. How a release is made of it: docs/release.md.

# What sidegate depends on, compiled before its own sources are there: this layer holds until the manifests change, also
# on builders that keep nothing but layers.
FROM rust:1.95-bookworm AS dependencies
WORKDIR /src
# More of Cargo's features, separated by commas, such as otlp.
ARG FEATURES=""
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY .ci/build .ci/profile.gz .ci/
# Cargo wants to see every target that the manifest names.
COPY benches benches
# Naming the target, although it is the machine's own, keeps the flags away from procedural macros, which stay dynamic.
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && .ci/build --features "$FEATURES" --target "$(uname -m)-unknown-linux-gnu" \
    && rm -r src

FROM dependencies AS build
COPY . .
ARG REVISION=""
# The files are older than what was compiled in their place.
RUN target="$(uname -m)-unknown-linux-gnu" \
    && export SIDEGATE_REVISION="$REVISION" \
    && touch src/lib.rs src/main.rs \
    && .ci/build --features "$FEATURES" --target "$target" \
    && install -D "target/$target/release/sidegate" /out/sidegate \
    && .ci/sbom --features "$FEATURES" --target "$target" > /out/sbom.json \
    && install -m 0644 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

FROM scratch
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="sidegate" \
      org.opencontainers.image.description="A reverse-proxy auth sidecar: validates bearer tokens in front of an API" \
      org.opencontainers.image.source="https://github.com/sidegate/sidegate" \
      org.opencontainers.image.documentation="https://github.com/sidegate/sidegate/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      io.github.sidegate.sbom="/usr/share/doc/sidegate/sbom.json" \
      io.github.sidegate.sbom.format="CycloneDX 1.6"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sbom.json /usr/share/doc/sidegate/sbom.json
COPY --from=build /out/sidegate /usr/bin/sidegate
USER 65532:65532
# Requests; probes and metrics.
EXPOSE 8080 9901
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/sidegate", "health"]
ENTRYPOINT ["/usr/bin/sidegate"]
CMD ["run", "-c", "/etc/sidegate/sidegate.yaml"]
