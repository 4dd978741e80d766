//! What the `chorus` binary does: everything in one process, and the operator's commands.

pub mod backup;
pub mod demo;
pub mod grant;
pub mod media;
pub mod openapi;
pub mod serve;
