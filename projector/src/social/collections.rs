//! Collections of saved posts.

use events::{AccountEvent, AccountsEvent, CollectionEvent, Event, Kind, Recorded, SocialEvent};
use serde_json::json;
use views::social::collections::{Collection, OF_USER, VIEW};
use views::{Patch, StoreError, View, Writes};

use crate::accounts::markers;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Collections;

impl Projection for Collections {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Collection, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Event::Social(SocialEvent::Collection(CollectionEvent::CollectionCreated(event))) =
            &recorded.event
        else {
            return Vec::new();
        };
        vec![markers::account_key(&VIEW, event.user)]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionCreated(event))) => {
                // Texts of erased users are not shown. The event may follow a concurrent erasure.
                if let Some(name) = event.name.open()
                    && !markers::is_erased(&VIEW, event.user, writes)?
                {
                    writes.put(&Collection {
                        collection: event.collection.to_string(),
                        user: event.user.to_string(),
                        name: name.clone(),
                        created: time(recorded),
                        position: position(recorded),
                    })?;
                }
            }
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionRenamed(event))) => {
                if let Some(name) = event.name.open() {
                    let patch = Patch::default().set("name", name.clone());
                    writes.patch::<Collection>(event.collection.to_string(), patch);
                }
            }
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionDeleted(event))) => {
                writes.delete::<Collection>(event.collection.to_string());
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                writes.delete_where::<Collection>(&OF_USER, vec![json!(event.user)]);
                markers::mark_erased(&VIEW, event.user, writes);
            }
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
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

#[cfg(test)]
mod tests {
    use events::{
        CollectionCreated, CollectionDeleted, CollectionId, CollectionRenamed, Erased, Personal, UserId,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, built};

    const LAKES: CollectionId = CollectionId::new(Uuid::from_u128(0xc7));
    const HILLS: CollectionId = CollectionId::new(Uuid::from_u128(0xc8));

    fn created(user: UserId, collection: CollectionId, name: &str) -> Event {
        CollectionCreated { user, collection, name: Personal::Open(name.into()) }.into()
    }

    async fn names(built: &Built, user: UserId) -> Vec<String> {
        let query = Query::new(&VIEW, &OF_USER, vec![json!(user)], 10);
        let page = built.store.page_of::<Collection>(query).await.unwrap();
        page.documents.into_iter().map(|collection| collection.name).collect()
    }

    #[tokio::test]
    async fn collections_are_created_renamed_deleted_and_erased_with_their_owner() {
        let mut history = vec![
            created(ANN, LAKES, "Lakes"),
            created(ANN, HILLS, "Hills"),
            CollectionRenamed { user: ANN, collection: LAKES, name: Personal::Open("Water".into()) }.into(),
        ];
        assert_eq!(names(&built(&Collections, history.clone()).await, ANN).await, ["Hills", "Water"]);
        assert_eq!(names(&built(&Collections, history.clone()).await, BOB).await, [""; 0]);
        history.push(CollectionDeleted { user: ANN, collection: HILLS }.into());
        assert_eq!(names(&built(&Collections, history.clone()).await, ANN).await, ["Water"]);
        history.push(Erased { user: ANN }.into());
        assert_eq!(names(&built(&Collections, history).await, ANN).await, [""; 0]);
    }

    /// Commands read the owner's account without a lock.
    #[tokio::test]
    async fn collection_concurrent_with_the_erasure_of_its_owner_is_ignored() {
        let renamed =
            CollectionRenamed { user: ANN, collection: LAKES, name: Personal::Open("Water".into()) };
        let history = [Erased { user: ANN }.into(), created(ANN, LAKES, "Lakes"), renamed.into()];
        assert_eq!(built(&Collections, history).await.count(&VIEW).await, 0);
    }
}
