//! Follows and their counts. Deactivated and suspended users are neither listed nor counted until they are active
//! again; erased users are deleted. Concurrent decisions can be appended in any order, so each event checks the
//! status of its users.

use events::{AccountEvent, AccountsEvent, Event, FollowEvent, Kind, Recorded, SocialEvent, UserId};
use serde_json::json;
use views::accounts::profiles::AccountStatus;
use views::social::follows::{Circle, FOLLOWERS, FOLLOWINGS, Follow, VIEW, key};
use views::{Index, Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::profiles::status_after;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Follows;

impl Projection for Follows {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Follow, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Social(SocialEvent::Follow(event)) => {
                let (follower, followee) = both(event);
                [key(&follower, &followee), follower, followee].map(|key| (&VIEW, key)).to_vec()
            }
            Event::Accounts(AccountsEvent::Account(event)) => vec![(&VIEW, event.user().to_string())],
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Follow(event)) => follow(event, recorded, writes),
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

/// Follower and followee.
fn both(event: &FollowEvent) -> (String, String) {
    let (follower, followee): (UserId, UserId) = match event {
        FollowEvent::Followed(event) => (event.follower, event.followee),
        FollowEvent::FollowRequested(event) => (event.follower, event.followee),
        FollowEvent::FollowAccepted(event) => (event.follower, event.followee),
        FollowEvent::Unfollowed(event) => (event.follower, event.followee),
    };
    (follower.to_string(), followee.to_string())
}

fn follow(event: &FollowEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let (follower, followee) = both(event);
    // Ignores a follow that is appended after the erasure of one of its users.
    let (Some(of), Some(whom)) = (writes.get::<Circle>(&follower)?, writes.get::<Circle>(&followee)?) else {
        return Ok(());
    };
    let key = key(&follower, &followee);
    let before = writes.get::<Follow>(&key)?.map(|follow| follow.accepted);
    let after = match event {
        FollowEvent::Followed(_) | FollowEvent::FollowAccepted(_) => Some(true),
        FollowEvent::FollowRequested(_) => Some(before == Some(true)),
        FollowEvent::Unfollowed(_) => None,
    };
    let by = i64::from(after == Some(true)) - i64::from(before == Some(true));
    if of.active {
        writes.patch::<Circle>(&followee, Patch::default().inc("followers", by));
    }
    if whom.active {
        writes.patch::<Circle>(&follower, Patch::default().inc("followings", by));
    }
    match after {
        None => writes.delete::<Follow>(key),
        Some(accepted) if before == Some(accepted) => {}
        Some(accepted) => writes.put(&Follow {
            follower,
            followee,
            accepted,
            follower_active: of.active,
            followee_active: whom.active,
            since: time(recorded),
            position: position(recorded),
        })?,
    }
    Ok(())
}

fn account(event: &AccountEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let user = event.user().to_string();
    let active = match (event, status_after(event)) {
        (AccountEvent::SignedUp(_), _) => {
            return writes.put(&Circle { user, active: true, ..Circle::default() });
        }
        (AccountEvent::Erased(_), _) => false,
        (_, Some(status)) => status == AccountStatus::Active,
        (_, None) => return Ok(()),
    };
    let before = writes.get::<Circle>(&user)?;
    if let Some(circle) = before.filter(|circle| circle.active != active) {
        add_weight(writes, &circle);
        for side in SIDES {
            side.show_to_others(&user, active, writes);
        }
        writes.patch::<Circle>(&user, Patch::default().set("active", active));
    }
    if matches!(event, AccountEvent::Erased(_)) {
        for side in SIDES {
            each_kind(|accepted, active| {
                writes.delete_where::<Follow>(side.index, vec![json!(user), accepted.into(), active.into()]);
            });
        }
        writes.delete::<Circle>(user);
    }
    Ok(())
}

/// The number of documents that change with a user's status: each follow, and a count on its other side.
fn add_weight(writes: &mut Writes, circle: &Circle) {
    writes.add_weight(usize::try_from(2 * (circle.followers + circle.followings)).unwrap_or(0));
}

/// The follows of a user in one direction: as follower or as followee.
struct Side {
    /// Finds the user's follows.
    index: &'static Index,
    /// The field that other users' lists filter by.
    own_activity: &'static str,
    other: &'static str,
    /// The count in the other users' documents.
    count: &'static str,
}

const SIDES: [Side; 2] = [
    Side { index: &FOLLOWINGS, own_activity: "follower_active", other: "followee", count: "followers" },
    Side { index: &FOLLOWERS, own_activity: "followee_active", other: "follower", count: "followings" },
];

/// All combinations of `accepted` and `active` of the other user.
fn each_kind(mut act: impl FnMut(bool, bool)) {
    for accepted in [true, false] {
        for active in [true, false] {
            act(accepted, active);
        }
    }
}

impl Side {
    /// Adds a user to the lists and counts of others, or removes them.
    fn show_to_others(&self, user: &str, active: bool, writes: &mut Writes) {
        each_kind(|accepted, other_active| {
            let each = |key, patch| PatchEach {
                over: &VIEW,
                index: self.index,
                equals: vec![json!(user), accepted.into(), other_active.into()],
                into: &VIEW,
                key,
                patch,
            };
            if accepted {
                let by = if active { 1 } else { -1 };
                let count = Patch::default().inc(self.count, by);
                writes.patch_each(each(Some(self.other), count));
            }
            writes.patch_each(each(None, Patch::default().set(self.own_activity, active)));
        });
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Deactivated, Erased, FollowAccepted, FollowRequested, Followed, Reactivated, Reinstated, Suspended,
        Unfollowed,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, built, signed_up};

    const CAT: UserId = UserId::new(Uuid::from_u128(0xc));

    async fn list(built: &Built, index: &'static Index, user: UserId, accepted: bool) -> Vec<Follow> {
        let query = Query::new(&VIEW, index, vec![json!(user), json!(accepted), json!(true)], 10);
        built.store.page_of::<Follow>(query).await.unwrap().documents
    }

    /// The number of followers and followings of a user, checked against the lists.
    async fn counts(built: &Built, user: UserId) -> (usize, usize) {
        let lists = (list(built, &FOLLOWERS, user, true).await, list(built, &FOLLOWINGS, user, true).await);
        let circle = built.store.get::<Circle>(&user.to_string()).await.unwrap().unwrap();
        let counted = |count: i64| usize::try_from(count).unwrap();
        assert_eq!((counted(circle.followers), counted(circle.followings)), (lists.0.len(), lists.1.len()));
        (lists.0.len(), lists.1.len())
    }

    fn people() -> Vec<Event> {
        vec![signed_up(ANN, "ann"), signed_up(BOB, "bob"), signed_up(CAT, "cat")]
    }

    fn followed(follower: UserId, followee: UserId) -> Event {
        Followed { follower, followee }.into()
    }

    fn suspended(user: UserId) -> Event {
        Suspended { user, reason: events::Personal::Erased }.into()
    }

    #[tokio::test]
    async fn follow_counts_from_acceptance_until_unfollow() {
        let (follower, followee) = (BOB, ANN);
        let mut history = people();
        history.push(FollowRequested { follower, followee }.into());
        let built_with = async |history: &Vec<Event>| {
            let view = built(&Follows, history.clone()).await;
            (counts(&view, ANN).await.0, list(&view, &FOLLOWERS, ANN, false).await.len())
        };
        assert_eq!(built_with(&history).await, (0, 1));
        let taken_back = Unfollowed { follower, followee, only_requested: true };
        assert_eq!(built_with(&[&history[..], &[taken_back.into()]].concat()).await, (0, 0));
        history.push(FollowAccepted { follower, followee }.into());
        assert_eq!(built_with(&history).await, (1, 0));
        history.push(Unfollowed { follower, followee, only_requested: false }.into());
        assert_eq!(built_with(&history).await, (0, 0));
        history.push(followed(BOB, ANN));
        assert_eq!(built_with(&history).await, (1, 0));
    }

    #[tokio::test]
    async fn inactive_user_is_neither_listed_nor_counted() {
        let mut history = people();
        history.extend([followed(BOB, ANN), followed(ANN, BOB), followed(CAT, ANN), followed(BOB, CAT)]);
        let all = async |history: &Vec<Event>| {
            let view = built(&Follows, history.clone()).await;
            (counts(&view, ANN).await, counts(&view, BOB).await, counts(&view, CAT).await)
        };
        assert_eq!(all(&history).await, ((2, 1), (1, 2), (1, 1)));
        history.push(Deactivated { user: BOB }.into());
        // Bob's own lists keep their length for his return.
        assert_eq!(all(&history).await, ((1, 0), (1, 2), (0, 1)));
        history.push(suspended(BOB));
        assert_eq!(all(&history).await, ((1, 0), (1, 2), (0, 1)), "a second deactivation changes nothing");
        history.push(suspended(ANN));
        assert_eq!(all(&history).await, ((1, 0), (0, 1), (0, 0)));
        history.push(Reinstated { user: BOB }.into());
        assert_eq!(all(&history).await, ((2, 1), (0, 1), (1, 0)));
        history.push(Reinstated { user: ANN }.into());
        assert_eq!(all(&history).await, ((2, 1), (1, 2), (1, 1)));
        history.push(Reactivated { user: ANN }.into());
        assert_eq!(all(&history).await, ((2, 1), (1, 2), (1, 1)));
    }

    #[tokio::test]
    async fn erased_user_is_removed_from_all_lists_and_counts() {
        let mut history = people();
        history.extend([followed(BOB, ANN), followed(ANN, BOB), followed(CAT, BOB)]);
        history.push(FollowRequested { follower: BOB, followee: CAT }.into());
        history.push(suspended(BOB));
        history.push(Erased { user: BOB }.into());
        let view = built(&Follows, history).await;
        assert_eq!((counts(&view, ANN).await, counts(&view, CAT).await), ((0, 0), (0, 0)));
        assert_eq!(
            view.store.sizes().await.unwrap()["follows"].documents,
            2,
            "only the counts of two users are left"
        );
    }

    /// Commands read other accounts without a lock.
    #[tokio::test]
    async fn concurrent_events_commute() {
        let mut history = people();
        history.push(Deactivated { user: ANN }.into());
        history.push(followed(BOB, ANN));
        history.push(followed(ANN, CAT));
        let view = built(&Follows, history.clone()).await;
        assert_eq!((counts(&view, BOB).await, counts(&view, CAT).await), ((0, 0), (0, 0)));
        history.push(Reactivated { user: ANN }.into());
        let view = built(&Follows, history.clone()).await;
        assert_eq!((counts(&view, ANN).await, counts(&view, BOB).await), ((1, 1), (0, 1)));

        history.push(Erased { user: ANN }.into());
        history.push(Unfollowed { follower: BOB, followee: ANN, only_requested: false }.into());
        history.push(followed(CAT, ANN));
        let view = built(&Follows, history).await;
        assert_eq!((counts(&view, BOB).await, counts(&view, CAT).await), ((0, 0), (0, 0)));
    }
}
