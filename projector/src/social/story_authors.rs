//! Authors who may have current stories.

use events::{Event, Kind, Recorded, STORY_LIFETIME, SocialEvent, StoryEvent};
use views::social::story_authors::{StoryAuthor, VIEW};
use views::{StoreError, Writes};

use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct StoryAuthors;

impl Projection for StoryAuthors {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Story]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => {
                writes.put(&StoryAuthor {
                    author: event.author.to_string(),
                    expires_at: time(recorded) + STORY_LIFETIME.num_milliseconds(),
                    position: position(recorded),
                })?;
            }
            // The author may have other stories.
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_))) => {}
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
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

#[cfg(test)]
mod tests {
    use events::{StoryDeleted, StoryId};
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, START, STORY, built, story_published};

    #[tokio::test]
    async fn author_expires_a_day_after_the_newest_story_even_if_it_is_deleted() {
        let newer = StoryId::new(Uuid::from_u128(0x58));
        let deleted = StoryDeleted { author: ANN, story: newer };
        let built =
            built(&StoryAuthors, [story_published(STORY), story_published(newer), deleted.into()]).await;
        let known: StoryAuthor = built.store.get(&ANN.to_string()).await.unwrap().unwrap();
        let expires_at = (START + 2 + 24 * 3600) * 1000;
        assert_eq!(known, StoryAuthor { author: ANN.to_string(), expires_at, position: 2 });
    }
}
