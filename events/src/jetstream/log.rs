use async_nats::header::HeaderMap;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{
    Compression, Config, DirectGetErrorKind, DiscardPolicy, Info, LastRawMessageErrorKind,
    RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_trait::async_trait;
use futures::TryFutureExt;
use futures::future::try_join_all;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::{Connection, JetStreamSettings, REPLICA_TIMEOUT, follow, message, progress, raw};
use crate::tail_buffer::TailBuffer;
use crate::{
    AppendError, EventId, EventLog, Filter, Follow, Freshness, LogError, Message, Position, Progress,
    RawEvent, RawFollow, Stored, Subject, Urgency,
};

/// How often an append with an unknown outcome is repeated.
const APPEND_ATTEMPTS: usize = 3;
/// Error codes for a mismatch of the expected last sequence (the second one in a cluster, while another append to the
/// subject is in flight).
const WRONG_LAST_SEQUENCE: [ErrorCode; 2] = [ErrorCode(10071), ErrorCode(10164)];
/// Error code if the leader could not store an append. Other replicas may have stored it.
const STORE_FAILED: ErrorCode = ErrorCode(10077);
/// Delay before an append that no server accepted is repeated: a new leader may be elected meanwhile.
const NO_LEADER_PAUSE: Duration = Duration::from_millis(100);
/// A message of the same id is being stored: the servers of a stream with replicas are agreeing on it.
const BEING_STORED: ErrorCode = ErrorCode(10158);
/// Buffered progress notifications for slow receivers.
const PROGRESS_BUFFER: usize = 1024;

/// The log in one JetStream stream.
#[derive(Debug)]
pub struct JetStreamLog {
    connection: Connection,
    context: Context,
    stream: Stream<()>,
    name: String,
    /// The number of replicas when the stream was opened.
    replicas: usize,
    progress_publisher: mpsc::Sender<(Progress, Urgency)>,
    reports: broadcast::Sender<Progress>,
    /// The head when the log was opened.
    opened_at: Position,
    /// Set by the first follower.
    tail: OnceLock<Arc<TailBuffer>>,
    read_only: bool,
}

impl JetStreamLog {
    /// Connects, creates or validates the stream, and subscribes to progress notifications.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if no server answers, [`LogError::Corrupt`] if the server is too old or the existing
    /// stream cannot serve as a log.
    pub async fn open(settings: &JetStreamSettings) -> Result<Self, LogError> {
        let connection = Connection::open(settings).await?;
        let context = connection.jetstream();
        let replicas = prepare_stream(&context, settings).await?;
        Self::of(connection, context, replicas, settings, false).await
    }

    /// For programs that change nothing: does not create or reconfigure the stream, and appends fail.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if there is no such stream.
    pub async fn open_read_only(settings: &JetStreamSettings) -> Result<Self, LogError> {
        let connection = Connection::open(settings).await?;
        let context = connection.jetstream();
        let Info { config: found, .. } = context
            .get_stream(&settings.name)
            .map_err(|error| no_stream(&settings.name, error))
            .and_then(|stream| async move { stream.get_info().await.map_err(LogError::unavailable) })
            .await?;
        require_log(&found, settings)?;
        Self::of(connection, context, found.num_replicas, settings, true).await
    }

    async fn of(
        connection: Connection,
        context: Context,
        replicas: usize,
        settings: &JetStreamSettings,
        read_only: bool,
    ) -> Result<Self, LogError> {
        let stream = context.get_stream_no_info(&settings.name).await.map_err(LogError::unavailable)?;
        let (name, reports) = (settings.name.clone(), broadcast::channel(PROGRESS_BUFFER).0);
        progress::listen(&connection.client, &name, reports.downgrade()).await?;
        let progress_publisher = progress::publisher(connection.client.clone(), &name);
        let opened_at = Position(stream.get_info().await.map_err(LogError::unavailable)?.state.last_sequence);
        Ok(Self {
            connection,
            context,
            stream,
            name,
            replicas,
            progress_publisher,
            reports,
            opened_at,
            tail: OnceLock::new(),
            read_only,
        })
    }

    fn source(&self) -> follow::Source {
        follow::Source {
            connection: self.connection.clone(),
            stream: self.stream.clone(),
            everything: format!("{}.>", self.name),
            name: self.name.clone(),
        }
    }

    fn tail(&self) -> &Arc<TailBuffer> {
        self.tail.get_or_init(|| {
            let tail = Arc::new(TailBuffer::starting_at(self.opened_at));
            let kept = self.source().fill_tail(self.opened_at, Arc::downgrade(&tail));
            #[expect(clippy::disallowed_methods, reason = "it ends with the log and its followers")]
            tokio::spawn(kept);
            tail
        })
    }

    async fn publish(&self, headers: HeaderMap, message: &Message) -> Result<PublishAck, PublishError> {
        let subject = stream_subject(&self.name, message.envelope.subject);
        self.context.publish_with_headers(subject, headers, message.body.clone()).await?.await
    }

    /// The position of the event with this id, if it directly follows `expected` on its subject.
    async fn own(&self, message: &Message, expected: Position) -> Result<Option<Position>, LogError> {
        let Message { envelope, .. } = message;
        let chain = self.chain(envelope.subject, expected).await?;
        let next = chain.into_iter().next();
        Ok(next.and_then(|link| (link.id == Some(envelope.id)).then_some(link.stored.position)))
    }

    /// The events of a subject after a position, in order. Walks backwards from the last one: each event names the
    /// position of its predecessor. The leader is asked for the last one, since it is never behind.
    async fn chain(&self, subject: Subject, after: Position) -> Result<Vec<Link>, LogError> {
        self.connection.ready().await?;
        let mut next = self.last_at_leader(&stream_subject(&self.name, subject)).await?;
        let mut chain = Vec::new();
        while let Some(link) = next.take() {
            if link.stored.position <= after {
                break;
            }
            if link.previous > after {
                next = Some(self.link(link.previous).await?);
            }
            chain.push(link);
        }
        chain.reverse();
        Ok(chain)
    }

    async fn last_at_leader(&self, subject: &str) -> Result<Option<Link>, LogError> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(last) => Link::read(last.sequence, &last.headers, last.payload).map(Some),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(LogError::unavailable(error)),
        }
    }

    async fn link(&self, position: Position) -> Result<Link, LogError> {
        let message = match timeout(REPLICA_TIMEOUT, self.stream.direct_get(position.0)).await {
            Ok(Ok(message)) => message,
            // A replica may be behind, broken or down; the leader has it.
            Ok(Err(_)) | Err(_) => {
                self.stream.get_raw_message(position.0).await.map_err(|error| match error.kind() {
                    RawMessageErrorKind::NoMessageFound => LogError::corrupt(position, error),
                    RawMessageErrorKind::InvalidSubject
                    | RawMessageErrorKind::JetStream(_)
                    | RawMessageErrorKind::Other => LogError::unavailable(error),
                })?
            }
        };
        Link::read(message.sequence, &message.headers, message.payload)
    }

    async fn last_of(&self, subject: Subject, freshness: Freshness) -> Result<Option<Stored>, LogError> {
        let subject = stream_subject(&self.name, subject);
        if freshness == Freshness::Any {
            match timeout(REPLICA_TIMEOUT, self.stream.direct_get_last_for_subject(subject.as_str())).await {
                Ok(Ok(found)) => {
                    return message::stored(found.sequence, &found.headers, found.payload).map(Some);
                }
                Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
                // The replica is broken or down.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Ok(self.last_at_leader(&subject).await?.map(|link| link.stored))
    }

    /// True if a failed append may have been stored, or may still be.
    fn may_land(&self, error: &PublishError) -> bool {
        match error.kind() {
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => true,
            // A server without replicas knows what it has stored.
            PublishErrorKind::Other => self.replicas > 1 && error_code(error) == Some(STORE_FAILED),
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::MaxPayloadExceeded => false,
        }
    }
}

/// One event in a subject's chain.
struct Link {
    stored: Stored,
    id: Option<EventId>,
    previous: Position,
}

impl Link {
    fn read(position: u64, headers: &HeaderMap, payload: bytes::Bytes) -> Result<Self, LogError> {
        let stored = message::stored(position, headers, payload)?;
        let previous = message::previous(stored.position, headers)?;
        Ok(Self { id: message::id(headers), stored, previous })
    }
}

#[async_trait]
impl EventLog for JetStreamLog {
    async fn append(&self, message: &Message, expected: Position) -> Result<Position, AppendError> {
        if self.read_only {
            return Err(LogError::unavailable("it was opened to be read only").into());
        }
        self.connection.ready().await?;
        let mut lost: Option<PublishError> = None;
        for _ in 0..APPEND_ATTEMPTS {
            let error = match self.publish(message::headers(&message.envelope, expected), message).await {
                Ok(acknowledged) => {
                    let position = Position(acknowledged.sequence);
                    // The content of the event that is stored under this id may differ: a copy of a request may have
                    // other pictures.
                    if !acknowledged.duplicate
                        && let Some(tail) = self.tail.get()
                    {
                        tail.push(Stored { position, message: message.clone() });
                    }
                    return Ok(position);
                }
                Err(error) => error,
            };
            if is_conflict(&error) {
                // The event may be this one, from an earlier attempt with a lost answer.
                return match (self.own(message, expected).await, lost) {
                    (Ok(own), _) => own.ok_or(AppendError::Conflict),
                    (Err(_), Some(lost)) => Err(AppendError::OutcomeUnknown(lost.into())),
                    (Err(error), None) => Err(error.into()),
                };
            }
            // With the same expected position it cannot be stored twice.
            if error_code(&error) == Some(BEING_STORED) {
                lost = Some(error);
                tokio::time::sleep(NO_LEADER_PAUSE).await;
            } else if self.may_land(&error) {
                lost = Some(error);
            } else if error.kind() == PublishErrorKind::StreamNotFound {
                tokio::time::sleep(NO_LEADER_PAUSE).await;
            } else if lost.is_none() {
                return Err(LogError::unavailable(error).into());
            }
            if self.connection.ready().await.is_err() {
                break;
            }
        }
        match (lost, self.own(message, expected).await) {
            (_, Ok(Some(position))) => Ok(position),
            (Some(lost), _) => Err(AppendError::OutcomeUnknown(lost.into())),
            (None, Ok(None)) => Err(LogError::unavailable("no server leads the stream").into()),
            (None, Err(error)) => Err(error.into()),
        }
    }

    async fn last(
        &self,
        subjects: &[Subject],
        freshness: Freshness,
    ) -> Result<Vec<Option<Stored>>, LogError> {
        self.connection.ready().await?;
        try_join_all(subjects.iter().map(|&subject| self.last_of(subject, freshness))).await
    }

    async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Stored>, LogError> {
        Ok(self.chain(subject, after).await?.into_iter().map(|link| link.stored).collect())
    }

    fn follow(&self, filter: Filter, after: Position) -> Follow {
        let (sender, follow) = Follow::channel();
        let follower = follow::Follower {
            source: self.source(),
            tail: Arc::clone(self.tail()),
            subjects: filter_subjects(&self.name, &filter),
            filter,
        };
        #[expect(clippy::disallowed_methods, reason = "it ends with its Follow")]
        tokio::spawn(follower.deliver(after, sender));
        follow
    }

    fn listen(&self, filter: Filter, after: Position) -> Follow {
        let (sender, follow) = Follow::channel();
        let subjects = filter_subjects(&self.name, &filter);
        #[expect(clippy::disallowed_methods, reason = "it ends with its Follow")]
        tokio::spawn(self.source().listen(subjects, after, sender));
        follow
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.connection.ready().await?;
        let info = self.stream.get_info().await.map_err(LogError::unavailable)?;
        Ok(Position(info.state.last_sequence))
    }

    async fn raw(&self, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError> {
        let head = self.head().await?;
        raw::after(&self.stream, &self.name, after, head, limit).await
    }

    async fn raw_of(&self, subject: &str, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError> {
        self.connection.ready().await?;
        raw::of(&self.connection.client, &self.stream, &self.name, subject, after, limit).await
    }

    fn raw_follow(&self, after: Position) -> RawFollow {
        let (sender, follow) = RawFollow::channel();
        #[expect(clippy::disallowed_methods, reason = "it ends with its RawFollow")]
        tokio::spawn(raw::follow(self.source(), after, sender));
        follow
    }

    /// The stream state adds nothing to [`head`](Self::head): a server with a full disk stops JetStream and answers
    /// neither; a stream that is only at its limit rejects appends.
    async fn check_writable(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn publish_progress(&self, progress: Progress, urgency: Urgency) {
        if self.read_only {
            return;
        }
        // If the queue is full, a later notification supersedes this one.
        let _ = self.progress_publisher.try_send((progress, urgency));
    }

    fn progress(&self) -> broadcast::Receiver<Progress> {
        self.reports.subscribe()
    }
}

pub(super) fn stream_subject(name: &str, subject: impl Display) -> String {
    format!("{name}.{subject}")
}

fn filter_subjects(name: &str, filter: &Filter) -> Vec<String> {
    filter.as_kinds().iter().map(|kind| format!("{name}.{kind}.>")).collect()
}

fn error_code(error: &PublishError) -> Option<ErrorCode> {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code)
}

fn is_conflict(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
        || error_code(error).is_some_and(|code| WRONG_LAST_SEQUENCE.contains(&code))
}

fn stream_config(settings: &JetStreamSettings) -> Config {
    Config {
        name: settings.name.clone(),
        description: Some("The events of Chorus: the only truth".to_owned()),
        subjects: vec![format!("{}.>", settings.name)],
        retention: RetentionPolicy::Limits,
        // A full disk rejects new events; it never drops old ones.
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        compression: Some(Compression::None),
        ..Config::default()
    }
}

/// Creates the stream, or checks that the existing one keeps all events and repairs what can be repaired. The
/// operator's choices (replicas, placement, size limits) are kept. Returns the number of replicas.
async fn prepare_stream(context: &Context, settings: &JetStreamSettings) -> Result<usize, LogError> {
    let wanted = stream_config(settings);
    let Info { config: found, .. } = context
        .get_or_create_stream(wanted.clone())
        .map_err(LogError::unavailable)
        .and_then(|stream| async move { stream.get_info().await.map_err(LogError::unavailable) })
        .await?;
    require_log(&found, settings)?;
    let mended = Config {
        discard: wanted.discard,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        ..super::without_compression(&found)
    };
    let replicas = mended.num_replicas;
    super::reconfigure(context, &found, mended).await.map_err(LogError::unavailable)?;
    Ok(replicas)
}

fn no_stream(name: &str, error: GetStreamError) -> LogError {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            LogError::corrupt(None, format!("there is no stream `{name}` on this server"))
        }
        _ => LogError::unavailable(error),
    }
}

/// # Errors
/// If the stream does not keep all events.
fn require_log(found: &Config, settings: &JetStreamSettings) -> Result<(), LogError> {
    let wanted = stream_config(settings);
    let forgets = found.retention != wanted.retention
        || !found.max_age.is_zero()
        || found.max_messages_per_subject > 0
        || (found.discard != DiscardPolicy::New && (found.max_bytes > 0 || found.max_messages > 0));
    if forgets || found.storage != wanted.storage || !found.subjects.contains(&wanted.subjects[0]) {
        return Err(LogError::corrupt(
            None,
            format!(
                "the stream `{}` on this server does not keep all events forever: it is not a log",
                settings.name
            ),
        ));
    }
    Ok(())
}
