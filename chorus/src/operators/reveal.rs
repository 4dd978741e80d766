//! Sealed fields are masked. An operator who must read them gives a reason, which is recorded in the log first.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use clap::Args;
use events::{LogError, OperatorNote, RawEvent, RevealedScope, SealedLog, masked};
use serde_json::Value;
use service::clock::{Clock, SystemClock};
use service::telemetry::with_causes;

use super::LogAccess;

/// Maximum length of a reason and of an operator's name, in characters.
const REASON_LIMIT: usize = 500;
const NAME_LIMIT: usize = 100;

#[derive(Debug, Clone, Args)]
pub(super) struct RevealSettings {
    /// Open sealed fields. An event with your name, the time and the reason is appended to the log first. The data of
    /// erased people stays unreadable, and password hashes are never shown
    #[arg(long, requires = "reason")]
    reveal: bool,

    /// Why you must read the sealed fields; it is sealed in the log
    #[arg(long, value_name = "TEXT", requires = "reveal")]
    reason: Option<String>,

    /// Your name for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    operator: String,
}

/// The bodies of events.
#[derive(Debug)]
pub(super) enum Bodies {
    Masked,
    Revealed(SealedLog),
}

impl RevealSettings {
    /// Records the reason if sealed fields are to be opened.
    pub(super) async fn bodies(&self, access: &LogAccess, scope: RevealedScope) -> Result<Bodies> {
        let Some(reason) = self.reason.as_deref().filter(|_| self.reveal) else { return Ok(Bodies::Masked) };
        let note = note(&self.operator, reason)?;
        // The keys are checked before anything is recorded.
        let sealed = access.open_sealed().await?;
        let log = access.open_to_append().await?;
        let recorded = log.record_reveal(scope, &note, SystemClock.now()).await;
        let (operation, position) = recorded.context("recording the reason, so nothing is shown")?;
        drop(log);
        writeln!(std::io::stderr(), "recorded at position {position} as operation.{operation}")?;
        Ok(Bodies::Revealed(sealed))
    }
}

/// What an event about an act of an operator says of them.
pub(super) fn note(operator: &str, reason: &str) -> Result<OperatorNote> {
    let reason = reason.trim();
    let is_short = |text: &str, limit| !text.is_empty() && text.chars().count() <= limit;
    ensure!(is_short(reason, REASON_LIMIT), "--reason: give 1 to {REASON_LIMIT} characters");
    ensure!(is_short(operator, NAME_LIMIT), "--operator: give 1 to {NAME_LIMIT} characters");
    Ok(OperatorNote { operator: operator.to_owned(), reason: reason.to_owned() })
}

impl Bodies {
    pub(super) const fn are_revealed(&self) -> bool {
        matches!(self, Self::Revealed(_))
    }

    /// The body as JSON. Sealed fields that cannot be opened stay masked: those of a damaged event, or of one that this program
    /// does not know.
    pub(super) async fn of(&self, event: &RawEvent) -> Result<Value> {
        match self {
            Self::Masked => Ok(masked(&event.body)),
            Self::Revealed(log) => match log.reveal(event).await {
                Err(error @ LogError::Corrupt { .. }) => {
                    writeln!(std::io::stderr(), "! sealed fields stay masked: {}", with_causes(&error))?;
                    Ok(masked(&event.body))
                }
                shown => Ok(shown?),
            },
        }
    }
}
