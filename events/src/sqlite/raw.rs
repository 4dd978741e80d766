//! The log as it is stored: see [`crate::raw`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use sqlite::Database;
use sqlite::rusqlite::types::ValueRef;
use sqlite::rusqlite::{self, Connection, Row};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::log::COLUMNS;
use crate::{Attributes, EventId, LogError, Position, RAW_LIMIT, RawEvent, UserId};

/// How often the file is checked for new events: operators see an event within 50 ms.
const POLL: Duration = Duration::from_millis(20);
/// Delay before a failed read is repeated.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);

/// The events after a position. A missing event is delivered as unreadable, since a log has no gaps.
pub(super) async fn after(
    database: &Arc<Database>,
    after: Position,
    limit: usize,
) -> Result<Vec<RawEvent>, LogError> {
    let limit = limit.min(RAW_LIMIT);
    let read = move |connection: &Connection| {
        connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
            ))?
            .query_map((after.0, limit), raw)?
            .collect()
    };
    let found: Vec<RawEvent> = database.scan(read).await?;
    let (mut events, mut next) = (Vec::with_capacity(found.len()), after.next());
    for event in found {
        while next < event.position && events.len() < limit {
            events.push(RawEvent::missing(next));
            next = next.next();
        }
        if events.len() == limit {
            break;
        }
        next = event.position.next();
        events.push(event);
    }
    Ok(events)
}

/// The events of a subject after a position.
pub(super) async fn of(
    database: &Arc<Database>,
    subject: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<RawEvent>, LogError> {
    let (subject, limit) = (subject.to_owned(), limit.min(RAW_LIMIT));
    let read = move |connection: &Connection| {
        connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE subject = ?1 AND position > ?2 ORDER BY position LIMIT ?3"
            ))?
            .query_map((subject, after.0, limit), raw)?
            .collect()
    };
    Ok(database.scan(read).await?)
}

/// Delivers the events after a position, then new ones, until the receiver is dropped.
pub(super) async fn follow(
    database: Arc<Database>,
    mut reached: Position,
    sender: mpsc::Sender<Result<RawEvent, LogError>>,
) {
    loop {
        let pause = match after(&database, reached, RAW_LIMIT).await {
            Ok(events) => {
                let full = events.len() == RAW_LIMIT;
                for event in events {
                    reached = event.position;
                    if sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                if full { Duration::ZERO } else { POLL }
            }
            Err(error) => {
                let is_final = matches!(error, LogError::Corrupt { .. });
                if sender.send(Err(error)).await.is_err() || is_final {
                    return;
                }
                OUTAGE_PAUSE
            }
        };
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Accepts any row.
fn raw(row: &Row<'_>) -> rusqlite::Result<RawEvent> {
    Ok(RawEvent {
        position: Position(row.get(0)?),
        subject: text(row.get_ref(1)?),
        event_type: text(row.get_ref(3)?),
        body: match row.get_ref(10)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Bytes::copy_from_slice(bytes),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Bytes::new(),
        },
        attributes: attributes(row).map_err(|error| error.to_string()),
    })
}

fn attributes(row: &Row<'_>) -> rusqlite::Result<Attributes> {
    let uuid = |bytes: [u8; 16]| Uuid::from_bytes(bytes);
    let time: i64 = row.get(5)?;
    Ok(Attributes {
        id: EventId::new(uuid(row.get(2)?)),
        source: text(row.get_ref(4)?),
        time: DateTime::from_timestamp_micros(time)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(5, time))?,
        actor: row.get::<_, Option<_>>(6)?.map(|bytes| UserId::new(uuid(bytes))),
        correlation: uuid(row.get(7)?),
        causation: row.get::<_, Option<_>>(8)?.map(|bytes| EventId::new(uuid(bytes))),
        traceparent: row.get(9)?,
    })
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
    }
}
