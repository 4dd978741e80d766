//! Support for the end-to-end tests: real servers on free ports in temporary folders, stopped with the test; a fault proxy
//! in front of them; and the contracts of every adapter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::print_stderr,
    reason = "tests say what went wrong by failing"
)]

pub mod chorus;
pub mod client;
pub mod contracts;
pub mod damage;
pub mod fault_proxy;
pub mod folder;
pub mod inbox;
pub mod model;
pub mod raw;
pub mod routes;
pub mod servers;
pub mod verbs;
pub mod waiting;
