//! The `chorus` binary: the standalone server and the operator's subcommands.

pub mod backup;
mod commands;
pub mod demo;
pub mod grant;
pub mod import;
pub mod media;
pub mod openapi;
pub mod operators;
pub mod serve;
