//! Typed ids of all entities, and positions in the log.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
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
    /// An artist of the music catalogue, not an account.
    ArtistId,
    AlbumId,
    SongId,
    PlaylistId,
    /// An entry of a playlist: the same song can be in a playlist twice.
    EntryId,
    /// An act of an operator.
    OperationId,
    /// A file that is being uploaded in parts.
    UploadId,
    /// One time that a user listened to a song.
    PlayId,
}

impl EntryId {
    /// The id of the entry that an event adds at this place of its list: distinct for each event and place.
    pub const fn of_event(event: EventId, place: u16) -> Self {
        Self(Uuid::from_u128(event.0.as_u128() ^ place as u128))
    }
}

/// SHA-256 of the audio data of a file, without its tags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudioHash([u8; 32]);

impl AudioHash {
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for AudioHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AudioHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AudioHash({self})")
    }
}

/// The text is not a hash in Chorus's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct ParseHashError;

impl FromStr for AudioHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |range: std::ops::Range<usize>| {
            text.get(range).and_then(|half| parse_id(half).ok()).ok_or(ParseHashError)
        };
        let (first, second) = (half(0..32)?, half(32..text.len())?);
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(first.as_bytes());
        hash[16..].copy_from_slice(second.as_bytes());
        Ok(Self(hash))
    }
}

impl Serialize for AudioHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AudioHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A day in UTC. The text form is `YYYY-MM-DD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

impl Day {
    pub const fn new(date: NaiveDate) -> Self {
        Self(date)
    }

    /// The day of a moment.
    pub fn of(time: DateTime<Utc>) -> Self {
        Self(time.date_naive())
    }

    pub const fn date(self) -> NaiveDate {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format("%Y-%m-%d").fmt(f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Day({self})")
    }
}

/// The text is not a day in Chorus's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a day is YYYY-MM-DD")]
pub struct ParseDayError;

impl FromStr for Day {
    type Err = ParseDayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only one spelling: days are parts of subjects and keys.
        let day = Self(NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| ParseDayError)?);
        if day.to_string() == text && text.len() == 10 { Ok(day) } else { Err(ParseDayError) }
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
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
    fn day_and_hash_have_one_spelling() {
        let day: Day = "2026-02-03".parse().unwrap();
        assert_eq!(day.to_string(), "2026-02-03");
        for other in ["2026-2-3", "2026-02-30", "+2026-02-03", "12026-02-03", "", "2026-02-03T00:00"] {
            assert_eq!(other.parse::<Day>(), Err(ParseDayError), "{other}");
        }
        let hash = AudioHash::new([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for other in [&"ab".repeat(31), &"AB".repeat(32), "", &"é".repeat(32)] {
            assert_eq!(other.parse::<AudioHash>(), Err(ParseHashError), "{other}");
        }
    }

    #[test]
    fn entries_of_events_differ() {
        let [first, second] = [0x1_0000, 0x2_0000].map(|id| EventId::new(Uuid::from_u128(id)));
        let entries = [(first, 0), (first, 1), (second, 0), (second, 1)];
        let ids: std::collections::BTreeSet<EntryId> =
            entries.into_iter().map(|(event, place)| EntryId::of_event(event, place)).collect();
        assert_eq!(ids.len(), entries.len());
    }

    #[test]
    fn ids_of_later_moments_sort_later() {
        let early = time_ordered_id(DateTime::UNIX_EPOCH);
        let late = time_ordered_id(DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1));
        assert!(early < late);
    }
}
