//! Posts, each with its counts, and [who likes them](super::likes).

use events::{
    AccountEvent, AccountsEvent, Content, Event, Kind, ModerationEvent, PostEvent, PostPublished, PostText,
    Recorded, SocialEvent, UserId,
};
use serde_json::json;
use views::absences::Absence;
use views::social::likes as likes_view;
use views::social::posts::{BY_AUTHOR, Image, Post, VIEW};
use views::{Patch, StoreError, View, Writes};

use super::likes;
use crate::accounts::absences;
use crate::accounts::profiles::Presence;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

/// Where it is noted who is not there, and which posts are deleted.
pub(super) const NOTES: &View = &likes_view::VIEW;

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

    fn looks_at(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Social(SocialEvent::Like(event)) => likes::looks_at(event),
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                vec![absences::at_account(NOTES, event.author)]
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
            | Event::Mail(_) => Vec::new(),
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
                absences::note_deleted_post(NOTES, event.post, writes);
                likes::forget_post(event.post, writes);
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
            | Event::Mail(_) => {}
        }
        Ok(())
    }
}

fn publish(event: &PostPublished, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    if absences::account(NOTES, event.author, writes)? == Some(Absence::Erased) {
        return Ok(());
    }
    // What an author has written who is to be erased later in the log can be read no more. The post is put all the same,
    // so that what others do to it comes to the same, and goes with its author.
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
        head: None,
        told: 0,
    })
}

/// A removed post stays as it is, so that it can be restored; only its likes are news to nobody.
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
    let Some(presence) = absences::note_account(NOTES, event, writes) else { return };
    match presence {
        Presence::Away => likes::go(event.user(), at, writes),
        Presence::Back => likes::come_back(event.user(), at, writes),
        Presence::Erased => erase(event.user(), at, writes),
    }
    writes.weigh_unknown();
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
    async fn a_post_stands_as_it_was_published_and_edited() {
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
    async fn counts_are_those_of_what_is_there() {
        let unliked = PostUnliked { post: POST, user: BOB, post_author: ANN };
        let history = [published(text()), liked(), unliked.into(), liked()];
        let built = built(&Posts, history).await;
        let post: Post = built.store.get(&POST.to_string()).await.unwrap().unwrap();
        assert_eq!(post.likes, 1);
    }

    /// Decided in the same instant as the deletion, and appended after it.
    #[tokio::test]
    async fn a_like_on_a_post_that_is_gone_leaves_nothing() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            let built = built(&Posts, [published(text()), gone, liked()]).await;
            assert_eq!((built.count(&VIEW).await, built.count(&likes_view::VIEW).await), (0, 0));
        }
    }

    #[tokio::test]
    async fn what_an_erased_author_wrote_is_left_out() {
        let edited = CaptionEdited { post: POST, author: ANN, caption: Personal::Erased };
        let erased = || Event::from(Erased { user: ANN });
        // Read again later, and read while the author was still there.
        for text in [Personal::Erased, text()] {
            let history = [published(text), edited.clone().into(), liked(), erased()];
            assert_eq!(built(&Posts, history).await.count(&VIEW).await, 0);
        }
        // Published in the same instant, and appended behind.
        let later = PostPublished {
            post: PostId::new(Uuid::from_u128(0x99)),
            author: ANN,
            images: Vec::new(),
            text: Personal::Erased,
        };
        assert_eq!(built(&Posts, [erased(), later.into()]).await.count(&VIEW).await, 0);
    }
}
