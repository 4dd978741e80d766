//! Saved posts.

use events::{
    AccountEvent, AccountsEvent, CollectionEvent, Content, Event, Kind, ModerationEvent, PostEvent,
    PostSaved, Recorded, SaveEvent, SocialEvent,
};
use serde_json::{Value, json};
use views::markers::Marker;
use views::social::notifications::hidden_from;
use views::social::saves::{BY_AUTHOR, IN_COLLECTION, OF_POST, OF_USER, Save, VIEW, key};
use views::{Index, Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Saves;

impl Projection for Saves {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Save, Kind::Collection, Kind::Post, Kind::Account, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        if let Event::Social(SocialEvent::Moderation(ModerationEvent::ContentRestored(event))) =
            &recorded.event
        {
            return vec![markers::account_key(&VIEW, event.author)];
        }
        let Event::Social(SocialEvent::Save(SaveEvent::PostSaved(event))) = &recorded.event else {
            return Vec::new();
        };
        vec![
            markers::account_key(&VIEW, event.user),
            markers::account_key(&VIEW, event.post_author),
            markers::post_key(&VIEW, event.post),
        ]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Save(SaveEvent::PostSaved(event))) => save(event, recorded, writes)?,
            Event::Social(SocialEvent::Save(SaveEvent::PostUnsaved(event))) => {
                writes.delete::<Save>(key(&event.user.to_string(), &event.post.to_string()));
            }
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionDeleted(event))) => {
                for shown in [true, false] {
                    let of = vec![json!(event.user), json!(event.collection), json!(shown)];
                    set_each(writes, &IN_COLLECTION, of, "collection", Value::Null);
                }
            }
            Event::Social(
                SocialEvent::Collection(
                    CollectionEvent::CollectionCreated(_) | CollectionEvent::CollectionRenamed(_),
                )
                | SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_)),
            ) => {}
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                writes.delete_where::<Save>(&OF_POST, vec![json!(event.post)]);
                markers::mark_post_deleted(&VIEW, event.post, writes);
            }
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(SocialEvent::Moderation(event)) => moderate(event, writes)?,
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

/// Ignores a save that is appended after the deletion of its post or the erasure of its user or author.
fn save(event: &PostSaved, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let author = markers::account(&VIEW, event.post_author, writes)?;
    let is_void = author == Some(Marker::Erased)
        || markers::account(&VIEW, event.user, writes)? == Some(Marker::Erased)
        || markers::post(&VIEW, event.post, writes)?.is_some();
    if is_void {
        return Ok(());
    }
    writes.put(&Save {
        user: event.user.to_string(),
        post: event.post.to_string(),
        author: event.post_author.to_string(),
        collection: event.collection.map(|collection| collection.to_string()),
        shown: author.is_none(),
        saved: time(recorded),
        position: position(recorded),
    })
}

fn account(event: &AccountEvent, writes: &mut Writes) {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return };
    let user = event.user();
    let mut show = |shown: bool| set_each(writes, &BY_AUTHOR, vec![json!(user)], "shown", json!(shown));
    match change {
        VisibilityChange::Hidden => show(false),
        VisibilityChange::Shown => show(true),
        VisibilityChange::Erased => {
            for author in [user.to_string(), hidden_from(&user.to_string())] {
                writes.delete_where::<Save>(&BY_AUTHOR, vec![json!(author)]);
            }
            for shown in [true, false] {
                writes.delete_where::<Save>(&OF_USER, vec![json!(user), json!(shown)]);
            }
        }
    }
    writes.add_unknown_weight();
}

/// Saves of a removed post are neither listed nor counted, also if its author is deactivated or reactivated
/// meanwhile.
fn moderate(event: &ModerationEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let Content::Post { post } = event.content() else { return Ok(()) };
    let (author, shown) = match event {
        ModerationEvent::ContentRemoved(event) => (hidden_from(&event.author.to_string()), false),
        ModerationEvent::ContentRestored(event) => {
            (event.author.to_string(), markers::account(&VIEW, event.author, writes)?.is_none())
        }
    };
    for (field, value) in [("author", json!(author)), ("shown", json!(shown))] {
        set_each(writes, &OF_POST, vec![json!(post)], field, value);
    }
    writes.add_unknown_weight();
    Ok(())
}

fn set_each(
    writes: &mut Writes,
    index: &'static Index,
    equals: Vec<Value>,
    field: &'static str,
    value: Value,
) {
    let patch = Patch::default().set(field, value);
    writes.patch_each(PatchEach { over: &VIEW, index, equals, into: &VIEW, key: None, patch });
}

#[cfg(test)]
mod tests {
    use events::{
        CollectionDeleted, CollectionId, ContentRemoved, ContentRestored, Deactivated, Erased, Personal,
        PostDeleted, PostId, PostSaved, PostUnsaved, Reactivated,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, POST, built};

