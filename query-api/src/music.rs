//! Music: the catalogue, playlists, listening.

mod albums;
mod artists;
mod charts;
mod genres;
mod library;
mod listed;
mod listening;
mod lists;
pub mod playlists;
mod search;
mod songs;
mod stream;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unknown, StrDeserializer};
use utoipa_axum::router::OpenApiRouter;
use web::problem::Problem;

use crate::Queries;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .merge(artists::routes())
        .merge(albums::routes())
        .merge(songs::routes())
        .merge(genres::routes())
        .merge(charts::routes())
        .merge(library::routes())
        .merge(listening::routes())
        .merge(search::routes())
        .merge(stream::routes())
        .merge(playlists::routes())
}

/// A word that a document stores, such as a role or a format.
fn word<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    let text: StrDeserializer<'a, Unknown> = text.into_deserializer();
    T::deserialize(text).map_err(Problem::internal)
}
