//! `chorus why` and `chorus diff`: the events that made a document, and the document after each of them. The log is
//! searched for events that mention the ids in the document, and the projection takes these alone. If that yields the
//! stored document, they are the whole explanation; otherwise the projection takes all its events.

mod story;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use events::{RawEvent, RevealedScope};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use views::View;

use self::story::{Step, Story};
use super::documents::{Fields, FoldAccess, PERSONAL_MARK, changed};
use super::filter::Moment;
use super::output::{OutputSettings, Printer, printable};
use super::reveal::RevealSettings;
use super::unless_reader_left;

const NOTES: &str = "Searches the log beside a running server, or in its files at rest, and changes nothing. Takes the \
    settings of the server (CHORUS_DATA, CHORUS_LOG, CHORUS_VIEWS, CHORUS_FAN_OUT_LIMIT, …).\n\nPersonal fields are masked \
    as `▒ personal`. Of the marks before a field, `+` means new, `~` changed and `-` removed.";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Settings {
    /// The view, such as `posts`: `chorus views` lists all
    view: String,

    /// The key of the document in the view, such as the id of a post
    key: String,

    /// Only up to a position, a time (2026-11-29T10:00:00Z), or a duration before now (2h, 30min, 7d)
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<Place>,

    #[command(flatten)]
    output: OutputSettings,
    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: FoldAccess,
}

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct DiffSettings {
    /// The view, such as `posts`: `chorus views` lists all
    view: String,

    /// The key of the document in the view, such as the id of a post
    key: String,

    /// A position, a time (2026-11-29T10:00:00Z), or a duration before now (2h, 30min, 7d)
    from: Place,

    /// A later one
    to: Place,

    #[command(flatten)]
    output: OutputSettings,
    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: FoldAccess,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(u64),
    Moment(Moment),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(position) => Ok(Self::At(position)),
            Err(_) => text.parse().map(Self::Moment).map_err(|_| {
                "expected a position, a time such as 2026-11-29T10:00:00Z, or a duration such as 2h"
                    .to_owned()
            }),
        }
    }
}

impl Place {
    /// None for a time.
    const fn position(self) -> Option<u64> {
        match self {
            Self::At(position) => Some(position),
            Self::Moment(_) => None,
        }
    }

    /// In a sentence.
    fn name(self) -> String {
        match self {
            Self::At(position) => format!("at position {position}"),
            Self::Moment(_) => "at that time".to_owned(),
        }
    }

    /// Whether an event was there already.
    fn covers(self, event: &RawEvent, now: DateTime<Utc>) -> bool {
        match self {
            Self::At(position) => event.position.0 <= position,
            Self::Moment(moment) => {
                let time = event.attributes.as_ref().map(|attributes| attributes.time);
                time.is_ok_and(|time| time <= moment.resolve(now))
            }
        }
    }
}

/// # Errors
/// If log or views cannot be read, the log has no event that made the document, or it ends before the given position.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { view, key, at, output, reveal, access } = settings;
    let now = SystemClock.now();
    let (story, shown) = tell(&view, &key, at.as_slice(), output, &reveal, &access).await?;
    let steps: Vec<&Step> =
        story.steps.iter().filter(|step| at.is_none_or(|at| at.covers(&step.event, now))).collect();
    unless_reader_left(shown.steps(&story, &steps, at).await)
}

/// # Errors
/// As for [`run`].
pub async fn diff(settings: DiffSettings) -> Result<()> {
    let DiffSettings { view, key, from, to, output, reveal, access } = settings;
    let now = SystemClock.now();
    if let (Place::At(from), Place::At(to)) = (&from, &to) {
        ensure!(from <= to, "the first place is after the second");
    }
    let (story, shown) = tell(&view, &key, &[from, to], output, &reveal, &access).await?;
    let until = |place: Place| story.steps.partition_point(|step| place.covers(&step.event, now));
    let (from, to) = (until(from), until(to));
    ensure!(from <= to, "the first place is after the second");
    unless_reader_left(shown.difference(&story, from, to).await)
}

