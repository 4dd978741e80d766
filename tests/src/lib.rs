//! What the end-to-end tests stand on: real servers, started on free ports in temporary folders and stopped with
//! the test; a cable to them that can be cut; and the contracts that every adapter is held to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::print_stderr,
    reason = "tests say what went wrong by failing"
)]

pub mod cable;
pub mod chorus;
pub mod client;
pub mod contracts;
pub mod folder;
pub mod inbox;
pub mod model;
pub mod raw;
pub mod routes;
pub mod servers;
pub mod waiting;
