use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::event::DecodeError;
use crate::log_health::{AppendOutcomes, with_causes};
use crate::personal::{CannotOpen, DataKey};
use crate::{
    AccountEvent, AccountsEvent, AppendError, EVENT_SOURCE, Envelope, Event, EventId, EventLog, Freshness,
    KeyRing, LogError, Message, Position, Stored, Subject, UserId, VaultError, time_ordered_id,
};

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub id: EventId,
    pub time: DateTime<Utc>,
    pub actor: Option<UserId>,
    /// UUIDv7.
    pub correlation: Uuid,
    pub causation: Option<EventId>,
    /// Derived from the correlation if there is none.
    pub traceparent: Option<String>,
    pub event: Event,
}

impl Draft {
    /// An event that no request and no other event caused.
    pub fn without_cause(now: DateTime<Utc>, event: impl Into<Event>) -> Self {
        Self {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: time_ordered_id(now),
            causation: None,
            traceparent: None,
            event: event.into(),
        }
    }

    /// The message to append, of an event without personal data or with sealed data.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if personal data is open.
    pub fn message(self) -> Result<Message, LogError> {
        let Self { id, time, actor, correlation, causation, traceparent, event } = self;
        let body = event.encode().map_err(|e| LogError::corrupt(None, e))?;
        let envelope = Envelope {
            id,
            event_type: event.wire_name().into(),
            source: EVENT_SOURCE.into(),
            time: time.trunc_subsecs(6),
            subject: event.subject(),
            actor,
            correlation,
            causation,
            traceparent: Some(traceparent.unwrap_or_else(|| traceparent_of(correlation))),
        };
        Ok(Message { envelope, body })
    }
}

/// A W3C trace context for requests without one: the correlation is the trace id, so that all events of a request
/// share it; not sampled.
/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn traceparent_of(correlation: Uuid) -> String {
    let (_, parent) = correlation.as_u64_pair();
    // Not all zeros, which the standard forbids.
    format!("00-{}-{:016x}-00", correlation.simple(), parent.max(1))
}

/// A stored event with its personal data open.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub position: Position,
    pub envelope: Envelope,
    pub event: Event,
}

impl Recorded {
    /// Decodes an event without unsealing its personal data.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if this program cannot decode the event.
    pub fn sealed(stored: Stored) -> Result<Self, LogError> {
        let Stored { position, message: Message { envelope, body } } = stored;
        let event = Event::decode(&envelope.event_type, &body).map_err(|e| LogError::corrupt(position, e))?;
        if event.subject() != envelope.subject {
            return Err(LogError::corrupt(
                position,
                format!(
                    "a `{}` about {} is stored under {}",
                    envelope.event_type,
                    event.subject(),
                    envelope.subject
                ),
            ));
        }
        Ok(Self { position, envelope, event })
    }
}

/// The log for the rest of Chorus: typed events, with personal data sealed on append and unsealed on read.
#[derive(Debug, Clone)]
pub struct SealedLog {
    log: Arc<dyn EventLog>,
    keys: Arc<KeyRing>,
    appends: Arc<AppendOutcomes>,
}

fn measure(outcome: &Result<Position, AppendError>, began: Instant) {
    let outcome = match outcome {
        Ok(_) => "appended",
        Err(AppendError::Conflict) => "conflict",
        Err(AppendError::OutcomeUnknown(_) | AppendError::Log(_)) => "failed",
    };
    metrics::histogram!("chorus_log_append_seconds", "outcome" => outcome).record(began.elapsed());
}

impl SealedLog {
    pub fn new(log: Arc<dyn EventLog>, keys: Arc<KeyRing>) -> Self {
        Self { log, keys, appends: Arc::default() }
    }

