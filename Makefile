# Herald. `make demo` shows it at work, `make test` runs every test; both install what they need.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/herald
CARGO ?= cargo
TRIPLE = $(shell rustc -vV | sed -n 's/^host: //p')
HOST = $(shell echo $(TRIPLE) | tr a-z- A-Z_)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# How the chart's values name it, so that what is imported into a node's containerd is found there.
IMAGE ?= localhost/herald:$(VERSION)
# As image/Dockerfile does it.
STATIC = RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
	$(CARGO) build --profile dist --locked --target $(TRIPLE)
STATIC_BIN = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/dist
# Bytes of the image, as registries and nodes get it.
IMAGE_LIMIT := 15000000
PURE_CRATES := herald-model herald-ipam herald-announce herald-l2 herald-bgp herald-membership herald-ownership herald-bfd

# Tests of failover; `make test` runs them too.
CHAOS := failover partitions conflicts outage group members busy

# A test program that hangs is ended, so that the others are run and the end of its output says which
# test it was.
TEST_RUNNER := timeout --verbose --kill-after=10 1200

# Where a test fails is said by the error itself; a backtrace of the test's harness only hides it.
export RUST_LIB_BACKTRACE := 0

export HERALD_BIN ?= $(CURDIR)/target/release/herald
export HERALD_KUBERNETES ?= $(CACHE)/kubernetes

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: packages
packages: ## Install the Debian packages the lab needs
	@tests/lab/install-packages

.PHONY: kubernetes
kubernetes: ## Build the lab's control plane (4 minutes once, then cached outside the tree)
	@tests/kubernetes/build.sh

.PHONY: containerd
containerd: ## Build containerd, for the tests with kubelets (2 minutes once, then cached)
	@tests/kubernetes/containerd/build.sh

.PHONY: peer
peer: ## Build MetalLB from its module, to measure against and to move from (3 minutes once, then cached)
	@tests/bench/peer/build.sh

.PHONY: senders
senders: ## Build the speakers to measure BGP beside: GoBGP's library, MetalLB's (a minute once, then cached)
	@tests/bench/peer/senders/build.sh

.PHONY: gobgp
gobgp: ## Build GoBGP, one of the routers of the tests (half a minute once, then cached)
	@tests/interop/gobgp/build.sh

.PHONY: helm
helm: ## Build Helm (3 minutes once, then cached)
	@tests/chart/helm/build.sh

.PHONY: promtool
promtool: ## Get promtool, which tries the chart's alerts, from Debian's package (once, then cached)
	@tests/chart/get-promtool

.PHONY: image
image: ## Make target/herald-<version>.tar, the image of controller and speaker, without a registry
	$(STATIC) -p herald
	@image/pack $(STATIC_BIN)/herald $(IMAGE) target/herald-$(VERSION).tar
	@test $$(stat --format=%s target/herald-$(VERSION).tar) -le $(IMAGE_LIMIT) || \
		{ echo "the image is to have at most $(IMAGE_LIMIT) bytes" >&2; exit 1; }

.PHONY: pod-image
pod-image: ## Make target/herald-pod.tar, the image of the pods of the tests with kubelets
	$(STATIC) -p herald-pod
	@image/pack $(STATIC_BIN)/herald-pod localhost/herald-pod:1 target/herald-pod.tar

.PHONY: chart
chart: packages kubernetes helm promtool peer build ## Run the tests of the Helm chart
	CARGO_TARGET_$(HOST)_RUNNER="$(TEST_RUNNER)" \
		$(CARGO) test --locked --no-fail-fast -p herald-chart -- --include-ignored

.PHONY: migration
migration: packages kubernetes helm peer build ## Move from MetalLB to Herald and back, and say what clients notice
	$(CARGO) test --locked -p herald-chart --test migration --test stored_objects -- --include-ignored --nocapture

.PHONY: build
build: ## Build target/release/herald and the lab's tools
	$(CARGO) build --release --locked -p herald -p herald-lab

