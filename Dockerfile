# hbctl alone, as a static program: docker build -t hbctl .
# It needs neither BuildKit nor a shell in the image.

FROM golang:1.26.8 AS build

WORKDIR /src

# The modules change less often than the source, so they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download

COPY . .

ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
        -ldflags "-s -w -X main.version=${VERSION}" \
        -o /image/usr/local/bin/hbctl ./cmd/hbctl

# What else a program may look for: certificates of authorities, and room for temporary
# files, where `hbctl dev` and `hbctl demo` keep their data.
RUN mkdir -p /image/etc/ssl/certs \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && mkdir -m 1777 /image/tmp

FROM scratch

ARG VERSION=devel
LABEL org.opencontainers.image.title="hbctl" \
      org.opencontainers.image.description="Which services of a cluster are up, on etcd leases" \
      org.opencontainers.image.source="https://github.com/hbctl/hbctl" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build /image/ /

# Nobody in particular; no file of the image is his.
USER 65532:65532

ENTRYPOINT ["/usr/local/bin/hbctl"]
CMD ["help"]
