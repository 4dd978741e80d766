//! Events as NATS messages: CloudEvents in binary mode, with attributes as headers and the body as payload.

use std::borrow::Cow;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use uuid::Uuid;

use crate::{Attributes, EVENT_SOURCE, Envelope, EventId, LogError, Message, Position, Stored};

const ID: &str = "ce-id";
const TYPE: &str = "ce-type";
const SOURCE: &str = "ce-source";
const TIME: &str = "ce-time";
const SUBJECT: &str = "ce-subject";
const SPEC_VERSION: &str = "ce-specversion";
const CONTENT_TYPE: &str = "content-type";
const ACTOR: &str = "chorus-actor";
const CORRELATION: &str = "chorus-correlation";
const CAUSATION: &str = "chorus-causation";
const TRACEPARENT: &str = "traceparent";

/// The headers of an event that follows `expected` on its subject. The server stores them, so the expected sequence
/// also names the position of the predecessor.
pub(super) fn headers(envelope: &Envelope, expected: Position) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = envelope.id.uuid().to_string();
    headers.insert(NATS_MESSAGE_ID, id.as_str());
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
    headers.insert(ID, id);
    headers.insert(TYPE, envelope.event_type.as_ref());
    headers.insert(SOURCE, envelope.source.as_ref());
    headers.insert(TIME, envelope.time.to_rfc3339_opts(SecondsFormat::Micros, true));
    headers.insert(SUBJECT, envelope.subject.to_string());
    headers.insert(SPEC_VERSION, "1.0");
    headers.insert(CONTENT_TYPE, "application/json");
    if let Some(actor) = envelope.actor {
        headers.insert(ACTOR, actor.to_string());
    }
    headers.insert(CORRELATION, envelope.correlation.to_string());
    if let Some(causation) = envelope.causation {
        headers.insert(CAUSATION, causation.uuid().to_string());
    }
    if let Some(traceparent) = &envelope.traceparent {
        headers.insert(TRACEPARENT, traceparent.as_str());
    }
    headers
}

/// Decodes the event of a stored message.
pub(super) fn stored(position: u64, headers: &HeaderMap, body: Bytes) -> Result<Stored, LogError> {
    let position = Position(position);
    let envelope = envelope(headers).map_err(|problem| LogError::corrupt(position, problem))?;
    Ok(Stored { position, message: Message { envelope, body } })
}

/// The position of the previous event on the same subject.
pub(super) fn previous(position: Position, headers: &HeaderMap) -> Result<Position, LogError> {
    let expected = required(headers, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref())
        .and_then(|text| text.parse().map_err(|_| format!("`{text}` is not a sequence number")))
        .map_err(|problem| LogError::corrupt(position, problem))?;
    Ok(Position(expected))
}

/// The type of the event, even if the rest is unreadable.
pub(super) fn event_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(TYPE).map(async_nats::HeaderValue::as_str)
}

pub(super) fn id(headers: &HeaderMap) -> Option<EventId> {
    uuid(headers.get(ID)?.as_str()).ok().map(EventId::new)
}

fn envelope(headers: &HeaderMap) -> Result<Envelope, String> {
    let subject = required(headers, SUBJECT)?;
    let event_type = required(headers, TYPE)?.to_owned();
    let Attributes { id, source, time, actor, correlation, causation, traceparent } = common(headers)?;
    Ok(Envelope {
        id,
        event_type: Cow::Owned(event_type),
        source: if source == EVENT_SOURCE { Cow::Borrowed(EVENT_SOURCE) } else { Cow::Owned(source) },
        time,
        subject: subject.parse().map_err(|e| format!("{e}"))?,
        actor,
        correlation,
        causation,
        traceparent,
    })
}

/// The attributes of a message that is stored under a subject of any kind, with any type.
pub(super) fn attributes(headers: &HeaderMap, stored_under: &str) -> Result<Attributes, String> {
    let subject = required(headers, SUBJECT)?;
    if subject != stored_under {
        return Err(format!("it is about `{subject}`, but is stored under another subject"));
    }
    required(headers, TYPE)?;
    common(headers)
}

