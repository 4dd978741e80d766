//! Computes which subjects claim which pictures; shared by clean-up and audit. A picture's id is created for one
//! upload and claimed by one event, so a picture that one subject releases has no other claim.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use events::{
    AccountEvent, AccountsEvent, Event, EventLog, Filter, Kind, LogError, MailsEvent, MediaId,
    ModerationEvent, MusicEvent, Position, PostEvent, ProfileEvent, REMOVAL_REVERSIBLE, Recorded,
    SocialEvent, SongEvent, StoryEvent, Subject, UserId,
};

use super::collection::SAFE_AGE;

/// The kinds of events that claim or release pictures.
pub(super) const KINDS: &[Kind] =
    &[Kind::Account, Kind::Profile, Kind::Post, Kind::Story, Kind::Moderation, Kind::Song];
/// Maximum number of events per batch.
const BATCH: usize = 1000;

/// The claims of all subjects. About a hundred bytes per tracked picture.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: HashMap<Subject, Claim>,
    /// Users whose subjects claim nothing, including content published concurrently with the erasure.
    erased: HashSet<UserId>,
    /// Subjects removed by moderators, with the time of the removal.
    removed: HashMap<Subject, DateTime<Utc>>,
    /// The audio files of songs by key: the same file may belong to several songs. They outlive the publishing account, and
    /// removed songs keep them.
    audio: HashMap<String, Subject>,
    tracked: Tracked,
}

#[derive(Debug)]
struct Claim {
    author: UserId,
    pictures: Vec<MediaId>,
}

/// The claims to track; others are skipped.
#[derive(Debug, Default)]
pub(super) enum Tracked {
    #[default]
    Everything,
    Of(UserId),
    These(HashSet<MediaId>),
}

impl Claims {
    pub(super) fn of(tracked: Tracked) -> Self {
        Self { tracked, ..Self::default() }
    }

    /// Applies an event including the time of removals, and returns the released pictures.
    fn apply_at(&mut self, recorded: &Recorded) -> Vec<MediaId> {
        if let Event::Social(SocialEvent::Moderation(event)) = &recorded.event {
            match event {
                ModerationEvent::ContentRemoved(event) => {
                    self.removed.insert(event.content.subject(), recorded.envelope.time);
                }
                ModerationEvent::ContentRestored(event) => {
                    self.removed.remove(&event.content.subject());
                }
            }
        }
        self.apply(&recorded.event)
    }

