//! What is printed.

use std::io::Write;

use anyhow::Result;
use projector::reactions::media::Audit;
use serde_json::{Value, json};
use views::counts::WrongCount;
use views::{Parked, View};

use super::comparison::{Comparison, Difference};
use super::faults::{Faults, UnreadableEvent};
use crate::operators::output::printable;

/// Differences of each family that are listed as text; as JSON all are.
const LISTED: usize = 20;

pub(super) fn print_shadow(own: &views::Family, version: u32, number: u64, new: &[&View]) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "version {} of {}, folded by this program, against generation {number} of version {version}",
        own.version, own.name
    )?;
    for view in new {
        writeln!(out, "  the other version has no view {}", view.name)?;
    }
    Ok(writeln!(out)?)
}

impl Comparison {
    fn to_json(&self) -> Value {
        let wrong_counts = self.wrong_counts.iter().map(|WrongCount { view, key, field, stored, counted }| {
            json!({ "view": view.name, "key": key, "field": field, "stored": stored, "counted": counted })
        });
        let differences = self.differences.iter().map(|Difference { view, key, kind, fields }| {
            json!({ "view": view, "key": key, "kind": kind, "fields": fields })
        });
        let parked = self.parked.iter().map(|Parked { position, event_type, subject, error }| {
            json!({ "position": position, "type": event_type, "subject": subject, "error": error })
        });
        json!({
            "family": self.name(),
            "position": self.position,
            "documents": self.documents,
            "differences": differences.collect::<Vec<_>>(),
            "wrong_counts": wrong_counts.collect::<Vec<_>>(),
            "parked": parked.collect::<Vec<_>>(),
            "parked_apart": self.parked_apart,
            "stopped": self.stopped,
        })
    }
}

pub(super) fn print_json(comparisons: &[Comparison], faults: &Faults) -> Result<()> {
    let mut out = std::io::stdout();
    for comparison in comparisons {
        writeln!(out, "{}", comparison.to_json())?;
    }
    let gaps: Vec<Value> =
        faults.gaps.iter().map(|(first, last)| json!({ "first": first, "last": last })).collect();
    let unreadable = faults.unreadable.iter().map(|event| {
        json!({
            "position": event.position,
            "type": event.event_type,
            "problem": event.problem,
            "unknown_type": event.has_unknown_type,
        })
    });
    let media = faults.media.as_ref().map(|media| {
        let missing = media
            .missing
            .iter()
            .map(|missing| json!({ "file": missing.key.as_str(), "of": missing.referenced_by.to_string() }));
        json!({
            "files": media.files, "pictures": media.pictures, "young": media.young,
            "missing": missing.collect::<Vec<_>>(), "unreferenced": media.unreferenced,
        })
    });
    let faults = json!({
        "gaps": gaps, "unreadable": unreadable.collect::<Vec<_>>(), "undestroyed_keys": faults.undestroyed, "media": media,
        "media_problem": faults.media_problem,
    });
    writeln!(out, "{faults}")?;
    Ok(())
}

pub(super) fn print_text(comparisons: &[Comparison], faults: &Faults, equal: &str) -> Result<()> {
    let mut out = std::io::stdout();
    for (first, last) in &faults.gaps {
        writeln!(out, "! the log has lost the events {first} to {last}")?;
    }
    for UnreadableEvent { position, event_type, problem, has_unknown_type } in &faults.unreadable {
        let (event_type, problem) = (printable(event_type), printable(problem));
        let mark = if *has_unknown_type { ' ' } else { '!' };
        writeln!(out, "{mark} the event at {position} (`{event_type}`) is unreadable: {problem}")?;
    }
    for user in &faults.undestroyed {
        writeln!(out, "! user {user} is erased, but their key is not destroyed")?;
    }
    if let Some(media) = &faults.media {
        print_media(media, &mut out)?;
    }
    if let Some(problem) = &faults.media_problem {
        writeln!(out, "the media store is not compared: {}", printable(problem))?;
    }
    writeln!(
        out,
        "{:<16} {:>10} {:>10} {:>7} {:>11}",
        "FAMILY", "POSITION", "DOCUMENTS", "PARKED", "DIFFERENCES"
    )?;
    for comparison in comparisons {
        let Comparison { position, documents, differences, parked, parked_apart, stopped, .. } = comparison;
        let wrong_counts = &comparison.wrong_counts;
        writeln!(
            out,
            "{:<16} {position:>10} {documents:>10} {:>7} {:>11}",
            comparison.name(),
            parked.len(),
            comparison.differences()
        )?;
        if let Some(stopped) = stopped {
            writeln!(out, "  ! the fold stops {}, which the view has passed", printable(stopped))?;
        }
        for Difference { view, key, kind, fields } in differences.iter().take(LISTED) {
            let named = if fields.is_empty() { String::new() } else { format!(" in {}", fields.join(", ")) };
            writeln!(out, "  ! {view} {}: {kind}{named}", printable(key))?;
        }
        if differences.len() > LISTED {
            writeln!(out, "  ! and {} others (--json lists them)", differences.len() - LISTED)?;
        }
        for WrongCount { view, key, field, stored, counted } in wrong_counts.iter().take(LISTED) {
            writeln!(
                out,
                "  ! {} {}: {field} is {stored}, but the list has {counted}",
                view.name,
                printable(key)
            )?;
        }
        if wrong_counts.len() > LISTED {
            writeln!(out, "  ! and {} other counts (--json lists them)", wrong_counts.len() - LISTED)?;
        }
        for position in parked_apart {
            writeln!(
                out,
                "  ! the event at {position} is parked in the view or in the fold, but not in both"
            )?;
        }
        for Parked { position, event_type, error, subject: _ } in parked.iter().take(LISTED) {
            writeln!(
                out,
                "  the event at {position} (`{}`) is parked: {}",
                printable(event_type),
                printable(error)
            )?;
        }
    }
    let found: usize = comparisons.iter().map(Comparison::differences).sum();
    if found == 0 && faults.count() == 0 {
        return Ok(writeln!(out, "{equal}")?);
    }
    if found == 0 {
        return Ok(writeln!(out, "{equal}; the lines with `!` say what is wrong beside the views")?);
    }
    let noun = if found == 1 { "difference" } else { "differences" };
    writeln!(
        out,
        "{found} {noun}. Missing documents are in the fold of the log only, extra ones in the view only."
    )?;
    if comparisons.iter().any(|comparison| !comparison.wrong_counts.is_empty()) {
        writeln!(
            out,
            "This program counts wrongly: the fold itself has numbers that do not equal its lists."
        )?;
    }
    Ok(())
}

fn print_media(media: &Audit, out: &mut impl Write) -> Result<()> {
    for missing in media.missing.iter().take(LISTED) {
        writeln!(out, "! the file {} of {} is missing", missing.key, missing.referenced_by)?;
    }
    for file in media.unreferenced.iter().take(LISTED) {
        writeln!(out, "! the file {} is unreferenced", printable(file))?;
    }
    if media.missing.len().max(media.unreferenced.len()) > LISTED {
        writeln!(out, "! and other files (`chorus media audit` lists all)")?;
    }
    Ok(())
}
