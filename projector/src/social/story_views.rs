//! Viewers of stories. Deactivated and suspended viewers are neither listed nor counted until they are active again.

use events::{
    AccountEvent, AccountsEvent, Event, Kind, Recorded, SocialEvent, StoryEvent, StoryId, StoryViewEvent,
    StoryViewed,
};
use serde_json::json;
use views::markers::Marker;
use views::social::story_views::{BY_STORY, BY_VIEWER, StoryView, VIEW};
use views::{Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct StoryViews;

impl Projection for StoryViews {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::StoryView, Kind::Story, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Event::Social(SocialEvent::StoryView(StoryViewEvent::StoryViewed(event))) = &recorded.event
        else {
            return Vec::new();
        };
        vec![markers::account_key(&VIEW, event.viewer)]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::StoryView(StoryViewEvent::StoryViewed(event))) => {
                view(event, recorded, writes)?;
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(event))) => forget(event.story, writes),
            Event::Social(SocialEvent::Story(StoryEvent::StoryExpired(event))) => forget(event.story, writes),
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(_))) => {}
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
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

fn view(event: &StoryViewed, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let marker = markers::account(&VIEW, event.viewer, writes)?;
    if marker == Some(Marker::Erased) {
        return Ok(());
    }
    writes.put(&StoryView {
        story: event.story.to_string(),
        viewer: event.viewer.to_string(),
        active: marker.is_none(),
        viewed: time(recorded),
        position: position(recorded),
    })
}

fn forget(story: StoryId, writes: &mut Writes) {
    for active in [true, false] {
        writes.delete_where::<StoryView>(&BY_STORY, vec![json!(story), active.into()]);
    }
}

fn account(event: &AccountEvent, writes: &mut Writes) {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return };
    let viewed = vec![json!(event.user())];
    match change {
        VisibilityChange::Erased => writes.delete_where::<StoryView>(&BY_VIEWER, viewed),
        VisibilityChange::Hidden | VisibilityChange::Shown => writes.patch_each(PatchEach {
            over: &VIEW,
            index: &BY_VIEWER,
            equals: viewed,
            into: &VIEW,
            key: None,
            patch: Patch::default().set("active", change == VisibilityChange::Shown),
        }),
    }
    writes.add_unknown_weight();
}

#[cfg(test)]
mod tests {
    use events::{Deactivated, Erased, Reactivated, StoryDeleted, StoryExpired};
    use views::social::story_views::key;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, START, STORY, built, story_published, story_viewed};

    #[tokio::test]
    async fn viewers_are_kept_while_the_story_exists() {
        let history = [story_published(STORY), story_viewed(BOB)];
        let there = built(&StoryViews, history.clone()).await;
        let key = key(&STORY.to_string(), &BOB.to_string());
        let viewed: StoryView = there.store.get(&key).await.unwrap().unwrap();
        assert_eq!((viewed.viewed, viewed.position), ((START + 2) * 1000, 2));

        let (author, story) = (ANN, STORY);
        let ends: [Event; 2] = [StoryDeleted { author, story }.into(), StoryExpired { author, story }.into()];
        for end in ends {
            let gone = built(&StoryViews, history.clone().into_iter().chain([end])).await;
            assert_eq!(gone.store.sizes().await.unwrap()["story_views"].documents, 0);
        }
    }

    #[tokio::test]
    async fn inactive_viewer_is_neither_listed_nor_counted() {
        let listed = async |history: &[Event]| {
            let built = built(&StoryViews, history.to_vec()).await;
            let query = Query::new(&VIEW, &BY_STORY, vec![json!(STORY), json!(true)], 10);
            built.store.count(&query).await.unwrap()
        };
        let (left, back) = (Event::from(Deactivated { user: BOB }), Event::from(Reactivated { user: BOB }));
        let erased = Event::from(Erased { user: BOB });
        let seen = story_viewed(BOB);
        assert_eq!(listed(&[seen.clone(), left.clone()]).await, 0);
        assert_eq!(listed(&[left.clone(), seen.clone()]).await, 0, "decided concurrently");
        assert_eq!(listed(&[left.clone(), seen.clone(), back]).await, 1);
        for history in [[seen.clone(), erased.clone()], [erased, seen]] {
            assert_eq!(built(&StoryViews, history).await.count(&VIEW).await, 0);
        }
    }
}
