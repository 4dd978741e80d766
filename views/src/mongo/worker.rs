use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};

use super::errors::is_duplicate;
use super::{CHECKPOINTS, MongoViews, WORKERS};
use crate::{Commit, CommitError, StoreError};

/// The workers of this process, by projection: one each, so that its commits queue.
pub(super) type Workers = Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Worker>>>>>;

/// Who commits for a projection. It keeps its session, since another worker that takes over ends it, and a session
/// given back to the driver's pool might by then serve somebody else.
pub(super) struct Worker {
    session: ClientSession,
    /// Whether it was the last to write this projection, as far as it knows.
    in_charge: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("in_charge", &self.in_charge).finish_non_exhaustive()
    }
}

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
            self.take_charge(&worker.session, commit.projection).await?;
        }
        self.commit_in(&mut worker.session, commit).await
    }

    /// Makes the checkpoint if there is none, and ends the transaction that the worker before this one may have left
    /// open when it died. Without that, its locks would keep this one waiting until the server's own limit of a minute.
    async fn take_charge(&self, session: &ClientSession, projection: &str) -> Result<(), StoreError> {
        self.ensure_checkpoint(projection).await?;
        let workers = self.database.collection::<Document>(WORKERS);
        let own = doc! { "_id": projection, "session": session.id() };
        loop {
            let Some(before) = workers.find_one(doc! { "_id": projection }).await? else {
                match workers.insert_one(&own).await {
                    Err(error) if is_duplicate(&error) => continue,
                    made => return made.map(|_| ()).map_err(StoreError::from),
                }
            };
            if before == own {
                return Ok(());
            }
            // Ended first and forgotten then: whoever dies in between leaves it to the next.
            let other = before.get_document("session").map_err(StoreError::corrupt)?;
            self.client.database("admin").run_command(doc! { "killSessions": [other] }).await?;
            if workers.replace_one(before, &own).await?.matched_count == 1 {
                return Ok(());
            }
        }
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
