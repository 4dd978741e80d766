.PHONY: run demo test check fmt lint doc deny unused fuzz bench

# The standalone deployment: without NATS, MongoDB, S3 and SES it builds in a third of the time.
quick = cargo run --profile quick --package chorus --no-default-features

# Builds Chorus and runs all of it on this machine; `make demo`, in another terminal, fills it.
run:
	$(quick) -- serve

demo:
	$(quick) -- demo

# Fetches what is missing of the servers it tests against (tests/servers/fetch), then runs every test.
test:
	cargo test --workspace --no-fail-fast

# Everything that continuous integration checks, and nothing else.
check: fmt unused lint doc deny test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- --deny warnings

doc:
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items --quiet

cargo_deny_version = 0.20.2
cargo_deny = target/tools/cargo-deny-$(cargo_deny_version)/bin/cargo-deny

# Licences, sources and banned crates of everything that is built in. Where the advisory database can be reached, run
# `make deny ARGS=advisories` too: it changes without us, so it is no part of `check`.
deny: $(cargo_deny)
	$(cargo_deny) --log-level error check $(or $(ARGS),bans licenses sources)

# Built once, for building quickly rather than for running fast: it runs for seconds.
$(cargo_deny):
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	CARGO_PROFILE_RELEASE_DEBUG=0 cargo install --quiet cargo-deny --locked --version $(cargo_deny_version) \
		--root target/tools/cargo-deny-$(cargo_deny_version) --target-dir target/tools/build
	rm -rf target/tools/build

cargo_machete_version = 0.9.2
cargo_machete = target/tools/cargo-machete-$(cargo_machete_version)/bin/cargo-machete

# Dependencies that no source of their crate names.
unused: $(cargo_machete)
	$(cargo_machete) $(shell git ls-files '*Cargo.toml' | xargs -n 1 dirname | grep -v '^[.]$$')

$(cargo_machete):
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	CARGO_PROFILE_RELEASE_DEBUG=0 cargo install --quiet cargo-machete --locked --version $(cargo_machete_version) \
		--root target/tools/cargo-machete-$(cargo_machete_version) --target-dir target/tools/build
	rm -rf target/tools/build

# Sends the whole API what its description allows and what it forbids (tests/fuzz). Options: make fuzz ARGS='--help'
fuzz:
	tests/fuzz/run $(ARGS)

# Chorus against a baseline on the same engines, for half an hour. Options: make bench ARGS='--help'
bench:
	cargo build --profile dist --workspace --bins
	target/dist/bench $(ARGS)
