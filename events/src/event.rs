use bytes::Bytes;
use thiserror::Error;

use crate::accounts::ProfileEvent;
use crate::accounts::SessionEvent;
use crate::accounts::{AccountEvent, EmailEvent, UsernameEvent};
use crate::mails::{MailEvent, MailboxEvent};
use crate::personal::Sealable;
use crate::social::CommentEvent;
use crate::social::FollowEvent;
use crate::social::LikeEvent;
use crate::social::ModerationEvent;
use crate::social::NotificationsEvent;
use crate::social::PostEvent;
use crate::social::{CollectionEvent, SaveEvent};
use crate::social::{StoryEvent, StoryViewEvent};
use crate::{Kind, Subject, UserId, upcast};

/// One enum per kind of subject: each variant holds the struct of its name and has a wire name, written by hand
/// and frozen by a fixture in `events/fixtures`.
macro_rules! event_enum {
    ($(#[$doc:meta])* $name:ident in $kind:ident { $($variant:ident = $wire:literal,)+ }) => {
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
                Self::$kind($name::$variant(event))
            }
        })+
    };
}
pub(crate) use event_enum;

macro_rules! event {
    ($($kind:ident($events:ident),)+) => {
        /// Everything that can happen. Who consumes events matches on it exhaustively, so that a new one asks
        /// every consumer for its verdict.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($kind($events),)+
        }

        impl Event {
            /// The wire names of all events, in the order of their kinds.
            pub fn wire_names() -> impl Iterator<Item = &'static str> {
                [$($events::WIRE_NAMES,)+].into_iter().flatten().copied()
            }

            pub const fn wire_name(&self) -> &'static str {
                match self {
                    $(Self::$kind(event) => event.wire_name(),)+
                }
            }

            pub fn subject(&self) -> Subject {
                match self {
                    $(Self::$kind(event) => event.subject(),)+
                }
            }

            /// The one value in it that a person wrote or is, with the person whose key seals it.
            pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
                match self {
                    $(Self::$kind(event) => event.personal(),)+
                }
            }

            /// Whose personal data it carries, if any.
            pub fn person(&mut self) -> Option<UserId> {
                self.personal().map(|(person, _)| person)
            }

            /// Takes its personal data out, as nobody can read it once the person's key is destroyed.
            pub fn erase_personal(&mut self) {
                if let Some((_, personal)) = self.personal() {
                    personal.erase();
                }
            }

            /// The body as JSON; an error if something personal is not sealed.
            pub(crate) fn encode(&self) -> serde_json::Result<Bytes> {
                match self {
                    $(Self::$kind(event) => event.encode(),)+
                }
                .map(Bytes::from)
            }

            pub(crate) fn decode(wire_name: &str, body: &[u8]) -> Result<Self, DecodeError> {
                let malformed = |source| DecodeError::Malformed { wire_name: wire_name.to_owned(), source };
                let (newest, body) = upcast::newest(wire_name, body).map_err(malformed)?;
                let event = match Kind::of(newest) {
                    $(Some(Kind::$kind) => $events::decode(newest, &body).map(|event| event.map(Self::$kind)),)+
                    None => None,
                };
                event.ok_or_else(|| UnknownEvent(wire_name.to_owned()))?.map_err(malformed)
            }
        }
    };
}

event! {
    Account(AccountEvent),
    Username(UsernameEvent),
    Email(EmailEvent),
    Session(SessionEvent),
    Profile(ProfileEvent),
    Post(PostEvent),
    Comment(CommentEvent),
    Like(LikeEvent),
    Follow(FollowEvent),
    Story(StoryEvent),
    StoryView(StoryViewEvent),
    Notifications(NotificationsEvent),
    Save(SaveEvent),
    Collection(CollectionEvent),
    Mail(MailEvent),
    Mailbox(MailboxEvent),
    Moderation(ModerationEvent),
}

/// An event that this program has no name for: written by a newer one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an event that this program knows: a newer one wrote it")]
pub struct UnknownEvent(pub(crate) String);

#[derive(Debug, Error)]
pub(crate) enum DecodeError {
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    #[error("the body of a `{wire_name}` cannot be read")]
    Malformed { wire_name: String, source: serde_json::Error },
}
