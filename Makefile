# What people type. The work is in scripts/, one script for each; each sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo kube-demo up test test-kubernetes build images bench bench-peers bench-check attack attack-haproxy faults faults-kubernetes fuzz fmt generate clean clean-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the main job on real engines and counterparties, told in a few lines
	@scripts/demo

kube-demo: ## the gateway on a Kubernetes of its own: the chart, engines, counterparties, and what kubectl says
	@scripts/kube-demo

up: ## a gateway over examples/quickstart that keeps running, for your own FIX client
	@scripts/up

test: ## every check there is; ends with `N passed, N failed`
	@scripts/test

test-kubernetes: ## those of the tests that need a Kubernetes control plane, which is built first: about eight minutes, once
	@scripts/test-kubernetes

build: ## the filter and the programs, for use
	@scripts/setup
	@scripts/build-filter
	@scripts/env cargo build --release -p fixgw-operator -p fixgw-reject-engine

images: build ## the file trees of the container images, in target/images; docs/images.md says what comes next
	@rm -rf target/images
	@for image in operator gateway reject-engine; do scripts/image-tree $$image target/images/$$image || exit; done

bench: ## what the gateway's parts cost by themselves: ratios, into docs/benchmarks; half an hour (BENCH_SCALE=quick: some minutes)
	@scripts/bench

bench-peers: ## the gateway beside HAProxy, nginx and plain Envoy: ratios, into docs/benchmarks; about half an hour (BENCH_SCALE=quick: five minutes)
	@scripts/bench-peers

bench-check: ## which ratios of both have moved since the committed figures by more than the noise; about ten minutes
	@scripts/bench-check

attack: ## a thousand slow, silent and resetting clients beside honest sessions, for five minutes; prints figures
	@scripts/attack

attack-haproxy: ## the attacks of the tests, played to HAProxy as well, to compare
	@scripts/attack-haproxy

faults: ## every attack on a running gateway in full, beside two hundred live sessions; prints a table, for about 50 minutes
	@scripts/faults

faults-kubernetes: ## every attack on an installed chart in full, in a control plane of its own; prints a table, for about 20 minutes
	@scripts/faults-kubernetes

fuzz: ## look for bytes that break a law, for a minute at each door (FUZZ_SECONDS=1800 for longer)
	@scripts/fuzz

generate: ## write the files that are made from the code (the CRD)
	@scripts/generate

fmt: ## format the code
	@scripts/setup rust
	@scripts/env cargo fmt --all

clean: ## remove what was built here
	rm -rf target

clean-tools: ## remove what was fetched for this project into the user's cache
	@scripts/clean-tools
