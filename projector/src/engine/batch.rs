//! Batches of events, and what a projection makes of them: the same for the runner and the fold.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use events::{Kind, LogError, Position, Recorded};
use service::telemetry::with_causes;
use views::{Parked, StoreError, ViewStore, Writes};

use super::parking::Incoming;
use crate::{OnFailure, Projection, preload};

/// A decoded event, or one that could not be decoded.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all events are of the large variant")]
pub(crate) enum Event {
    Read(Recorded),
    Unreadable(Unreadable),
}

#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) position: Position,
    pub(crate) event_type: String,
    pub(crate) subject: String,
    pub(crate) error: String,
    /// Written by a newer version of the program: the projection stops, whatever its [`OnFailure`] says.
    pub(crate) from_newer_version: bool,
}

impl Unreadable {
    pub(crate) fn new(position: Position, event_type: String, subject: String, error: &LogError) -> Self {
        Self {
            position,
            event_type,
            subject,
            error: with_causes(error),
            from_newer_version: error.is_from_newer_version(),
        }
    }
}

impl From<events::Unreadable> for Unreadable {
    fn from(unreadable: events::Unreadable) -> Self {
        let events::Unreadable { position, event_type, subject, error } = unreadable;
        Self::new(position, event_type, subject, &error)
    }
}

impl Event {
    /// Events in order: those that were decoded, without those whose personal data cannot be opened (by place, with the
    /// error), and those that were unreadable before.
    pub(crate) fn in_order(
        mut recorded: Vec<Recorded>,
        failed: Vec<(usize, LogError)>,
        mut unreadable: Vec<Unreadable>,
    ) -> Vec<Self> {
        for (place, error) in failed.iter().rev() {
            let Recorded { position, envelope, .. } = recorded.remove(*place);
            let subject = envelope.subject.to_string();
            unreadable.push(Unreadable::new(position, envelope.event_type.into_owned(), subject, error));
        }
        let mut events: Vec<Self> = recorded.into_iter().map(Self::Read).collect();
        if !unreadable.is_empty() {
            events.extend(unreadable.into_iter().map(Self::Unreadable));
            events.sort_by_key(Self::position);
        }
        events
    }

    pub(crate) fn recorded(&self) -> Option<&Recorded> {
        match self {
            Self::Read(recorded) => Some(recorded),
            Self::Unreadable(_) => None,
        }
    }

    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Read(recorded) => recorded.position,
            Self::Unreadable(event) => event.position,
        }
    }

    /// None if the subject is unreadable, too.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Read(recorded) => Some(recorded.envelope.subject.kind()),
            Self::Unreadable(event) => Kind::of(&event.subject),
        }
    }

    /// As the rules of parking see it.
    pub(crate) fn incoming(&self) -> Incoming<'_> {
        match self {
            Self::Read(Recorded { position, envelope, .. }) => Incoming {
                position: position.0,
                subject: &envelope.subject,
                event_type: &envelope.event_type,
                problem: None,
            },
            Self::Unreadable(Unreadable { position, event_type, subject, error, .. }) => {
                Incoming { position: position.0, subject, event_type, problem: Some(error) }
            }
        }
    }

    /// The same event as one that cannot be projected.
    pub(crate) fn refused(&self, error: String) -> Self {
        let Incoming { event_type, subject, .. } = self.incoming();
        Self::Unreadable(Unreadable {
            position: self.position(),
            event_type: event_type.to_owned(),
            subject: subject.to_string(),
            error,
            from_newer_version: self.is_from_newer_version(),
        })
    }

    fn is_from_newer_version(&self) -> bool {
        matches!(self, Self::Unreadable(event) if event.from_newer_version)
    }

    /// Whether a projection stops before this event if it cannot take it in.
    pub(crate) fn stops(&self, projection: &dyn Projection) -> bool {
        self.is_from_newer_version() || projection.on_failure() == OnFailure::Stop
    }
}

/// What a projection makes of the beginning of a batch.
pub(crate) struct Projected {
    pub(crate) writes: Writes,
    pub(crate) parked: Vec<Parked>,
    /// Number of events; the others would write too many documents.
    pub(crate) taken: usize,
}

/// Projects events, except those that the plan parks, until fan-outs write `weight` documents.
///
/// # Errors
/// Why an event cannot be projected. Nothing is half done.
pub(crate) fn project<'a>(
    projection: &dyn Projection,
    events: impl IntoIterator<Item = &'a Event>,
    plan: Vec<Option<Parked>>,
    mut writes: Writes,
    weight: usize,
) -> Result<Projected, String> {
    let (mut parked, mut taken) = (Vec::new(), 0);
    for (event, parks) in events.into_iter().zip(plan) {
        if writes.weight() >= weight {
            break;
        }
        taken += 1;
        match (event, parks) {
            (Event::Unreadable(unreadable), _) if unreadable.from_newer_version => {
                return Err(unreadable.error.clone());
            }
            (_, Some(parks)) => {
                if event.stops(projection) {
                    return Err(parks.error);
                }
                parked.push(parks);
            }
            (Event::Read(recorded), None) => {
                // A panic discards the writes of this attempt.
                let project = AssertUnwindSafe(|| projection.project(recorded, &mut writes));
                catch_unwind(project)
                    .map_err(|panic| format!("it panicked: {}", panic_text(&*panic)))?
                    .map_err(|error| with_causes(&error))?;
            }
            // The plan parks every event with a problem.
            (Event::Unreadable(unreadable), None) => return Err(unreadable.error.clone()),
        }
    }
    Ok(Projected { writes, parked, taken })
}

/// Preloads the documents that a projection reads for the events that the plan does not park.
///
/// # Errors
/// If they cannot be read.
pub(crate) async fn preload_planned<'a>(
    projection: &dyn Projection,
    store: &dyn ViewStore,
    events: impl IntoIterator<Item = &'a Event>,
    plan: &[Option<Parked>],
) -> Result<Writes, StoreError> {
    let projected = events.into_iter().zip(plan).filter(|(_, parked)| parked.is_none());
    preload(projection, store, projected.filter_map(|(event, _)| event.recorded())).await
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
