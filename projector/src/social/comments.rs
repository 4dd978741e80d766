//! Comments under posts and their counts. Comments of deactivated and suspended users are neither shown nor counted
//! until the user is active again; comments of erased users are deleted.

use events::{
    AccountEvent, AccountsEvent, CommentDeleted, CommentEvent, Commented, Content, Event, Kind,
    ModerationEvent, PostEvent, PostId, Recorded, SocialEvent,
};
use serde_json::json;
use views::markers::Marker;
use views::social::comments::{BY_AUTHOR, BY_POST, Comment, Tally, VIEW, tally_of};
use views::{Patch, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::{VisibilityChange, visibility_change_after};
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection, Search};

/// Documents that one comment changes: itself, the tally of its post and its parent.
const WRITES_OF_ONE: usize = 3;

#[derive(Debug, Clone, Copy)]
pub struct Comments;

impl Projection for Comments {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Comment, Kind::Post, Kind::Account, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => vec![
                markers::account_key(&VIEW, event.author),
                markers::account_key(&VIEW, event.post_author),
                markers::post_key(&VIEW, event.post),
                (&VIEW, tally_of(&event.post.to_string())),
            ],
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(event))) => {
                vec![(&VIEW, event.comment.to_string())]
            }
            Event::Social(SocialEvent::Moderation(event)) => match event.content() {
                Content::Comment { comment, .. } => {
                    vec![(&VIEW, comment.to_string()), markers::account_key(&VIEW, event.author())]
                }
                Content::Post { .. } | Content::Story { .. } => Vec::new(),
            },
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Like(_)
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
            | Event::Operations(_) => Vec::new(),
        }
    }

    /// A user may have several comments under one post, so each is counted individually.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let Event::Accounts(AccountsEvent::Account(event)) = &recorded.event else { return Vec::new() };
        if visibility_change_after(event).is_none() {
            return Vec::new();
        }
        vec![Search { view: &VIEW, index: &BY_AUTHOR, equals: vec![json!(event.user())] }]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                comment(event, recorded, writes)
            }
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(event))) => delete(event, writes),
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                forget_post(event.post, writes);
                Ok(())
            }
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_))) => {
                Ok(())
            }
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(SocialEvent::Moderation(event)) => moderate(event, writes),
            Event::Social(
                SocialEvent::Like(_)
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
            | Event::Operations(_) => Ok(()),
        }
    }
}

/// Ignores a comment that is appended after the deletion of its post or the erasure of its author or the post's
/// author.
fn comment(event: &Commented, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let by = markers::account(&VIEW, event.author, writes)?;
    let post_author = markers::account(&VIEW, event.post_author, writes)?;
    let is_void = by == Some(Marker::Erased)
        || post_author == Some(Marker::Erased)
        || markers::post(&VIEW, event.post, writes)?.is_some();
    if is_void {
        return Ok(());
    }
    let post = event.post.to_string();
    if writes.get::<Tally>(&tally_of(&post))?.is_none() {
        writes.put(&Tally { tally_of: post.clone(), comments: 0 })?;
    }
    let comment = Comment {
        comment: event.comment.to_string(),
        top_level_of: event.reply_to.is_none().then(|| post.clone()),
        post,
        author: event.author.to_string(),
        reply_to: event.reply_to.map(|parent| parent.to_string()),
        replies: 0,
        shown: by.is_none(),
        removed: false,
        // Texts of authors who are erased later in the log are unreadable. The comment is inserted anyway, so that
        // later events have the same effect as before the erasure; it is deleted with its author.
        text: event.text.open().cloned().unwrap_or_default(),
        commented: time(recorded),
        position: position(recorded),
    };
    if comment.shown {
        count(&comment, 1, writes);
    }
    writes.insert(&comment)
}

