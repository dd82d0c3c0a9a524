# `make` alone shows what there is to make.
SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --warn-undefined-variables --no-builtin-rules

GO      ?= go
LINT    := $(GO) tool -modfile=tools/go.mod golangci-lint
RELEASE := $(GO) tool -modfile=tools/goreleaser/go.mod goreleaser
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./hbctl, as a static program
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" -o hbctl ./cmd/hbctl

.PHONY: test
test: ## run every test, under the race detector (minutes; starts etcd processes)
	$(GO) test -race -timeout 25m ./...

.PHONY: test-short
test-short: ## run the tests that start no process and wait for no clock
	$(GO) test -short ./...

DURATION ?= 15m
SEED     ?= 0
KEEP     ?=

.PHONY: chaos
chaos: ## break everything at random for DURATION, from SEED, and judge it; KEEP=DIR keeps the histories
	$(GO) test ./integration/chaos -run '^TestChaos$$' -count=1 -v -timeout 0 -args \
		-chaos.duration=$(DURATION) -chaos.seed=$(SEED) -chaos.keep='$(KEEP)'

.PHONY: lint
lint: ## run golangci-lint; the first time it is built, which takes 2 minutes
	$(LINT) run ./...

.PHONY: fmt
fmt: ## format the code as the linter wants it
	$(LINT) fmt ./...

.PHONY: vet
vet: ## run go vet
	$(GO) vet ./...

.PHONY: check
check: ## do all that has to pass before a change goes in
	.ci/run

.PHONY: faults
faults: ## inject every fault of integration/faults/FAULTS.md, the long way
	$(GO) test -v -timeout 60m ./integration/faults -args -long | grep -E -e '^ +[a-z_]+_test\.go:[0-9]+: F[0-9]+: ' -e '^(---|FAIL|PASS|ok|panic)'

.PHONY: break
break: ## break each guarantee on purpose, and see that its test fails (minutes)
	integration/break.sh
	integration/break.sh --schedules

.PHONY: schedules
schedules: ## run ten thousand random schedules over an etcd in fake time (minutes)
	$(GO) test -v -timeout 30m -run '^TestSchedules$$' ./integration/schedules -schedules=10000

.PHONY: startup
startup: ## time hbctl from its start to its end, beside etcdctl (needs hyperfine)
	integration/startup.sh

.PHONY: compose
compose: ## bring docker-compose.yml up, break it from outside, and show a table of it (minutes; needs Docker)
	$(GO) test -v -count=1 -timeout 15m ./integration/compose

.PHONY: bench
bench: ## run the benchmarks of the hot paths (minutes)
	$(GO) test -run '^$$' -bench . -benchmem ./registry ./lease ./watcher

.PHONY: rivals
rivals: ## register beside raw etcd, etcd's Session and go-zero, on one etcd
	bench/rivals/run.sh

.PHONY: demo
demo: build ## build hbctl and watch it work
	./hbctl demo

# What goes into the images, as the Dockerfile lays it out: the programs, certificates of authorities, room for temporary
# files (where hbctl dev and hbctl demo keep their data), and etcd's empty folder, from which its volumes take the owner.
FILES        ?= .bin/images
CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
STATIC       := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false

OURS         := org.opencontainers.image.source=https://github.com/hbctl/hbctl

.PHONY: image-files
image-files:
	rm -rf $(FILES)
	install -d -m 755 $(FILES)/{hbctl,etcd}/usr/local/bin $(FILES)/hbctl/etc/ssl/certs
	install -d -m 700 $(FILES)/data/data
	install -d -m 1777 $(FILES)/hbctl/tmp
	install -m 644 $(CERTIFICATES) $(FILES)/hbctl/etc/ssl/certs/ca-certificates.crt
	$(STATIC) -ldflags "-s -w -X main.version=$(VERSION)" -o $(FILES)/hbctl/usr/local/bin/hbctl ./cmd/hbctl
	$(STATIC) -ldflags "-s -w" -o $(FILES)/etcd/usr/local/bin/etcd go.etcd.io/etcd/server/v3
	chmod 755 $(FILES)/*/usr/local/bin/*

.PHONY: images
images: image-files ## build the images of docker-compose.yml, also where no registry can be reached
	{ printf 'FROM scratch AS build\nLABEL %s\nCOPY . /images\n' $(OURS); sed -n '/^# The images/,$$p' Dockerfile; } >$(FILES).Dockerfile
	docker build -q -f - --target etcd -t hbctl-etcd:local $(FILES) <$(FILES).Dockerfile
	docker build -q -f - --target hbctl --build-arg VERSION=$(VERSION) -t hbctl:local $(FILES) <$(FILES).Dockerfile
	docker image prune --force --filter label=$(OURS) >/dev/null # those that these replace
	docker image ls --filter reference=hbctl:local --filter reference=hbctl-etcd:local

# A clone that has no remote gets one for the time of a snapshot: without, its commit is not looked at.
REMOTE := GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=https://github.com/hbctl/hbctl

.PHONY: snapshot
snapshot: ## build all archives and packages of a release into dist/; the first time takes minutes more
	$(RELEASE) check
	git ls-remote --get-url &>/dev/null || export $(REMOTE); $(RELEASE) release --snapshot --clean

.PHONY: release
release: ## build and publish the release of the tag that is checked out: for the workflow, which has the token
	$(RELEASE) release --clean

.PHONY: packages
packages: ## install the deb of dist/ into a fresh Debian in a folder, and use it there (needs root)
	packaging/test.sh

.PHONY: clean
clean: ## remove what was built here
	rm -rf hbctl .bin dist
