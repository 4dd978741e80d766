//! Follows the stream. One consumer per process reads all new events into the tail buffer for all followers; a
//! follower that is far behind has its own consumer until it has caught up. A process that only listens has its own
//! permanent consumer, so that the server sends it nothing else.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Connection, message, raw};
use crate::log::{Followed, Unreadable};
use crate::tail_buffer::{self, TailBuffer};
use crate::{Filter, LogError, Position, RawEvent, Stored};

/// Messages requested in advance.
const PULL_BATCH: usize = 1000;
/// Interval of the server's heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Lifetime of one pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server deletes a consumer without pull requests after this time.
const ABANDONED_AFTER: Duration = Duration::from_mins(1);
/// How long a follower that catches up waits for a message before it asks the server whether there are any.
const SILENCE: Duration = Duration::from_millis(20);
/// Maximum number of events per read from the tail buffer.
const CHUNK: usize = 1000;
/// Backoff before a consumer is recreated after an error.
const RECREATE_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(2))
    .without_max_times();
/// How often to ask the leader for undelivered messages while a consumer is silent.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// How long a consumer may be silent although the stream has messages for it. A consumer on a broken or lagging
/// replica still sends heartbeats.
const STALL_LIMIT: Duration = Duration::from_secs(5);

type Cause = Box<dyn std::error::Error + Send + Sync>;
type Sender = mpsc::Sender<Result<Followed, LogError>>;

/// The follower was dropped, or received its final error.
struct Ended;

/// A consumer delivers nothing although the stream has messages for it.
#[derive(Debug, thiserror::Error)]
#[error("the consumer has delivered nothing for {STALL_LIMIT:?} although the stream has messages for it")]
struct Stalled;

/// Creates consumers. They are in the server's memory and can be lost at any time; a new consumer continues from the
/// client's position.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) connection: Connection,
    pub(super) stream: Stream<()>,
    /// The wildcard subject that covers the stream.
    pub(super) everything: String,
    /// The name of the stream.
    pub(super) name: String,
}

impl Source {
    /// Reads new events of all kinds into the buffer until it is dropped.
    pub(super) async fn fill_tail(self, after: Position, tail: Weak<TailBuffer>) {
        let Some(mut complete) = tail.upgrade().map(|tail| tail.complete()) else { return };
        let dropped = async { while complete.changed().await.is_ok() {} };
        let keep = async {
            let (mut reached, mut retry) = (after, Retry::default());
            loop {
                let before = reached;
                let Err(cause) = tokio::select! {
                    () = self.connection.replaced() => Err("the connection was replaced".into()),
                    lost = self.try_fill_tail(&mut reached, &tail) => lost,
                };
                retry.wait(cause, before, reached).await;
            }
        };
        tokio::select! {
            () = dropped => {}
            () = keep => {}
        }
    }

    async fn try_fill_tail(
        &self,
        reached: &mut Position,
        tail: &Weak<TailBuffer>,
    ) -> Result<Infallible, Cause> {
        let mut deliveries = self.deliveries(vec![self.everything.clone()], *reached).await?;
        loop {
            let (position, stored) = deliveries.next().await?;
            let tail = tail.upgrade().ok_or("no followers")?;
            // Unreadable events are not buffered: followers read them from the server.
            if let Ok(stored) = stored {
                tail.push(stored);
            }
            tail.advance_to(position);
            *reached = position;
        }
    }

    pub(super) async fn listen(self, subjects: Vec<String>, after: Position, sender: Sender) {
        tokio::select! {
            () = sender.closed() => {}
            Ended = self.deliver_all(subjects, after, &sender) => {}
        }
    }

    async fn deliver_all(&self, subjects: Vec<String>, after: Position, sender: &Sender) -> Ended {
        let (mut reached, mut retry) = (after, Retry::default());
        loop {
            let before = reached;
            let lost = tokio::select! {
                () = self.connection.replaced() => Err("the connection was replaced".into()),
                ended = self.try_deliver_all(&subjects, &mut reached, sender) => ended,
            };
            match lost {
                Ok(Ended) => return Ended,
                Err(cause) => retry.wait(cause, before, reached).await,
            }
        }
    }

    async fn try_deliver_all(
        &self,
        subjects: &[String],
        reached: &mut Position,
        sender: &Sender,
    ) -> Result<Ended, Cause> {
        let mut deliveries = self.deliveries(subjects.to_vec(), *reached).await?;
        loop {
            if let Some(ended) = forward(deliveries.next().await?, reached, sender).await {
                return Ok(ended);
            }
        }
    }

    /// Delivers all messages after a position as they are stored, and each reason why it must start again.
    pub(super) async fn deliver_raw(
        &self,
        after: Position,
        sender: &mpsc::Sender<Result<RawEvent, LogError>>,
    ) {
        let (mut reached, mut retry) = (after, Retry::default());
        loop {
            let before = reached;
            let lost = tokio::select! {
                () = self.connection.replaced() => Err("the connection was replaced".into()),
                ended = self.try_deliver_raw(&mut reached, sender) => ended,
            };
            let Err(cause) = lost else { return };
            if sender.send(Err(LogError::unavailable(cause.to_string()))).await.is_err() {
                return;
            }
            retry.wait(cause, before, reached).await;
        }
    }

    async fn try_deliver_raw(
        &self,
        reached: &mut Position,
        sender: &mpsc::Sender<Result<RawEvent, LogError>>,
    ) -> Result<Ended, Cause> {
        let mut deliveries = self.deliveries(vec![self.everything.clone()], *reached).await?;
        loop {
            let (position, message) = deliveries.next_message().await?;
            let headers = message.headers.unwrap_or_default();
            let event = raw::raw(&self.name, position.0, &message.subject, &headers, message.payload);
            if sender.send(Ok(event)).await.is_err() {
                return Ok(Ended);
            }
            *reached = position;
        }
    }