fn delete(event: &CommentDeleted, writes: &mut Writes) -> Result<(), StoreError> {
    let comment = event.comment.to_string();
    if let Some(deleted) = writes.get::<Comment>(&comment)?.filter(|comment| comment.shown) {
        count(&deleted, -1, writes);
    }
    writes.delete::<Comment>(comment);
    Ok(())
}

fn forget_post(post: PostId, writes: &mut Writes) {
    for shown in [true, false] {
        writes.delete_where::<Comment>(&BY_POST, vec![json!(post), shown.into()]);
    }
    writes.delete::<Tally>(tally_of(&post.to_string()));
    markers::mark_post_deleted(&VIEW, post, writes);
}

fn account(event: &AccountEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return Ok(()) };
    for comment in writes.found::<Comment>()? {
        let shown = change == VisibilityChange::Shown && !comment.removed;
        if comment.shown != shown {
            count(&comment, if shown { 1 } else { -1 }, writes);
        }
        match change {
            VisibilityChange::Erased => writes.delete::<Comment>(comment.comment),
            VisibilityChange::Hidden | VisibilityChange::Shown => {
                writes.patch::<Comment>(comment.comment, Patch::default().set("shown", shown));
            }
        }
        writes.add_weight(WRITES_OF_ONE);
    }
    Ok(())
}

/// A removed comment is neither shown nor counted, also if its author is deactivated or reactivated meanwhile.
fn moderate(event: &ModerationEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let Content::Comment { comment, .. } = event.content() else { return Ok(()) };
    let Some(comment) = writes.get::<Comment>(&comment.to_string())? else { return Ok(()) };
    let removed = matches!(event, ModerationEvent::ContentRemoved(_));
    let shown = !removed && markers::account(&VIEW, event.author(), writes)?.is_none();
    if comment.shown != shown {
        count(&comment, if shown { 1 } else { -1 }, writes);
    }
    let patch = Patch::default().set("removed", removed).set("shown", shown);
    writes.patch::<Comment>(comment.comment, patch);
    Ok(())
}

/// Changes the count of the post, and the count of replies to the parent.
fn count(comment: &Comment, by: i64, writes: &mut Writes) {
    writes.patch::<Tally>(tally_of(&comment.post), Patch::default().inc("comments", by));
    if let Some(parent) = &comment.reply_to {
        writes.patch::<Comment>(parent.clone(), Patch::default().inc("replies", by));
    }
}

