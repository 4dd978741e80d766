use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::stream::{Compression, Config, DirectGetErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc, rawdoc, serialize_to_document};
use mongodb::options::{ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database, IndexModel};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Author, Baseline, Post, Projected, Write, enqueue, notify_committed};

const STREAM: &str = "baseline";

/// JetStream and MongoDB through their own clients.
pub(crate) struct Distributed {
    jetstream: Context,
    stream: Stream,
    pub(super) client: Client,
    pub(super) database: Database,
    projected: mpsc::Sender<Projected>,
}

impl Distributed {
    pub(crate) async fn open(nats: &str, mongo: &str) -> Result<Self> {
        let jetstream = jetstream::new(async_nats::connect(nats).await?);
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{STREAM}.>")],
            allow_direct: true,
            compression: Some(Compression::S2),
            ..Config::default()
        };
        let stream = jetstream.get_or_create_stream(config).await?;
        let client = Client::with_uri_str(mongo).await?;
        let database = client.database("baseline");
        let (projected, waiting) = mpsc::channel(1 << 20);
        let session = client.start_session().await?;
        #[expect(clippy::disallowed_methods, reason = "it ends with the process, or with its channel")]
        tokio::spawn(project(session, database.clone(), waiting));
        let baseline = Self { jetstream, stream, client, database, projected };
        baseline.index(&baseline.database).await?;
        // It cannot be created inside a transaction; a second opener finds it.
        let _ = baseline.database.create_collection("checkpoints").await;
        Ok(baseline)
    }

    async fn index(&self, database: &Database) -> Result<()> {
        let indexes = [
            ("posts", doc! { "position": -1, "_id": -1 }),
            ("posts", doc! { "author": 1, "position": -1, "_id": -1 }),
            ("likes", doc! { "post": 1, "position": -1, "_id": -1 }),
            ("likes", doc! { "user": 1, "position": -1, "_id": -1 }),
            // As many indexes as the likes view of Chorus has, including those for notifications.
            ("likes", doc! { "owner": 1, "position": -1, "_id": -1 }),
            ("posts", doc! { "author": 1, "notified": -1, "_id": -1 }),
            ("sessions", doc! { "user": 1, "position": -1, "_id": -1 }),
            ("follows", doc! { "followee": 1, "accepted": 1, "position": -1, "_id": -1 }),
            ("follows", doc! { "follower": 1, "accepted": 1, "position": -1, "_id": -1 }),
        ];
        index(database, &indexes).await
    }

    pub(super) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// Commits the writes of a catch-up in batches: posts with their counts, likes, and follows, each in a concurrent loop.
    pub(crate) async fn catch_up(&self, writes: &[Write]) -> Result<Duration> {
        let name = format!("baseline-{}", Uuid::from_u128(rand::random()).simple());
        let database = self.client.database(&name);
        self.index(&database).await?;
        database.create_collection("checkpoints").await?;
        let start = Instant::now();
        let (posts, likes, follows) = (
            self.write(&database, "posts", writes),
            self.write(&database, "likes", writes),
            self.write(&database, "follows", writes),
        );
        futures::try_join!(posts, likes, follows)?;
        let taken = start.elapsed();
        database.drop().await?;
        Ok(taken)
    }

    async fn write(&self, database: &Database, view: &str, writes: &[Write]) -> Result<()> {
        let mut session = self.client.start_session().await?;
        let concerned: Vec<RawDocumentBuf> =
            writes.iter().filter_map(|write| statement(view, write).transpose()).collect::<Result<_>>()?;
        for writes in concerned.chunks(super::BATCH) {
            commit(&mut session, database, view, writes).await?;
        }
        Ok(())
    }

    /// Times one append and one view commit per event, one after the other.
    pub(crate) async fn one_by_one(&self, times: usize) -> Result<Vec<(Duration, Duration)>> {
        let mut session = self.client.start_session().await?;
        let mut taken = Vec::with_capacity(times);
        for n in 0..times {
            let start = Instant::now();
            self.like("one-by-one", &n.to_string()).await?;
            let appended = start.elapsed();
            let (post, user) = ("one-by-one".to_owned(), n.to_string());
            let like = Write::Like { post, user, owner: None, liked: 0, position: i64::try_from(n)? };
            let statements: Vec<RawDocumentBuf> = statement("likes", &like)?.into_iter().collect();
            let start = Instant::now();
            commit(&mut session, &self.database, "likes", &statements).await?;
            taken.push((appended, start.elapsed()));
        }
        Ok(taken)
    }
}

pub(super) async fn index(database: &Database, indexes: &[(&str, Document)]) -> Result<()> {
    for (collection, keys) in indexes {
        let model = IndexModel::builder().keys(keys.clone()).build();
        database.collection::<Document>(collection).create_index(model).await?;
    }
    Ok(())
}

