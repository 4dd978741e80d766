//! A log-in that only hashes the password, appends an event and commits a session.

use std::sync::Arc;

use anyhow::{Result, ensure};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use tests::client::PASSWORD;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Baseline, Failed, Receipt, Write};

/// The hash of the common password, with the parameters of Chorus.
pub(crate) fn hashed() -> Result<String> {
    let hash = Argon2::default().hash_password(PASSWORD.as_bytes()).map_err(anyhow::Error::msg)?.to_string();
    ensure!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "other parameters than Chorus's: {hash}");
    Ok(hash)
}

pub(crate) fn verify(hash: &str) -> Result<()> {
    Argon2::default().verify_password(PASSWORD.as_bytes(), hash).map_err(anyhow::Error::msg)
}

#[derive(Clone)]
struct LogIns {
    baseline: Arc<dyn Baseline>,
    hash: Arc<str>,
    /// One hash per core at a time.
    permits: Arc<Semaphore>,
}

pub(super) fn router(baseline: Arc<dyn Baseline>) -> Result<Router> {
    let permits = Arc::new(Semaphore::new(std::thread::available_parallelism()?.get()));
    let log_ins = LogIns { baseline, hash: hashed()?.into(), permits };
    Ok(Router::new().route("/log-ins/{user}", post(log_in)).with_state(log_ins))
}

async fn log_in(
    State(LogIns { baseline, hash, permits }): State<LogIns>,
    Path(user): Path<String>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let permit = permits.acquire().await?;
    tokio::task::spawn_blocking(move || verify(&hash)).await??;
    drop(permit);
    let session = Uuid::from_u128(rand::random()).simple().to_string();
    // Stands for the session event: every append costs the same.
    let position = baseline.like(&user, &session).await?;
    let session = Write::Session { session, user, position: i64::try_from(position)? };
    baseline.project(session, true).await?;
    Ok((StatusCode::CREATED, Json(Receipt { position })))
}
