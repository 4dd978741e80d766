//! Accounts: profiles, discovery, search, sessions.

pub(crate) mod account;
pub(crate) mod discovery;
pub(crate) mod keys;
pub mod profiles;
pub(crate) mod search;
pub(crate) mod sessions;

use utoipa_axum::router::OpenApiRouter;

use crate::Queries;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .merge(account::routes())
        .merge(sessions::routes())
        .merge(profiles::routes())
        .merge(search::routes())
        .merge(discovery::routes())
        .merge(keys::routes())
}
