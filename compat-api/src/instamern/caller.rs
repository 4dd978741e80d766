//! Who may do what others see. The app leaves tokens valid when an account is deactivated: they are for what has to do with
//! the account itself.

use axum::extract::FromRequestParts;
use http::request::Parts;
use web::compat::{Caller, INSTAMERN, Refusal};

use crate::Apps;
use command_api::accounts::account::AccountStatus;
use command_api::pipeline::errors::log_problem;

/// Somebody who is logged in and whose account is active. To log in again makes it so.
pub(super) struct ActiveCaller(pub(super) Caller);

impl FromRequestParts<Apps> for ActiveCaller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, apps: &Apps) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, apps).await?;
        match apps.commands.account_status(caller.user).await.map_err(log_problem)? {
            AccountStatus::Active => Ok(Self(caller)),
            AccountStatus::None
            | AccountStatus::Deactivated
            | AccountStatus::Suspended
            | AccountStatus::Erased => Err(Refusal::unauthorized(INSTAMERN.not_logged_in)),
        }
    }
}
