//! Typed ids of all entities, and positions in the log.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

/// The position of an event in the log: 1, 2, 3 …; 0 is before the first event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event; as an expected position: the subject has no event yet.
    pub const START: Self = Self(0);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not an id in Chorus's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an id is 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

fn parse_id(text: &str) -> Result<Uuid, ParseIdError> {
    // Only one spelling: clients compare ids as text, and ids are parts of subjects and keys.
    let canonical = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { Uuid::try_parse(text).map_err(|_| ParseIdError) } else { Err(ParseIdError) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_id(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.simple().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdText).map(Self)
            }
        }
    )+};
}

/// Deserialises an id without copying its text.
struct IdText;

impl serde::de::Visitor<'_> for IdText {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id of 32 lower-case hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
        parse_id(text).map_err(|_| E::invalid_value(serde::de::Unexpected::Other("text"), &self))
    }
}

ids! {
    /// An event, globally unique.
    EventId,
    /// A user's account.
    UserId,
    /// A log-in on one device, until it ends.
    SessionId,
    PostId,
    CommentId,
    StoryId,
    /// A user's collection of saved posts.
    CollectionId,
    /// A stored picture with its variants.
    MediaId,
    /// A request with a mailed link: verification, password reset, change of address.
    MailedRequestId,
}

/// A new time-ordered id (UUIDv7) at `now`: ids of similar times are close in every index.
pub fn time_ordered_id(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos()))
}

/// A username or address in the log: a keyed hash of its folded form. Without the deployment's secret, guesses cannot
/// be tested. Created by `events::KeyRing::claim_hash`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimHash([u8; 16]);

impl ClaimHash {
    pub const fn new(hash: [u8; 16]) -> Self {
        Self(hash)
    }

    pub const fn uuid(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }
}

impl fmt::Display for ClaimHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl fmt::Debug for ClaimHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimHash({self})")
    }
}

impl FromStr for ClaimHash {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_id(text).map(|uuid| Self(uuid.into_bytes()))
    }
}

impl Serialize for ClaimHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClaimHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IdText).map(|uuid| Self(uuid.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_has_one_spelling() {
        let id = PostId::new(Uuid::from_u128(0xab));
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in [
            "000000000000000000000000000000AB",
            "00000000-0000-0000-0000-0000000000ab",
            "{00000000000000000000000000000ab}",
            "ab",
            "",
            "000000000000000000000000000000abc",
            "0000000000000000000000000000€b",
        ] {
            assert_eq!(other.parse::<PostId>(), Err(ParseIdError), "{other}");
        }
    }

    #[test]
    fn ids_of_later_moments_sort_later() {
        let early = time_ordered_id(DateTime::UNIX_EPOCH);
        let late = time_ordered_id(DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1));
        assert!(early < late);
    }
}
