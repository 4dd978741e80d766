//! Public profiles, with the count of posts.

use events::{
    AccountEvent, AccountsEvent, Content, Event, Kind, ModerationEvent, PostEvent, PostId, ProfileEvent,
    Recorded, SocialEvent, UserId, fold_name,
};
use serde_json::json;
use views::accounts::profiles::{AccountStatus, Profile, UncountedPost, VIEW, uncounted};
use views::social::posts::Image;
use views::{Patch, StoreError, View, Writes};

use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Profiles;

impl Projection for Profiles {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account, Kind::Profile, Kind::Post, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let post = match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => Some(event.post),
            Event::Social(SocialEvent::Moderation(event)) => post_of(event),
            Event::Social(
                SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_)) | _,
            )
            | Event::Accounts(
                AccountsEvent::Account(_)
                | AccountsEvent::Profile(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => None,
        };
        post.map(|post| (&VIEW, uncounted(&post.to_string()))).into_iter().collect()
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Account(event)) => account(event, recorded, writes)?,
            Event::Accounts(AccountsEvent::Profile(event)) => profile(event, writes),
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                count(writes, event.author, "posts", 1);
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                if take_off(event.post, true, writes)? {
                    count(writes, event.author, "posts", -1);
                }
            }
            Event::Social(SocialEvent::Moderation(event)) => moderate(event, writes)?,
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => {}
            Event::Accounts(
                AccountsEvent::Username(_) | AccountsEvent::Email(_) | AccountsEvent::Session(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

/// The status of an account after an event that changes it; none for an erased account.
pub(crate) fn status_after(event: &AccountEvent) -> Option<AccountStatus> {
    match event {
        AccountEvent::SignedUp(_) | AccountEvent::Reactivated(_) | AccountEvent::Reinstated(_) => {
            Some(AccountStatus::Active)
        }
        AccountEvent::Deactivated(_) => Some(AccountStatus::Deactivated),
        AccountEvent::Suspended(_) => Some(AccountStatus::Suspended),
        AccountEvent::UsernameChanged(_)
        | AccountEvent::EmailVerificationRequested(_)
        | AccountEvent::EmailVerified(_)
        | AccountEvent::PasswordChanged(_)
        | AccountEvent::PasswordResetRequested(_)
        | AccountEvent::EmailChangeRequested(_)
        | AccountEvent::EmailChanged(_)
        | AccountEvent::SessionsEnded(_)
        | AccountEvent::RoleGranted(_)
        | AccountEvent::RoleRevoked(_)
        | AccountEvent::ClaimAbandoned(_)
        | AccountEvent::Erased(_) => None,
    }
}

/// A change of the visibility of a user's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VisibilityChange {
    Hidden,
    Shown,
    Erased,
}

/// The change of visibility that an event causes.
pub(crate) fn visibility_change_after(event: &AccountEvent) -> Option<VisibilityChange> {
    match (event, status_after(event)) {
        (AccountEvent::SignedUp(_), _) => None,
        (AccountEvent::Erased(_), _) => Some(VisibilityChange::Erased),
        (_, status) => status.map(|status| match status {
            AccountStatus::Active => VisibilityChange::Shown,
            AccountStatus::Deactivated | AccountStatus::Suspended => VisibilityChange::Hidden,
        }),
    }
}

fn account(event: &AccountEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let user = event.user().to_string();
    match event {
        AccountEvent::SignedUp(event) => {
            // Erased users have no document.
            if let Some(person) = event.person.open() {
                writes.put(&Profile {
                    user,
                    username: person.username.clone(),
                    folded_username: fold_name(&person.username),
                    firstname: person.firstname.clone(),
                    lastname: person.lastname.clone(),
                    bio: String::new(),
                    photo: None,
                    private: false,
                    status: AccountStatus::Active,
                    joined: time(recorded),
                    position: position(recorded),
                    posts: 0,
                })?;
            }
        }
        AccountEvent::UsernameChanged(event) => {
            if let Some(spelling) = event.spelling.open() {
                let patch = Patch::default()
                    .set("username", spelling.clone())
                    .set("folded_username", fold_name(spelling));
                writes.patch::<Profile>(user, patch);
            }
        }
        AccountEvent::Deactivated(_)
        | AccountEvent::Suspended(_)
        | AccountEvent::Reactivated(_)
        | AccountEvent::Reinstated(_) => {
            if let Some(status) = status_after(event) {
                writes.patch::<Profile>(user, Patch::default().set("standing", json!(status)));
            }
        }
        AccountEvent::Erased(_) => writes.delete::<Profile>(user),
        AccountEvent::EmailVerificationRequested(_)
        | AccountEvent::EmailVerified(_)
        | AccountEvent::SessionsEnded(_)
        | AccountEvent::PasswordChanged(_)
        | AccountEvent::PasswordResetRequested(_)
        | AccountEvent::EmailChangeRequested(_)
        | AccountEvent::EmailChanged(_)
        | AccountEvent::RoleGranted(_)
        | AccountEvent::RoleRevoked(_)
        | AccountEvent::ClaimAbandoned(_) => {}
    }
    Ok(())
}

fn profile(event: &ProfileEvent, writes: &mut Writes) {
    match event {
        ProfileEvent::ProfileEdited(event) => {
            if let Some(details) = event.details.open() {
                let patch = Patch::default()
                    .set("firstname", details.firstname.clone())
                    .set("lastname", details.lastname.clone())
                    .set("bio", details.bio.clone());
                writes.patch::<Profile>(event.user.to_string(), patch);
            }
        }
        ProfileEvent::PhotoChanged(event) => {
            let events::Image { media, width, height } = event.photo;
            let photo =
                Image { media: media.to_string(), width, height, alt: String::new(), placeholder: None };
            writes.patch::<Profile>(event.user.to_string(), Patch::default().set("photo", json!(photo)));
        }
        ProfileEvent::PhotoRemoved(event) => {
            writes.patch::<Profile>(event.user.to_string(), Patch::default().set("photo", json!(null)));
        }
        ProfileEvent::PrivacyChanged(event) => {
            writes.patch::<Profile>(event.user.to_string(), Patch::default().set("private", event.private));
        }
    }
}

/// The post that a moderation event is about.
const fn post_of(event: &ModerationEvent) -> Option<PostId> {
    match event.content() {
        Content::Post { post } => Some(post),
        Content::Comment { .. } | Content::Story { .. } => None,
    }
}

fn moderate(event: &ModerationEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let Some(post) = post_of(event) else { return Ok(()) };
    match event {
        ModerationEvent::ContentRemoved(event) => {
            if take_off(post, false, writes)? {
                count(writes, event.author, "posts", -1);
            }
        }
        ModerationEvent::ContentRestored(event) => {
            let key = uncounted(&post.to_string());
            if writes.get::<UncountedPost>(&key)?.is_some_and(|note| !note.deleted) {
                writes.delete::<UncountedPost>(key);
                count(writes, event.author, "posts", 1);
            }
        }
    }
    Ok(())
}

/// Marks a post as uncounted. False if it was marked before.
fn take_off(post: PostId, deleted: bool, writes: &mut Writes) -> Result<bool, StoreError> {
    let before: Option<UncountedPost> = writes.get(&uncounted(&post.to_string()))?;
    let deleted = deleted || before.as_ref().is_some_and(|note| note.deleted);
    writes.put(&UncountedPost { uncounted: post.to_string(), deleted })?;
    Ok(before.is_none())
}

fn count(writes: &mut Writes, user: UserId, field: &'static str, by: i64) {
    writes.patch::<Profile>(user.to_string(), Patch::default().inc(field, by));
}

#[cfg(test)]
mod tests {
    use events::{
        ContentRemoved, ContentRestored, Deactivated, Erased, MediaId, Personal, PhotoChanged, PhotoRemoved,
        PostDeleted, PostPublished, PostText, PrivacyChanged, ProfileDetails, ProfileEdited, Reactivated,
        UsernameChanged,
    };
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, BOB, Built, POST, built, signed_up};

    async fn of(built: &Built, user: UserId) -> Option<Profile> {
        built.store.get(&user.to_string()).await.unwrap()
    }

    #[tokio::test]
    async fn profile_shows_the_changes_of_its_owner() {
        let photo = events::Image { media: MediaId::new(Uuid::from_u128(1)), width: 320, height: 320 };
        let details = ProfileDetails { firstname: "A".into(), lastname: "B".into(), bio: "C".into() };
        let username = "00000000000000000000000000000003".parse().unwrap();
        let history = [
            signed_up(ANN, "Ann"),
            ProfileEdited { user: ANN, details: Personal::Open(details) }.into(),
            UsernameChanged { user: ANN, username, spelling: Personal::Open("Änn".into()) }.into(),
            PhotoChanged { user: ANN, photo }.into(),
            PrivacyChanged { user: ANN, private: true }.into(),
            Deactivated { user: ANN }.into(),
        ];
        let ann = of(&built(&Profiles, history.clone()).await, ANN).await.unwrap();
        assert_eq!((ann.firstname.as_str(), ann.lastname.as_str(), ann.bio.as_str()), ("A", "B", "C"));
        assert_eq!((ann.username.as_str(), ann.folded_username.as_str()), ("Änn", "änn"));
        assert_eq!((ann.private, ann.status), (true, AccountStatus::Deactivated));
        assert_eq!(ann.photo.unwrap().width, 320);
        let back = [Reactivated { user: ANN }.into(), PhotoRemoved { user: ANN }.into()];
        let ann = of(&built(&Profiles, history.into_iter().chain(back)).await, ANN).await.unwrap();
        assert_eq!((ann.status, ann.photo), (AccountStatus::Active, None));
    }

    #[tokio::test]
    async fn posts_are_counted_until_they_are_deleted() {
        let text = Personal::Open(PostText::default());
        let published: Event = PostPublished { post: POST, author: ANN, images: vec![], text }.into();
        let mut history = vec![signed_up(ANN, "ann"), published.clone(), published];
        assert_eq!(of(&built(&Profiles, history.clone()).await, ANN).await.unwrap().posts, 2);
        history.push(PostDeleted { post: POST, author: ANN }.into());
        assert_eq!(of(&built(&Profiles, history).await, ANN).await.unwrap().posts, 1);
    }

    #[tokio::test]
    async fn a_removed_post_is_counted_again_when_it_is_restored_unless_it_was_deleted() {
        let content = Content::Post { post: POST };
        let reason = Personal::Open("spam".to_owned());
        let removed = Event::from(ContentRemoved { content, author: ANN, reason });
        let restored = Event::from(ContentRestored { content, author: ANN });
        let deleted = Event::from(PostDeleted { post: POST, author: ANN });
        let text = Personal::Open(PostText::default());
        let published = PostPublished { post: POST, author: ANN, images: vec![], text };
        for (then, posts) in [
            (vec![&removed], 0),
            (vec![&removed, &restored], 1),
            (vec![&removed, &restored, &removed], 0),
            (vec![&removed, &deleted], 0),
            (vec![&deleted, &removed], 0),
            (vec![&removed, &deleted, &restored], 0),
            (vec![&deleted, &removed, &restored], 0),
        ] {
            let history = [signed_up(ANN, "ann"), published.clone().into()].into_iter();
            let built = built(&Profiles, history.chain(then.iter().map(|event| (*event).clone()))).await;
            assert_eq!(of(&built, ANN).await.unwrap().posts, posts, "{then:?}");
        }
    }

    /// The events of an erased account read as erased from the first one on, so it has no document.
    #[tokio::test]
    async fn erased_account_has_no_profile() {
        let view = built(&Profiles, [signed_up(ANN, "ann"), Erased { user: ANN }.into()]).await;
        assert_eq!(of(&view, ANN).await, None);
        let mut sealed = signed_up(BOB, "bob");
        if let Event::Accounts(AccountsEvent::Account(AccountEvent::SignedUp(event))) = &mut sealed {
            event.person = Personal::Erased;
        }
        let deleted = PostDeleted { post: POST, author: BOB };
        assert_eq!(of(&built(&Profiles, [sealed, deleted.into()]).await, BOB).await, None);
    }
}
