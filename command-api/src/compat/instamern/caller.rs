//! Who may do what others see. The app leaves tokens valid when an account is deactivated: they are for what has to do with
//! the account itself.

use axum::extract::FromRequestParts;
use http::request::Parts;
use web::compat::{Caller, INSTAMERN, Refusal};

use super::super::Desk;
use crate::accounts::account::AccountStatus;
use crate::pipeline::errors::log_problem;

/// Somebody who is logged in and whose account is active. To log in again makes it so.
pub(super) struct ActiveCaller(pub(super) Caller);

impl FromRequestParts<Desk> for ActiveCaller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, desk).await?;
        match desk.commands.account_status(caller.user).await.map_err(log_problem)? {
            AccountStatus::Active => Ok(Self(caller)),
            AccountStatus::None
            | AccountStatus::Deactivated
            | AccountStatus::Suspended
            | AccountStatus::Erased => Err(Refusal::unauthorized(INSTAMERN.not_logged_in)),
        }
    }
}
