//! The photo network: posts, comments, likes, follows, stories, saved posts, moderation.

pub mod collections;
pub mod comments;
pub mod follows;
pub mod likes;
pub mod moderation;
pub mod notifications;
pub mod posts;
pub mod saves;
pub mod stories;

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