/// Commits queued writes to their views, in batches.
async fn project(mut session: ClientSession, database: Database, mut waiting: mpsc::Receiver<Projected>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, super::BATCH).await > 0 {
        let (writes, seen): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let mut failed = false;
        for view in ["likes", "posts", "sessions"] {
            let statements = writes.iter().filter_map(|write| statement(view, write).transpose());
            let done = match statements.collect::<Result<Vec<_>>>() {
                Ok(statements) if statements.is_empty() => Ok(()),
                Ok(statements) => commit(&mut session, &database, view, &statements).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                #[expect(clippy::print_stderr, reason = "the log of the benchmark")]
                {
                    eprintln!("{error:#}");
                }
                failed = true;
            }
        }
        if !failed {
            notify_committed(seen);
        }
    }
}

async fn commit(
    session: &mut ClientSession,
    database: &Database,
    view: &str,
    writes: &[RawDocumentBuf],
) -> Result<()> {
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await?;
    let checkpoint = rawdoc! { "q": { "_id": view }, "u": { "$inc": { "position": 1_i64 } }, "upsert": true };
    for (collection, statements) in [("checkpoints", std::slice::from_ref(&checkpoint)), (view, writes)] {
        let mut list = mongodb::bson::RawArrayBuf::new();
        for statement in statements {
            list.push(statement.clone());
        }
        let command = rawdoc! { "update": collection, "updates": list };
        let reply = database.run_raw_command(command).session(&mut *session).await?;
        ensure!(!reply.contains_key("writeErrors"), "{reply}");
    }
    session.commit_transaction().await?;
    Ok(())
}

/// The update statement of an event for a view, if any.
fn statement(view: &str, write: &Write) -> Result<Option<RawDocumentBuf>> {
    let put = |key: &str, document: Document| -> Result<RawDocumentBuf> {
        let mut whole = doc! { "_id": key };
        whole.extend(document);
        let statement = doc! { "q": { "_id": key }, "u": whole, "upsert": true };
        Ok(RawDocumentBuf::try_from(&statement)?)
    };
    Ok(match (view, write) {
        ("posts", Write::Post(post)) => Some(put(&post.post, serialize_to_document(post)?)?),
        ("posts", Write::Like { post, owner, position, .. }) => {
            let change = match owner {
                Some(_) => rawdoc! { "$inc": { "likes": 1_i64 }, "$set": { "notified": *position } },
                None => rawdoc! { "$inc": { "likes": 1_i64 } },
            };
            Some(rawdoc! { "q": { "_id": post.as_str() }, "u": change })
        }
        ("likes", Write::Like { post, user, owner, liked, position }) => {
            let mut like = doc! { "post": post, "user": user, "liked": liked, "position": position };
            if let Some(owner) = owner {
                like.insert("owner", owner);
            }
            Some(put(&format!("{post}.{user}"), like)?)
        }
        ("sessions", Write::Session { session, user, position }) => {
            Some(put(session, doc! { "user": user, "position": position })?)
        }
        ("follows", Write::Follow { follower, followee, since, position }) => {
            let follow = doc! {
                "follower": follower, "followee": followee, "accepted": true, "since": since, "position": position
            };
            Some(put(&format!("{follower}.{followee}"), follow)?)
        }
        _ => None,
    })
}

#[async_trait]
impl Baseline for Distributed {
    async fn like(&self, post: &str, user: &str) -> Result<u64> {
        let subject = format!("{STREAM}.like.{post}.{user}");
        let expected = match self.stream.direct_get_last_for_subject(subject.as_str()).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        let mut headers = HeaderMap::new();
        let id = Uuid::from_u128(rand::random()).to_string();
        headers.insert(NATS_MESSAGE_ID, id.as_str());
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        headers.insert("ce-id", id.as_str());
        headers.insert("ce-type", "like.liked.v1");
        headers.insert("ce-subject", subject.as_str());
        headers.insert("actor", user);
        headers.insert("correlation", id.as_str());
        let body = super::like_body(post, user);
        let acknowledged = self.jetstream.publish_with_headers(subject, headers, body.into()).await?;
        Ok(acknowledged.await?.sequence)
    }

    async fn project(&self, write: Write, seen: bool) -> Result<()> {
        enqueue(&self.projected, write, seen).await
    }

    async fn newest(&self, limit: i64) -> Result<Vec<Post>> {
        let newest = doc! { "position": -1, "_id": -1 };
        let found = self.collection("posts").find(doc! {}).sort(newest).limit(limit).await?;
        Ok(found.try_collect().await?)
    }

    async fn post(&self, post: &str) -> Result<Option<Post>> {
        Ok(self.collection("posts").find_one(doc! { "_id": post }).await?)
    }

    async fn authors(&self, users: Vec<String>) -> Result<Vec<Author>> {
        let found = self.collection("authors").find(doc! { "_id": { "$in": users } }).await?;
        Ok(found.try_collect().await?)
    }

    async fn liked(&self, posts: &[Post], user: &str) -> Result<Vec<String>> {
        let keys: Vec<String> = posts.iter().map(|post| format!("{}.{user}", post.post)).collect();
        let found = self.collection::<Document>("likes").find(doc! { "_id": { "$in": keys } }).await?;
        let likes: Vec<Document> = found.try_collect().await?;
        Ok(likes.iter().map(|like| Ok(like.get_str("post")?.to_owned())).collect::<Result<_>>()?)
    }
}
