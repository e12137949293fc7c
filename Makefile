# The commands of the project. `make test` is all that a change needs; soak, fuzz and bench
# take longer. All of them start their own servers on free ports of loopback, and stop them.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# How long all fuzz targets together run, in seconds.
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
packages: ## install the Debian packages the tests need (as root), or print the command that does
	@.ci/packages

# The timeout applies to each package. The slowest one, ./db, takes 5 to 6 minutes on two idle
# cores, because of the race detector, and was seen to take 9 on busy ones.
.PHONY: test
test: packages ## test everything, with the race detector
	go -C bench test -race ./...
	go test -race -timeout 14m ./...

.PHONY: deploy
deploy: packages ## check the files of deploy/ and docker-compose.yml with their own tools
	go test -count 1 ./deploy
	cd deploy/check && go test -count 1 ./...

.PHONY: lint
lint: ## go vet, golangci-lint and module checksums
	@.ci/lint

.PHONY: licences
licences: ## list the licences of all dependencies; fail if one is not compatible
	@go test -count 1 -v -run 'Licence' ./internal/layout/

.PHONY: vulns
vulns: ## check dependencies against the Go vulnerability database, if it is reachable
	@.ci/vulnerabilities

.PHONY: js
js: packages ## test the JavaScript client (Node.js 20 or later)
	@.ci/js

.PHONY: cover
cover: packages ## test everything and print the coverage by package
	go test -timeout 14m -coverpkg=./... -coverprofile=cover.prof ./...
	go tool cover -func=cover.prof | tail -n 1

# make soak kills at least SOAK times (make test: twenty times), and plays HISTORIES random
# histories per database.
SOAK      ?= 200
HISTORIES ?= 2000
# How long everything runs at once: two nodes, relay, push, webhooks, devices that connect and
# disconnect, one kill a minute.
SOAKTIME  ?= 1h

.PHONY: soak
soak: packages soak-all ## soak-all, then longer crash, fault and model tests; about two hours
	FALCON_SOAK=$(SOAK) go test -race -timeout 3h -count 1 ./internal/crashtest/
	go test -race -timeout 3h -count 1 -run '^TestModel' ./bridge/delivery/ -rapid.checks=$(HISTORIES)

.PHONY: soak-all
soak-all: packages ## everything at once for SOAKTIME, then a table: lost, duplicated, heap, goroutines, descriptors
	go test -timeout 0 -count 1 -v -run '^TestEverythingAtOnce' ./internal/crashtest/ -args -soak.time=$(SOAKTIME)

.PHONY: fuzz
fuzz: ## run every fuzz target in turn, FUZZTIME seconds in all
	@.ci/fuzz $(FUZZTIME)

# The Go benchmarks measure each stage, the comparison the whole program and its
# alternatives. BENCHPARTS=post,idle,connect,replay and BENCHARGS="-bench.seconds=10" select
# parts of the comparison, and how long they take.
BENCHPARTS ?= post,idle,connect,replay
BENCHARGS  ?=

.PHONY: bench
bench: packages ## run the Go benchmarks (BENCH and BENCHTIME select some), then compare
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 60m ./...
	$(MAKE) compare

.PHONY: compare
compare: peers ## compare falconbridge with its peers
	go -C bench test -run '^$$' -bench Peers -benchtime 1x -timeout 60m . -args -bench.parts=$(BENCHPARTS) $(BENCHARGS)

.PHONY: curves
curves: packages ## measure scaling curves and a storm: points and charts into docs/performance, half an hour
	go -C bench test -run '^$$' -bench 'Devices|Growth|Payload|Nodes|Storm' -benchtime 1x -timeout 90m . -args -bench.curves=$(CURDIR)/docs/performance $(BENCHARGS)
	go -C bench run ./chart ../docs/performance

.PHONY: scale
scale: packages ## measure a database of a million users and sessions and ten million notifications; half an hour
	go -C bench test -run '^$$' -bench Scale -benchtime 1x -timeout 120m . -args $(BENCHARGS)

CENTRIFUGO ?= v6.9.1

.PHONY: peers
peers: ## build the peers; Nest needs npm, Centrifugo takes some minutes the first time
	@if command -v npm >/dev/null; then cd bench/peers/nest && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && npm run --silent build; \
	else echo "npm is not installed: the Nest peer is left out (apt-get install nodejs npm)"; fi
	@cd bench/peers/insert && go build -o dist/insert . && { [ -x dist/centrifugo ] || \
	GOBIN=$(CURDIR)/bench/peers/insert/dist go install github.com/centrifugal/centrifugo/v6@$(CENTRIFUGO); }
