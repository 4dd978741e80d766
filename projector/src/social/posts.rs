//! Posts with their counts, and their [likes].

use events::{
    AccountEvent, AccountsEvent, Content, Event, Kind, ModerationEvent, PostEvent, PostPublished, PostText,
    Recorded, SocialEvent, UserId,
};
use serde_json::json;
use views::markers::Marker;
use views::social::likes as likes_view;
use views::social::posts::{BY_AUTHOR, Image, Post, VIEW};
use views::{Patch, StoreError, View, Writes};

use super::likes;
use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

/// The view that holds the markers of hidden or erased users and of deleted posts.
pub(super) const MARKERS: &View = &likes_view::VIEW;

#[derive(Debug, Clone, Copy)]
pub struct Posts;

impl Projection for Posts {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, likes_view::VIEW.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account, Kind::Post, Kind::Like, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Social(SocialEvent::Like(event)) => likes::reads(event),
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                vec![markers::account_key(MARKERS, event.author)]
            }
            Event::Social(
                SocialEvent::Post(PostEvent::CaptionEdited(_) | PostEvent::PostDeleted(_))
                | SocialEvent::Comment(_)
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
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                publish(event, recorded, writes)?;
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) => {
                if let Some(caption) = event.caption.open() {
                    let patch = Patch::default().set("caption", caption.clone()).set("edited", true);
                    writes.patch::<Post>(event.post.to_string(), patch);
                }
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                writes.delete::<Post>(event.post.to_string());
                markers::mark_post_deleted(MARKERS, event.post, writes);
                likes::delete_likes_of_post(event.post, writes);
            }
            Event::Social(SocialEvent::Like(event)) => likes::project(event, recorded, writes)?,
            Event::Accounts(AccountsEvent::Account(event)) => account(event, position(recorded), writes),
            Event::Social(SocialEvent::Moderation(event)) => moderate(event, writes),
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

fn publish(event: &PostPublished, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    if markers::account(MARKERS, event.author, writes)? == Some(Marker::Erased) {
        return Ok(());
    }
    // Texts of authors who are erased later in the log are unreadable. The post is inserted anyway, so that later
    // events have the same effect as before the erasure; it is deleted with its author.
    let PostText { caption, alt, placeholders } = event.text.open().cloned().unwrap_or_default();
    writes.insert(&Post {
        post: event.post.to_string(),
        author: event.author.to_string(),
        images: (0..)
            .zip(&event.images)
            .map(|(place, image)| Image {
                media: image.media.to_string(),
                width: image.width,
                height: image.height,
                alt: alt.get(place).cloned().unwrap_or_default(),
                placeholder: placeholders.get(place).cloned(),
            })
            .collect(),
        caption,
        edited: false,
        removed: false,
        published: time(recorded),
        position: position(recorded),
        likes: 0,
        liked: 0,
        likes_header: None,
        last_notified_position: 0,
    })
}

/// A removed post keeps its document, so that it can be restored. Only the notifications of its likes are hidden.
fn moderate(event: &ModerationEvent, writes: &mut Writes) {
    let Content::Post { post } = event.content() else { return };
    let (author, removed) = match event {
        ModerationEvent::ContentRemoved(event) => (event.author, true),
        ModerationEvent::ContentRestored(event) => (event.author, false),
    };
    writes.patch::<Post>(post.to_string(), Patch::default().set("removed", removed));
    likes::set_hidden(post, author, removed, writes);
}

fn account(event: &AccountEvent, at: i64, writes: &mut Writes) {
    let Some(change) = markers::mark_account(MARKERS, event, writes) else { return };
    match change {
        VisibilityChange::Hidden => likes::hide(event.user(), at, writes),
        VisibilityChange::Shown => likes::show(event.user(), at, writes),
        VisibilityChange::Erased => erase(event.user(), at, writes),
    }
    writes.add_unknown_weight();
}

fn erase(user: UserId, at: i64, writes: &mut Writes) {
    likes::erase(user, at, writes);
    writes.delete_where::<Post>(&BY_AUTHOR, vec![json!(user)]);
}

#[cfg(test)]
mod tests {
    use events::{CaptionEdited, Erased, MediaId, Personal, PostDeleted, PostId, PostLiked, PostUnliked};
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, BOB, POST, START, built};

    fn published(text: Personal<PostText>) -> Event {
        let image = |n| events::Image { media: MediaId::new(Uuid::from_u128(n)), width: 10, height: 20 };
        PostPublished { post: POST, author: ANN, images: vec![image(1), image(2)], text }.into()
    }

    fn text() -> Personal<PostText> {
        Personal::Open(PostText {
            caption: Some("Dawn".into()),
            alt: vec!["A lake".into()],
            placeholders: vec!["L1".into(), "L2".into()],
        })
    }

    fn liked() -> Event {
        PostLiked { post: POST, user: BOB, post_author: ANN }.into()
    }

    #[tokio::test]
    async fn post_shows_published_and_edited_content() {
        let edited = CaptionEdited { post: POST, author: ANN, caption: Personal::Open("Dusk".into()) };
        let built = built(&Posts, [published(text()), edited.into()]).await;
        let post: Post = built.store.get(&POST.to_string()).await.unwrap().unwrap();
        assert_eq!((post.caption.as_deref(), post.edited), (Some("Dusk"), true));
        assert_eq!((post.position, post.published), (1, (START + 1) * 1000));
        let said = |image: &Image| (image.alt.clone(), image.placeholder.clone());
        let said: Vec<_> = post.images.iter().map(said).collect();
        assert_eq!(said, [("A lake".into(), Some("L1".into())), (String::new(), Some("L2".into()))]);
    }

    #[tokio::test]
    async fn likes_are_counted() {
        let unliked = PostUnliked { post: POST, user: BOB, post_author: ANN };
        let history = [published(text()), liked(), unliked.into(), liked()];
        let built = built(&Posts, history).await;
        let post: Post = built.store.get(&POST.to_string()).await.unwrap().unwrap();
        assert_eq!(post.likes, 1);
    }

    /// The like was decided concurrently with the deletion and appended after it.
    #[tokio::test]
    async fn like_of_a_deleted_post_is_ignored() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            let built = built(&Posts, [published(text()), gone, liked()]).await;
            assert_eq!((built.count(&VIEW).await, built.count(&likes_view::VIEW).await), (0, 0));
        }
    }

    #[tokio::test]
    async fn posts_of_an_erased_author_are_omitted() {
        let edited = CaptionEdited { post: POST, author: ANN, caption: Personal::Erased };
        let erased = || Event::from(Erased { user: ANN });
        // During a rebuild, and live before the erasure.
        for text in [Personal::Erased, text()] {
            let history = [published(text), edited.clone().into(), liked(), erased()];
            assert_eq!(built(&Posts, history).await.count(&VIEW).await, 0);
        }
        // Published concurrently with the erasure and appended after it.
        let later = PostPublished {
            post: PostId::new(Uuid::from_u128(0x99)),
            author: ANN,
            images: Vec::new(),
            text: Personal::Erased,
        };
        assert_eq!(built(&Posts, [erased(), later.into()]).await.count(&VIEW).await, 0);
    }
}
