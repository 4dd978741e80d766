use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Connection;
use super::heard::Heard;
use super::message;
use crate::log::Followed;
use crate::{Filter, LogError, Position};

/// Messages asked for ahead.
const PULL_BATCH: usize = 1000;
/// The server says at least this often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long one request for messages stands at the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server drops a consumer that nobody has pulled from for so long.
const ABANDONED_AFTER: Duration = Duration::from_mins(1);
/// How often a follower that hears nothing asks where the log ends.
const HEAD_POLL: Duration = Duration::from_millis(250);
/// How often a follower that hears nothing for it, of a log that goes on, asks the server whether there is nothing.
const PASS_INTERVAL: Duration = Duration::from_millis(20);
/// Pause before a consumer is made anew after an error, growing from the first to the second.
const RECREATE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Where a follower gets its events from. Its consumer lives in the server's memory and may be lost at any time;
/// the position is ours, and a new consumer goes on from there.
pub(super) struct Source {
    pub(super) connection: Connection,
    pub(super) stream: Stream<()>,
    pub(super) subjects: Vec<String>,
    pub(super) filter: Filter,
    pub(super) heard: Arc<Heard>,
}

type Sender = mpsc::Sender<Result<Followed, LogError>>;

/// Why one consumer came to its end.
enum End {
    /// Nobody listens any more, or an error that no retry mends has been told.
    Done,
    Lost(Box<dyn std::error::Error + Send + Sync>),
}

impl Source {
    pub(super) async fn deliver(self, after: Position, sender: Sender) {
        let mut reached = after;
        let mut pause = RECREATE_PAUSE.0;
        loop {
            let before = reached;
            let end = tokio::select! {
                () = sender.closed() => End::Done,
                // A server that has been started anew knows no consumer; waiting for its silence would take longer.
                () = self.connection.replaced() => End::Lost("the connection was made anew".into()),
                end = self.consume(&mut reached, &sender) => end,
            };
            match end {
                End::Done => return,
                End::Lost(cause) => {
                    if reached > before {
                        pause = RECREATE_PAUSE.0;
                    }
                    tracing::info!(error = &*cause, position = reached.0, "following anew");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RECREATE_PAUSE.1);
                }
            }
        }
    }

    /// Follows with one consumer until it fails.
    async fn consume(&self, reached: &mut Position, sender: &Sender) -> End {
        match self.try_consume(reached, sender).await {
            Ok(end) => end,
            Err(cause) => End::Lost(cause),
        }
    }

    async fn try_consume(
        &self,
        reached: &mut Position,
        sender: &Sender,
    ) -> Result<End, Box<dyn std::error::Error + Send + Sync>> {
        let consumer = self.stream.create_consumer(self.consumer_config(*reached)).await?;
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(PULL_BATCH)
            .heartbeat(HEARTBEAT)
            .expires(PULL_EXPIRES)
            .messages()
            .await?;
        let mut delivered = 0;
        let mut head = self.heard.head();
        let mut next_ask = Instant::now();
        loop {
            let next = tokio::select! {
                biased;
                next = messages.next() => next,
                passed = self.idle(&mut head, *reached, &mut next_ask) => {
                    *reached = passed?;
                    if sender.send(Ok(Followed::Passed(*reached))).await.is_err() {
                        return Ok(End::Done);
                    }
                    continue;
                }
            };
            let message = next.ok_or("the consumer ended")??;
            let info = message.info()?;
            if info.consumer_sequence != delivered + 1 {
                return Err(
                    format!("message {} came after message {delivered}", info.consumer_sequence).into()
                );
            }
            delivered = info.consumer_sequence;
            let position = info.stream_sequence;
            let headers = message.message.headers.unwrap_or_default();
            let stored = match message::stored(position, &headers, message.message.payload) {
                Ok(stored) => stored,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return Ok(End::Done);
                }
            };
            *reached = stored.position;
            self.heard.of_event(*reached, stored.message.envelope.subject.kind());
            if sender.send(Ok(Followed::Event(stored))).await.is_err() {
                return Ok(End::Done);
            }
        }
    }

    fn consumer_config(&self, after: Position) -> pull::Config {
        pull::Config {
            description: Some("chorus follower".to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.0 + 1 },
            ack_policy: AckPolicy::None,
            filter_subjects: self.subjects.clone(),
            inactive_threshold: ABANDONED_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        }
    }

    /// Ends once the log is known to have passed `reached` with nothing for this follower: answers how far. Mostly other
    /// followers of this process know; the server is asked where they do not.
    async fn idle(
        &self,
        head: &mut watch::Receiver<Position>,
        reached: Position,
        next_ask: &mut Instant,
    ) -> Result<Position, Box<dyn std::error::Error + Send + Sync>> {
        loop {
            let news = tokio::time::timeout(HEAD_POLL, head.wait_for(|head| *head > reached)).await;
            let until = match news.map(|head| head.map(|head| *head)) {
                Ok(head) => head?,
                Err(_elapsed) => {
                    self.heard.of(Position(self.stream.get_info().await?.state.last_sequence));
                    continue;
                }
            };
            let passed = self.heard.nothing_for(&self.filter, reached);
            if passed > reached {
                return Ok(passed);
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(*next_ask) => {}
                // What is new may be what others know.
                changed = head.changed() => {
                    changed?;
                    continue;
                }
            }
            *next_ask = Instant::now() + PASS_INTERVAL;
            if !self.anything_after(reached).await? {
                return Ok(until);
            }
            // It is on its way, and wakes the follower itself. Until then, not too fast.
            tokio::time::sleep(PASS_INTERVAL).await;
        }
    }

    /// Whether the stream holds anything for this follower after a position. The leader is asked for the message
    /// itself: what a consumer counts as pending lags behind what has been stored.
    async fn anything_after(
        &self,
        position: Position,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        for subject in &self.subjects {
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
