//! Views of the photo network.

pub mod captions;
pub mod collections;
pub mod comments;
pub mod feeds;
pub mod follows;
pub mod likes;
pub mod notifications;
pub mod pictures;
pub mod posts;
pub mod saves;
pub mod stories;
pub mod story_authors;
pub mod story_views;

use crate::View;

pub const VIEWS: &[&View] = &[
    &captions::VIEW,
    &collections::VIEW,
    &comments::VIEW,
    &feeds::AUTHORS,
    &feeds::HOME,
    &feeds::PUBLISHED,
    &feeds::SOURCES,
    &follows::VIEW,
    &likes::VIEW,
    &notifications::VIEW,
    &pictures::VIEW,
    &posts::VIEW,
    &saves::VIEW,
    &stories::VIEW,
    &story_authors::VIEW,
    &story_views::VIEW,
];
