//! Who likes which post.

use events::{Event, Kind, LikeEvent, PostEvent, Recorded};
use serde_json::json;
use views::likes::{BY_POST, Like, VIEW, key};
use views::{StoreError, Writes};

use super::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Likes;

impl Projection for Likes {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Like, Kind::Post]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Like(LikeEvent::PostLiked(event)) => {
                writes.put(&Like {
                    post: event.post.to_string(),
                    user: event.user.to_string(),
                    liked: time(recorded),
                    position: position(recorded),
                })?;
            }
            Event::Like(LikeEvent::PostUnliked(event)) => {
                writes.delete::<Like>(key(&event.post.to_string(), &event.user.to_string()));
            }
            Event::Post(PostEvent::PostDeleted(event)) => {
                writes.delete_where::<Like>(&BY_POST, vec![json!(event.post)]);
            }
            Event::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_)) => {}
            Event::Account(_)
            | Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Profile(_)
            | Event::Comment(_)
            | Event::Follow(_)
            | Event::Story(_)
            | Event::StoryView(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use events::{PostDeleted, PostLiked, PostUnliked, UserId};
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::testing::{ANN, BOB, POST, built};

    fn liked(user: UserId) -> Event {
        PostLiked { post: POST, user, post_author: ANN }.into()
    }

    #[tokio::test]
    async fn a_like_is_there_until_it_is_taken_back() {
        let unliked = PostUnliked { post: POST, user: ANN, post_author: ANN };
        let built = built(&Likes, [liked(ANN), liked(BOB), unliked.into()]).await;
        let query = Query::new(&VIEW, &BY_POST, vec![json!(POST)], 10);
        let page = built.store.page_of::<Like>(query).await.unwrap();
        assert_eq!(
            page.documents.iter().map(|like| like.user.as_str()).collect::<Vec<_>>(),
            [BOB.to_string()]
        );
    }

    #[tokio::test]
    async fn likes_go_with_their_post() {
        let built =
            built(&Likes, [liked(ANN), liked(BOB), PostDeleted { post: POST, author: ANN }.into()]).await;
        assert_eq!(built.store.sizes().await.unwrap()["likes"].documents, 0);
    }
}
