//! Wrong documents in views, as a defect or an operator may leave them.

use std::sync::Arc;

use views::{Commit, CommitError, Write};

use crate::chorus::Chorus;
use crate::waiting::until;

/// Writes into the serving generation of a family, beside the projector that feeds it.
pub async fn damage(chorus: &Chorus, family: &'static str, writes: Vec<Write>) {
    let store = chorus.serving(family).await.expect("the serving generation");
    let writes = Arc::new(writes);
    until("the damage to be done between two commits", async || {
        let checkpoint = store.checkpoint(family).await.expect("a checkpoint");
        let commit = Commit {
            projection: family,
            writes: Arc::clone(&writes),
            parked: Vec::new(),
            expected: checkpoint,
            checkpoint,
        };
        match store.commit(commit).await {
            Ok(()) => true,
            Err(CommitError::Fenced { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}
