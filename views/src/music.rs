//! Views of music.

pub mod album_artists;
pub mod albums;
pub mod artists;
pub mod bookmarks;
pub mod charts;
pub mod genres;
pub mod library;
pub mod listening;
pub mod playlists;
pub mod queue;
pub mod ratings;
pub mod search;
pub mod song_artists;
pub mod song_genres;
pub mod songs;

use crate::View;

pub const VIEWS: &[&View] = &[
    &album_artists::VIEW,
    &albums::VIEW,
    &artists::VIEW,
    &bookmarks::VIEW,
    &charts::LISTENERS,
    &charts::NEIGHBOURS,
    &charts::VIEW,
    &genres::VIEW,
    &library::VIEW,
    &library::MERGES,
    &listening::PRIVATE_SESSIONS,
    &listening::SONGS,
    &listening::TOTALS,
    &listening::VIEW,
    &queue::VIEW,
    &ratings::VIEW,
    &playlists::VIEW,
    &playlists::MEMBERS,
    &playlists::ENTRIES,
    &playlists::HISTORY,
    &search::VIEW,
    &song_artists::VIEW,
    &song_genres::VIEW,
    &songs::VIEW,
];
