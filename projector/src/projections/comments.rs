//! Comments under posts.

use events::{CommentEvent, Event, Kind, PostEvent, Recorded};
use serde_json::json;
use views::comments::{BY_POST, Comment, VIEW};
use views::{Patch, StoreError, View, Writes};

use super::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Comments;

impl Projection for Comments {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Comment, Kind::Post]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn looks_at(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        // What a deleted one answered has one reply less.
        let Event::Comment(CommentEvent::CommentDeleted(event)) = &recorded.event else { return Vec::new() };
        vec![(&VIEW, event.comment.to_string())]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Comment(CommentEvent::Commented(event)) => {
                // What an erased author has written is not shown.
                if let Some(text) = event.text.open() {
                    if let Some(parent) = event.reply_to {
                        writes.patch::<Comment>(parent.to_string(), Patch::default().inc("replies", 1));
                    }
                    writes.insert(&Comment {
                        comment: event.comment.to_string(),
                        post: event.post.to_string(),
                        author: event.author.to_string(),
                        reply_to: event.reply_to.map(|parent| parent.to_string()),
                        replies: 0,
                        text: text.clone(),
                        commented: time(recorded),
                        position: position(recorded),
                    })?;
                }
            }
            Event::Comment(CommentEvent::CommentDeleted(event)) => {
                let id = event.comment.to_string();
                let deleted = writes.seen::<Comment>(&id)?;
                if let Some(parent) = deleted.and_then(|comment| comment.reply_to) {
                    writes.patch::<Comment>(parent, Patch::default().inc("replies", -1));
                }
                writes.delete::<Comment>(id);
            }
            Event::Post(PostEvent::PostDeleted(event)) => {
                writes.delete_where::<Comment>(&BY_POST, vec![json!(event.post)]);
            }
            Event::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_)) => {}
            Event::Account(_)
            | Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Profile(_)
            | Event::Like(_)
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
    use events::{CommentDeleted, CommentId, Commented, Personal, PostDeleted, PostId};
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::testing::{ANN, BOB, POST, built};

    const OTHER_POST: PostId = PostId::new(Uuid::from_u128(0x91));

    fn commented(post: PostId, n: u128) -> Event {
        let comment = CommentId::new(Uuid::from_u128(n));
        let text = Personal::Open(n.to_string());
        Commented {
            post,
            comment,
            author: BOB,
            post_author: ANN,
            reply_to: None,
            reply_to_author: None,
            text,
        }
        .into()
    }

    #[tokio::test]
    async fn comments_stand_under_their_post_in_order_until_they_are_deleted() {
        let comment = CommentId::new(Uuid::from_u128(2));
        let deleted =
            CommentDeleted { post: POST, comment, author: BOB, post_author: ANN, reply_to_author: None };
        let history = [
            commented(POST, 3),
            commented(POST, 2),
            commented(OTHER_POST, 9),
            commented(POST, 1),
            deleted.into(),
        ];
        let built = built(&Comments, history).await;
        let query = Query::new(&VIEW, &BY_POST, vec![json!(POST)], 10);
        let page = built.store.page_of::<Comment>(query).await.unwrap();
        let texts: Vec<&str> = page.documents.iter().map(|comment| comment.text.as_str()).collect();
        assert_eq!(texts, ["3", "1"]);
    }

    #[tokio::test]
    async fn comments_go_with_their_post() {
        let deleted = PostDeleted { post: POST, author: ANN };
        let history = [commented(POST, 1), commented(OTHER_POST, 2), deleted.into()];
        let built = built(&Comments, history).await;
        assert_eq!(built.store.sizes().await.unwrap()["comments"].documents, 1);
    }
}
