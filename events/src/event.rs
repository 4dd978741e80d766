//! All events, in two levels: one enum per domain, which contains one enum per kind of subject.

use bytes::Bytes;
use thiserror::Error;

use crate::accounts::{AccountEvent, EmailEvent, ProfileEvent, SessionEvent, UsernameEvent};
use crate::mails::{MailEvent, MailboxEvent};
use crate::music::{
    AlbumEvent, AlbumLikeEvent, ArtistEvent, ArtistFollowEvent, ArtistLinkEvent, AudioEvent, BookmarkEvent,
    ChartDayEvent, ListenEvent, ListeningEvent, PlaylistEvent, PlaylistSnapshotEvent, QueueEvent,
    RatingEvent, SongEvent, SongLikeEvent,
};
use crate::operations::OperationEvent;
use crate::personal::Sealable;
use crate::social::{
    CollectionEvent, CommentEvent, FollowEvent, LikeEvent, ModerationEvent, NotificationsEvent, PostEvent,
    SaveEvent, StoryEvent, StoryViewEvent,
};
use crate::{Kind, Subject, UserId, upcast};

/// Defines one enum per kind of subject: each variant holds the struct of its name and has a hand-written wire name,
/// frozen by a fixture in `events/fixtures`.
macro_rules! event_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($variant($variant),)+
        }

        impl $name {
            pub(crate) const WIRE_NAMES: &[&str] = &[$($wire,)+];

            pub const fn wire_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $wire,)+
                }
            }

            pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self {
                    $(Self::$variant(event) => serde_json::to_vec(event),)+
                }
            }

            pub(crate) fn decode(wire_name: &str, body: &[u8]) -> Option<serde_json::Result<Self>> {
                match wire_name {
                    $($wire => Some(serde_json::from_slice(body).map(Self::$variant)),)+
                    _ => None,
                }
            }
        }

        $(impl From<$variant> for $crate::Event {
            fn from(event: $variant) -> Self {
                Self::from($name::$variant(event))
            }
        })+
    };
}
pub(crate) use event_enum;

/// Defines one enum per domain: each variant holds the enum of its kind of subject.
macro_rules! domain_enum {
    ($(#[$doc:meta])* $name:ident in $domain:ident { $($kind:ident($events:ident),)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($kind($events),)+
        }

        impl $name {
            const WIRE_NAMES: &[&[&str]] = &[$($events::WIRE_NAMES,)+];

            const fn wire_name(&self) -> &'static str {
                match self {
                    $(Self::$kind(event) => event.wire_name(),)+
                }
            }

            fn subject(&self) -> Subject {
                match self {
                    $(Self::$kind(event) => event.subject(),)+
                }
            }

            fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
                match self {
                    $(Self::$kind(event) => event.personal(),)+
                }
            }

            fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self {
                    $(Self::$kind(event) => event.encode(),)+
                }
            }

            /// None if the event is of another domain, or has an unknown name.
            fn decode(wire_name: &str, body: &[u8]) -> Option<serde_json::Result<Event>> {
                match Kind::of(wire_name)? {
                    $(Kind::$kind => $events::decode(wire_name, body).map(|event| event.map(Event::from)),)+
                    _ => None,
                }
            }
        }

        $(impl From<$events> for Event {
            fn from(event: $events) -> Self {
                Self::$domain($name::$kind(event))
            }
        })+
    };
}

domain_enum! {
    /// Sign-up, names and addresses, sessions, profiles.
    AccountsEvent in Accounts {
        Account(AccountEvent),
        Username(UsernameEvent),
        Email(EmailEvent),
        Session(SessionEvent),
        Profile(ProfileEvent),
    }
}

domain_enum! {
    /// The photo network.
    SocialEvent in Social {
        Post(PostEvent),
        Comment(CommentEvent),
        Like(LikeEvent),
        Follow(FollowEvent),
        Story(StoryEvent),
        StoryView(StoryViewEvent),
        Notifications(NotificationsEvent),
        Save(SaveEvent),
        Collection(CollectionEvent),
        Moderation(ModerationEvent),
    }
}

