# The commands of the project. `make test` is all that a change needs; the longer
# work is soak, fuzz and bench. Everything starts its own servers on free ports
# of loopback and ends them.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# How long all fuzz targets together may run, in seconds.
FUZZTIME ?= 600
# Which benchmarks run, and how long each.
BENCH     ?= .
BENCHTIME ?= 1s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## start the bridge in development mode
	go run ./cmd/falconbridge

.PHONY: build
build: ## build the static binary ./falconbridge
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o falconbridge ./cmd/falconbridge

.PHONY: packages
packages: ## install the Debian packages the tests need (as root), or print the line that does
	@.ci/packages

# The race detector slows everything; -timeout is a package's, and the slowest, ./db,
# takes about half of it on two cores.
.PHONY: test
test: packages ## test everything, with the race detector
	go -C bench test -race ./...
	go test -race -timeout 14m ./...

.PHONY: deploy
deploy: packages ## check the files of deploy/ and docker-compose.yml with the tools they are for
	go test -count 1 ./deploy
	cd deploy/check && go test -count 1 ./...

.PHONY: lint
lint: ## vet, golangci-lint and the module's checksums
	@.ci/lint

.PHONY: licences
licences: ## list the licences of all dependencies; fail where one does not fit
	@go test -count 1 -v -run 'Licence' ./internal/layout/

.PHONY: vulns
vulns: ## ask the Go vulnerability database, where it can be reached
	@.ci/vulnerabilities

.PHONY: js
js: packages ## test the JavaScript client (Node.js 20 or later)
	@.ci/js

.PHONY: cover
cover: packages ## test everything and print the coverage by package
	go test -timeout 14m -coverpkg=./... -coverprofile=cover.prof ./...
	go tool cover -func=cover.prof | tail -n 1

# Kills at least SOAK times where `make test` kills twenty times, and plays
# HISTORIES random histories a database.
SOAK      ?= 200
HISTORIES ?= 2000
# How long everything is on at once: two nodes, relay, push, webhooks, devices that come
# and go, one kill a minute.
SOAKTIME  ?= 1h

.PHONY: soak
soak: packages soak-all ## the crash, fault and model tests for longer, two hours or so
	FALCON_SOAK=$(SOAK) go test -race -timeout 3h -count 1 ./internal/crashtest/
	go test -race -timeout 3h -count 1 -run '^TestModel' ./bridge/delivery/ -rapid.checks=$(HISTORIES)

.PHONY: soak-all
soak-all: packages ## everything on at once for SOAKTIME, then a table: lost, doubled, heap, goroutines, descriptors
	go test -timeout 0 -count 1 -v -run '^TestEverythingAtOnce' ./internal/crashtest/ -args -soak.time=$(SOAKTIME)

.PHONY: fuzz
fuzz: ## every fuzz target in turn, FUZZTIME seconds in all
	@.ci/fuzz $(FUZZTIME)

# Every stage by itself, then the whole and what else a user might pick.
# BENCHPARTS=post,idle,connect,replay and BENCHARGS="-bench.seconds=10" narrow or
# widen the second part.
BENCHPARTS ?= post,idle,connect,replay
BENCHARGS  ?=

.PHONY: bench
bench: packages ## the Go benchmarks, then falconbridge and its peers; BENCH and BENCHTIME narrow the former
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 60m ./...
	$(MAKE) compare

.PHONY: compare
compare: peers ## falconbridge and its peers only
	go -C bench test -run '^$$' -bench Peers -benchtime 1x -timeout 60m . -args -bench.parts=$(BENCHPARTS) $(BENCHARGS)

.PHONY: curves
curves: packages ## what grows with what, and a storm: points and charts into docs/performance, half an hour
	go -C bench test -run '^$$' -bench 'Devices|Growth|Payload|Nodes|Storm' -benchtime 1x -timeout 90m . -args -bench.curves=$(CURDIR)/docs/performance $(BENCHARGS)
	go -C bench run ./chart ../docs/performance

.PHONY: scale
scale: packages ## what happens to a database of a million users, sessions, ten million notifications; half an hour
	go -C bench test -run '^$$' -bench Scale -benchtime 1x -timeout 120m . -args $(BENCHARGS)

CENTRIFUGO ?= v6.9.1

.PHONY: peers
peers: ## build the peers: Nest needs npm, Centrifugo takes some minutes the first time
	@if command -v npm >/dev/null; then cd bench/peers/nest && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && npm run --silent build; \
	else echo "npm is not installed: the Nest peer is left out (apt-get install nodejs npm)"; fi
	@cd bench/peers/insert && go build -o dist/insert . && { [ -x dist/centrifugo ] || \
	GOBIN=$(CURDIR)/bench/peers/insert/dist go install github.com/centrifugal/centrifugo/v6@$(CENTRIFUGO); }
