//! The `chorus` binary: the standalone server and the operator's subcommands.

pub mod backup;
pub mod demo;
pub mod grant;
pub mod media;
pub mod openapi;
pub mod serve;
