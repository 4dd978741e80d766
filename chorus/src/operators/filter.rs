//! Which events an operator wants to see.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use events::{RawEvent, UserId};
use uuid::Uuid;

use super::LogAccess;

#[derive(Debug, Clone, Args)]
pub(super) struct FilterSettings {
    /// Only events about these subjects: a kind (`post`), the beginning of a subject (`post.3f`), or
    /// `username:<name>` or `email:<address>`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Only events of these types: a kind (`post`) or the beginning of a type (`post.published`)
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// Only events that this user caused
    #[arg(long, value_name = "USER")]
    actor: Option<UserId>,

    /// Only events of this request
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,

    /// Only events since a time (2026-11-29T10:00:00Z) or for a duration until now (2h, 30min, 7d)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,

    /// Only events until a time, or until a duration before now
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

/// A time, or a duration before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(time.to_utc()));
        }
        parse_duration(text).map(Self::Ago).map_err(|_| {
            "expected a time such as 2026-11-29T10:00:00Z, or a duration such as 2h or 30min".to_owned()
        })
    }
}

/// A duration such as `2h 30min`.
pub(super) fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    TimeDelta::from_std(duration).map_err(|error| error.to_string())
}

impl Moment {
    pub(super) fn resolve(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.checked_sub_signed(duration).unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

/// The settings with names and times resolved.
#[derive(Debug, Clone, Default)]
pub(super) struct EventFilter {
    subject: Option<String>,
    event_type: Option<String>,
    actor: Option<UserId>,
    correlation: Option<Uuid>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl FilterSettings {
    pub(super) async fn resolve(&self, access: &LogAccess, now: DateTime<Utc>) -> Result<EventFilter> {
        Ok(EventFilter {
            subject: match &self.subject {
                Some(subject) => Some(access.subject(subject).await?),
                None => None,
            },
            event_type: self.event_type.clone(),
            actor: self.actor,
            correlation: self.correlation,
            since: self.since.map(|moment| moment.resolve(now)),
            until: self.until.map(|moment| moment.resolve(now)),
        })
    }
}

impl EventFilter {
    /// An event with an unreadable envelope has no time: it is inside every period. It has no actor and no correlation.
    pub(super) fn takes(&self, event: &RawEvent) -> bool {
        let begins = |text: &str, prefix: Option<&str>| prefix.is_none_or(|prefix| begins_with(text, prefix));
        if !begins(&event.subject, self.subject.as_deref())
            || !begins(&event.event_type, self.event_type.as_deref())
        {
            return false;
        }
        match &event.attributes {
            Ok(attributes) => {
                self.actor.is_none_or(|actor| attributes.actor == Some(actor))
                    && self.correlation.is_none_or(|correlation| attributes.correlation == correlation)
                    && self.since.is_none_or(|since| attributes.time >= since)
                    && self.until.is_none_or(|until| attributes.time <= until)
            }
            Err(_) => self.actor.is_none() && self.correlation.is_none(),
        }
    }
}

/// Without a dot the prefix is a kind: `song` is not the beginning of `songlike`.
fn begins_with(text: &str, prefix: &str) -> bool {
    if prefix.contains('.') { text.starts_with(prefix) } else { text.split('.').next() == Some(prefix) }
}

#[cfg(test)]
mod tests {
    use events::{Attributes, EventId, Position};

    use super::*;

    fn event(subject: &str, event_type: &str, readable: bool) -> RawEvent {
        let attributes = Attributes {
            id: EventId::new(Uuid::from_u128(1)),
            source: "chorus".to_owned(),
            time: DateTime::from_timestamp(1000, 0).unwrap(),
            actor: Some(UserId::new(Uuid::from_u128(7))),
            correlation: Uuid::from_u128(9),
            causation: None,
            traceparent: None,
        };
        RawEvent {
            position: Position(1),
            subject: subject.to_owned(),
            event_type: event_type.to_owned(),
            body: "".into(),
            attributes: if readable { Ok(attributes) } else { Err("no id".to_owned()) },
        }
    }

    #[test]
    fn filters_by_kind_prefix_and_attributes() {
        let song = event("song.3f", "song.published.v1", true);
        let of = |subject: &str, event_type: &str| EventFilter {
            subject: Some(subject.to_owned()),
            event_type: Some(event_type.to_owned()),
            ..EventFilter::default()
        };
        for (subject, event_type, takes) in [
            ("song", "song", true),
            ("song.3", "song.published", true),
            ("song.3f", "song.published.v1", true),
            ("so", "song", false),
            ("song", "son", false),
            ("song.4", "song", false),
        ] {
            assert_eq!(of(subject, event_type).takes(&song), takes, "{subject} {event_type}");
        }
        assert!(
            !of("songlike", "song").takes(&song)
                && !of("song", "song").takes(&event("songlike.3f", "songlike.liked.v1", true))
        );
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let nobody = EventFilter { actor: Some(UserId::new(Uuid::from_u128(8))), ..EventFilter::default() };
        let period = EventFilter { since: time(1000), until: time(1000), ..EventFilter::default() };
        let later = EventFilter { since: time(1001), ..EventFilter::default() };
        let unreadable = event("song.3f", "song.published.v1", false);
        assert!(period.takes(&song) && !later.takes(&song) && !nobody.takes(&song));
        assert!(period.takes(&unreadable) && later.takes(&unreadable) && !nobody.takes(&unreadable));
    }

    #[test]
    fn moments_are_times_or_durations() {
        let now = DateTime::from_timestamp(100_000, 0).unwrap();
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.resolve(now).timestamp());
        assert_eq!(at("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(at("2h"), Ok(100_000 - 7200));
        assert_eq!(at("1h 30min"), Ok(100_000 - 5400));
        for wrong in ["", "2", "yesterday", "2026-11-29"] {
            assert!(at(wrong).unwrap_err().contains("2h"), "{wrong}");
        }
    }
}
