//! How events are shown: as lines, in detail, or as JSON.

use std::fmt::Write;
use std::io;

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use events::{RawEvent, SEALED_MARK};
use serde_json::{Value, json};

use super::reveal::Bodies;

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputSettings {
    /// One JSON object per line, for scripts
    #[arg(long)]
    pub json: bool,

    /// Show the bodies too; sealed fields are masked
    #[arg(long)]
    pub bodies: bool,
}

pub(super) const HEADING: &str =
    " POSITION  TIME                     TYPE                              SUBJECT";

/// Shows events one by one.
#[derive(Debug)]
pub(super) struct Printer {
    pub json: bool,
    pub with_bodies: bool,
    pub bodies: Bodies,
}

impl Printer {
    pub(super) fn new(settings: OutputSettings, bodies: Bodies) -> Self {
        let with_bodies = settings.bodies || bodies.are_revealed();
        Self { json: settings.json, with_bodies, bodies }
    }

    /// A heading, before the first event.
    pub(super) fn heading(&self, out: &mut impl io::Write) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(out, "{HEADING}") }
    }

    pub(super) async fn event(&self, event: &RawEvent) -> Result<String> {
        if self.json {
            return Ok(json_of(event, self.bodies.of(event).await?).to_string());
        }
        let mut text = line(event);
        if self.with_bodies {
            let body = self.bodies.of(event).await?;
            write!(text, "\n           {}", printable(&body.to_string()))?;
        }
        Ok(text)
    }

    pub(super) async fn detail(&self, event: &RawEvent) -> Result<String> {
        let body = self.bodies.of(event).await?;
        Ok(if self.json { json_of(event, body).to_string() } else { detail(event, &body) })
    }
}

fn line(event: &RawEvent) -> String {
    let time = event.attributes.as_ref().map_or("unreadable".to_owned(), |attributes| time(attributes.time));
    let mut line = format!(
        "{:>9}  {time:<23}  {:<32}  {}",
        event.position.0,
        or_dash(&event.event_type),
        or_dash(&event.subject)
    );
    if let Some(actor) = event.attributes.as_ref().ok().and_then(|attributes| attributes.actor) {
        let _ = write!(line, "  by {actor}");
    }
    if let Some(problem) = event.problem() {
        let _ = write!(line, "\n           ! {}", printable(&problem));
    }
    line
}

fn detail(event: &RawEvent, body: &Value) -> String {
    let mut rows = vec![
        ("position", event.position.to_string()),
        ("type", or_dash(&event.event_type)),
        ("subject", or_dash(&event.subject)),
    ];
    if let Ok(attributes) = &event.attributes {
        rows.extend([
            ("time", precise(attributes.time)),
            ("actor", attributes.actor.map_or("the system".to_owned(), |actor| actor.to_string())),
            ("id", attributes.id.to_string()),
            ("correlation", attributes.correlation.to_string()),
            ("causation", attributes.causation.map_or("-".to_owned(), |cause| cause.to_string())),
            ("traceparent", attributes.traceparent.as_deref().map_or("-".to_owned(), printable)),
            ("source", or_dash(&attributes.source)),
        ]);
    }
    rows.extend(event.problem().map(|problem| ("problem", printable(&problem))));
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    let body = format!("{body:#}");
    if body.contains(SEALED_MARK) {
        text.push_str(
            "sealed       --reveal --reason \"...\" opens these fields, and leaves an event in the log\n",
        );
    }
    // Line breaks are those of the format: JSON has none in its strings.
    let lines: Vec<String> = body.lines().map(printable).collect();
    text + "\n" + &lines.join("\n")
}

fn json_of(event: &RawEvent, body: Value) -> Value {
    let mut value = json!({
        "position": event.position,
        "type": event.event_type,
        "subject": event.subject,
        "problem": event.problem(),
        "body": body,
    });
    if let Ok(attributes) = &event.attributes {
        let more = json!({
            "time": precise(attributes.time),
            "actor": attributes.actor,
            "id": attributes.id,
            "correlation": attributes.correlation,
            "causation": attributes.causation,
            "traceparent": attributes.traceparent,
            "source": attributes.source,
        });
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
    }
    value
}

/// With milliseconds.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// With microseconds, in UTC.
pub(super) fn precise(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { printable(text) }
}

/// Without control characters: what another program wrote must not control the operator's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number of bytes with a unit.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use events::Position;

    use super::*;

    #[test]
    fn events_of_other_programs_do_not_control_the_terminal() {
        let event = RawEvent {
            position: Position(7),
            subject: "planet.\u{1b}[2J".to_owned(),
            event_type: "planet\n.discovered".to_owned(),
            body: "\u{9b}2J \u{1b}[2J".into(),
            attributes: Err("bad \u{7} header".to_owned()),
        };
        let shown = line(&event) + &detail(&event, &events::masked(&event.body));
        let lines = shown.lines().count();
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(shown.contains("        7  unreadable") && lines == 7, "{lines}: {shown}");
    }
}
