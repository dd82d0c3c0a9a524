# `make` alone shows what there is to make.
SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --warn-undefined-variables --no-builtin-rules

GO      ?= go
LINT    := $(GO) tool -modfile=tools/go.mod golangci-lint
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

.PHONY: demo
demo: build ## build hbctl and watch it work
	./hbctl demo

.PHONY: image
image: ## build the container image hbctl:local
	docker build --build-arg VERSION=$(VERSION) -t hbctl:local .

.PHONY: clean
clean: ## remove what was built here
	rm -rf hbctl .bin dist