domain_enum! {
    /// The music catalogue, playlists and listening.
    MusicEvent in Music {
        Artist(ArtistEvent),
        ArtistLink(ArtistLinkEvent),
        Album(AlbumEvent),
        Song(SongEvent),
        Audio(AudioEvent),
        SongLike(SongLikeEvent),
        AlbumLike(AlbumLikeEvent),
        ArtistFollow(ArtistFollowEvent),
        Rating(RatingEvent),
        Bookmark(BookmarkEvent),
        Playlist(PlaylistEvent),
        PlaylistSnapshot(PlaylistSnapshotEvent),
        Listen(ListenEvent),
        Listening(ListeningEvent),
        ChartDay(ChartDayEvent),
        Queue(QueueEvent),
    }
}

domain_enum! {
    /// Outgoing mail and the addresses it goes to.
    MailsEvent in Mail {
        Mail(MailEvent),
        Mailbox(MailboxEvent),
    }
}

domain_enum! {
    /// What operators do to the deployment.
    OperationsEvent in Operations {
        Operation(OperationEvent),
    }
}

macro_rules! event {
    ($($domain:ident($events:ident),)+) => {
        /// All events. Consumers match the events of their own domain exhaustively, so that a new event does not
        /// compile until it is handled, and skip foreign domains in one arm.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($domain($events),)+
        }

        impl Event {
            /// The wire names of all events, ordered by kind.
            pub fn wire_names() -> impl Iterator<Item = &'static str> {
                [$($events::WIRE_NAMES,)+].into_iter().flatten().copied().flatten().copied()
            }

            pub const fn wire_name(&self) -> &'static str {
                match self {
                    $(Self::$domain(event) => event.wire_name(),)+
                }
            }

            pub fn subject(&self) -> Subject {
                match self {
                    $(Self::$domain(event) => event.subject(),)+
                }
            }

            /// The personal value of the event, with the user whose key seals it.
            pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
                match self {
                    $(Self::$domain(event) => event.personal(),)+
                }
            }

            /// The user whose personal data it contains, if any.
            pub fn person(&mut self) -> Option<UserId> {
                self.personal().map(|(person, _)| person)
            }

            /// Erases its personal data, as if the user's key were destroyed.
            pub fn erase_personal(&mut self) {
                if let Some((_, personal)) = self.personal() {
                    personal.erase();
                }
            }

            /// The body as JSON; an error if personal data is not sealed.
            pub(crate) fn encode(&self) -> serde_json::Result<Bytes> {
                match self {
                    $(Self::$domain(event) => event.encode(),)+
                }
                .map(Bytes::from)
            }

            pub(crate) fn decode(wire_name: &str, body: &[u8]) -> Result<Self, DecodeError> {
                let malformed = |source| DecodeError::Malformed { wire_name: wire_name.to_owned(), source };
                let (newest, body) = upcast::newest(wire_name, body).map_err(malformed)?;
                let event = None$(.or_else(|| $events::decode(newest, &body)))+;
                event.ok_or_else(|| UnknownEvent(wire_name.to_owned()))?.map_err(malformed)
            }
        }
    };
}

event! {
    Accounts(AccountsEvent),
    Social(SocialEvent),
    Music(MusicEvent),
    Mail(MailsEvent),
    Operations(OperationsEvent),
}

/// An event with an unknown name: written by a newer version of the program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an event that this version of the program knows: a newer one wrote it")]
pub struct UnknownEvent(pub(crate) String);

impl UnknownEvent {
    /// Whether a wire name is unknown.
    pub fn is(wire_name: &str) -> bool {
        matches!(Event::decode(wire_name, b"{}"), Err(DecodeError::Unknown(_)))
    }
}

#[derive(Debug, Error)]
pub(crate) enum DecodeError {
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    #[error("the body of a `{wire_name}` cannot be read")]
    Malformed { wire_name: String, source: serde_json::Error },
}