    pub fn raw(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// The number of users who were ever given a key. Each has at least one event, unless the process crashed in
    /// between.
    pub(crate) async fn people(&self) -> Result<u64, LogError> {
        self.keys.people().await.map_err(|error| match error {
            VaultError::Unavailable(cause) => LogError::unavailable(cause),
            VaultError::Corrupt(cause) => LogError::corrupt(None, cause),
        })
    }

    /// See [`EventLog::close`] and [`KeyVault::close`](crate::KeyVault::close).
    ///
    /// # Errors
    /// If either fails; the other one is closed anyway.
    pub async fn close(&self) -> Result<(), LogError> {
        let vault = self.keys.close().await.map_err(LogError::unavailable);
        self.log.close().await.and(vault)
    }

    /// See [`EventLog::append`].
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if the event's user is erased: no event about them can be written.
    pub async fn append(&self, draft: Draft, expected: Position) -> Result<Position, AppendError> {
        let outcome = match self.seal(draft).await {
            Ok(message) => {
                let began = Instant::now();
                let outcome = self.log.append(&message, expected).await;
                measure(&outcome, began);
                outcome
            }
            Err(error) => Err(error.into()),
        };
        self.appends.record(&outcome, Instant::now());
        outcome
    }

    /// Whether the log is readable and writable, for `/readyz`; and, in any case, details: the head, and the outcomes
    /// of this process's last appends.
    ///
    /// # Errors
    /// Inside the first value: the problem.
    pub async fn health(&self) -> (Result<(), String>, Value) {
        let appends = self.appends.details(Instant::now());
        let (head, writable) = futures::join!(self.log.head(), self.log.check_writable());
        let details = json!({ "end": head.as_ref().ok().map(|head| head.0), "appends": appends });
        let reached = head.map(drop).and(writable).map_err(|error| with_causes(&error));
        (reached.and_then(|()| self.appends.ready(Instant::now())), details)
    }

    async fn seal(&self, mut draft: Draft) -> Result<Message, LogError> {
        let (id, event_type) = (draft.id, draft.event.wire_name());
        if let Some((person, personal)) = draft.event.personal() {
            let key = self.keys.sealing(person).await?.ok_or_else(|| {
                LogError::corrupt(
                    None,
                    format!("user {person} is erased, so a `{event_type}` cannot be written"),
                )
            })?;
            personal.seal(&key, bound_to(id).as_bytes())?;
        }
        draft.message()
    }

    /// See [`EventLog::last`].
    pub async fn last(
        &self,
        subjects: &[Subject],
        freshness: Freshness,
    ) -> Result<Vec<Option<Recorded>>, LogError> {
        let stored = self.log.last(subjects, freshness).await?;
        let found: Vec<bool> = stored.iter().map(Option::is_some).collect();
        let mut opened = self.open(stored.into_iter().flatten().collect()).await?.into_iter();
        Ok(found.into_iter().map(|found| if found { opened.next() } else { None }).collect())
    }

    /// See [`EventLog::read`].
    pub async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Recorded>, LogError> {
        self.open(self.log.read(subject, after).await?).await
    }

    async fn open(&self, stored: Vec<Stored>) -> Result<Vec<Recorded>, LogError> {
        let mut recorded = stored.into_iter().map(Recorded::sealed).collect::<Result<Vec<_>, _>>()?;
        match self.unseal(&mut recorded).await?.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(recorded),
        }
    }

    /// Unseals the personal data of events with one vault request. Users with an `Erased` event among them are marked
    /// as erased in this process. Returns the events that could not be unsealed by index, with the error; the others
    /// are unsealed.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the vault is unreachable; then nothing has changed.
    pub async fn unseal(&self, events: &mut [Recorded]) -> Result<Vec<(usize, LogError)>, LogError> {
        for recorded in &*events {
            if let Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) = &recorded.event {
                self.keys.forget(event.user);
            }
        }
        let mut people: Vec<UserId> =
            events.iter_mut().filter_map(|event| Some(event.event.personal()?.0)).collect();
        if people.is_empty() {
            return Ok(Vec::new());
        }
        people.sort_unstable();
        people.dedup();
        let mut keys: HashMap<UserId, Result<Option<DataKey>, String>> = HashMap::with_capacity(people.len());
        match self.keys.opening(&people).await {
            Ok(found) => keys.extend(people.into_iter().zip(found.into_iter().map(Ok))),
            Err(error @ VaultError::Unavailable(_)) => return Err(error.into()),
            // One corrupt key must not affect the data of other users.
            Err(VaultError::Corrupt(_)) => {
                for person in people {
                    let found = match self.keys.opening(&[person]).await {
                        Err(error @ VaultError::Unavailable(_)) => return Err(error.into()),
                        Err(VaultError::Corrupt(cause)) => Err(cause.to_string()),
                        Ok(mut found) => Ok(found.pop().flatten()),
                    };
                    keys.insert(person, found);
                }
            }
        }
        let mut failed = Vec::new();
        for (place, Recorded { position, envelope, event }) in events.iter_mut().enumerate() {
            let Some((person, personal)) = event.personal() else { continue };
            let opened = match keys.get(&person) {
                Some(Ok(key)) => {
                    personal.unseal(key.as_ref(), bound_to(envelope.id).as_bytes()).map_err(|e| e.to_string())
                }
                Some(Err(problem)) => Err(problem.clone()),
                None => Ok(()),
            };
            if let Err(problem) = opened {
                failed.push((place, LogError::corrupt(*position, problem)));
            }
        }
        Ok(failed)
    }
}

/// Sealed data is bound to its event: it does not open in another one.
pub(crate) fn bound_to(event: EventId) -> String {
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

impl LogError {
    /// True if a newer version of the program wrote the event: it must not be skipped.
    pub fn is_from_newer_version(&self) -> bool {
        match self {
            Self::Corrupt { source, .. } => matches!(source.downcast_ref(), Some(DecodeError::Unknown(_))),
            Self::Unavailable(_) => false,
        }
    }
}