/// The story of a document, and how it is shown. The log must reach the `places` that are asked for.
async fn tell(
    view: &str,
    key: &str,
    places: &[Place],
    output: OutputSettings,
    reveal: &RevealSettings,
    access: &FoldAccess,
) -> Result<(Story, Shown)> {
    let last = places.iter().filter_map(|place| place.position()).max();
    let story = story::find(access, view, key, last).await?;
    let any = story.steps.iter().rev().find_map(|step| step.after.clone()).unwrap_or_default();
    let masked_key = story.view.masked_key(key, &any, PERSONAL_MARK);
    let scope = RevealedScope::Document { view: view.to_owned(), key: masked_key.clone() };
    let bodies = reveal.bodies(&access.log, scope).await?;
    let is_revealed = bodies.are_revealed();
    let shown_key = if is_revealed { key.to_owned() } else { masked_key };
    let printer = Printer::new(output, bodies);
    let shown = Shown { printer, view: story.view, key: shown_key, is_revealed };
    Ok((story, shown))
}

/// How a document is shown.
struct Shown {
    printer: Printer,
    view: &'static View,
    key: String,
    is_revealed: bool,
}

impl Shown {
    async fn steps(&self, story: &Story, steps: &[&Step], at: Option<Place>) -> Result<()> {
        let mut out = std::io::stdout();
        self.printer.heading(&mut out)?;
        let mut before: Option<&Fields> = None;
        for step in steps {
            self.step(before, step).await?;
            before = step.after.as_ref();
        }
        let document = before.map(|fields| self.masked(fields));
        if self.printer.json {
            let mut last = self.summary(story);
            last["document"] = json!(document);
            writeln!(out, "{last}")?;
            return Ok(());
        }
        if let Some(at) = at {
            let there = match before {
                Some(_) => "this is the document then".to_owned(),
                None => absence(story, steps, at),
            };
            writeln!(out, "{there}: {} {}", self.view.name, printable(&self.key))?;
            if before.is_none() && story.is_complete {
                // That the stored document is explained says nothing about a document that was not there.
                return Ok(());
            }
        }
        writeln!(out, "{}", story.told())?;
        Ok(())
    }

    async fn step(&self, before: Option<&Fields>, step: &Step) -> Result<()> {
        let mut out = std::io::stdout();
        let shown = self.printer.event(&step.event).await?;
        if self.printer.json {
            let mut value: Value = serde_json::from_str(&shown)?;
            value["document"] = json!(step.after.as_ref().map(|fields| self.masked(fields)));
            value["changed"] = json!(changed(before, step.after.as_ref()));
            writeln!(out, "{value}")?;
            return Ok(());
        }
        writeln!(out, "{shown}\n{}", self.marked(before, step.after.as_ref(), true))?;
        Ok(())
    }

    /// What is different at the end of some steps from before them.
    async fn difference(&self, story: &Story, from: usize, to: usize) -> Result<()> {
        let after = |steps: usize| steps.checked_sub(1).and_then(|last| story.steps[last].after.as_ref());
        let (before, now) = (after(from), after(to));
        let mut out = std::io::stdout();
        if self.printer.json {
            let mut events = Vec::new();
            for step in &story.steps[from..to] {
                events.push(serde_json::from_str::<Value>(&self.printer.event(&step.event).await?)?);
            }
            let mut value = self.summary(story);
            value["changed"] = json!(changed(before, now));
            value["before"] = json!(before.map(|fields| self.masked(fields)));
            value["after"] = json!(now.map(|fields| self.masked(fields)));
            value["events"] = json!(events);
            writeln!(out, "{value}")?;
            return Ok(());
        }
        self.printer.heading(&mut out)?;
        for step in &story.steps[from..to] {
            writeln!(out, "{}", self.printer.event(&step.event).await?)?;
        }
        match (before, now) {
            _ if from == to => writeln!(out, "no event has changed the document")?,
            (None, None) => writeln!(out, "there is no document at either place")?,
            _ => writeln!(out, "{}", self.marked(before, now, false))?,
        }
        writeln!(out, "{}", story.told())?;
        Ok(())
    }

