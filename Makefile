# What people type. Each target is a line or two: the work is done by cargo and by the scripts
# of deploy/setup, which put what they bring under .build and need no root.

ARGS ?=
ARENA ?= hetero slow10 err30 cold antag
SETUP := deploy/setup
TARGET := $(or $(CARGO_TARGET_DIR),target)
export PATH := $(CURDIR)/.build/bin:$(PATH)

.PHONY: demo arena test test-mesh bench nightly journals decisions clean tools envoy prometheus chromium grpc peers

demo: tools envoy
	cargo build --locked -p weir
	$(TARGET)/debug/weir demo $(ARGS)

arena: tools envoy
	cargo build --locked -p weir
	$(TARGET)/debug/weir arena $(ARENA:%=tests/scenarios/%.yaml) --declare-workers $(ARGS)

test: export WEIR_REQUIRE := envoy,prometheus,chromium,grpc
test: export WEIR_CHROMIUM := $(CURDIR)/.build/bin/chromium
test: tools envoy prometheus chromium grpc
	$(SETUP)/tools.sh fmt clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace

# Beside real control planes, which are built once, outside the repository; those that cannot be
# built are skipped by name. One test alone: make test-mesh ARGS=crd
test-mesh: tools envoy prometheus grpc
	export WEIR_PEERS_BUILT="$$(tests/peers/build.sh)"; \
	export WEIR_REQUIRE="envoy,prometheus,grpc,$$(echo "$$WEIR_PEERS_BUILT" | cut -d' ' -f1 | paste -sd,)"; \
	cargo test --locked --workspace --test mesh -- $(ARGS)

bench: tools envoy
	cargo bench --locked --workspace

nightly: export PROPTEST_CASES := 100000
nightly: test bench

# The journals under tests/journals: recorded anew from a real Envoy, which takes ten minutes (one
# alone: make journals ARGS=failing_endpoint), or only decided anew on what was seen then.
journals: tools envoy
	WEIR_WRITE=journals WEIR_REQUIRE=envoy cargo test --locked -p weir-tests --test it -- journals::scenes::$(ARGS)

decisions: tools
	WEIR_WRITE=decisions cargo test --locked -p weir-tests --test it -- journals::what_is_kept

clean:
	cargo clean
	rm -rf .build

tools:
	$(SETUP)/tools.sh

envoy:
	$(SETUP)/envoy.sh

prometheus:
	$(SETUP)/debian.sh prometheus

peers:
	tests/peers/build.sh

chromium:
	$(SETUP)/debian.sh chromium usr/lib/chromium/chromium
	$(SETUP)/browser.sh

grpc:
	$(SETUP)/grpc.sh