.PHONY: demo
demo: packages kubernetes build ## Bring up a cluster, give a Service an address, and show it answer
	$(CARGO) run --release --locked --quiet -p herald-e2e --bin herald-demo

.PHONY: lint
lint: ## Check format, lints and that the pure crates are pure
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@.ci/check-pure-crates $(PURE_CRATES)

.PHONY: deny
deny: ## Check licences, banned crates and sources of the dependencies
	@.ci/check-dependencies

.PHONY: unit
unit: ## Run the tests that need neither root nor a lab
	$(CARGO) test --workspace --locked

.PHONY: test
test: packages kubernetes containerd gobgp helm promtool peer build pod-image simulate ## Run every test but test-install, also those that need root and the lab
	CARGO_TARGET_$(HOST)_RUNNER="$(TEST_RUNNER)" \
		$(CARGO) test --workspace --exclude herald-install --locked --no-fail-fast -- --include-ignored

# The image is of the binary that other tests run, linked once more: it takes seconds, and the one that
# `make image` makes takes minutes. HERALD_BIN names that, or another.
.PHONY: test-install
test-install: packages kubernetes containerd helm build pod-image ## Install with Helm on three nodes with kubelets, upgrade, uninstall
	$(CARGO) rustc --release --locked -p herald --bin herald -- -C target-feature=+crt-static
	CARGO_TARGET_$(HOST)_RUNNER="$(TEST_RUNNER)" \
		$(CARGO) test --workspace --locked --test release -- --include-ignored

.PHONY: chaos
chaos: packages kubernetes build ## Run the tests that cut, kill, stop and starve, one after the other
	CARGO_TARGET_$(HOST)_RUNNER="$(TEST_RUNNER)" $(CARGO) test --locked --no-fail-fast -p herald-e2e \
		$(CHAOS:%=--test %) -- --include-ignored --test-threads=1

.PHONY: interop
interop: packages gobgp ## Run the tests of BGP and BFD with real routers and scripted peers
	CARGO_TARGET_$(HOST)_RUNNER="$(TEST_RUNNER)" \
		$(CARGO) test --locked --no-fail-fast -p herald-interop -- --include-ignored

.PHONY: simulate
simulate: ## Run random faults on simulated clusters (SIMULATE_ARGS="--seeds 0..9000" for more)
	$(CARGO) run --release --locked --quiet -p herald-simulation -- $(or $(SIMULATE_ARGS),--seeds 0..2000)

.PHONY: fuzz
fuzz: ## Fuzz each decoder for a minute (FUZZ_SECONDS=3600, FUZZ="bgp_update")
	@.ci/fuzz $(or $(FUZZ_SECONDS),60) $(FUZZ)

.PHONY: large
large: ## Let clusters of 300 and 1,000 speakers form and lose a member, in virtual time (minutes)
	$(CARGO) test --release --locked -p herald-membership -p herald-simulation -- --ignored --nocapture --test-threads=1

.PHONY: bench
bench: packages kubernetes peer build ## Measure Herald beside MetalLB (BENCH_ARGS=--quick for a glance)
	$(CARGO) bench --locked -p herald-ipam -p herald-l2 -p herald-bgp -p herald-bfd
	$(CARGO) run --release --locked --quiet -p herald-bench -- $(BENCH_ARGS)

.PHONY: bench-failover
bench-failover: packages kubernetes peer build ## Measure failover beside MetalLB (2 hours; FAILOVER_ARGS=--rounds=2 for a glance)
	$(CARGO) run --release --locked --quiet -p herald-bench -- failover --write $(FAILOVER_ARGS)

.PHONY: bench-bgp
bench-bgp: packages senders ## Measure BGP and BFD beside BIRD, GoBGP and MetalLB (BGP_ARGS=--rounds=1 for a glance)
	$(CARGO) build --release --locked -p herald-bench
	$(CARGO) run --release --locked --quiet -p herald-bench -- bgp --write $(BGP_ARGS)
