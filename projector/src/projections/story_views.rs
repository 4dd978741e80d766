//! Who has viewed which story.

use events::{Event, Kind, Recorded, StoryEvent, StoryId, StoryViewEvent};
use serde_json::json;
use views::story_views::{BY_STORY, StoryView, VIEW};
use views::{StoreError, Writes};

use super::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct StoryViews;

impl Projection for StoryViews {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::StoryView, Kind::Story]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::StoryView(StoryViewEvent::StoryViewed(event)) => writes.put(&StoryView {
                story: event.story.to_string(),
                viewer: event.viewer.to_string(),
                viewed: time(recorded),
                position: position(recorded),
            })?,
            Event::Story(StoryEvent::StoryDeleted(event)) => forget(event.story, writes),
            Event::Story(StoryEvent::StoryExpired(event)) => forget(event.story, writes),
            Event::Story(StoryEvent::StoryPublished(_)) => {}
            Event::Account(_)
            | Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Profile(_)
            | Event::Post(_)
            | Event::Comment(_)
            | Event::Like(_)
            | Event::Follow(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => {}
        }
        Ok(())
    }
}

fn forget(story: StoryId, writes: &mut Writes) {
    writes.delete_where::<StoryView>(&BY_STORY, vec![json!(story)]);
}

#[cfg(test)]
mod tests {
    use events::{StoryDeleted, StoryExpired};
    use views::ViewStoreExt;
    use views::story_views::key;

    use super::*;
    use crate::projections::testing::{ANN, BOB, START, STORY, built, story_published, story_viewed};

    #[tokio::test]
    async fn who_has_viewed_a_story_is_known_as_long_as_it_is_there() {
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
}
