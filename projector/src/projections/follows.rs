//! Who follows whom.

use events::{Event, FollowEvent, Kind, Recorded, UserId};
use views::follows::{Follow, VIEW, key};
use views::{StoreError, Writes};

use super::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Follows;

impl Projection for Follows {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Follow]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let mut put = |follower: UserId, followee: UserId, accepted| {
            writes.put(&Follow {
                follower: follower.to_string(),
                followee: followee.to_string(),
                accepted,
                since: time(recorded),
                position: position(recorded),
            })
        };
        match &recorded.event {
            Event::Follow(FollowEvent::Followed(event)) => put(event.follower, event.followee, true),
            Event::Follow(FollowEvent::FollowAccepted(event)) => put(event.follower, event.followee, true),
            Event::Follow(FollowEvent::FollowRequested(event)) => put(event.follower, event.followee, false),
            Event::Follow(FollowEvent::Unfollowed(event)) => {
                writes.delete::<Follow>(key(&event.follower.to_string(), &event.followee.to_string()));
                Ok(())
            }
            Event::Account(_)
            | Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Profile(_)
            | Event::Post(_)
            | Event::Comment(_)
            | Event::Like(_)
            | Event::Story(_)
            | Event::StoryView(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use events::{FollowAccepted, FollowRequested, Followed, Unfollowed};
    use serde_json::json;
    use views::follows::FOLLOWERS;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::testing::{ANN, BOB, Built, built};

    async fn followers(built: &Built, accepted: bool) -> usize {
        let query = Query::new(&VIEW, &FOLLOWERS, vec![json!(ANN), json!(accepted)], 10);
        built.store.page_of::<Follow>(query).await.unwrap().documents.len()
    }

    #[tokio::test]
    async fn somebody_follows_once_it_is_accepted_and_until_they_do_no_longer() {
        let (follower, followee) = (BOB, ANN);
        let mut history: Vec<Event> = vec![FollowRequested { follower, followee }.into()];
        let built_with = async |history: &Vec<Event>| {
            let view = built(&Follows, history.clone()).await;
            (followers(&view, true).await, followers(&view, false).await)
        };
        assert_eq!(built_with(&history).await, (0, 1));
        history.push(FollowAccepted { follower, followee }.into());
        assert_eq!(built_with(&history).await, (1, 0));
        history.push(Unfollowed { follower, followee, only_requested: false }.into());
        assert_eq!(built_with(&history).await, (0, 0));
        history.push(Followed { follower, followee }.into());
        assert_eq!(built_with(&history).await, (1, 0));
    }
}
