//! Views of music.

pub mod album_artists;
pub mod albums;
pub mod artists;
pub mod genres;
pub mod search;
pub mod song_artists;
pub mod song_genres;
pub mod songs;

use crate::View;

pub const VIEWS: &[&View] = &[
    &album_artists::VIEW,
    &albums::VIEW,
    &artists::VIEW,
    &genres::VIEW,
    &search::VIEW,
    &song_artists::VIEW,
    &song_genres::VIEW,
    &songs::VIEW,
];
