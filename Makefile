.PHONY: run demo test check fmt lint bench

# Builds Chorus and runs all of it on this machine; `make demo`, in another terminal, fills it.
run:
	cargo run --release --bin chorus -- serve

demo:
	cargo run --release --bin chorus -- demo

# Fetches what is missing of the servers it tests against (tests/servers/fetch), then runs every test.
test:
	cargo test --workspace --no-fail-fast

# Everything that continuous integration checks, and nothing else.
check: fmt lint test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- --deny warnings

# Real engines and bare handlers beside Chorus; takes about a quarter of an hour. Options: make bench ARGS='--help'
bench:
	cargo build --release --workspace --bins
	target/release/bench $(ARGS)
