//! Reads the log for a fold.

use std::pin::Pin;
use std::time::Duration;

use events::{EventLog, Kind, LogError, Position, RAW_LIMIT, RawEvent, SealedLog};
use futures::stream::{self, Stream, StreamExt};
use service::retry::retry_until_available;

use crate::engine::batch::Event;

/// Reads of the log at the same time.
const READS: usize = 3;
/// Delay before keys are asked for again during an outage of the vault.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// A part of the log.
#[derive(Debug)]
pub(super) struct Window {
    /// The events of the wanted kinds.
    pub(super) events: Vec<Event>,
    /// They are all up to this position.
    pub(super) passed: Position,
    pub(super) is_last: bool,
}

/// The events of a range of positions, and the last position of the range.
type Page = Result<(Position, Vec<RawEvent>), LogError>;

/// Reads windows one after the other. It reads the log as it is stored, which works with one that is opened to be read
/// only, and leaves nothing at its server.
pub(super) struct Reader<'a> {
    log: &'a SealedLog,
    kinds: Vec<Kind>,
    pages: Pin<Box<dyn Stream<Item = Page> + Send + 'a>>,
    passed: Position,
    to: Position,
    batch: usize,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// The events after `from`, up to and including `to`, at most `batch` at a time.
    pub(super) fn new(
        log: &'a SealedLog,
        kinds: Vec<Kind>,
        from: Position,
        to: Position,
        batch: usize,
    ) -> Self {
        let page = RAW_LIMIT.min(batch);
        let starts = (from.0..to.0).step_by(page);
        let pages = stream::iter(starts).map(move |after| {
            let upto = Position(to.0.min(after.saturating_add(page as u64)));
            read(&**log.raw(), Position(after), upto)
        });
        Self { log, kinds, pages: Box::pin(pages.buffered(READS)), passed: from, to, batch, ended: false }
    }

    /// The next window; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Window>, LogError> {
        if self.ended {
            return Ok(None);
        }
        let mut events = Vec::new();
        while events.len() < self.batch {
            let Some(page) = self.pages.next().await else {
                self.ended = true;
                self.passed = self.to;
                break;
            };
            let (upto, page) = page?;
            self.passed = upto;
            events.append(&mut open(self.log, &page, &self.kinds).await?);
        }
        Ok(Some(Window { events, passed: self.passed, is_last: self.ended }))
    }
}

async fn read(log: &dyn EventLog, after: Position, upto: Position) -> Page {
    let length = usize::try_from(upto.0 - after.0).unwrap_or(usize::MAX);
    let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
    let mut events = retry_until_available("the event log", || log.raw(after, length), is_outage).await?;
    // If a log has lost events, others take their places.
    events.retain(|event| event.position <= upto);
    Ok((upto, events))
}

/// Decodes events of these kinds and opens what is sealed in them.
pub(super) async fn open(log: &SealedLog, raw: &[RawEvent], kinds: &[Kind]) -> Result<Vec<Event>, LogError> {
    let mut recorded = Vec::with_capacity(raw.len());
    let mut unreadable = Vec::new();
    for event in raw {
        if !event.kind().is_some_and(|kind| kinds.contains(&kind)) {
            continue;
        }
        match event.recorded() {
            Ok(one) => recorded.push(one),
            Err(error) => unreadable.push(error.into()),
        }
    }
    let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
    let failed = loop {
        match log.unseal(&mut recorded).await {
            Ok(failed) => break failed,
            Err(error) if is_outage(&error) => {
                tracing::warn!(outage = %error, "waiting for the key vault");
                tokio::time::sleep(OUTAGE_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Event::in_order(recorded, failed, unreadable))
}
