//! What shows each picture: a post, a story, a profile or a playlist with its owner, or an artist, an album or a song.

use events::{
    AccountEvent, AccountsEvent, AlbumEvent, ArtistEvent, Content, Event, Image, Kind, MediaId,
    ModerationEvent, MusicEvent, PlaylistEvent, PostEvent, ProfileEvent, Recorded, SocialEvent, SongEvent,
    StoryEvent, Subject, UserId,
};
use serde_json::json;
use views::social::pictures::{BY_OWNER, BY_SUBJECT, Picture, VIEW};
use views::{Patch, PatchEach, StoreError, Writes};

use crate::engine::projection::position;
use crate::{OnFailure, Projection};

/// The kinds of events that claim or release pictures.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Account,
    Kind::Profile,
    Kind::Post,
    Kind::Story,
    Kind::Moderation,
    Kind::Artist,
    Kind::Album,
    Kind::Song,
    Kind::Playlist,
];

#[derive(Debug, Clone, Copy)]
pub struct Pictures;

impl Projection for Pictures {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let subject = recorded.event.subject();
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                let pictures = event.images.iter().map(|image| image.media);
                show(recorded, Some(event.author), pictures, writes)?;
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(_))) => forget(subject, writes),
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => {}
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => {
                show(recorded, Some(event.author), [event.image.media], writes)?;
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_))) => {
                forget(subject, writes);
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                forget(subject, writes);
                show(recorded, Some(event.user), [event.photo.media], writes)?;
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoRemoved(_))) => forget(subject, writes),
            Event::Accounts(AccountsEvent::Profile(
                ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_),
            )) => {}
            // Deactivated and suspended users keep their pictures: readers check the profile.
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                writes.delete_where::<Picture>(&BY_OWNER, vec![json!(event.user)]);
            }
            Event::Social(SocialEvent::Moderation(event)) => {
                let removed = matches!(event, ModerationEvent::ContentRemoved(_));
                set_removed(event.content(), removed, writes);
            }
            // Readers check whether the artist, the album or the song is visible.
            Event::Music(MusicEvent::Artist(ArtistEvent::ArtistImageChanged(event))) => {
                replace(recorded, event.image, writes)?;
            }
            Event::Music(MusicEvent::Album(AlbumEvent::AlbumAdded(event))) => {
                replace(recorded, event.cover, writes)?;
            }
            Event::Music(MusicEvent::Album(AlbumEvent::AlbumCoverChanged(event))) => {
                replace(recorded, event.cover, writes)?;
            }
            Event::Music(MusicEvent::Song(SongEvent::SongPublished(event))) => {
                replace(recorded, event.cover, writes)?;
            }
            Event::Music(MusicEvent::Song(SongEvent::SongCoverChanged(event))) => {
                replace(recorded, event.cover, writes)?;
            }
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCoverChanged(event))) => {
                forget(subject, writes);
                // Nobody but the owner changes it.
                let owner = recorded.envelope.actor;
                show(recorded, owner, event.cover.map(|cover| cover.media), writes)?;
            }
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistDeleted(_))) => forget(subject, writes),
            Event::Social(
                SocialEvent::Comment(_)
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

/// The cover of the catalogue's subject becomes this one.
fn replace(recorded: &Recorded, cover: Option<Image>, writes: &mut Writes) -> Result<(), StoreError> {
    forget(recorded.event.subject(), writes);
    show(recorded, None, cover.map(|cover| cover.media), writes)
}

fn show(
    recorded: &Recorded,
    owner: Option<UserId>,
    pictures: impl IntoIterator<Item = MediaId>,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let subject = recorded.event.subject();
    for picture in pictures {
        writes.insert(&Picture {
            picture: picture.to_string(),
            owner: owner.map(|owner| owner.to_string()),
            subject: subject.to_string(),
            removed: false,
            position: position(recorded),
        })?;
    }
    Ok(())
}

fn set_removed(content: Content, removed: bool, writes: &mut Writes) {
    writes.patch_each(PatchEach {
        over: &VIEW,
        index: &BY_SUBJECT,
        equals: vec![json!(content.subject().to_string())],
        into: &VIEW,
        key: None,
        patch: Patch::default().set("removed", removed),
    });
}

fn forget(subject: Subject, writes: &mut Writes) {
    writes.delete_where::<Picture>(&BY_SUBJECT, vec![json!(subject.to_string())]);
}

#[cfg(test)]
mod tests {
    use events::{
        ArtistId, ArtistImageChanged, ContentRemoved, ContentRestored, Deactivated, Erased, Image, Personal,
        PhotoChanged, PhotoRemoved, PostDeleted, PostPublished, PostText, StoryExpired,
    };
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, BOB, Built, POST, STORY, built, story_published};

    fn image(n: u128) -> Image {
        Image { media: MediaId::new(Uuid::from_u128(n)), width: 10, height: 20 }
    }

    fn post(images: Vec<Image>) -> Event {
        PostPublished { post: POST, author: ANN, images, text: Personal::Open(PostText::default()) }.into()
    }

    fn photo(user: UserId, n: u128) -> Event {
        PhotoChanged { user, photo: image(n) }.into()
    }

    async fn owner(built: &Built, n: u128) -> Option<String> {
        let key = image(n).media.to_string();
        built.store.get::<Picture>(&key).await.unwrap().and_then(|picture| picture.owner)
    }

    async fn count(built: &Built) -> u64 {
        built.store.sizes().await.unwrap()["pictures"].documents
    }

    #[tokio::test]
    async fn picture_has_an_owner_while_it_is_shown() {
        let shown = [post(vec![image(1), image(2)]), story_published(STORY), photo(ANN, 3), photo(BOB, 4)];
        let view = built(&Pictures, shown.clone()).await;
        for n in [1, 2, 3, 7] {
            assert_eq!(owner(&view, n).await, Some(ANN.to_string()), "{n}");
        }
        assert_eq!(owner(&view, 4).await, Some(BOB.to_string()));
        let ends = [
            PostDeleted { post: POST, author: ANN }.into(),
            StoryExpired { author: ANN, story: STORY }.into(),
            photo(ANN, 5),
            PhotoRemoved { user: BOB }.into(),
        ];
        let view = built(&Pictures, shown.into_iter().chain(ends)).await;
        assert_eq!((owner(&view, 5).await, count(&view).await), (Some(ANN.to_string()), 1));
    }

    #[tokio::test]
    async fn pictures_of_a_removed_post_are_marked_until_it_is_restored() {
        let content = Content::Post { post: POST };
        let removal = ContentRemoved { content, author: ANN, reason: Personal::Open("spam".into()) };
        let removed = async |built: &Built, n: u128| {
            let key = image(n).media.to_string();
            built.store.get::<Picture>(&key).await.unwrap().unwrap().removed
        };
        let history = [post(vec![image(1), image(2)]), photo(ANN, 3), removal.into()];
        let view = built(&Pictures, history.clone()).await;
        assert!(removed(&view, 1).await && removed(&view, 2).await && !removed(&view, 3).await);
        let restored = ContentRestored { content, author: ANN }.into();
        let view = built(&Pictures, history.into_iter().chain([restored])).await;
        assert!(!removed(&view, 1).await && !removed(&view, 2).await);
    }

    #[tokio::test]
    async fn covers_have_no_owner_and_are_replaced() {
        let artist = ArtistId::new(Uuid::from_u128(0xa7));
        let set = |cover: Option<Image>| -> Event { ArtistImageChanged { artist, image: cover }.into() };
        let subject = async |built: &Built, n: u128| {
            let key = image(n).media.to_string();
            let picture: Option<Picture> = built.store.get(&key).await.unwrap();
            picture.map(|picture| (picture.owner, picture.subject))
        };
        let expected = Some((None, Subject::Artist(artist).to_string()));
        let view = built(&Pictures, [set(Some(image(1))), Erased { user: ANN }.into()]).await;
        assert_eq!(subject(&view, 1).await, expected);
        let view = built(&Pictures, [set(Some(image(1))), set(Some(image(2)))]).await;
        assert_eq!((subject(&view, 1).await, subject(&view, 2).await), (None, expected));
        let view = built(&Pictures, [set(Some(image(1))), set(None)]).await;
        assert_eq!(count(&view).await, 0);
    }

    #[tokio::test]
    async fn pictures_are_deleted_by_an_erasure_and_kept_during_a_deactivation() {
        let shown = [post(vec![image(1)]), photo(ANN, 3), photo(BOB, 4)];
        let away =
            built(&Pictures, shown.clone().into_iter().chain([Deactivated { user: ANN }.into()])).await;
        assert_eq!(count(&away).await, 3);
        let erased = built(&Pictures, shown.into_iter().chain([Erased { user: ANN }.into()])).await;
        assert_eq!((owner(&erased, 4).await, count(&erased).await), (Some(BOB.to_string()), 1));
    }
}
