//! Counts over the log.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use events::{Position, RawEvent};
use serde_json::{Value, json};

use super::output::{bytes, precise, printable};

/// Maximum number of subjects that are counted one by one, about 150 bytes each.
const SUBJECTS: usize = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Stats {
    first: Option<(Position, DateTime<Utc>)>,
    last: Option<(Position, DateTime<Utc>)>,
    total: Count,
    unreadable: u64,
    by_type: BTreeMap<String, Count>,
    by_subject: HashMap<String, Count>,
    /// Events of further subjects, beyond the limit.
    uncounted: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    events: u64,
    /// Of bodies.
    bytes: u64,
}

impl Count {
    const fn add(&mut self, bytes: u64) {
        self.events += 1;
        self.bytes += bytes;
    }
}

impl Stats {
    pub(super) fn add(&mut self, event: RawEvent) {
        let RawEvent { position, subject, event_type, body, attributes } = event;
        let size = body.len() as u64;
        self.total.add(size);
        match attributes {
            Ok(attributes) => {
                let time = attributes.time;
                // Nearly in order: an event carries the time of its decision.
                self.first = self.first.filter(|(_, first)| *first <= time).or(Some((position, time)));
                self.last = self.last.filter(|(_, last)| *last > time).or(Some((position, time)));
            }
            Err(_) => self.unreadable += 1,
        }
        self.by_type.entry(event_type).or_default().add(size);
        if let Some(count) = self.by_subject.get_mut(&subject) {
            count.add(size);
        } else if self.by_subject.len() < SUBJECTS {
            self.by_subject.entry(subject).or_default().add(size);
        } else {
            self.uncounted += 1;
        }
    }

    /// From the first event to the last.
    fn period(&self) -> TimeDelta {
        match (self.first, self.last) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => TimeDelta::zero(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn per_hour(&self, count: Count) -> f64 {
        let seconds = self.period().as_seconds_f64().max(1.0);
        count.events as f64 / seconds * 3600.0
    }

    /// Types by number of events.
    fn types(&self) -> Vec<(&str, Count)> {
        let mut types: Vec<_> = self.by_type.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        types.sort_by_key(|(name, count)| (std::cmp::Reverse(count.events), *name));
        types
    }

    /// The subjects with the most events.
    fn largest(&self, top: usize) -> Vec<(&str, Count)> {
        let mut subjects: Vec<_> =
            self.by_subject.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        subjects
            .sort_unstable_by_key(|(name, count)| (std::cmp::Reverse((count.events, count.bytes)), *name));
        subjects.truncate(top);
        subjects
    }

    pub(super) fn to_json(&self, top: usize) -> Value {
        let types = self.types().into_iter().map(|(name, count)| {
            let per_hour = self.per_hour(count);
            json!({ "type": name, "events": count.events, "bytes": count.bytes, "per_hour": per_hour })
        });
        let subjects = self
            .largest(top)
            .into_iter()
            .map(|(name, count)| json!({ "subject": name, "events": count.events, "bytes": count.bytes }));
        json!({
            "events": self.total.events,
            "bytes": self.total.bytes,
            "unreadable": self.unreadable,
            "first_time": self.first.map(|(_, time)| precise(time)),
            "last_time": self.last.map(|(_, time)| precise(time)),
            "per_hour": self.per_hour(self.total),
            "types": types.collect::<Value>(),
            "largest_subjects": subjects.collect::<Value>(),
            "events_of_uncounted_subjects": self.uncounted,
        })
    }

    pub(super) fn to_text(&self, top: usize) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let shown = |found: Option<(Position, DateTime<Utc>)>| {
            found.map_or("-".to_owned(), |(position, time)| {
                format!("{} at position {position}", precise(time))
            })
        };
        writeln!(text, "events      {} ({} of bodies)", self.total.events, bytes(self.total.bytes))?;
        writeln!(text, "first       {}", shown(self.first))?;
        writeln!(text, "last        {}", shown(self.last))?;
        writeln!(text, "rate        {:.1} per hour", self.per_hour(self.total))?;
        writeln!(text, "unreadable  {}", self.unreadable)?;
        writeln!(text, "\n   EVENTS    PER HOUR         BYTES  TYPE")?;
        for (name, count) in self.types() {
            let (rate, size) = (self.per_hour(count), bytes(count.bytes));
            writeln!(text, "{:>9}  {rate:>10.1}  {size:>12}  {}", count.events, printable(name))?;
        }
        writeln!(text, "\n   EVENTS         BYTES  LARGEST SUBJECTS")?;
        for (name, count) in self.largest(top) {
            writeln!(text, "{:>9}  {:>12}  {}", count.events, bytes(count.bytes), printable(name))?;
        }
        if self.uncounted > 0 {
            writeln!(
                text,
                "\n{} events of further subjects: only {SUBJECTS} subjects are counted",
                self.uncounted
            )?;
        }
        Ok(text)
    }
}
