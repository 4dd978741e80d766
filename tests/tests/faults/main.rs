//! Failures: servers that are out of reach, processes that are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what went wrong by failing"
)]

mod kills;
mod nats_cluster;
mod outages;
mod stalls;
mod uploads;

/// The number of rounds: the default, or the value of an environment variable.
#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn rounds(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |rounds| rounds.parse().unwrap())
}
