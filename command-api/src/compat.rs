//! The write side as the web apps know it that came before Chorus: their paths, texts and rules for fields, over the same
//! commands as `/v1`. Nothing is decided here.

mod instamern;
mod read_side;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn;
use web::compat::Refusal;
use web::problem::Problem;
use web::sessions::Authenticator;

use crate::Commands;
use crate::pipeline::errors::CommandError;
use crate::pipeline::partial_failure;

pub use read_side::{LocalReadSide, ReadSide, ReadSideError, RemoteReadSide};

/// What the apps' routes are made of.
#[derive(Debug, Clone)]
pub struct Desk {
    pub commands: Commands,
    /// Where an answer to a command is had that shows more than the command knows.
    pub read_side: Arc<dyn ReadSide>,
    /// What URLs of pictures begin with.
    pub public_url: Arc<str>,
}

impl FromRef<Desk> for Commands {
    fn from_ref(desk: &Desk) -> Self {
        desk.commands.clone()
    }
}

impl FromRef<Desk> for Arc<Authenticator> {
    fn from_ref(desk: &Desk) -> Self {
        Arc::clone(desk.commands.authenticator())
    }
}

impl<R: Into<Problem>> From<CommandError<R>> for Refusal {
    fn from(error: CommandError<R>) -> Self {
        Self::Problem(error.into())
    }
}

/// The write side of all apps' routes.
pub fn routes(desk: Desk) -> Router {
    instamern::routes().with_state(desk).route_layer(from_fn(partial_failure::report_partial_failure))
}
