//! What operators do to a deployment: each act is an event, so that the log says who did what, and why.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{
    AppendError, Draft, Event, LogError, OperationId, Personal, Position, SealedLog, Subject, UserId,
    time_ordered_id,
};

event_enum! {
    /// `operation.<operation>`: one act of an operator.
    OperationEvent {
        ContentRevealed = "operation.content_revealed.v1",
        RebuildStarted = "operation.rebuild_started.v1",
        GenerationSwitched = "operation.generation_switched.v1",
        GenerationRolledBack = "operation.generation_rolled_back.v1",
        GenerationDropped = "operation.generation_dropped.v1",
        ParkedEventDiscarded = "operation.parked_event_discarded.v1",
    }
}

/// An operator has read sealed data. The event is appended before anything is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentRevealed {
    pub operation: OperationId,
    pub scope: RevealedScope,
    pub note: Personal<OperatorNote>,
}

/// The events whose sealed data was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RevealedScope {
    Event {
        position: Position,
    },
    /// All events of a subject.
    Subject {
        subject: String,
    },
    /// All events of a request and what they caused.
    Request {
        correlation: Uuid,
    },
    /// A document of a view, in all its states, and the events that made it. Personal data in the key is masked.
    Document {
        view: String,
        key: String,
    },
}

/// A new generation of the views of a family is being built from the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuildStarted {
    pub operation: OperationId,
    /// Views that one projection commits together; has the name of that projection.
    pub family: String,
    /// The version of the family's code. Each version has generations of its own.
    pub version: u64,
    pub generation: u64,
    pub note: Personal<OperatorNote>,
}

/// Reads of a family now go to another, newly built generation. If no projector made the switch before the verb ended, it was
/// asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationSwitched {
    pub operation: OperationId,
    pub family: String,
    pub version: u64,
    /// None if no generation of this version served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    pub to: u64,
    /// Up to where both generations had taken in the log at the switch; that of `to` if it was only asked for.
    pub position: Position,
    pub note: Personal<OperatorNote>,
}

/// Reads of a family go to its previous generation again, or it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRolledBack {
    pub operation: OperationId,
    pub family: String,
    pub version: u64,
    pub from: u64,
    pub to: u64,
    /// Up to where both generations had taken in the log at the switch; that of `to` if it was only asked for.
    pub position: Position,
    pub note: Personal<OperatorNote>,
}

/// A generation was deleted, or is marked for a projector to delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationDropped {
    pub operation: OperationId,
    pub family: String,
    pub version: u64,
    pub generation: u64,
    pub note: Personal<OperatorNote>,
}

/// A projection passes over an event that it cannot take in, from now on and in every rebuild.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedEventDiscarded {
    pub operation: OperationId,
    pub family: String,
    /// The place of the discarded event in the log.
    pub position: Position,
    pub note: Personal<OperatorNote>,
}

/// Who acted, and why. Sealed in an event with a key of the deployment, since its free text may name people:
/// `KeyRing::seal_note`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorNote {
    /// The name that the operator gave, usually of their account on the machine.
    pub operator: String,
    pub reason: String,
}

impl OperationEvent {
    pub(crate) const fn operation(&self) -> OperationId {
        match self {
            Self::ContentRevealed(event) => event.operation,
            Self::RebuildStarted(event) => event.operation,
            Self::GenerationSwitched(event) => event.operation,
            Self::GenerationRolledBack(event) => event.operation,
            Self::GenerationDropped(event) => event.operation,
            Self::ParkedEventDiscarded(event) => event.operation,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Operation(self.operation())
    }

    /// None: notes are sealed with a key of the deployment, not of a person.
    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ContentRevealed(_)
            | Self::RebuildStarted(_)
            | Self::GenerationSwitched(_)
            | Self::GenerationRolledBack(_)
            | Self::GenerationDropped(_)
            | Self::ParkedEventDiscarded(_) => None,
        }
    }
}

impl SealedLog {
    /// Appends the event of one act of an operator. `event` makes it from the id of the operation and the sealed
    /// note. Returns the operation with the position of its event.
    ///
    /// # Errors
    /// If the event was not appended, or it is not known whether it was. An act that needs a record, such as a reveal,
    /// must then not happen.
    pub async fn record_operation<E: Into<Event>>(
        &self,
        note: &OperatorNote,
        now: DateTime<Utc>,
        event: impl FnOnce(OperationId, Personal<OperatorNote>) -> E,
    ) -> Result<(OperationId, Position), AppendError> {
        let operation = OperationId::new(time_ordered_id(now));
        let sealed = self.keys().seal_note(operation, note).map_err(LogError::from)?;
        let draft = Draft::without_cause(now, event(operation, sealed));
        Ok((operation, self.append(draft, Position::START).await?))
    }

    /// Records that an operator is about to read the sealed data of some events. Returns the operation with its
    /// position.
    ///
    /// # Errors
    /// If the event was not appended: then nothing may be shown.
    pub async fn record_reveal(
        &self,
        scope: RevealedScope,
        note: &OperatorNote,
        now: DateTime<Utc>,
    ) -> Result<(OperationId, Position), AppendError> {
        self.record_operation(note, now, |operation, note| ContentRevealed { operation, scope, note }).await
    }
}
