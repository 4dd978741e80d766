//! Genres, with their songs.

use axum::extract::State;
use axum::response::Response;
use resources::{Genre as GenrePage, Song as SongPage};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::genres::{Genre, LARGEST, VIEW, key_of};
use views::music::song_genres::{self, OF_GENRE, SongGenre};
use views::music::songs;
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::songs::VIEWS;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_genres)).routes(routes!(list_genre_songs))
}

/// List genres, those with the most songs first
///
/// Only genres with listed songs.
#[utoipa::path(
    get, path = "/v1/genres", tag = "songs", security((), ("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<GenrePage>), (status = 304), Problems)
)]
async fn list_genres(
    State(queries): State<Queries>,
    _: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[songs::VIEW.name]).await;
    let query = Query::new(&VIEW, &LARGEST, vec![], paging.limit).above(0);
    let page = queries.page_of::<Genre>(query, &paging).await?;
    let show = |Genre { name, songs, genre: _ }| GenrePage { name, songs };
    let items = page.documents.into_iter().map(show).collect();
    answer(&conditions, caught_up, &paging.page::<GenrePage>(items, page.next.as_ref(), &LARGEST))
}

/// List a genre's songs, newest first
///
/// The genre is its percent-encoded name in any spelling.
#[utoipa::path(
    get, path = "/v1/genres/{genre}/songs", tag = "songs", security((), ("token" = [])),
    params(("genre" = String, Path, example = "Folk"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SongPage>), (status = 304), Problems)
)]
async fn list_genre_songs(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(genre): Path<String>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let genre = key_of(&genre);
    if queries.store.get::<Genre>(&genre).await.map_err(store_problem)?.is_none() {
        return Err(Problem::not_found("There is no such genre"));
    }
    let equals = vec![json!(genre), json!(true)];
    let query = Query::new(&song_genres::VIEW, &OF_GENRE, equals, paging.limit);
    let page = queries.page_of::<SongGenre>(query, &paging).await?;
    let found: Vec<String> = page.documents.into_iter().map(|entry| entry.song).collect();
    let viewer = viewer.map(|session| session.user);
    let items = queries.songs(&found, viewer).await?.into_iter().flatten().collect();
    answer(&conditions, caught_up, &paging.page::<SongPage>(items, page.next.as_ref(), &OF_GENRE))
}
