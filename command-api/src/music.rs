//! Music: the catalogue, playlists, listening.

pub(crate) mod albums;
pub(crate) mod artists;
mod publishing;
pub(crate) mod songs;
pub(crate) mod spool;
mod uploads;

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().merge(uploads::routes()).merge(publishing::routes()).merge(songs::routes())
}
