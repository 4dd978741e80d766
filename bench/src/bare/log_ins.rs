//! A log-in that is a hashing, an append and a commit, and nothing else.

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

use super::{Bare, Failed, Receipt, Write};

/// A hash of the password that all have, with the parameters of Chorus.
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
    bare: Arc<dyn Bare>,
    hash: Arc<str>,
    /// One hashing for each core at a time.
    room: Arc<Semaphore>,
}

pub(super) fn router(bare: Arc<dyn Bare>) -> Result<Router> {
    let room = Arc::new(Semaphore::new(std::thread::available_parallelism()?.get()));
    let log_ins = LogIns { bare, hash: hashed()?.into(), room };
    Ok(Router::new().route("/log-ins/{user}", post(log_in)).with_state(log_ins))
}

async fn log_in(
    State(LogIns { bare, hash, room }): State<LogIns>,
    Path(user): Path<String>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let turn = room.acquire().await?;
    tokio::task::spawn_blocking(move || verify(&hash)).await??;
    drop(turn);
    let session = Uuid::from_u128(rand::random()).simple().to_string();
    // One append costs what another does.
    let position = bare.like(&user, &session).await?;
    let session = Write::Session { session, user, position: i64::try_from(position)? };
    bare.project(session, true).await?;
    Ok((StatusCode::CREATED, Json(Receipt { position })))
}
