//! The photo network: posts, comments, likes, follows, stories, saved posts, moderation.

pub(crate) mod collections;
pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod moderation;
pub(crate) mod notifications;
pub(crate) mod posts;
pub(crate) mod saves;
pub(crate) mod stories;

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .merge(moderation::routes())
        .merge(posts::routes())
        .merge(likes::routes())
        .merge(comments::routes())
        .merge(follows::routes())
        .merge(stories::routes())
        .merge(notifications::routes())
        .merge(saves::routes())
        .merge(collections::routes())
}
