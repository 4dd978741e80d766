//! What every process needs: configuration, the clock, telemetry, exclusive use of files, retries, shutdown, the way to
//! Amazon's services. Nothing here knows the domain or HTTP.

#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
pub mod config;
pub mod exclusive;
pub mod mailbox;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
