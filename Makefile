# Millrace. `make` alone lists the targets.

GO       ?= go
DATA     ?= data
ARGS     ?=
FUZZTIME ?= 30s
PACKAGES ?= 4
BASE     ?= main

# Versions of the tools that `go run` fetches. tools/go.mod has the others.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   = v1.9.0
BENCHSTAT     = v0.0.0-20260908200009-22c9c6c9d4da

# Without cgo the binary is static. Only the race detector needs cgo.
export CGO_ENABLED = 0
race: export CGO_ENABLED = 1

# Every command gets -trimpath. Otherwise the build and the tests would each compile all
# dependencies, because the build cache keeps results by flags.
export GOFLAGS := $(strip $(GOFLAGS) -trimpath)

.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# VCS=true writes the commit into the binary, for `millrace version`. Where git refuses the
# repository, for example because another user owns it, the go command would refuse to
# build, so that VCS is false there.
VCS ?= $(if $(shell git rev-parse HEAD 2>/dev/null),true,false)

build: ## Build bin/millrace, static
	$(GO) build -buildvcs=$(VCS) -o bin/millrace ./cmd/millrace

run: build ## Build and start one node on 127.0.0.1:6379, data in $(DATA)
	bin/millrace server --data $(DATA) $(ARGS)

dev: build ## Start a local cluster of three nodes
	bin/millrace dev $(ARGS)

# -count=1 ignores cached results: some tests build the server that they run, and the cache
# does not know that it changed. -p 4 runs four packages at once. Most tests wait for
# clusters, so that two packages would leave two processors idle for most of the time.
test: ## All tests that need nothing but Go, with the coverage of each package
	@mkdir -p bin
	$(GO) test -count=1 -p $(PACKAGES) -coverprofile=bin/coverage.out ./...

cover: ## The functions that the last `make test` did not reach, and the total
	@$(GO) tool cover -func=bin/coverage.out | awk '$$NF == "0.0%" || $$1 == "total:"'

# -short shortens or skips tests of one goroutine, where the race detector finds nothing.
race: ## The same under the race detector, without most tests that run in one goroutine
	$(GO) test -count=1 -p $(PACKAGES) -race -short -vet=off ./...

check: lint cross licenses-check vulncheck ## All checks that run no test: the next four

lint: ## Formatting, go.mod, vet and the linters of .golangci.yml
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags faults ./node ./cmd/...
	$(GO) run $(GOLANGCI_LINT) run --allow-serial-runners ./...

cross: ## Compile for linux/arm64, and with the tests for darwin/arm64
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...

licenses-check: ## Compare the licences of all dependencies with THIRD_PARTY_LICENSES.md
	./tools/licenses.sh | diff -u THIRD_PARTY_LICENSES.md - || { echo "run make licenses, and look at the diff"; exit 1; }

vulncheck: ## Look for known vulnerabilities in the code that is called
	./tools/vulncheck.sh $(GOVULNCHECK) ./...

licenses: ## Rewrite THIRD_PARTY_LICENSES.md
	@mkdir -p bin
	./tools/licenses.sh >bin/licenses.md && mv bin/licenses.md THIRD_PARTY_LICENSES.md

fuzz: ## Every fuzz target for FUZZTIME (30s)
	./test/fuzz.sh $(FUZZTIME)

golden: ## Rewrite the expected replies of the command scripts; look at the diff
	$(GO) test ./stream -rewrite

docs: ## Rewrite docs/commands.md from the command table
	$(GO) test ./router -run TestCommandsPage -rewrite

cluster-test: build ## Kill nodes for two minutes under load and check every invariant (DURATION=2m)
	$(GO) test ./test/cluster -run TestKillNodes -count=1 -v -timeout 20m -kill-duration=$(or $(DURATION),2m)

mutants: ## Run tests against the wrong implementations of internal/mutant; each must fail (ARGS="a b": only those)
	$(GO) run ./test/mutants $(ARGS)

diff: ## Compare a million replies with redis-server's (COMMANDS=1000000)
	$(GO) test ./test/compat/diff -run TestRedis -count=1 -v -timeout 2h -commands=$(or $(COMMANDS),1000000)

clients: ## Every client of test/compat/clients against three nodes; needs the packages of .ci/run
	$(GO) test ./test/compat/clients -count=1 -timeout 15m -installed

compat: ## make diff with a newer Redis, which it builds first from Debian's source
	REDIS86=$$(test/compat/redis86.sh) $(GO) test ./test/compat/diff -count=1 -v -timeout 2h -commands=$(or $(COMMANDS),1000000)

chaos-short: ## Break a cluster of three for a minute and check all invariants (DURATION, REPLAY, SEED)
	$(GO) build -o bin/chaos ./test/chaos
	bin/chaos -duration $(or $(DURATION),60s) -replay $(or $(REPLAY),15s) -nodes $(or $(NODES),3) -shards $(or $(SHARDS),4) -seed $(or $(SEED),0) -rate 4000 $(ARGS)

chaos: ## Break a cluster of five in every known way for an hour (DURATION, SEED, NODES, SHARDS)
	$(GO) build -o bin/chaos ./test/chaos
	bin/chaos -duration $(or $(DURATION),1h) -replay $(or $(REPLAY),2m) -nodes $(or $(NODES),5) -shards $(or $(SHARDS),9) -seed $(or $(SEED),0) -era 6m -rate 4000 $(ARGS)

chaos-long: ## make chaos for a day, before a release
	$(MAKE) chaos DURATION=$(or $(DURATION),24h)

bench: build ## Compare Millrace with three nodes and a local redis-server in one run
	./test/bench/compare.sh

bench-compare: ## Compare the Go benchmarks of BASE (main) and this tree (PKG, BENCH, COUNT)
	./tools/bench-compare.sh $(BENCHSTAT) $(BASE)

memory-test: build ## Send 2 GiB of entries through a node with 256 MiB, print resident memory
	$(GO) test ./test/cluster -run TestMemory -count=1 -v -timeout 30m -memory-bytes=2147483648

idle: build ## Measure the processor time of three idle nodes with 16 shards
	./test/bench/idle.sh

dump-demo: build ## Write a few entries and print the data directory
	./test/dump-demo.sh

image: build ## Build the image millrace:dev
	mkdir -p deploy/compose/data && cp bin/millrace deploy/compose/millrace
	docker build -q -t millrace:dev deploy/compose

compose-test: image ## Three containers: write, kill the leader, check
	$(GO) test ./deploy/compose -count=1 -v -timeout 10m -compose

clean: ## Remove everything that make built
	rm -rf bin deploy/compose/millrace deploy/compose/data

.PHONY: mutants help build run dev test cover race check lint cross licenses-check vulncheck licenses bench-compare fuzz golden cluster-test chaos-short chaos chaos-long bench memory-test idle diff clients compat docs dump-demo image compose-test clean
