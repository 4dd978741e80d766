//! Accounts: sign-up, names and addresses, passwords, sessions, profiles, roles.

pub mod account;
pub mod claims;
pub mod deactivation;
pub mod emails;
pub mod passwords;
pub mod profiles;
pub mod reserved_names;
pub mod roles;
pub mod sessions;
pub mod sign_up;
pub mod username;

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .merge(sign_up::routes())
        .merge(username::routes())
        .merge(sessions::routes())
        .merge(passwords::routes())
        .merge(emails::routes())
        .merge(deactivation::routes())
        .merge(roles::routes())
        .merge(profiles::routes())
}
