use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::WriteConcern;

use super::errors::{is_duplicate, is_time_limit};
use super::statements::integer;
use super::{CHECKPOINTS, MongoViews};
use crate::{Commit, CommitError, StoreError};

/// How long the server lets a claim wait for the checkpoint's lock before blocking transactions are examined.
const CLAIM_LIMIT: Duration = Duration::from_millis(500);
/// A blocking transaction without progress for this long counts as abandoned.
const ABANDONED_AFTER: Duration = Duration::from_secs(2);
/// Maximum time to wait for the lock before the commit fails as unavailable.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of sessions per checkpoint between two commits. Each starting worker adds one.
const SESSIONS: i32 = 100;

/// The workers of this process: one per projection, so that its commits queue.
pub(super) type Workers = Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Worker>>>>>;

/// Commits for one projection. It keeps its session: another worker may end the session if this one seems dead, and a
/// session returned to the driver's pool could serve a reader by then.
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

/// Transactions that block a claim: by session, the work done according to the server, and since when it has not
/// changed.
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
        // Taken out during use: if this future is dropped, the session is dropped too, which ends its transaction.
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

    /// Registers this worker's session in the checkpoint, if the checkpoint is where the worker expects it, and ends
    /// abandoned transactions of dead workers. Their locks would otherwise last until the server's limit of a minute.
    ///
    /// The checkpoint names every session that can hold its lock: each worker claims before its first transaction,
    /// and only a commit, which holds the lock, removes the others. A claim is not a transaction, so it leaves no
    /// lock behind, and it waits for the lock where a transaction would fail immediately.
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
                .collection::<RawDocumentBuf>(CHECKPOINTS)
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

    /// Ends the other registered sessions whose transactions have made no progress for [`ABANDONED_AFTER`]. A living
    /// worker makes progress.
    async fn end_abandoned(
        &self,
        projection: &str,
        own: &ClientSession,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let checkpoints = self.collection::<Document>(CHECKPOINTS);
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
            tracing::info!(projection, "ending an abandoned transaction of another worker");
            admin.run_command(doc! { "killSessions": [{ "id": id }] }).await?;
        }
        *seen = now;
        Ok(())
    }

    /// Creates the checkpoint that compare-and-set needs. Runs outside the transaction, since two workers may try
    /// concurrently.
    async fn ensure_checkpoint(&self, projection: &str) -> Result<(), StoreError> {
        let made = self
            .collection::<RawDocumentBuf>(CHECKPOINTS)
            .update_one(doc! { "_id": projection }, doc! { "$setOnInsert": { "position": 0_i64 } })
            .upsert(true)
            .await;
        match made {
            // Another worker created it concurrently.
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
