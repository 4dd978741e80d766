//! Music: the catalogue, playlists, listening.

use utoipa_axum::router::OpenApiRouter;

use crate::Queries;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
}
