use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

use crate::event::DecodeError;
use crate::personal::{CannotOpen, DataKey};
use crate::{
    AppendError, EVENT_SOURCE, Envelope, Event, EventId, EventLog, KeyRing, LogError, Message, Position,
    Stored, Subject, UserId, VaultError,
};

/// An event as somebody wishes to append it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub id: EventId,
    pub time: DateTime<Utc>,
    pub actor: Option<UserId>,
    pub correlation: Uuid,
    pub causation: Option<EventId>,
    pub traceparent: Option<String>,
    pub event: Event,
}

/// An event as it stands in the log, personal data opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub position: Position,
    pub envelope: Envelope,
    pub event: Event,
}

/// The log as the rest of Chorus uses it: typed events, personal data sealed on the way in and opened on the way
/// out.
#[derive(Debug, Clone)]
pub struct SealedLog {
    log: Arc<dyn EventLog>,
    keys: Arc<KeyRing>,
}

impl SealedLog {
    pub fn new(log: Arc<dyn EventLog>, keys: Arc<KeyRing>) -> Self {
        Self { log, keys }
    }

    pub fn raw(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// See [`EventLog::append`].
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if the event's person has been erased: nothing of theirs can be written any more.
    pub async fn append(&self, draft: Draft, expected: Position) -> Result<Position, AppendError> {
        let message = self.seal(draft).await?;
        self.log.append(&message, expected).await
    }

    async fn seal(&self, draft: Draft) -> Result<Message, LogError> {
        let Draft { id, time, actor, correlation, causation, traceparent, mut event } = draft;
        let (event_type, subject) = (event.wire_name(), event.subject());
        if let Some((person, personal)) = event.personal() {
            let key = self.keys.sealing(person).await?.ok_or_else(|| {
                LogError::corrupt(
                    None,
                    format!("person {person} is erased, so a `{event_type}` cannot be written"),
                )
            })?;
            personal.seal(&key, bound_to(id).as_bytes())?;
        }
        let body = event.encode().map_err(|e| LogError::corrupt(None, e))?;
        let envelope = Envelope {
            id,
            event_type: event_type.into(),
            source: EVENT_SOURCE.into(),
            time: time.trunc_subsecs(6),
            subject,
            actor,
            correlation,
            causation,
            traceparent,
        };
        Ok(Message { envelope, body })
    }

    /// See [`EventLog::last`].
    pub async fn last(&self, subjects: &[Subject]) -> Result<Vec<Option<Recorded>>, LogError> {
        let stored = self.log.last(subjects).await?;
        let found: Vec<bool> = stored.iter().map(Option::is_some).collect();
        let mut opened = self.open(stored.into_iter().flatten().collect()).await?.into_iter();
        Ok(found.into_iter().map(|found| if found { opened.next() } else { None }).collect())
    }

    /// See [`EventLog::read`].
    pub async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Recorded>, LogError> {
        self.open(self.log.read(subject, after).await?).await
    }

    /// Decodes events and opens what is sealed in them, with one look into the vault for all of them.
    pub async fn open(&self, stored: Vec<Stored>) -> Result<Vec<Recorded>, LogError> {
        let mut recorded = stored.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let mut people: Vec<UserId> =
            recorded.iter_mut().filter_map(|recorded| Some(recorded.event.personal()?.0)).collect();
        if people.is_empty() {
            return Ok(recorded);
        }
        people.sort_unstable();
        people.dedup();
        let keys = self.keys.opening(&people).await?;
        let keys: HashMap<UserId, Option<DataKey>> = people.into_iter().zip(keys).collect();
        for Recorded { position, envelope, event } in &mut recorded {
            if let Some((person, personal)) = event.personal() {
                personal
                    .unseal(keys.get(&person).and_then(Option::as_ref), bound_to(envelope.id).as_bytes())
                    .map_err(|e| LogError::corrupt(*position, e))?;
            }
        }
        Ok(recorded)
    }
}

fn decode(stored: Stored) -> Result<Recorded, LogError> {
    let Stored { position, message: Message { envelope, body } } = stored;
    let event = Event::decode(&envelope.event_type, &body).map_err(|e| LogError::corrupt(position, e))?;
    if event.subject() != envelope.subject {
        return Err(LogError::corrupt(
            position,
            format!(
                "a `{}` about {} stands under {}",
                envelope.event_type,
                event.subject(),
                envelope.subject
            ),
        ));
    }
    Ok(Recorded { position, envelope, event })
}

/// Sealed data belongs to one event: moved to another, it does not open.
fn bound_to(event: EventId) -> String {
    format!("event {event}")
}

impl From<VaultError> for LogError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Unavailable(_) => Self::unavailable(error),
            VaultError::Corrupt(_) => Self::corrupt(None, error),
        }
    }
}

impl From<CannotOpen> for LogError {
    fn from(error: CannotOpen) -> Self {
        Self::corrupt(None, error)
    }
}

impl From<DecodeError> for LogError {
    fn from(error: DecodeError) -> Self {
        Self::corrupt(None, error)
    }
}
