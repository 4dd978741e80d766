//! Following the stream. One consumer takes everything that is new for all followers of a process, which find it in
//! memory; a follower that is far behind has a consumer of its own until it has caught up. Whoever only listens has one for
//! good, and the server sends that process nothing else.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Connection, message};
use crate::log::{Followed, Unreadable};
use crate::recent::{self, Recent};
use crate::{Filter, LogError, Position, Stored};

/// Messages asked for ahead.
const PULL_BATCH: usize = 1000;
/// The server says at least this often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long one request for messages stands at the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server drops a consumer that nobody has pulled from for so long.
const ABANDONED_AFTER: Duration = Duration::from_mins(1);
/// How long a follower that catches up hears nothing before it asks the server whether there is nothing for it.
const SILENCE: Duration = Duration::from_millis(20);
/// Events taken from memory in one go.
const CHUNK: usize = 1000;
/// Delays before a consumer is created again after an error.
const RECREATE_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(2))
    .without_max_times();
/// How often the leader is asked, while a consumer delivers nothing, whether it should.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// How long a consumer may deliver nothing while the stream holds something for it. One whose replica is broken or behind
/// sends heartbeats all the same.
const STALL_LIMIT: Duration = Duration::from_secs(5);

type Cause = Box<dyn std::error::Error + Send + Sync>;
type Sender = mpsc::Sender<Result<Followed, LogError>>;

/// Nobody listens any more, or the last word has been said.
struct Over;

/// A consumer delivers nothing though the stream holds something for it.
#[derive(Debug, thiserror::Error)]
#[error("the consumer has delivered nothing for {STALL_LIMIT:?} though the stream goes on")]
struct Stalled;

/// Where events come from. Consumers live in the server's memory and may be lost at any time; the position is ours, and
/// a new consumer goes on from there.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) connection: Connection,
    pub(super) stream: Stream<()>,
    /// The subject that covers all others of the stream.
    pub(super) everything: String,
}

impl Source {
    /// Keeps what is new, of every kind, in memory, until nobody needs it any more.
    pub(super) async fn keep_recent(self, after: Position, recent: Weak<Recent>) {
        let Some(mut complete) = recent.upgrade().map(|recent| recent.complete()) else { return };
        let dropped = async { while complete.changed().await.is_ok() {} };
        let keep = async {
            let (mut reached, mut retry) = (after, Retry::default());
            loop {
                let before = reached;
                let Err(cause) = tokio::select! {
                    () = self.connection.replaced() => Err("the connection was made anew".into()),
                    lost = self.try_keep_recent(&mut reached, &recent) => lost,
                };
                retry.wait(cause, before, reached).await;
            }
        };
        tokio::select! {
            () = dropped => {}
            () = keep => {}
        }
    }

    async fn try_keep_recent(
        &self,
        reached: &mut Position,
        recent: &Weak<Recent>,
    ) -> Result<Infallible, Cause> {
        let mut deliveries = self.deliveries(vec![self.everything.clone()], *reached).await?;
        loop {
            let (position, stored) = deliveries.next().await?;
            let recent = recent.upgrade().ok_or("nobody follows")?;
            // An event that cannot be read is not kept: followers that it is for get it from the server.
            if let Ok(stored) = stored {
                recent.keep(stored);
            }
            recent.found(position);
            *reached = position;
        }
    }

    pub(super) async fn listen(self, subjects: Vec<String>, after: Position, sender: Sender) {
        tokio::select! {
            () = sender.closed() => {}
            Over = self.deliver_all(subjects, after, &sender) => {}
        }
    }

    async fn deliver_all(&self, subjects: Vec<String>, after: Position, sender: &Sender) -> Over {
        let (mut reached, mut retry) = (after, Retry::default());
        loop {
            let before = reached;
            let lost = tokio::select! {
                () = self.connection.replaced() => Err("the connection was made anew".into()),
                ended = self.try_deliver_all(&subjects, &mut reached, sender) => ended,
            };
            match lost {
                Ok(Over) => return Over,
                Err(cause) => retry.wait(cause, before, reached).await,
            }
        }
    }