    const OTHER_POST: PostId = PostId::new(Uuid::from_u128(0x91));
    const LAKES: CollectionId = CollectionId::new(Uuid::from_u128(0xc7));

    fn saved(post: PostId, collection: Option<CollectionId>) -> Event {
        PostSaved { user: BOB, post, post_author: ANN, collection }.into()
    }

    async fn all_of(built: &Built) -> Vec<String> {
        let query = Query::new(&VIEW, &OF_USER, vec![json!(BOB), json!(true)], 10);
        let page = built.store.page_of::<Save>(query).await.unwrap();
        page.documents.into_iter().map(|save| save.post).collect()
    }

    async fn in_lakes(built: &Built) -> u64 {
        let query = Query::new(&VIEW, &IN_COLLECTION, vec![json!(BOB), json!(LAKES), json!(true)], 10);
        built.store.count(&query).await.unwrap()
    }

    #[tokio::test]
    async fn post_is_saved_once_and_in_at_most_one_collection() {
        let mut history = vec![saved(POST, None), saved(OTHER_POST, Some(LAKES)), saved(POST, Some(LAKES))];
        let view = built(&Saves, history.clone()).await;
        assert_eq!(all_of(&view).await, [POST.to_string(), OTHER_POST.to_string()]);
        assert_eq!(in_lakes(&view).await, 2);
        history.push(PostUnsaved { user: BOB, post: POST }.into());
        let view = built(&Saves, history.clone()).await;
        assert_eq!((all_of(&view).await, in_lakes(&view).await), (vec![OTHER_POST.to_string()], 1));
        history.push(CollectionDeleted { user: BOB, collection: LAKES }.into());
        let view = built(&Saves, history).await;
        assert_eq!((all_of(&view).await, in_lakes(&view).await), (vec![OTHER_POST.to_string()], 0));
    }

    #[tokio::test]
    async fn saves_are_deleted_with_the_post_and_hidden_with_its_author() {
        let mut history = vec![saved(POST, Some(LAKES)), saved(OTHER_POST, Some(LAKES))];
        history.push(PostDeleted { post: POST, author: ANN }.into());
        history.push(Deactivated { user: ANN }.into());
        let view = built(&Saves, history.clone()).await;
        assert_eq!((all_of(&view).await, in_lakes(&view).await), (vec![], 0));
        history.push(Reactivated { user: ANN }.into());
        let view = built(&Saves, history.clone()).await;
        assert_eq!((all_of(&view).await, in_lakes(&view).await), (vec![OTHER_POST.to_string()], 1));
        for user in [ANN, BOB] {
            let gone = built(&Saves, history.clone().into_iter().chain([Erased { user }.into()])).await;
            assert_eq!(gone.count(&VIEW).await, 0);
        }
    }

    #[tokio::test]
    async fn saves_of_a_removed_post_are_not_counted_until_it_is_restored() {
        let content = Content::Post { post: POST };
        let removed = ContentRemoved { content, author: ANN, reason: Personal::Open("spam".into()) };
        let removed = [saved(POST, Some(LAKES)), removed.into()];
        let restored = || Event::from(ContentRestored { content, author: ANN });
        let (left, back) = (Event::from(Deactivated { user: ANN }), Event::from(Reactivated { user: ANN }));
        for (then, count) in [
            (vec![], 0),
            (vec![restored()], 1),
            (vec![left.clone(), back.clone()], 0),
            (vec![left.clone(), restored()], 0),
            (vec![left.clone(), restored(), back.clone()], 1),
            (vec![left, back, restored()], 1),
        ] {
            let view = built(&Saves, removed.clone().into_iter().chain(then.clone())).await;
            assert_eq!(in_lakes(&view).await, count, "{then:?}");
        }
        let erased = removed.into_iter().chain([Erased { user: ANN }.into()]);
        assert_eq!(built(&Saves, erased).await.count(&VIEW).await, 0);
    }

    /// Commands read posts and accounts without a lock.
    #[tokio::test]
    async fn save_concurrent_with_a_deletion_or_erasure_is_not_counted() {
        let deleted = Event::from(PostDeleted { post: POST, author: ANN });
        for gone in [deleted, Erased { user: ANN }.into(), Erased { user: BOB }.into()] {
            assert_eq!(built(&Saves, [gone, saved(POST, Some(LAKES))]).await.count(&VIEW).await, 0);
        }
        let mut history = vec![Event::from(Deactivated { user: ANN }), saved(POST, Some(LAKES))];
        assert_eq!(in_lakes(&built(&Saves, history.clone()).await).await, 0);
        history.push(Reactivated { user: ANN }.into());
        assert_eq!(in_lakes(&built(&Saves, history).await).await, 1);
    }
}
