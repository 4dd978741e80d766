//! Which pictures the log claims, and what claims them: the fold that the clean-up and the audit share. Every picture's
//! id is made for one upload and claimed by one event, so what one subject lets go nothing else holds.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use events::{
    AccountEvent, AccountsEvent, Event, EventLog, Filter, Kind, LogError, MailsEvent, MediaId,
    ModerationEvent, Position, PostEvent, ProfileEvent, REMOVAL_REVERSIBLE, Recorded, SocialEvent,
    StoryEvent, Subject, UserId,
};

use super::collection::SAFE_AGE;

/// The kinds of events that claim pictures or let them go.
pub(super) const KINDS: &[Kind] = &[Kind::Account, Kind::Profile, Kind::Post, Kind::Story, Kind::Moderation];
/// Events taken from the log at once.
const BATCH: usize = 1000;

/// What is held by each subject. Of a large log this takes about a hundred bytes for each picture that is looked for.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: HashMap<Subject, Claim>,
    /// What they have claims no more, also what is published in the same instant.
    erased: HashSet<UserId>,
    /// What moderators have removed, and when.
    removed: HashMap<Subject, DateTime<Utc>>,
    looked_for: LookedFor,
}

#[derive(Debug)]
struct Claim {
    author: UserId,
    pictures: Vec<MediaId>,
}

/// What the fold remembers; the rest it passes over.
#[derive(Debug, Default)]
pub(super) enum LookedFor {
    #[default]
    Everything,
    Of(UserId),
    These(HashSet<MediaId>),
}

impl Claims {
    pub(super) fn of(looked_for: LookedFor) -> Self {
        Self { looked_for, ..Self::default() }
    }

    /// Takes in an event with its time, which matters for removals alone, and tells which pictures it lets go.
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

    /// Takes in an event, and tells which pictures it lets go.
    pub(super) fn apply(&mut self, event: &Event) -> Vec<MediaId> {
        match event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                let pictures = event.images.iter().map(|image| image.media);
                self.claim(Subject::Post(event.post), event.author, pictures)
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => Vec::new(),
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                self.let_go(Subject::Post(event.post))
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                self.claim(Subject::Profile(event.user), event.user, [event.photo.media])
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoRemoved(event))) => {
                self.let_go(Subject::Profile(event.user))
            }
            Event::Accounts(AccountsEvent::Profile(
                ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_),
            )) => Vec::new(),
            Event::Social(SocialEvent::Story(story @ StoryEvent::StoryPublished(event))) => {
                self.claim(story.subject(), event.author, [event.image.media])
            }
            Event::Social(SocialEvent::Story(
                story @ (StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
            )) => self.let_go(story.subject()),
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => self.erase(event.user),
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
            | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_)) => Vec::new(),
        }
    }

    /// What a subject claims now; what it claimed before and does not now is let go.
    fn claim(
        &mut self,
        subject: Subject,
        author: UserId,
        pictures: impl IntoIterator<Item = MediaId>,
    ) -> Vec<MediaId> {
        let pictures: Vec<MediaId> = pictures
            .into_iter()
            .filter(|picture| match &self.looked_for {
                LookedFor::Everything => true,
                LookedFor::Of(user) => *user == author,
                LookedFor::These(these) => these.contains(picture),
            })
            .collect();
        let mut before = self.let_go(subject);
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

    fn let_go(&mut self, subject: Subject) -> Vec<MediaId> {
        self.held.remove(&subject).map(|claim| claim.pictures).unwrap_or_default()
    }

    fn erase(&mut self, user: UserId) -> Vec<MediaId> {
        self.erased.insert(user);
        self.held.extract_if(|_, claim| claim.author == user).flat_map(|(_, claim)| claim.pictures).collect()
    }

    /// Takes off what was removed so long ago that it can no longer be restored, by a clock that may be a day behind.
    pub(super) fn let_go_of_removed(&mut self, now: DateTime<Utc>) -> HashSet<MediaId> {
        let kept = REMOVAL_REVERSIBLE + SAFE_AGE;
        let over: Vec<Subject> =
            self.removed.iter().filter(|(_, at)| now - **at >= kept).map(|(subject, _)| *subject).collect();
        over.into_iter().flat_map(|subject| self.let_go(subject)).collect()
    }

    /// What is claimed, each with the subject that claims it.
    pub(super) fn pictures(&self) -> impl Iterator<Item = (MediaId, Subject)> {
        self.held
            .iter()
            .flat_map(|(subject, claim)| claim.pictures.iter().map(|picture| (*picture, *subject)))
    }
}

