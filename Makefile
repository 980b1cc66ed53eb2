# Bare `make` prints this help. Everything runs with Go and make alone; `make test` also needs
# PostgreSQL's server binaries, sqlite3 and Chromium, and installs Debian's if it finds none.

GO       ?= go
FUZZTIME ?= 20s
BENCHTIME ?= 1s
SOAKTIME ?= 60s
BASE     ?= main
ADDR     ?= 127.0.0.1:8080
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help run build review test check race fuzz bench soak spec bundle clean packages format vet staticcheck rego

help: ## print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/tiergate with the proof of its bundle
	$(GO) build -o bin/tiergate ./cmd/tiergate
	@bin/tiergate prove --keep cmd/tiergate/proof.json >/dev/null
	@$(GO) build -o bin/tiergate ./cmd/tiergate

run: build ## start the gate on the embedded store, on loopback, and print a request to paste
	bin/tiergate serve --dev --addr $(ADDR)

review: ## what this branch's policy decides differently from BASE (main), and whether it keeps the promises
	@rm -rf build/policy-review
	@BIN=$(CURDIR)/bin .github/actions/policy-review/build.sh >/dev/null
	@BASE="$(BASE)" ACKNOWLEDGE=policies.acknowledged OUT=build/policy-review TIERGATE=bin/tiergate OPA=bin/opa \
	  .github/actions/policy-review/review.sh; code=$$?; cat build/policy-review/report.md 2>/dev/null; exit $$code

packages: ## make sure that PostgreSQL's server binaries, sqlite3 and Chromium are there
	@sh .ci/packages

test: packages build ## run every test, on PostgreSQL and SQLite
	$(GO) test -timeout 20m ./...
	cd bench && $(GO) test ./...

check: format vet staticcheck rego test race ## everything a reviewer would ask for

format: ## fail where Go or Rego is not formatted
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted, run gofmt -w:"; echo "$$out"; exit 1; }

vet: ## go vet, also with the build tag that leaves the fence out
	$(GO) vet ./... && $(GO) vet -tags nofence ./store
	cd bench && $(GO) vet ./...

staticcheck: ## the pinned staticcheck
	$(GO) tool staticcheck ./...

rego: ## opa check --strict, opa fmt and opa test with 100% coverage, through the Go module
	$(GO) test -count=1 ./policies ./bundles

race: packages ## tests under the race detector (needs a C compiler)
	@if command -v $${CC:-cc} >/dev/null; then CGO_ENABLED=1 $(GO) test -race -p 1 -timeout 30m ./announce ./audit ./checkpoint ./notary ./receipt ./engine/... ./bundles ./rollout/... ./server ./store/... && \
	  CGO_ENABLED=1 $(GO) test -race ./review -run 'TableIsExact|MemoChangesNothing/(radius|trusted|any)' ; \
	else echo "make race: SKIPPED, there is no C compiler and Go's race detector needs one: apt-get install gcc"; fi

fuzz: ## run every fuzz target for FUZZTIME each
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME); done; done

bench: packages build ## measure, and print the tables of docs/performance.md
	cd bench && $(GO) run . -benchtime $(BENCHTIME)

soak: packages build ## kill -9 under load: the gate for SOAKTIME on each database, the store for 20 rounds
	TIERGATE_SOAK=$(SOAKTIME) $(GO) test -count=1 -timeout 30m -run 'Soak' ./cmd/...
	TIERGATE_KILL_ROUNDS=20 $(GO) test -count=1 -timeout 30m -run 'KillUnderLoad' ./store

spec: packages build ## run the features, and render them with their results as build/spec.html
	@mkdir -p build
	TIERGATE_SPEC=$(CURDIR)/build/features.json $(GO) test -count=1 ./features; code=$$?; \
	  $(GO) run ./features/spec -results build/features.json -o build/spec.html features/*.feature && echo "see build/spec.html"; exit $$code

bundle: build ## build the shipped policy into build/bundle.tar.gz
	@mkdir -p build && bin/tiergate bundle build -o build/bundle.tar.gz policies

clean: ## remove what the other targets made
	rm -rf bin build
