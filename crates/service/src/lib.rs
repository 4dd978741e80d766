//! Infrastructure of every process: configuration, clock, telemetry, exclusive use of files, retries, shutdown, AWS
//! client configuration. It knows neither the domain nor HTTP.

#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
pub mod config;
pub mod exclusive;
pub mod mailbox;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
