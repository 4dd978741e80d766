//! The routes of SpotifyMERN. Texts and status codes are exactly those of the app.

mod accounts;
mod songs;
mod users;

use axum::Router;
use axum::routing::{get, post};

use crate::Apps;

pub(crate) fn routes() -> Router<Apps> {
    Router::new()
        .route("/spotifymern", get(async || "Welcome to SpotifyMERN, served by Chorus."))
        .route("/spotifymern/users/signup", post(accounts::sign_up))
        .route("/spotifymern/users/login", post(accounts::log_in))
        .route("/spotifymern/users/authorization/current-user", get(users::current))
        .route("/spotifymern/musics", get(songs::random))
        .route("/spotifymern/musics/all", get(songs::all))
        .route("/spotifymern/musics/recommended", get(songs::recommended))
        .route("/spotifymern/musics/id/{id}", get(songs::by_id))
        .route("/spotifymern/musics/categories", get(songs::categories))
        .route("/spotifymern/musics/category/{*category}", get(songs::of_category))
        .route("/spotifymern/musics/search/{*text}", get(songs::search))
}
