//! The contracts of the ports, as plain functions over the port. `tests/tests/contracts` runs them against each adapter.

pub mod generations;
pub mod log;
pub mod media;
pub mod vault;
pub mod views;
