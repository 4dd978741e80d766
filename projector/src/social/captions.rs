//! All versions of the caption of a post.

use events::{AccountEvent, AccountsEvent, Event, Kind, PostEvent, PostId, Recorded, SocialEvent, UserId};
use serde_json::json;
use views::social::captions::{BY_AUTHOR, BY_POST, Caption, VIEW};
use views::{StoreError, View, Writes};

use crate::accounts::markers;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Captions;

impl Projection for Captions {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Post, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                vec![markers::account_key(&VIEW, event.author)]
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) => {
                vec![markers::account_key(&VIEW, event.author)]
            }
            Event::Social(_)
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                // Texts of erased authors are not shown.
                let Some(text) = event.text.open() else { return Ok(()) };
                write(recorded, event.post, event.author, text.caption.clone(), writes)?;
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) => {
                let Some(caption) = event.caption.open() else { return Ok(()) };
                write(recorded, event.post, event.author, Some(caption.clone()), writes)?;
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                writes.delete_where::<Caption>(&BY_POST, vec![json!(event.post)]);
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                writes.delete_where::<Caption>(&BY_AUTHOR, vec![json!(event.user)]);
                markers::mark_erased(&VIEW, event.user, writes);
            }
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

/// Ignores a caption that is appended after the erasure of its author.
fn write(
    recorded: &Recorded,
    post: PostId,
    author: UserId,
    caption: Option<String>,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    if markers::is_erased(&VIEW, author, writes)? {
        return Ok(());
    }
    writes.put(&Caption {
        post: post.to_string(),
        author: author.to_string(),
        caption,
        written: time(recorded),
        position: position(recorded),
    })
}

#[cfg(test)]
mod tests {
    use events::{CaptionEdited, Erased, Personal, PostDeleted, PostPublished, PostText};
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, POST, built};

    const OTHER: PostId = PostId::new(Uuid::from_u128(0x91));

    fn published(post: PostId, author: UserId, caption: Option<&str>) -> Event {
        let text = PostText { caption: caption.map(str::to_owned), ..PostText::default() };
        PostPublished { post, author, images: Vec::new(), text: Personal::Open(text) }.into()
    }

    fn edited(caption: &str) -> Event {
        CaptionEdited { post: POST, author: ANN, caption: Personal::Open(caption.into()) }.into()
    }

    async fn captions(built: &Built, post: PostId) -> Vec<Option<String>> {
        let query = Query::new(&VIEW, &BY_POST, vec![json!(post)], 10);
        let page = built.store.page_of::<Caption>(query).await.unwrap();
        page.documents.into_iter().map(|caption| caption.caption).collect()
    }

    #[tokio::test]
    async fn all_captions_are_kept_newest_first() {
        let history =
            [published(POST, ANN, None), edited("Dawn"), published(OTHER, BOB, Some("x")), edited("Dusk")];
        let built = built(&Captions, history).await;
        assert_eq!(captions(&built, POST).await, [Some("Dusk".into()), Some("Dawn".into()), None]);
        assert_eq!(captions(&built, OTHER).await, [Some("x".into())]);
    }

    #[tokio::test]
    async fn captions_are_deleted_with_their_post_and_their_author() {
        let deleted = PostDeleted { post: POST, author: ANN };
        let history = [published(POST, ANN, Some("Dawn")), edited("Dusk"), deleted.into()];
        assert_eq!(captions(&built(&Captions, history).await, POST).await, []);
        let history = [
            published(POST, ANN, Some("Dawn")),
            published(OTHER, BOB, Some("x")),
            Erased { user: ANN }.into(),
            CaptionEdited { post: POST, author: ANN, caption: Personal::Erased }.into(),
        ];
        let built = built(&Captions, history).await;
        assert_eq!(captions(&built, POST).await, []);
        assert_eq!(captions(&built, OTHER).await, [Some("x".into())]);
    }

    /// Commands read the author's account without a lock.
    #[tokio::test]
    async fn caption_concurrent_with_the_erasure_of_its_author_is_ignored() {
        let history = [Erased { user: ANN }.into(), published(POST, ANN, Some("Dawn")), edited("Dusk")];
        assert_eq!(built(&Captions, history).await.count(&VIEW).await, 0);
    }
}
