//! The read side, asked as any client would ask it: some answers of the apps' commands show what only views know. In one
//! process its routes are called, otherwise its address.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use events::Position;
use http::{Request, StatusCode, header};
use serde_json::Value;
use thiserror::Error;
use tower::ServiceExt;
use web::http::MIN_POSITION;

/// How long it is waited for; longer than it waits itself for its views.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Longest answer in bytes.
const SIZE_LIMIT: usize = 16 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum ReadSideError {
    #[error("the read side cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the read side answered {0}")]
    Refused(StatusCode),
    #[error("the read side's answer is not JSON")]
    Unreadable(#[source] serde_json::Error),
}

impl ReadSideError {
    fn unreachable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreachable(cause.into())
    }
}

#[async_trait]
pub trait ReadSide: fmt::Debug + Send + Sync + 'static {
    /// What it answers to whoever has this token, once it has taken in this position.
    async fn get(&self, path: &str, token: &str, seen: Position) -> Result<Value, ReadSideError>;
}

/// In the same process.
#[derive(Debug)]
pub struct LocalReadSide(pub Router);

#[async_trait]
impl ReadSide for LocalReadSide {
    async fn get(&self, path: &str, token: &str, seen: Position) -> Result<Value, ReadSideError> {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(MIN_POSITION, seen.0)
            .body(Body::empty())
            .map_err(ReadSideError::unreachable)?;
        let answer = self.0.clone().oneshot(request);
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await.map_err(ReadSideError::unreachable)?;
        let answer = answer.unwrap_or_else(|never| match never {});
        if !answer.status().is_success() {
            return Err(ReadSideError::Refused(answer.status()));
        }
        let body = axum::body::to_bytes(answer.into_body(), SIZE_LIMIT).await;
        serde_json::from_slice(&body.map_err(ReadSideError::unreachable)?).map_err(ReadSideError::Unreadable)
    }
}

/// A process of its own.
#[derive(Debug)]
pub struct RemoteReadSide {
    url: String,
    client: reqwest::Client,
}

impl RemoteReadSide {
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(ANSWER_LIMIT).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client })
    }
}

#[async_trait]
impl ReadSide for RemoteReadSide {
    async fn get(&self, path: &str, token: &str, seen: Position) -> Result<Value, ReadSideError> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(token);
        let request = request.header(MIN_POSITION, seen.0);
        let answer = request.send().await.map_err(ReadSideError::unreachable)?;
        if !answer.status().is_success() {
            return Err(ReadSideError::Refused(answer.status()));
        }
        let body = answer.bytes().await.map_err(ReadSideError::unreachable)?;
        serde_json::from_slice(&body).map_err(ReadSideError::Unreadable)
    }
}