    async fn try_deliver_all(
        &self,
        subjects: &[String],
        reached: &mut Position,
        sender: &Sender,
    ) -> Result<Over, Cause> {
        let mut deliveries = self.deliveries(subjects.to_vec(), *reached).await?;
        loop {
            if let Some(over) = pass_on(deliveries.next().await?, reached, sender).await {
                return Ok(over);
            }
        }
    }

    /// A consumer of everything on these subjects after a position.
    async fn deliveries(&self, subjects: Vec<String>, after: Position) -> Result<Deliveries, Cause> {
        let config = pull::Config {
            description: Some("chorus follower".to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.0 + 1 },
            ack_policy: AckPolicy::None,
            filter_subjects: subjects.clone(),
            inactive_threshold: ABANDONED_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let messages = self
            .stream
            .create_consumer(config)
            .await?
            .stream()
            .max_messages_per_batch(PULL_BATCH)
            .heartbeat(HEARTBEAT)
            .expires(PULL_EXPIRES)
            .messages()
            .await?;
        let source = self.clone();
        Ok(Deliveries { messages, source, subjects, delivered: 0, reached: after, owed_since: None })
    }

    /// Whether the stream holds anything on these subjects after a position. The leader is asked for the message itself:
    /// what a consumer counts as pending lags behind what has been stored.
    async fn anything_after(&self, position: Position, subjects: &[String]) -> Result<bool, Cause> {
        for subject in subjects {
            let next = self.stream.raw_message_builder().sequence(position.0 + 1).next_by_subject(subject);
            match next.send().await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// What one consumer delivers, in order and without gaps.
struct Deliveries {
    messages: pull::Stream,
    source: Source,
    subjects: Vec<String>,
    delivered: u64,
    /// Where the last event that was delivered stands.
    reached: Position,
    /// Since when the stream is known to hold more than was delivered.
    owed_since: Option<Instant>,
}

impl Deliveries {
    /// The next event and where it stands. An error inside is the event's own: its envelope cannot be read. It may be given up and
    /// called again.
    async fn next(&mut self) -> Result<(Position, Result<Stored, Unreadable>), Cause> {
        let message = loop {
            let check = async {
                tokio::time::sleep(STALL_CHECK).await;
                self.source.anything_after(self.reached, &self.subjects).await
            };
            tokio::select! {
                message = self.messages.next() => break message.ok_or("the consumer ended")??,
                anything = check => match anything {
                    Ok(anything) => self.should_deliver(anything)?,
                    // Without its leader the stream does not go on.
                    Err(error) => tracing::debug!(error = &*error, "the stream's leader does not answer"),
                },
            }
        };
        let info = message.info()?;
        let (number, position) = (info.consumer_sequence, info.stream_sequence);
        if number != self.delivered + 1 {
            return Err(format!("message {number} came after message {}", self.delivered).into());
        }
        self.delivered = number;
        self.reached = Position(position);
        self.owed_since = None;
        let headers = message.message.headers.unwrap_or_default();
        let position = Position(position);
        let stored = message::stored(position.0, &headers, message.message.payload);
        let unreadable = |error| Unreadable::new(position, message::event_type(&headers), error);
        Ok((position, stored.map_err(unreadable)))
    }
}

impl Deliveries {
    /// Takes note of whether the stream holds anything that was not delivered.
    ///
    /// # Errors
    /// [`Stalled`] if it has for too long.
    fn should_deliver(&mut self, anything: bool) -> Result<(), Stalled> {
        let now = Instant::now();
        self.owed_since = anything.then(|| self.owed_since.unwrap_or(now));
        let stalled = self.owed_since.is_some_and(|since| now.duration_since(since) >= STALL_LIMIT);
        if stalled { Err(Stalled) } else { Ok(()) }
    }
}

/// Tells a follower of what was delivered.
async fn pass_on(
    (position, stored): (Position, Result<Stored, Unreadable>),
    reached: &mut Position,
    sender: &Sender,
) -> Option<Over> {
    let told = sender.send(Ok(stored.map_or_else(Followed::Unreadable, Followed::Event))).await;
    if told.is_err() {
        return Some(Over);
    }
    *reached = position;
    None
}

/// When a consumer is created again.
struct Retry {
    delays: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { delays: RECREATE_BACKOFF.build() }
    }
}

impl Retry {
    async fn wait(&mut self, cause: Cause, before: Position, reached: Position) {
        if reached > before {
            *self = Self::default();
        }
        if cause.is::<Stalled>() {
            metrics::counter!("chorus_log_consumers_stalled_total").increment(1);
            tracing::warn!(
                error = &*cause,
                position = reached.0,
                "following anew: is a replica of the log broken?"
            );
        } else {
            tracing::info!(
                outage = "following NATS",
                error = &*cause,
                position = reached.0,
                "following anew"
            );
        }
        // They have no end.
        tokio::time::sleep(self.delays.next().unwrap_or_default()).await;
    }
}

/// One follower.
pub(super) struct Follower {
    pub(super) source: Source,
    pub(super) recent: Arc<Recent>,
    pub(super) subjects: Vec<String>,
    pub(super) filter: Filter,
}

impl Follower {
    pub(super) async fn deliver(self, after: Position, sender: Sender) {
        tokio::select! {
            () = sender.closed() => {}
            Over = self.follow(after, &sender) => {}
        }
    }

    async fn follow(&self, after: Position, sender: &Sender) -> Over {
        let mut complete = self.recent.complete();
        let (mut reached, mut retry) = (after, Retry::default());
        loop {
            if let Some((events, passed)) = self.recent.after(&self.filter, reached, CHUNK) {
                if !recent::tell(sender, events.into_iter().map(Followed::Event), passed).await {
                    return Over;
                }
                reached = passed;
                continue;
            }
            // What is held in memory always goes on from what is complete, so that nothing is missed in between.
            if complete.wait_for(|complete| *complete > reached).await.is_err() {
                return Over;
            }
            if self.recent.goes_on_after(reached) {
                continue;
            }
            let before = reached;
            let caught_up = tokio::select! {
                // A server that has been started anew knows no consumer; waiting for its silence would take longer.
                () = self.source.connection.replaced() => Err("the connection was made anew".into()),
                caught_up = self.catch_up(&mut reached, sender) => caught_up,
            };
            match caught_up {
                Ok(Some(Over)) => return Over,
                Ok(None) => retry = Retry::default(),
                Err(cause) => retry.wait(cause, before, reached).await,
            }
        }
    }

    /// Follows with a consumer of its own until what comes next is held in memory, or there is nothing more.
    async fn catch_up(&self, reached: &mut Position, sender: &Sender) -> Result<Option<Over>, Cause> {
        let mut deliveries = self.source.deliveries(self.subjects.clone(), *reached).await?;
        let complete = self.recent.complete();
        loop {
            let known = *complete.borrow();
            if *reached >= known || self.recent.goes_on_after(*reached) {
                return Ok(None);
            }
            let Ok(next) = tokio::time::timeout(SILENCE, deliveries.next()).await else {
                let anything = self.source.anything_after(*reached, &self.subjects).await?;
                if !anything {
                    *reached = known;
                    let told = sender.send(Ok(Followed::Passed(known))).await;
                    return Ok(told.is_err().then_some(Over));
                }
                deliveries.should_deliver(anything)?;
                continue;
            };
            if let Some(over) = pass_on(next?, reached, sender).await {
                return Ok(Some(over));
            }
        }
    }
}
