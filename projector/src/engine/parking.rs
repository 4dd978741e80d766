//! The rules of parking, for everything that folds events into views. An event that a projection cannot take in is
//! parked with its subject, and later events of this subject are parked behind it: taking them in without it would
//! make documents that no decision ever led to. Other subjects go on. Only a rebuild takes parked events in, since
//! only a fold keeps the order of a subject.
//!
//! The parked events are part of what a fold must reproduce: the same set from position 0, in batches of any length.
//! So these functions are pure, and depend on the order of the events alone.

use std::collections::HashMap;
use std::fmt::Display;

use thiserror::Error;
use views::Parked;

/// Maximum number of parked events of one projection. A projection that meets one more stops: so many mean a defect
/// of the program rather than of events, and the parked subjects are kept in memory.
pub const PARKED_LIMIT: usize = 10_000;

/// A projection has as many parked events as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{PARKED_LIMIT} events are parked already, and no more may be: most likely the projection has a defect; rebuild \
     it with a program that corrects it"
)]
pub struct TooManyParked;

/// An event, as far as the rules of parking need it.
pub struct Incoming<'a> {
    pub position: u64,
    pub subject: &'a (dyn Display + Sync),
    pub event_type: &'a str,
    /// Why it cannot be taken in, if that is known.
    pub problem: Option<&'a str>,
}

/// The parked events of one projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parking {
    /// The first parked event of each subject.
    first: HashMap<String, u64>,
    events: usize,
}

impl Parking {
    /// The parked events of a view store, of which it may hold [`PARKED_LIMIT`].
    ///
    /// # Errors
    /// If there are more.
    pub fn of(parked: &[Parked]) -> Result<Self, TooManyParked> {
        if parked.len() > PARKED_LIMIT {
            return Err(TooManyParked);
        }
        let mut parking = Self::default();
        parking.add(parked);
        Ok(parking)
    }

    /// Number of parked events.
    pub fn len(&self) -> usize {
        self.events
    }

    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The event that blocks a subject.
    pub fn blocked_by(&self, subject: &str) -> Option<u64> {
        self.first.get(subject).copied()
    }

    /// Adds events after they were committed as parked.
    pub fn add(&mut self, parked: &[Parked]) {
        self.events += parked.len();
        for Parked { position, subject, .. } in parked {
            // Programs before this rule parked events without their subjects. They block nothing.
            if let Some(subject) = subject {
                self.first.entry(subject.clone()).or_insert(*position);
            }
        }
    }

    /// Which events of a batch are parked: those with a problem, and those whose subject is blocked. The other ones are to
    /// be projected. Changes nothing: the batch may fail.
    pub fn plan<'a>(&self, events: impl Iterator<Item = Incoming<'a>>) -> Vec<Option<Parked>> {
        let mut batch = Self::default();
        let plan = events.map(|event| {
            if self.is_empty() && batch.is_empty() && event.problem.is_none() {
                // By far the most frequent case.
                return None;
            }
            let subject = event.subject.to_string();
            let blocked = self.blocked_by(&subject).or_else(|| batch.blocked_by(&subject));
            let error = match (blocked, event.problem) {
                (Some(position), _) => behind(position),
                (None, Some(problem)) => problem.to_owned(),
                (None, None) => return None,
            };
            let parked = Parked {
                position: event.position,
                event_type: event.event_type.to_owned(),
                subject: Some(subject),
                error,
            };
            batch.add(std::slice::from_ref(&parked));
            Some(parked)
        });
        plan.collect()
    }

    /// Whether more events may be parked.
    ///
    /// # Errors
    /// If not.
    pub fn has_room_for(&self, parked: &[Parked]) -> Result<(), TooManyParked> {
        if self.events + parked.len() > PARKED_LIMIT { Err(TooManyParked) } else { Ok(()) }
    }
}

/// The error of an event that is parked only because an earlier one of its subject is.
fn behind(position: u64) -> String {
    format!("behind the event at {position}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of subjects at positions 1, 2, 3, …, of which those in upper case cannot be taken in.
    fn events(subjects: &str) -> Vec<(u64, String, Option<&'static str>)> {
        let event = |(position, subject): (u64, char)| {
            (position, subject.to_lowercase().to_string(), subject.is_uppercase().then_some("broken"))
        };
        (1..).zip(subjects.chars()).map(event).collect()
    }

    /// Parks like an engine that commits batches of this length.
    fn parked(subjects: &str, batch: usize) -> Vec<(u64, String)> {
        let (mut parking, mut all) = (Parking::default(), Vec::new());
        for events in events(subjects).chunks(batch) {
            let incoming = |(position, subject, problem): &'_ (u64, String, Option<&'static str>)| {
                (*position, subject.clone(), *problem)
            };
            let events: Vec<_> = events.iter().map(incoming).collect();
            let plan = parking.plan(events.iter().map(|(position, subject, problem)| Incoming {
                position: *position,
                subject,
                event_type: "letter.read.v1",
                problem: *problem,
            }));
            let parked: Vec<Parked> = plan.into_iter().flatten().collect();
            parking.add(&parked);
            all.extend(parked.into_iter().map(|parked| (parked.position, parked.error)));
        }
        assert_eq!(parking.len(), all.len());
        all
    }

    #[test]
    fn later_events_of_a_parked_subject_are_parked_behind_the_first() {
        let expected = [(2, "broken"), (4, "behind the event at 2"), (5, "behind the event at 2")];
        let expected: Vec<(u64, String)> =
            expected.into_iter().map(|(position, error)| (position, error.to_owned())).collect();
        for batch in 1..=6 {
            assert_eq!(parked("bAbaAb", batch), expected, "in batches of {batch}");
        }
        assert_eq!(parked("abcabc", 2), []);
    }

    #[test]
    fn number_of_parked_events_is_limited() {
        let parked = |position| Parked {
            position,
            event_type: String::new(),
            subject: Some("a".into()),
            error: String::new(),
        };
        let all: Vec<Parked> = (0..=PARKED_LIMIT as u64).map(parked).collect();
        assert_eq!(Parking::of(&all), Err(TooManyParked));
        let parking = Parking::of(&all[1..]).unwrap();
        assert_eq!(parking.has_room_for(&[]), Ok(()));
        assert_eq!(parking.has_room_for(&all[..1]), Err(TooManyParked));
    }

    #[test]
    fn parked_event_without_a_subject_blocks_nothing() {
        let old = Parked { position: 1, event_type: String::new(), subject: None, error: String::new() };
        let parking = Parking::of(&[old]).unwrap();
        assert_eq!((parking.len(), parking.blocked_by("a")), (1, None));
    }
}