fn common(headers: &HeaderMap) -> Result<Attributes, String> {
    let time = required(headers, TIME)?;
    Ok(Attributes {
        id: EventId::new(uuid(required(headers, ID)?)?),
        source: required(headers, SOURCE)?.to_owned(),
        time: DateTime::parse_from_rfc3339(time)
            .map_err(|e| format!("`{time}` is not a time: {e}"))?
            .to_utc(),
        actor: optional(headers, ACTOR)
            .map(|text| text.parse().map_err(|e| format!("{ACTOR}: {e}")))
            .transpose()?,
        correlation: uuid(required(headers, CORRELATION)?)?,
        causation: optional(headers, CAUSATION).map(uuid).transpose()?.map(EventId::new),
        traceparent: optional(headers, TRACEPARENT).map(str::to_owned),
    })
}

fn optional<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name).map(async_nats::HeaderValue::as_str)
}

fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    headers
        .get(name)
        .map(async_nats::HeaderValue::as_str)
        .ok_or_else(|| format!("the header {name} is missing"))
}

fn uuid(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|e| format!("`{text}` is not a UUID: {e}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PostId, Subject, UserId};

    fn full() -> Envelope {
        let id = Uuid::from_u128;
        Envelope {
            id: EventId::new(id(1)),
            event_type: "post.deleted.v1".into(),
            source: EVENT_SOURCE.into(),
            time: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            subject: Subject::Post(PostId::new(id(2))),
            actor: Some(UserId::new(id(3))),
            correlation: id(4),
            causation: Some(EventId::new(id(5))),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        }
    }

    #[test]
    fn envelope_roundtrips_through_headers() {
        let bare = Envelope { actor: None, causation: None, traceparent: None, ..full() };
        for envelope in [full(), bare] {
            let headers = headers(&envelope, Position(7));
            let read = stored(8, &headers, Bytes::from_static(b"{}")).unwrap();
            assert_eq!(read.message.envelope, envelope);
            assert_eq!(previous(read.position, &headers).unwrap(), Position(7));
        }
    }

    #[test]
    fn foreign_message_is_corrupt() {
        for broken in [ID, TYPE, SOURCE, TIME, SUBJECT, CORRELATION, ACTOR] {
            let mut headers = headers(&full(), Position::START);
            headers.insert(broken, "");
            let read = stored(1, &headers, Bytes::new());
            let text_only = [TYPE, SOURCE].contains(&broken);
            assert_eq!(matches!(read, Err(LogError::Corrupt { .. })), !text_only, "{broken}: {read:?}");
        }
        assert!(stored(1, &HeaderMap::new(), Bytes::new()).is_err());
    }

    const NAMES: [&str; 11] = [
        ID,
        TYPE,
        SOURCE,
        TIME,
        SUBJECT,
        SPEC_VERSION,
        ACTOR,
        CORRELATION,
        CAUSATION,
        TRACEPARENT,
        "unknown",
    ];

    proptest! {
        /// Writers with access to the stream may write any headers.
        #[test]
        fn any_headers_roundtrip_or_are_corrupt(
            changes in prop::collection::vec(
                (
                    prop::sample::select(&NAMES[..]),
                    prop_oneof![
                        Just(String::new()),
                        "[ -~]{0,60}",
                        "[^\r\n]{0,20}",
                        "[0-9a-f]{32}",
                        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-5][0-9])",
                        Just("-262143-01-01T00:00:00Z".to_owned()),
                        Just("+262142-12-31T23:59:59.999999999Z".to_owned()),
                    ],
                ),
                0..4,
            ),
            expected in "[0-9]{0,25}|[ -~]{0,10}",
        ) {
            let mut given = headers(&full(), Position(7));
            given.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.as_str());
            for (name, value) in changes {
                given.insert(name, value.as_str());
            }
            prop_assert_eq!(previous(Position(8), &given).ok(), expected.parse().ok().map(Position));
            match stored(8, &given, Bytes::new()) {
                Ok(read) => {
                    let again = stored(8, &headers(&read.message.envelope, Position(7)), Bytes::new()).unwrap();
                    // The log has microsecond precision; other programs may write more.
                    let mut envelope = read.message.envelope;
                    envelope.time = again.message.envelope.time;
                    prop_assert_eq!(again.message.envelope, envelope);
                }
                Err(error) => prop_assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}"),
            }
        }
    }
}
