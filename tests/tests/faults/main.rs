//! What happens when something fails: a server that is out of reach, a process that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what went wrong by failing"
)]

mod kills;
mod nats_cluster;
mod outages;
mod standstill;

/// How often something is done: the usual number, or more by hand.
#[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
fn rounds(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |rounds| rounds.parse().unwrap())
}