#[cfg(test)]
mod tests {
    use events::{
        CommentDeleted, CommentId, Commented, ContentRemoved, ContentRestored, Deactivated, Erased, Personal,
        PostDeleted, PostId, Reactivated, Reinstated, Suspended, UserId,
    };
    use uuid::Uuid;
    use views::social::comments::BY_PARENT;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, POST, built};

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
    async fn comments_are_listed_in_order_until_they_are_deleted() {
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
        assert_eq!(shown(&built).await, ["3", "1"]);
    }

    #[tokio::test]
    async fn a_removed_comment_is_neither_shown_nor_counted_until_it_is_restored() {
        let content = Content::Comment { post: POST, comment: CommentId::new(Uuid::from_u128(3)) };
        let reason = Personal::Open("abuse".to_owned());
        let removed = Event::from(ContentRemoved { content, author: BOB, reason });
        let restored = Event::from(ContentRestored { content, author: BOB });
        let (left, back) = (Event::from(Deactivated { user: BOB }), Event::from(Reactivated { user: BOB }));
        let comment = CommentId::new(Uuid::from_u128(3));
        let deleted = Event::from(CommentDeleted {
            post: POST,
            comment,
            author: BOB,
            post_author: ANN,
            reply_to_author: Some(BOB),
        });
        let said = [commented(POST, 1), answer(2, ANN, 1), answer(3, BOB, 1)];
        for (then, texts) in [
            (vec![&removed], &["1", "2"][..]),
            (vec![&removed, &restored], &["1", "2", "3"]),
            (vec![&removed, &left, &back], &["1", "2"]),
            (vec![&removed, &left, &restored], &["2"]),
            (vec![&left, &removed, &restored, &back], &["1", "2", "3"]),
            (vec![&removed, &deleted, &restored], &["1", "2"]),
            (vec![&deleted, &removed, &restored], &["1", "2"]),
        ] {
            let history = said.iter().chain(then.iter().copied()).cloned();
            assert_eq!(shown(&built(&Comments, history).await).await, texts, "{then:?}");
        }
    }

    #[tokio::test]
    async fn comments_are_deleted_with_their_post() {
        let deleted = PostDeleted { post: POST, author: ANN };
        let history = [commented(POST, 1), commented(OTHER_POST, 2), deleted.into()];
        let built = built(&Comments, history).await;
        assert_eq!(built.count(&VIEW).await, 2, "the other post's comment and its tally");
    }

    fn answer(n: u128, author: UserId, parent: u128) -> Event {
        let Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) = commented(POST, n) else {
            panic!()
        };
        let (reply_to, reply_to_author) = (Some(CommentId::new(Uuid::from_u128(parent))), Some(BOB));
        Commented { author, reply_to, reply_to_author, ..event }.into()
    }

    /// The texts of the comments shown under the post, checked against the tally; likewise for replies.
    async fn shown(built: &Built) -> Vec<String> {
        let query = Query::new(&VIEW, &BY_POST, vec![json!(POST), json!(true)], 10);
        let page = built.store.page_of::<Comment>(query).await.unwrap();
        let tally = built.store.get::<Tally>(&tally_of(&POST.to_string())).await.unwrap();
        assert_eq!(tally.map_or(0, |tally| tally.comments), i64::try_from(page.documents.len()).unwrap());
        for comment in &page.documents {
            let replies = Query::new(&VIEW, &BY_PARENT, vec![json!(comment.comment), json!(true)], 10);
            let replies = built.store.count(&replies).await.unwrap();
            assert_eq!(comment.replies, i64::try_from(replies).unwrap(), "{comment:?}");
        }
        page.documents.into_iter().map(|comment| comment.text).collect()
    }

    #[tokio::test]
    async fn comments_of_a_deactivated_user_are_neither_shown_nor_counted() {
        let mut history = vec![commented(POST, 1), commented(POST, 2), answer(3, ANN, 1), answer(4, BOB, 1)];
        history.push(Deactivated { user: BOB }.into());
        assert_eq!(shown(&built(&Comments, history.clone()).await).await, ["3"]);
        // A suspension of a deactivated user changes nothing.
        history.push(Suspended { user: BOB, reason: Personal::Erased }.into());
        assert_eq!(shown(&built(&Comments, history.clone()).await).await, ["3"]);
        // Decided concurrently with the deactivation.
        history.push(answer(5, BOB, 1));
        assert_eq!(shown(&built(&Comments, history.clone()).await).await, ["3"]);
        history.push(Reinstated { user: BOB }.into());
        assert_eq!(shown(&built(&Comments, history).await).await, ["1", "2", "3", "4", "5"]);
    }

    #[tokio::test]
    async fn comments_of_an_erased_user_are_deleted_readable_or_not() {
        let mut unreadable = commented(POST, 2);
        unreadable.erase_personal();
        let mut history = vec![commented(POST, 1), unreadable, answer(3, ANN, 1), answer(4, BOB, 3)];
        history.push(Erased { user: BOB }.into());
        history.push(answer(5, BOB, 3));
        let built = built(&Comments, history).await;
        assert_eq!(shown(&built).await, ["3"]);
        assert_eq!(built.count(&VIEW).await, 2, "Ann's comment and the tally");
    }

    #[tokio::test]
    async fn comment_on_a_deleted_post_is_ignored() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            assert_eq!(built(&Comments, [gone, commented(POST, 1)]).await.count(&VIEW).await, 0);
        }
    }
}