    /// Applies an event, and returns the released pictures.
    pub(super) fn apply(&mut self, event: &Event) -> Vec<MediaId> {
        match event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                let pictures = event.images.iter().map(|image| image.media);
                self.claim(Subject::Post(event.post), event.author, pictures)
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => Vec::new(),
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                self.release(Subject::Post(event.post))
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                self.claim(Subject::Profile(event.user), event.user, [event.photo.media])
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoRemoved(event))) => {
                self.release(Subject::Profile(event.user))
            }
            Event::Accounts(AccountsEvent::Profile(
                ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_),
            )) => Vec::new(),
            Event::Social(SocialEvent::Story(story @ StoryEvent::StoryPublished(event))) => {
                self.claim(story.subject(), event.author, [event.image.media])
            }
            Event::Social(SocialEvent::Story(
                story @ (StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
            )) => self.release(story.subject()),
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => self.erase(event.user),
            Event::Music(MusicEvent::Song(song @ SongEvent::SongPublished(event))) => {
                if matches!(self.tracked, Tracked::Everything) {
                    self.audio.insert(event.file.key(), song.subject());
                }
                Vec::new()
            }
            Event::Accounts(
                AccountsEvent::Account(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Music(_)
            | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_)) => Vec::new(),
        }
    }

    /// Replaces the claim of a subject, and returns the pictures that are no longer claimed.
    fn claim(
        &mut self,
        subject: Subject,
        author: UserId,
        pictures: impl IntoIterator<Item = MediaId>,
    ) -> Vec<MediaId> {
        let pictures: Vec<MediaId> = pictures
            .into_iter()
            .filter(|picture| match &self.tracked {
                Tracked::Everything => true,
                Tracked::Of(user) => *user == author,
                Tracked::These(these) => these.contains(picture),
            })
            .collect();
        let mut before = self.release(subject);
        if self.erased.contains(&author) {
            before.extend(pictures);
            return before;
        }
        before.retain(|picture| !pictures.contains(picture));
        if !pictures.is_empty() {
            self.held.insert(subject, Claim { author, pictures });
        }
        before
    }

    fn release(&mut self, subject: Subject) -> Vec<MediaId> {
        self.held.remove(&subject).map(|claim| claim.pictures).unwrap_or_default()
    }

    fn erase(&mut self, user: UserId) -> Vec<MediaId> {
        self.erased.insert(user);
        self.held.extract_if(|_, claim| claim.author == user).flat_map(|(_, claim)| claim.pictures).collect()
    }

    /// Releases the pictures of removed content that can no longer be restored, with a tolerance of a day for wrong
    /// clocks.
    pub(super) fn release_removed(&mut self, now: DateTime<Utc>) -> HashSet<MediaId> {
        let kept = REMOVAL_REVERSIBLE + SAFE_AGE;
        let over: Vec<Subject> =
            self.removed.iter().filter(|(_, at)| now - **at >= kept).map(|(subject, _)| *subject).collect();
        over.into_iter().flat_map(|subject| self.release(subject)).collect()
    }

    /// The keys of all audio files, each with a song that it belongs to.
    pub(super) fn audio(&self) -> impl Iterator<Item = (&str, Subject)> {
        self.audio.iter().map(|(key, song)| (key.as_str(), *song))
    }

    /// All claimed pictures with their subjects.
    pub(super) fn pictures(&self) -> impl Iterator<Item = (MediaId, Subject)> {
        self.held
            .iter()
            .flat_map(|(subject, claim)| claim.pictures.iter().map(|picture| (*picture, *subject)))
    }
}

/// Folds the whole log up to a position. None if the process shuts down meanwhile.
pub(super) async fn of_log(
    log: &dyn EventLog,
    up_to: Position,
    tracked: Tracked,
    on_progress: &(dyn Fn(Position) + Sync),
) -> Result<Option<Claims>, LogError> {
    let mut claims = Claims::of(tracked);
    let mut passed = Position::START;
    let mut follow = log.follow(Filter::kinds(KINDS), passed);
    while passed < up_to {
        let Some(batch) = follow.next_batch(BATCH).await else { return Ok(None) };
        let events::Batch { events, unreadable, passed: until } = batch?;
        // Skipping a claim would delete its picture.
        if let Some(unreadable) = unreadable.into_iter().find(|event| event.position <= up_to) {
            return Err(unreadable.error);
        }
        for stored in events.into_iter().filter(|stored| stored.position <= up_to) {
            claims.apply_at(&Recorded::sealed(stored)?);
        }
        passed = until;
        on_progress(passed.min(up_to));
    }
    Ok(Some(claims))
}

