//! The log as it is stored: see [`crate::raw`]. Reads use direct gets, so that the server keeps nothing for them; an
//! operator who follows the log has an ephemeral consumer.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{REPLICA_TIMEOUT, message};
use crate::{LogError, Position, RAW_LIMIT, RawEvent};

/// Number of messages requested at the same time.
const REQUESTS: usize = 128;
/// A header of messages that are answered together: how many more the subject has.
const PENDING: &str = "Nats-Num-Pending";

/// The events after a position up to the head. A missing event is delivered as unreadable, since a log has no gaps.
pub(super) async fn after(
    stream: &Stream<()>,
    name: &str,
    after: Position,
    head: Position,
    limit: usize,
) -> Result<Vec<RawEvent>, LogError> {
    let last = head.0.min(after.0.saturating_add(limit.min(RAW_LIMIT) as u64));
    let events = stream::iter(after.0 + 1..=last).map(|position| at(stream, name, position));
    events.buffered(REQUESTS).try_collect().await
}

async fn at(stream: &Stream<()>, name: &str, position: u64) -> Result<RawEvent, LogError> {
    let message = match timeout(REPLICA_TIMEOUT, stream.direct_get(position)).await {
        Ok(Ok(message)) => message,
        // A replica may be behind, broken or down; the leader has it.
        Ok(Err(_)) | Err(_) => match stream.get_raw_message(position).await {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                return Ok(RawEvent::missing(Position(position)));
            }
            Err(error) => return Err(LogError::unavailable(error)),
        },
    };
    Ok(of_message(name, message))
}

/// Whether a text can be a subject in any version of the program: tokens of letters, digits, `-` and `_`, separated by
/// dots. Engines treat other characters as patterns.
fn is_subject_text(text: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.split('.').all(is_token)
}

/// The events of a subject after a position. Most come from any replica, all in one answer; the leader, which is never
/// behind, has the last word.
pub(super) async fn of(
    client: &Client,
    stream: &Stream<()>,
    name: &str,
    subject: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<RawEvent>, LogError> {
    if !is_subject_text(subject) {
        return Ok(Vec::new());
    }
    let (mut events, limit): (Vec<RawEvent>, _) = (Vec::new(), limit.min(RAW_LIMIT));
    let subject = super::log::stream_subject(name, subject);
    let reached = |events: &[RawEvent]| events.last().map_or(after, |event| event.position);
    while events.len() < limit {
        let next = stream.raw_message_builder().sequence(reached(&events).0 + 1);
        match next.next_by_subject(&subject).send().await {
            Ok(message) => {
                events.push(of_message(name, message));
                let (from, left) = (reached(&events).0 + 1, limit - events.len());
                if left == 0 {
                    break;
                }
                let more = timeout(REPLICA_TIMEOUT, some_of(client, name, &subject, from, left)).await;
                // Otherwise the replica is broken or down.
                if let Ok(Ok(messages)) = more {
                    events.extend(messages.into_iter().map(|message| of_message(name, message)));
                }
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
            Err(error) => return Err(LogError::unavailable(error)),
        }
    }
    Ok(events)
}

/// Messages of a subject from a position on, as one replica has them and fits into one answer.
async fn some_of(
    client: &Client,
    name: &str,
    subject: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<StreamMessage>, async_nats::Error> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    let request = json!({ "seq": from, "next_by_subj": subject, "batch": limit }).to_string();
    client.publish_with_reply(format!("$JS.API.DIRECT.GET.{name}"), inbox, request.into()).await?;
    let mut messages = Vec::new();
    while let Some(answer) = answers.next().await {
        // The end, or a refusal.
        if answer.status.is_some() {
            break;
        }
        // Servers before 2.11 answer with one message, and nothing follows.
        let is_alone = answer.headers.as_ref().is_none_or(|headers| headers.get(PENDING).is_none());
        messages.push(StreamMessage::try_from(answer)?);
        if is_alone {
            break;
        }
    }
    Ok(messages)
}

/// Delivers the events after a position, then new ones, until the receiver is dropped.
pub(super) async fn follow(
    source: super::follow::Source,
    after: Position,
    sender: mpsc::Sender<Result<RawEvent, LogError>>,
) {
    tokio::select! {
        () = sender.closed() => {}
        () = source.deliver_raw(after, &sender) => {}
    }
}

fn of_message(name: &str, message: StreamMessage) -> RawEvent {
    raw(name, message.sequence, &message.subject, &message.headers, message.payload)
}

/// The subject of an event from that of its message, which begins with the name of the stream.
pub(super) fn event_subject<'a>(name: &str, subject: &'a str) -> &'a str {
    subject.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(subject)
}

/// Accepts any message.
pub(super) fn raw(name: &str, position: u64, subject: &str, headers: &HeaderMap, body: Bytes) -> RawEvent {
    let subject = event_subject(name, subject);
    RawEvent {
        position: Position(position),
        attributes: message::attributes(headers, subject),
        subject: subject.to_owned(),
        event_type: message::event_type(headers).unwrap_or_default().to_owned(),
        body,
    }
}
