//! What is wrong beside the views: in the log, the key vault and the media store.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use events::{SealedLog, Subject, UserId};
use futures::StreamExt;
use indicatif::ProgressBar;
use projector::reactions::media::Audit;
use service::telemetry::with_causes;

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
    /// Events that this program cannot decode, or whose sealed fields it cannot open.
    pub(super) unreadable: Vec<UnreadableEvent>,
    /// Erased users whose key can still be read.
    pub(super) undestroyed: Vec<UserId>,
    /// None if the media store is not compared.
    pub(super) media: Option<Audit>,
    /// Why the media store could not be compared with a log that has unreadable events.
    pub(super) media_problem: Option<String>,
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
            let (mut erased, mut readable) = (Vec::new(), Vec::new());
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
                if is_missing {
                    continue;
                }
                match event.problem() {
                    Some(problem) => faults.add_unreadable(UnreadableEvent {
                        position,
                        has_unknown_type: event.has_unknown_type(),
                        event_type: event.event_type,
                        problem,
                    }),
                    None => readable.extend(event.recorded().ok()),
                }
            }
            for (place, error) in log.unseal(&mut readable).await? {
                faults.add_unreadable(UnreadableEvent {
                    position: readable[place].position.0,
                    event_type: readable[place].envelope.event_type.to_string(),
                    problem: with_causes(&error),
                    has_unknown_type: false,
                });
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

    fn add_unreadable(&mut self, event: UnreadableEvent) {
        let listed = self.unreadable.iter();
        // Each sort by itself: many events of a newer program must not hide a damaged one.
        if listed.filter(|one| one.has_unknown_type == event.has_unknown_type).count() < FAULTS {
            self.unreadable.push(event);
        }
    }

    pub(super) fn count(&self) -> usize {
        let of_media = self.media.as_ref().map_or(0, |media| media.missing.len() + media.unreferenced.len());
        let damaged = self.unreadable.iter().filter(|event| !event.has_unknown_type).count();
        self.gaps.len() + damaged + self.undestroyed.len() + of_media
    }
}
