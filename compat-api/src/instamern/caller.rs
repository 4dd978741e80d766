//! Extractor for callers with an active account. The app leaves tokens valid when an account is deactivated, but only for
//! routes of the account itself.

use axum::extract::FromRequestParts;
use command_api::accounts::account::AccountStatus;
use command_api::pipeline::errors::log_problem;
use http::request::Parts;
use web::compat::{Caller, INSTAMERN, Refusal};

use crate::Apps;

/// A logged-in caller with an active account. Another log-in reactivates a deactivated account.
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
