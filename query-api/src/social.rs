//! The photo network: posts, feeds, comments, likes, follows, stories, saved posts, notifications.

pub(crate) mod captions;
pub(crate) mod collections;
pub(crate) mod comments;
pub(crate) mod feeds;
pub mod follows;
pub(crate) mod likes;
pub(crate) mod notifications;
pub(crate) mod pictures;
pub(crate) mod posts;
pub(crate) mod saves;
pub mod stories;
pub(crate) mod timelines;

use utoipa_axum::router::OpenApiRouter;

use crate::Queries;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .merge(posts::routes())
        .merge(feeds::routes())
        .merge(likes::routes())
        .merge(comments::routes())
        .merge(captions::routes())
        .merge(follows::routes())
        .merge(stories::routes())
        .merge(notifications::routes())
        .merge(saves::routes())
        .merge(collections::routes())
        .merge(pictures::routes())
}
