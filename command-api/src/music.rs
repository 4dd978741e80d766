//! Music: the catalogue, playlists, listening.

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
}
