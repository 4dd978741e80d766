//! Posts, each with its counts, and [who likes them](super::likes).

use events::{
    AccountEvent, CommentEvent, Event, Kind, PostEvent, PostId, PostPublished, PostText, Recorded, UserId,
};
use serde_json::json;
use views::posts::{BY_AUTHOR, Image, Post, VIEW};
use views::{Patch, StoreError, Writes, likes as likes_view};

use super::profiles::{Presence, presence_after};
use super::{likes, position, time};
use crate::{OnFailure, Projection};

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
        &[Kind::Account, Kind::Post, Kind::Like, Kind::Comment]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Post(PostEvent::PostPublished(event)) => publish(event, recorded, writes)?,
            Event::Post(PostEvent::CaptionEdited(event)) => {
                if let Some(caption) = event.caption.open() {
                    let patch = Patch::default().set("caption", caption.clone()).set("edited", true);
                    writes.patch::<Post>(event.post.to_string(), patch);
                }
            }
            Event::Post(PostEvent::PostDeleted(event)) => {
                writes.delete::<Post>(event.post.to_string());
                likes::forget_post(event.post, writes);
            }
            Event::Like(event) => likes::project(event, recorded, writes)?,
            // A comment that was decided while its post was deleted finds no post to count it on.
            Event::Comment(CommentEvent::Commented(event)) => count(writes, event.post, "comments", 1),
            Event::Comment(CommentEvent::CommentDeleted(event)) => count(writes, event.post, "comments", -1),
            Event::Account(event) => account(event, writes),
            Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Profile(_)
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

fn publish(event: &PostPublished, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    // What an erased author has written is not shown.
    let Some(PostText { caption, alt, placeholders }) = event.text.open() else { return Ok(()) };
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
        caption: caption.clone(),
        edited: false,
        published: time(recorded),
        position: position(recorded),
        likes: 0,
        liked: 0,
        comments: 0,
        head: None,
        told: 0,
    })
}

fn account(event: &AccountEvent, writes: &mut Writes) {
    match presence_after(event) {
        Some(Presence::Away) => likes::go(event.user(), writes),
        Some(Presence::Back) => likes::come_back(event.user(), writes),
        Some(Presence::Erased) => erase(event.user(), writes),
        None => {}
    }
}

fn erase(user: UserId, writes: &mut Writes) {
    likes::go(user, writes);
    likes::forget_author(user, writes);
    writes.delete_where::<Post>(&BY_AUTHOR, vec![json!(user)]);
}

fn count(writes: &mut Writes, post: PostId, field: &'static str, by: i64) {
    writes.patch::<Post>(post.to_string(), Patch::default().inc(field, by));
}

#[cfg(test)]
mod tests {
    use events::{
        CaptionEdited, CommentDeleted, CommentId, Commented, Erased, MediaId, Personal, PostDeleted,
        PostLiked, PostUnliked,
    };
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::projections::testing::{ANN, BOB, POST, START, built};

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

    fn commented(n: u128) -> Event {
        let comment = CommentId::new(Uuid::from_u128(n));
        let text = Personal::Open("Lovely".into());
        Commented {
            post: POST,
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
        let comment = CommentId::new(Uuid::from_u128(1));
        let deleted =
            CommentDeleted { post: POST, comment, author: BOB, post_author: ANN, reply_to_author: None };
        let history =
            [published(text()), liked(), unliked.into(), liked(), commented(1), commented(2), deleted.into()];
        let built = built(&Posts, history).await;
        let post: Post = built.store.get(&POST.to_string()).await.unwrap().unwrap();
        assert_eq!((post.likes, post.comments), (1, 1));
    }

    /// Decided in the same instant as the deletion, and appended after it.
    #[tokio::test]
    async fn a_like_or_comment_on_a_post_that_is_gone_leaves_nothing() {
        let deleted = PostDeleted { post: POST, author: ANN };
        let built = built(&Posts, [published(text()), deleted.into(), liked(), commented(1)]).await;
        assert_eq!(built.store.sizes().await.unwrap()["posts"].documents, 0);
    }

    #[tokio::test]
    async fn what_an_erased_author_wrote_is_left_out() {
        let edited = CaptionEdited { post: POST, author: ANN, caption: Personal::Erased };
        let view = built(&Posts, [published(Personal::Erased), edited.into(), liked()]).await;
        assert_eq!(view.store.sizes().await.unwrap()["posts"].documents, 0);
        // Who was still there when it was published takes it along.
        let view = built(&Posts, [published(text()), liked(), Erased { user: ANN }.into()]).await;
        assert_eq!(view.store.sizes().await.unwrap()["posts"].documents, 0);
    }
}