    /// Creates a consumer of all messages on these subjects after a position.
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

    /// Whether the stream has messages on these subjects after a position. Asks the leader for the message itself,
    /// since the consumer's pending count lags behind.
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

/// The messages of one consumer, in order and without gaps.
struct Deliveries {
    messages: pull::Stream,
    source: Source,
    subjects: Vec<String>,
    delivered: u64,
    /// The position of the last delivered event.
    reached: Position,
    /// Since when undelivered messages are known.
    owed_since: Option<Instant>,
}

impl Deliveries {
    /// The next event with its position. The inner error means an unreadable envelope. Cancel-safe.
    async fn next(&mut self) -> Result<(Position, Result<Stored, Unreadable>), Cause> {
        let (position, message) = self.next_message().await?;
        let headers = message.headers.unwrap_or_default();
        let stored = message::stored(position.0, &headers, message.payload);
        let unreadable = |error| {
            let subject = raw::event_subject(&self.source.name, &message.subject).to_owned();
            Unreadable::new(position, message::event_type(&headers), subject, error)
        };
        Ok((position, stored.map_err(unreadable)))
    }

    /// The next message with its position. Cancel-safe.
    async fn next_message(&mut self) -> Result<(Position, async_nats::Message), Cause> {
        let message = loop {
            let check = async {
                tokio::time::sleep(STALL_CHECK).await;
                self.source.anything_after(self.reached, &self.subjects).await
            };
            tokio::select! {
                message = self.messages.next() => break message.ok_or("the consumer ended")??,
                anything = check => match anything {
                    Ok(anything) => self.should_deliver(anything)?,
                    // Without its leader the stream has no new messages.
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
        Ok((Position(position), message.message))
    }
}

impl Deliveries {
    /// Records whether the stream has undelivered messages.
    ///
    /// # Errors
    /// [`Stalled`] if it has had some for too long.
    fn should_deliver(&mut self, anything: bool) -> Result<(), Stalled> {
        let now = Instant::now();
        self.owed_since = anything.then(|| self.owed_since.unwrap_or(now));
        let stalled = self.owed_since.is_some_and(|since| now.duration_since(since) >= STALL_LIMIT);
        if stalled { Err(Stalled) } else { Ok(()) }
    }
}

/// Forwards a message to a follower.
async fn forward(
    (position, stored): (Position, Result<Stored, Unreadable>),
    reached: &mut Position,
    sender: &Sender,
) -> Option<Ended> {
    let sent = sender.send(Ok(stored.map_or_else(Followed::Unreadable, Followed::Event))).await;
    if sent.is_err() {
        return Some(Ended);
    }
    *reached = position;
    None
}

/// The backoff for recreating a consumer.
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
                "recreating the consumer: is a replica of the log broken?"
            );
        } else {
            tracing::info!(
                outage = "following NATS",
                error = &*cause,
                position = reached.0,
                "recreating the consumer"
            );
        }
        // The iterator is endless.
        tokio::time::sleep(self.delays.next().unwrap_or_default()).await;
    }
}

/// One follower.
pub(super) struct Follower {
    pub(super) source: Source,
    pub(super) tail: Arc<TailBuffer>,
    pub(super) subjects: Vec<String>,
    pub(super) filter: Filter,
}

impl Follower {
    pub(super) async fn deliver(self, after: Position, sender: Sender) {
        tokio::select! {
            () = sender.closed() => {}
            Ended = self.follow(after, &sender) => {}
        }
    }

    async fn follow(&self, after: Position, sender: &Sender) -> Ended {
        let mut complete = self.tail.complete();
        let (mut reached, mut retry) = (after, Retry::default());
        loop {
            if let Some((events, passed)) = self.tail.after(&self.filter, reached, CHUNK) {
                if !tail_buffer::deliver(sender, events.into_iter().map(Followed::Event), passed).await {
                    return Ended;
                }
                reached = passed;
                continue;
            }
            // The tail buffer continues from the complete position, so there is no gap between the two.
            if complete.wait_for(|complete| *complete > reached).await.is_err() {
                return Ended;
            }
            if self.tail.has_next(reached) {
                continue;
            }
            let before = reached;
            let caught_up = tokio::select! {
                // A restarted server has lost its consumers; waiting for the timeout would take longer.
                () = self.source.connection.replaced() => Err("the connection was replaced".into()),
                caught_up = self.catch_up(&mut reached, sender) => caught_up,
            };
            match caught_up {
                Ok(Some(Ended)) => return Ended,
                Ok(None) => retry = Retry::default(),
                Err(cause) => retry.wait(cause, before, reached).await,
            }
        }
    }

    /// Follows with its own consumer until the next event is in the tail buffer, or there are no more events.
    async fn catch_up(&self, reached: &mut Position, sender: &Sender) -> Result<Option<Ended>, Cause> {
        let mut deliveries = self.source.deliveries(self.subjects.clone(), *reached).await?;
        let complete = self.tail.complete();
        loop {
            let known = *complete.borrow();
            if *reached >= known || self.tail.has_next(*reached) {
                return Ok(None);
            }
            let Ok(next) = tokio::time::timeout(SILENCE, deliveries.next()).await else {
                let anything = self.source.anything_after(*reached, &self.subjects).await?;
                if !anything {
                    *reached = known;
                    let sent = sender.send(Ok(Followed::Passed(known))).await;
                    return Ok(sent.is_err().then_some(Ended));
                }
                deliveries.should_deliver(anything)?;
                continue;
            };
            if let Some(ended) = forward(next?, reached, sender).await {
                return Ok(Some(ended));
            }
        }
    }
}
