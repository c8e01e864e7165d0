# `make help` lists the targets; CI calls the same ones.
GO      ?= go
BIN     := bin
GOLANGCI_VERSION := v2.15.0
GOVULN_VERSION   := v1.8.0

.PHONY: help run build test race lint vuln bench fuzz gen gen-check model verify kill chaos clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: ## the demo: about 100,000 events, then the servers
	$(GO) run . demo

build: ## bin/carryon
	$(GO) build -trimpath -o $(BIN)/carryon .

test: ## all tests that need no server and no network
	$(GO) test ./...

race: ## the same under the race detector
	$(GO) test -race -timeout 25m ./...

lint: $(BIN)/golangci-lint-$(GOLANGCI_VERSION) ## formatting, vet, house rules
	$(BIN)/golangci-lint-$(GOLANGCI_VERSION) run ./...

$(BIN)/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

vuln: ## known vulnerabilities (needs the network)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULN_VERSION) ./...

bench: ## every figure of the README; BENCH=regexp picks
	scripts/bench $(BENCH)

fuzz: ## each fuzz target with FUZZTIME inputs (default 20000x) or for a time (20s)
	scripts/fuzz $(FUZZTIME)

gen: ## the OpenAPI documents
	$(GO) generate ./...

gen-check: gen ## fails when a generated file is stale
	git diff --exit-code -- api/openapi

kill: build ## kill -9 in the middle of a load, RUNS times (default 25), verify after each
	scripts/killloop --runs $(or $(RUNS),25)

chaos: build ## kill, pause and mislead the program under a load for CHAOS_TIME (default 5m), then compare everything; SEED picks the course
	@folder=$$(mktemp -d); echo "chaos in $$folder"; \
	$(BIN)/carryon chaos --data "$$folder/run" --duration $(or $(CHAOS_TIME),5m) --seed $(or $(SEED),1) && rm -rf "$$folder"

model: ## all schedules of writers and consumers up to STATES a scenario, SCHEDULES random ones, each rule broken on purpose
	GOGC=400 $(GO) test ./command -run 'Model|EachBrokenRule|AStoreThat' -v -timeout 0 -model.breaches \
		-model.states $(or $(STATES),200000) -model.schedules $(or $(SCHEDULES),200000) -model.budget $(or $(BUDGET),0) -model.seed $(or $(SEED),1)

verify: build ## audit the data folder DATA (default carryon-data)
	$(BIN)/carryon verify --data $(or $(DATA),carryon-data)

clean: ## built files
	rm -rf $(BIN)
