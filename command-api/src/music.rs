//! Music: the catalogue, playlists, listening.

pub(crate) mod albums;
pub(crate) mod artists;
mod audio_files;
mod covers;
pub(crate) mod editing;
mod file_covers;
pub mod importing;
mod library;
pub mod listening;
pub mod playlists;
mod publishing;
mod queue;
pub(crate) mod songs;
pub(crate) mod spool;
mod stream;
mod uploads;

use utoipa_axum::router::OpenApiRouter;

pub use self::spool::copy_ledgers;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .merge(artists::routes())
        .merge(albums::routes())
        .merge(songs::routes())
        .merge(covers::routes())
        .merge(uploads::routes())
        .merge(publishing::routes())
        .merge(stream::routes())
        .merge(library::routes())
        .merge(queue::routes())
        .merge(listening::routes())
        .merge(playlists::routes())
}
