//! What every adapter of a port must do, as plain functions over the port: the specification, run against each
//! engine by `tests/tests/contracts.rs`.

pub mod log;
pub mod media;
pub mod vault;
pub mod views;