    /// The fields with marks; only the changed ones unless `all` are wanted.
    fn marked(&self, before: Option<&Fields>, after: Option<&Fields>, all: bool) -> String {
        let apart = changed(before, after);
        let (shown_before, shown_after) =
            (before.map(|fields| self.masked(fields)), after.map(|fields| self.masked(fields)));
        let names = shown_before.iter().chain(&shown_after).flat_map(|fields| fields.keys());
        let names: BTreeSet<&String> = names.collect();
        let mut text = String::new();
        for name in names {
            let value =
                |fields: &Option<Fields>| fields.as_ref().and_then(|fields| fields.get(name).cloned());
            let (was, is) = (value(&shown_before), value(&shown_after));
            let is_changed = apart.contains(name);
            let line = match (was, is) {
                (None, Some(is)) => format!("+ {name} {is}"),
                (Some(was), None) => format!("- {name} {was}"),
                (Some(was), Some(is)) if is_changed => format!("~ {name} {was} → {is}"),
                (_, Some(is)) if all => format!("  {name} {is}"),
                (_, _) => continue,
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "           {}", printable(&line));
        }
        if before.is_some() && after.is_none() {
            text.push_str("           the document is deleted\n");
        }
        text.trim_end_matches('\n').to_owned()
    }

    fn masked(&self, fields: &Fields) -> Fields {
        let mut fields = fields.clone();
        if !self.is_revealed {
            self.view.mask(&mut fields, PERSONAL_MARK);
        }
        fields
    }

    fn summary(&self, story: &Story) -> Value {
        json!({
            "view": self.view.name,
            "key": self.key,
            "position": story.position,
            "complete": story.is_complete,
            "whole_family": story.whole_family,
        })
    }
}

/// Why there was no document at a place, after these steps of its story.
fn absence(story: &Story, steps: &[&Step], at: Place) -> String {
    let at = at.name();
    match (steps.last(), story.steps.first()) {
        (Some(deletion), _) => {
            format!("there was no document {at}: the event at {} had deleted it", deletion.event.position)
        }
        (None, Some(first)) => {
            format!("there was no document {at}: the event at {} made it first", first.event.position)
        }
        (None, None) => format!("there was no document {at}"),
    }
}

/// The ids in a text.
fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    let is_id = |part: &&str| part.len() == ID_LENGTH && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_id)
}

/// Hexadecimal digits of an id.
const ID_LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use events::Position;

    use super::*;

    #[test]
    fn ids_are_found_in_keys() {
        let id = "0123456789abcdef0123456789abcdef";
        let key = format!("{id}.words.{id}x.{id}");
        assert_eq!(ids_in(&key).collect::<Vec<_>>(), [id, id]);
        assert_eq!(ids_in("rock").count(), 0);
    }

    #[test]
    fn absence_names_the_event_that_made_or_deleted_the_document() {
        let step = |position, after| {
            let attributes = Err("unused".to_owned());
            let (subject, event_type) = ("post.3f".to_owned(), "post.published.v1".to_owned());
            let event =
                RawEvent { position: Position(position), subject, event_type, body: "".into(), attributes };
            Step { event, after }
        };
        let steps = vec![step(7, Some(Fields::new())), step(9, None)];
        let story = Story {
            view: &views::social::posts::VIEW,
            steps,
            position: 12,
            is_complete: true,
            whole_family: false,
            taken: 2,
        };
        let steps: Vec<&Step> = story.steps.iter().collect();
        let before = absence(&story, &[], Place::At(6));
        assert_eq!(before, "there was no document at position 6: the event at 7 made it first");
        let after = absence(&story, &steps, Place::At(11));
        assert_eq!(after, "there was no document at position 11: the event at 9 had deleted it");
    }

    #[test]
    fn place_is_a_position_or_a_time() {
        assert_eq!("17".parse(), Ok(Place::At(17)));
        assert!(matches!("2h".parse(), Ok(Place::Moment(_))));
        assert!("yesterday".parse::<Place>().unwrap_err().contains("a position"));
    }
}
