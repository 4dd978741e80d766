//! Stories. Their viewers are counted in [`StoryViews`](super::StoryViews).

use events::{
    AccountEvent, AccountsEvent, Content, Event, Kind, ModerationEvent, Recorded, STORY_LIFETIME,
    SocialEvent, StoryEvent, StoryPublished, StoryText,
};
use serde_json::json;
use views::social::stories::{BY_AUTHOR, Story, VIEW};
use views::{Patch, StoreError, View, Writes};

use crate::accounts::markers;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Stories;

impl Projection for Stories {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Story, Kind::Account, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) = &recorded.event else {
            return Vec::new();
        };
        vec![markers::account_key(&VIEW, event.author)]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => {
                publish(event, recorded, writes)?;
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(event))) => {
                writes.delete::<Story>(event.story.to_string());
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryExpired(event))) => {
                writes.delete::<Story>(event.story.to_string());
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                writes.delete_where::<Story>(&BY_AUTHOR, vec![json!(event.user)]);
                markers::mark_erased(&VIEW, event.user, writes);
            }
            Event::Social(SocialEvent::Moderation(event)) => {
                if let Content::Story { story, .. } = event.content() {
                    let removed = matches!(event, ModerationEvent::ContentRemoved(_));
                    writes.patch::<Story>(story.to_string(), Patch::default().set("removed", removed));
                }
            }
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
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

fn publish(event: &StoryPublished, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    // Stories of erased authors are not shown.
    let Some(StoryText { alt, placeholder }) = event.text.open().cloned() else { return Ok(()) };
    if markers::is_erased(&VIEW, event.author, writes)? {
        return Ok(());
    }
    writes.put(&Story {
        story: event.story.to_string(),
        author: event.author.to_string(),
        media: event.image.media.to_string(),
        width: event.image.width,
        height: event.image.height,
        alt,
        placeholder,
        removed: false,
        published: time(recorded),
        expires_at: time(recorded) + STORY_LIFETIME.num_milliseconds(),
        position: position(recorded),
    })
}

#[cfg(test)]
mod tests {
    use events::{ContentRemoved, ContentRestored, Erased, Personal, StoryDeleted, StoryExpired};
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, Built, START, STORY, built, story_published};

    async fn of(built: &Built) -> Option<Story> {
        built.store.get(&STORY.to_string()).await.unwrap()
    }

    #[tokio::test]
    async fn story_expires_after_a_day() {
        let built = built(&Stories, [story_published(STORY)]).await;
        let story = of(&built).await.unwrap();
        assert_eq!((story.author, story.alt.as_str()), (ANN.to_string(), "A lake"));
        let published = (START + 1) * 1000;
        assert_eq!((story.published, story.expires_at), (published, published + 24 * 3600 * 1000));
    }

    #[tokio::test]
    async fn a_removed_story_is_marked_until_it_is_restored() {
        let content = Content::Story { author: ANN, story: STORY };
        let removal = ContentRemoved { content, author: ANN, reason: Personal::Open("spam".into()) };
        let history = [story_published(STORY), removal.into()];
        assert!(of(&built(&Stories, history.clone()).await).await.unwrap().removed);
        let restored = ContentRestored { content, author: ANN };
        let restored = built(&Stories, history.into_iter().chain([restored.into()])).await;
        assert!(!of(&restored).await.unwrap().removed);
    }

    #[tokio::test]
    async fn deleted_or_expired_story_leaves_no_document() {
        let (author, story) = (ANN, STORY);
        let ends: [Event; 2] = [StoryDeleted { author, story }.into(), StoryExpired { author, story }.into()];
        for end in ends {
            let built = built(&Stories, [story_published(STORY), end]).await;
            assert_eq!(built.store.sizes().await.unwrap()["stories"].documents, 0);
        }
    }

    #[tokio::test]
    async fn stories_of_an_erased_author_are_omitted() {
        let Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(published))) = story_published(STORY)
        else {
            panic!()
        };
        let erased = StoryPublished { text: Personal::Erased, ..published };
        assert_eq!(of(&built(&Stories, [erased.into()]).await).await, None);
        let erased_later = [story_published(STORY), Erased { user: ANN }.into()];
        assert_eq!(of(&built(&Stories, erased_later).await).await, None);
    }

    /// Commands read the author's account without a lock.
    #[tokio::test]
    async fn story_concurrent_with_the_erasure_of_its_author_is_ignored() {
        let history = [Erased { user: ANN }.into(), story_published(STORY)];
        assert_eq!(built(&Stories, history).await.count(&VIEW).await, 0);
    }
}
