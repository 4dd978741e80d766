use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::WriteConcern;

use super::errors::{is_duplicate, is_time_limit};
use super::statements::integer;
use super::{CHECKPOINTS, MongoViews};
use crate::{Commit, CommitError, StoreError};

/// How long the server lets a claim wait for the lock on the checkpoint, before the transactions in the way are looked at.
const CLAIM_LIMIT: Duration = Duration::from_millis(500);
/// A transaction whose worker has sent nothing for so long, while another worker waits for its lock, has lost its worker.
const ABANDONED_AFTER: Duration = Duration::from_secs(2);
/// How long a worker waits for the lock in all, before its caller is told that the view cannot be written.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions remembered for one checkpoint between two commits. One is added by each worker that starts.
const SESSIONS: i32 = 100;

/// The workers of this process, by projection: one each, so that its commits queue.
pub(super) type Workers = Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Worker>>>>>;

/// Commits for one projection. It keeps its session, since another worker may end it once this one is taken for dead, and a
/// session given back to the driver's pool might by then serve a reader.
pub(super) struct Worker {
    session: ClientSession,
    /// Whether its last commit succeeded: then the checkpoint names its session.
    in_charge: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("in_charge", &self.in_charge).finish_non_exhaustive()
    }
}

/// Transactions in the way of a claim: by session, the server's measure of the work done in it, and since when that has stood.
type Seen = HashMap<Bson, (Progress, Instant)>;

/// The number of a session's transaction, and the microseconds that the server has worked on it.
type Progress = (i64, i64);

impl MongoViews {
    pub(super) async fn commit_batch(&self, commit: Commit<'_>) -> Result<(), CommitError> {
        let slot = {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.entry(commit.projection.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        // Taken out while it is used: if this future is dropped half-way, so is the session, which ends its transaction.
        let mut worker = match slot.take() {
            Some(worker) => worker,
            None => Worker {
                session: self.client.start_session().await.map_err(StoreError::from)?,
                in_charge: false,
            },
        };
        let outcome = self.commit_as(&mut worker, &commit).await;
        worker.in_charge = outcome.is_ok();
        *slot = Some(worker);
        outcome
    }

    async fn commit_as(&self, worker: &mut Worker, commit: &Commit<'_>) -> Result<(), CommitError> {
        if !worker.in_charge {
            self.claim(&worker.session, commit).await?;
        }
        self.commit_in(&mut worker.session, commit).await
    }

    /// Adds this worker's session to those that the checkpoint names, if the checkpoint stands where the worker expects it;
    /// ends the transaction that a dead worker has left open on it. Without that, its locks would stand in the way until
    /// the server's own limit of a minute.
    ///
    /// The checkpoint names every session that can hold its lock: each worker claims before its first transaction, and only a
    /// commit, which had the lock, forgets the others. A claim is no transaction, so it leaves no lock behind, and it waits
    /// for the lock where a transaction would fail at once.
    async fn claim(&self, session: &ClientSession, commit: &Commit<'_>) -> Result<(), CommitError> {
        self.ensure_checkpoint(commit.projection).await?;
        let (since, mut seen) = (Instant::now(), Seen::new());
        while since.elapsed() < LOCK_TIMEOUT {
            let others = doc! { "$filter": {
                "input": { "$ifNull": ["$sessions", []] },
                "cond": { "$ne": ["$$this", { "$literal": session.id() }] },
            } };
            let all = doc! { "$concatArrays": [others, [{ "$literal": session.id() }]] };
            let claimed = self
                .collection(CHECKPOINTS)
                .find_one_and_update(
                    doc! { "_id": commit.projection, "position": integer(commit.expected) },
                    vec![doc! { "$set": { "sessions": { "$slice": [all, -SESSIONS] } } }],
                )
                .max_time(CLAIM_LIMIT)
                .write_concern(WriteConcern::majority())
                .await;
            match claimed {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {
                    let actual = self.find_checkpoint(commit.projection).await?;
                    return Err(CommitError::Fenced { actual });
                }
                Err(error) if is_time_limit(&error) => {
                    self.end_abandoned(commit.projection, session, &mut seen).await?;
                }
                Err(error) => return Err(StoreError::from(error).into()),
            }
        }
        let problem = format!("the checkpoint of {} has been locked for {LOCK_TIMEOUT:?}", commit.projection);
        Err(StoreError::unavailable(problem).into())
    }

    /// Ends the other sessions that the checkpoint names whose transaction has made no progress for long enough. That of a
    /// living worker does: what it sends next is on its way.
    async fn end_abandoned(
        &self,
        projection: &str,
        own: &ClientSession,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let checkpoints = self.database.collection::<Document>(CHECKPOINTS);
        let checkpoint = checkpoints.find_one(doc! { "_id": projection }).await?;
        let named = checkpoint.as_ref().and_then(|checkpoint| checkpoint.get_array("sessions").ok());
        let own = own.id().get("id");
        let others: Vec<&Bson> = named
            .into_iter()
            .flatten()
            .filter_map(|session| session.as_document()?.get("id"))
            .filter(|id| Some(*id) != own)
            .collect();
        let pipeline = [
            doc! { "$currentOp": { "idleSessions": true } },
            doc! { "$match": { "lsid.id": { "$in": &others }, "transaction": { "$exists": true } } },
        ];
        let admin = self.client.database("admin");
        let open: Vec<Document> = admin.aggregate(pipeline).await?.try_collect().await?;
        let mut now = Seen::new();
        for operation in open {
            let Some(id) = operation.get_document("lsid").ok().and_then(|session| session.get("id")) else {
                continue;
            };
            let progress = progress(&operation).map_err(StoreError::corrupt)?;
            let since = match seen.get(id) {
                Some((before, since)) if *before == progress => *since,
                _ => Instant::now(),
            };
            if since.elapsed() < ABANDONED_AFTER {
                now.insert(id.clone(), (progress, since));
                continue;
            }
            tracing::info!(projection, "ending the transaction that a worker of this view has abandoned");
            admin.run_command(doc! { "killSessions": [{ "id": id }] }).await?;
        }
        *seen = now;
        Ok(())
    }

    /// A compare-and-set needs something to compare; made outside the transaction, where two may try at once.
    async fn ensure_checkpoint(&self, projection: &str) -> Result<(), StoreError> {
        let made = self
            .collection(CHECKPOINTS)
            .update_one(doc! { "_id": projection }, doc! { "$setOnInsert": { "position": 0_i64 } })
            .upsert(true)
            .await;
        match made {
            // Somebody else made it in the same instant: then it is there, and nothing was to be done.
            Err(error) if !is_duplicate(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn progress(operation: &Document) -> Result<Progress, Box<dyn std::error::Error + Send + Sync>> {
    let transaction = operation.get_document("transaction")?;
    let number = transaction.get_document("parameters")?.get_i64("txnNumber")?;
    let worked = match transaction.get("timeActiveMicros") {
        Some(Bson::Int64(micros)) => *micros,
        Some(Bson::Int32(micros)) => i64::from(*micros),
        other => return Err(format!("timeActiveMicros is {other:?}").into()),
    };
    Ok((number, worked))
}