/// The fold of the whole log, up to a position; None if the process shuts down meanwhile.
pub(super) async fn of_log(
    log: &dyn EventLog,
    up_to: Position,
    looked_for: LookedFor,
    told: &(dyn Fn(Position) + Sync),
) -> Result<Option<Claims>, LogError> {
    let mut claims = Claims::of(looked_for);
    let mut passed = Position::START;
    let mut follow = log.follow(Filter::kinds(KINDS), passed);
    while passed < up_to {
        let Some(batch) = follow.next_batch(BATCH).await else { return Ok(None) };
        let events::Batch { events, unreadable, passed: until } = batch?;
        // It may claim a picture, which would be deleted without it.
        if let Some(unreadable) = unreadable.into_iter().find(|event| event.position <= up_to) {
            return Err(unreadable.error);
        }
        for stored in events.into_iter().filter(|stored| stored.position <= up_to) {
            claims.apply_at(&Recorded::sealed(stored)?);
        }
        passed = until;
        told(passed.min(up_to));
    }
    Ok(Some(claims))
}

/// The pictures that an event lets go, and that nothing holds any more.
pub(super) async fn let_go_by(
    log: &dyn EventLog,
    position: Position,
    event: &Event,
) -> Result<Vec<MediaId>, LogError> {
    let history = match event {
        // Only these let anything go; the rest need not be looked at.
        Event::Social(
            SocialEvent::Post(PostEvent::PostDeleted(_))
            | SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
        )
        | Event::Accounts(AccountsEvent::Profile(
            ProfileEvent::PhotoChanged(_) | ProfileEvent::PhotoRemoved(_),
        )) => log.read(event.subject(), Position::START).await?,
        Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(erased))) => {
            // Nothing lists what somebody has ever shown, and they are erased but once.
            let before = Position(position.0.saturating_sub(1));
            let claims = of_log(log, before, LookedFor::Of(erased.user), &|_| ()).await?;
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
        | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_)) => return Ok(Vec::new()),
    };
    let mut claims = Claims::default();
    let mut gone = Vec::new();
    for stored in history {
        let at = stored.position;
        let let_go = claims.apply(&Recorded::sealed(stored)?.event);
        if at == position {
            gone = let_go;
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

    /// What each event of a history lets go, and what is held in the end.
    fn folded(looked_for: LookedFor, history: &[Event]) -> (Vec<Vec<MediaId>>, Vec<MediaId>) {
        let mut claims = Claims::of(looked_for);
        let mut let_go: Vec<Vec<MediaId>> = history.iter().map(|event| claims.apply(event)).collect();
        for pictures in &mut let_go {
            pictures.sort();
        }
        let mut held: Vec<MediaId> = claims.pictures().map(|(picture, _)| picture).collect();
        held.sort();
        (let_go, held)
    }

    #[test]
    fn what_is_deleted_expired_removed_or_replaced_is_let_go() {
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
        let (let_go, held) = folded(LookedFor::Everything, &history);
        let gone: Vec<MediaId> = [3, 1, 2, 4, 5].map(media).to_vec();
        assert_eq!(let_go.concat(), gone);
        assert_eq!(let_go.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 1, 2, 1, 0, 1]);
        assert_eq!(held, []);
    }

    #[test]
    fn an_erased_person_holds_nothing_also_what_comes_in_the_same_instant() {
        let late = PostId::new(Uuid::from_u128(0x91));
        let history = [
            post(POST, ANN, &[1, 2]),
            photo(ANN, 3),
            story(BOB, 4),
            Erased { user: ANN }.into(),
            post(late, ANN, &[6]),
        ];
        let (let_go, held) = folded(LookedFor::Everything, &history);
        assert_eq!((let_go[3].clone(), let_go[4].clone()), ([1, 2, 3].map(media).to_vec(), vec![media(6)]));
        assert_eq!(held, [media(4)]);
    }

    #[test]
    fn only_what_is_looked_for_is_remembered() {
        let history = [post(POST, ANN, &[1, 2]), photo(BOB, 3)];
        let these = HashSet::from([media(2), media(9)]);
        assert_eq!(folded(LookedFor::These(these), &history).1, [media(2)]);
        assert_eq!(folded(LookedFor::Of(BOB), &history).1, [media(3)]);
    }
}
