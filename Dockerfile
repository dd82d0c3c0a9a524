# hbctl, and the etcd of docker-compose.yml, as static programs with nothing around them:
#
#   docker build --target hbctl -t hbctl:local .
#   docker build --target etcd -t hbctl-etcd:local .
#
# What it builds on is pinned: Go by the tag below, etcd and all other modules by go.sum.
# It needs neither BuildKit nor a shell in the images. `make images` builds the same where
# no registry can be reached: by the Go that is there, and from the last part of this file.

FROM golang:1.26.8 AS build

WORKDIR /src

# The modules change less often than the source, so they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download

COPY . .

ARG VERSION=devel
RUN make image-files FILES=/images VERSION=${VERSION}

# The images. (make images goes on from this line.)

FROM scratch AS etcd

LABEL org.opencontainers.image.title="hbctl-etcd" \
      org.opencontainers.image.description="etcd for trying hbctl, which is in it for the health check" \
      org.opencontainers.image.source="https://github.com/hbctl/hbctl" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="3.7.3"

COPY --from=build /images/etcd/ /
COPY --from=build /images/hbctl/ /

# A new volume gets this folder, and its owner.
COPY --from=build --chown=65532:65532 /images/data/ /var/lib/etcd/

ENV ETCD_DATA_DIR=/var/lib/etcd/data
USER 65532:65532
EXPOSE 2379 2380
HEALTHCHECK --interval=10s --timeout=5s CMD ["/usr/local/bin/hbctl", "list", "--output", "name"]
ENTRYPOINT ["/usr/local/bin/etcd"]

FROM scratch AS hbctl

ARG VERSION=devel
LABEL org.opencontainers.image.title="hbctl" \
      org.opencontainers.image.description="Which services of a cluster are up, on etcd leases" \
      org.opencontainers.image.source="https://github.com/hbctl/hbctl" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build /images/hbctl/ /

# Nobody in particular; no file of the image is his.
USER 65532:65532

# Can etcd be reached from here, by what the environment says? Whether a service is up is another question: see
# docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s CMD ["/usr/local/bin/hbctl", "list", "--output", "name"]
ENTRYPOINT ["/usr/local/bin/hbctl"]
CMD ["help"]
