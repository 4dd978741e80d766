//! What is wrong beside the views: in the log, the key vault and the media store.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use events::{SealedLog, Subject, UserId};
use futures::StreamExt;
use indicatif::ProgressBar;
use projector::reactions::media::Audit;

use crate::operators::search::pages_up_to;

/// Faults of the log that are listed.
const FAULTS: usize = 1000;
/// A key is destroyed this soon after the event of the erasure, unless the vault cannot be reached.
const DESTRUCTION: Duration = Duration::from_secs(2);
/// The type of the event that erases a user.
const ERASED: &str = "account.erased.v1";

/// What is wrong beside the views.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// First and last position of each gap.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Events that this program cannot decode.
    pub(super) unreadable: Vec<UnreadableEvent>,
    /// Erased users whose key can still be read.
    pub(super) undestroyed: Vec<UserId>,
    /// None if the media store is not compared.
    pub(super) media: Option<Audit>,
}

#[derive(Debug)]
pub(super) struct UnreadableEvent {
    pub(super) position: u64,
    pub(super) event_type: String,
    pub(super) problem: String,
    /// A newer program may have appended it, which is no fault.
    pub(super) has_unknown_type: bool,
}

impl Faults {
    /// Reads the whole log. Positions have no gaps on either engine: events are never deleted.
    pub(super) async fn find(log: &SealedLog, bar: &ProgressBar) -> Result<Self> {
        let raw = &**log.raw();
        let head = raw.head().await?;
        bar.set_length(head.0);
        let (mut faults, mut reached) = (Self::default(), 0);
        let mut pages = pin!(pages_up_to(raw, head));
        while let Some(page) = pages.next().await {
            let mut erased = Vec::new();
            for event in page? {
                if event.event_type == ERASED
                    && let Ok(Subject::Account(user)) = event.subject.parse()
                {
                    erased.push(user);
                }
                let position = event.position.0;
                let is_missing = event.subject.is_empty() && event.event_type.is_empty();
                let lost = if is_missing { position } else { position - 1 };
                if lost > reached && faults.gaps.len() < FAULTS {
                    faults.gaps.push((reached + 1, lost));
                }
                reached = position;
                if !is_missing && let Some(problem) = event.problem() {
                    let has_unknown_type = event.has_unknown_type();
                    let listed = faults.unreadable.iter();
                    // Each sort by itself: many events of a newer program must not hide a damaged one.
                    if listed.filter(|one| one.has_unknown_type == has_unknown_type).count() >= FAULTS {
                        continue;
                    }
                    let event_type = event.event_type;
                    faults.unreadable.push(UnreadableEvent {
                        position,
                        event_type,
                        problem,
                        has_unknown_type,
                    });
                }
            }
            faults.undestroyed.extend(log.keys().undestroyed(&erased).await?);
            bar.set_position(reached);
        }
        // The key of a user who was erased just now is destroyed a moment later.
        if !faults.undestroyed.is_empty() {
            tokio::time::sleep(DESTRUCTION).await;
            faults.undestroyed = log.keys().undestroyed(&faults.undestroyed).await?;
        }
        Ok(faults)
    }

    pub(super) fn count(&self) -> usize {
        let of_media = self.media.as_ref().map_or(0, |media| media.missing.len() + media.unreferenced.len());
        let damaged = self.unreadable.iter().filter(|event| !event.has_unknown_type).count();
        self.gaps.len() + damaged + self.undestroyed.len() + of_media
    }
}
