.PHONY: check test fmt lint

# Everything that continuous integration checks, and nothing else.
check: fmt lint test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- --deny warnings

# Fetches what is missing of the servers it tests against (tests/servers/fetch), then runs every test.
test:
	cargo test --workspace
