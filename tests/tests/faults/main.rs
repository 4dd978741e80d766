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