/// The pictures that an event releases and that no later event claims.
pub(super) async fn released_by(
    log: &dyn EventLog,
    position: Position,
    event: &Event,
) -> Result<Vec<MediaId>, LogError> {
    let history = match event {
        // Only these events release pictures.
        Event::Social(
            SocialEvent::Post(PostEvent::PostDeleted(_))
            | SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
        )
        | Event::Accounts(AccountsEvent::Profile(
            ProfileEvent::PhotoChanged(_) | ProfileEvent::PhotoRemoved(_),
        )) => log.read(event.subject(), Position::START).await?,
        Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(erased))) => {
            // No index lists all pictures of a user, and an erasure happens once per user.
            let before = Position(position.0.saturating_sub(1));
            let claims = of_log(log, before, Tracked::Of(erased.user), &|_| ()).await?;
            return Ok(claims
                .map(|claims| claims.pictures().map(|(picture, _)| picture).collect())
                .unwrap_or_default());
        }
        Event::Social(
            SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_))
            | SocialEvent::Story(StoryEvent::StoryPublished(_))
            | SocialEvent::Comment(_)
            | SocialEvent::Like(_)
            | SocialEvent::Follow(_)
            | SocialEvent::StoryView(_)
            | SocialEvent::Notifications(_)
            | SocialEvent::Save(_)
            | SocialEvent::Collection(_)
            | SocialEvent::Moderation(_),
        )
        | Event::Accounts(
            AccountsEvent::Profile(ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_))
            | AccountsEvent::Account(_)
            | AccountsEvent::Username(_)
            | AccountsEvent::Email(_)
            | AccountsEvent::Session(_),
        )
        | Event::Music(_)
        | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_)) => return Ok(Vec::new()),
    };
    let mut claims = Claims::default();
    let mut gone = Vec::new();
    for stored in history {
        let at = stored.position;
        let released = claims.apply(&Recorded::sealed(stored)?.event);
        if at == position {
            gone = released;
        }
    }
    let held: HashSet<MediaId> = claims.pictures().map(|(picture, _)| picture).collect();
    gone.retain(|picture| !held.contains(picture));
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use events::{
        Erased, Image, Personal, PhotoChanged, PhotoRemoved, PostDeleted, PostId, PostPublished,
        StoryDeleted, StoryExpired, StoryId, StoryPublished,
    };
    use uuid::Uuid;

    use super::*;
    use crate::testing::{ANN, BOB, POST};

    const STORY: StoryId = StoryId::new(Uuid::from_u128(0x5));

    fn media(n: u128) -> MediaId {
        MediaId::new(Uuid::from_u128(n))
    }

    fn image(n: u128) -> Image {
        Image { media: media(n), width: 1, height: 1 }
    }

    fn post(post: PostId, author: UserId, pictures: &[u128]) -> Event {
        let images = pictures.iter().copied().map(image).collect();
        PostPublished { post, author, images, text: Personal::Erased }.into()
    }

    fn photo(user: UserId, n: u128) -> Event {
        PhotoChanged { user, photo: image(n) }.into()
    }

    fn story(author: UserId, n: u128) -> Event {
        StoryPublished { author, story: STORY, image: image(n), text: Personal::Erased }.into()
    }

    /// The pictures that each event releases, and the claims at the end.
    fn folded(tracked: Tracked, history: &[Event]) -> (Vec<Vec<MediaId>>, Vec<MediaId>) {
        let mut claims = Claims::of(tracked);
        let mut released: Vec<Vec<MediaId>> = history.iter().map(|event| claims.apply(event)).collect();
        for pictures in &mut released {
            pictures.sort();
        }
        let mut held: Vec<MediaId> = claims.pictures().map(|(picture, _)| picture).collect();
        held.sort();
        (released, held)
    }

    #[test]
    fn deleted_expired_removed_and_replaced_pictures_are_released() {
        let history = [
            post(POST, ANN, &[1, 2]),
            photo(ANN, 3),
            story(BOB, 4),
            photo(ANN, 5),
            PostDeleted { post: POST, author: ANN }.into(),
            StoryExpired { author: BOB, story: STORY }.into(),
            StoryDeleted { author: BOB, story: STORY }.into(),
            PhotoRemoved { user: ANN }.into(),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        let gone: Vec<MediaId> = [3, 1, 2, 4, 5].map(media).to_vec();
        assert_eq!(released.concat(), gone);
        assert_eq!(released.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 1, 2, 1, 0, 1]);
        assert_eq!(held, []);
    }

    #[test]
    fn erased_user_claims_nothing_even_concurrently() {
        let late = PostId::new(Uuid::from_u128(0x91));
        let history = [
            post(POST, ANN, &[1, 2]),
            photo(ANN, 3),
            story(BOB, 4),
            Erased { user: ANN }.into(),
            post(late, ANN, &[6]),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        assert_eq!(released[3], [1, 2, 3].map(media));
        assert_eq!(released[4], [media(6)]);
        assert_eq!(held, [media(4)]);
    }

    #[test]
    fn only_tracked_claims_are_kept() {
        let history = [post(POST, ANN, &[1, 2]), photo(BOB, 3)];
        let these = HashSet::from([media(2), media(9)]);
        assert_eq!(folded(Tracked::These(these), &history).1, [media(2)]);
        assert_eq!(folded(Tracked::Of(BOB), &history).1, [media(3)]);
    }
}
