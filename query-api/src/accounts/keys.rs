//! The public keys that verify tokens.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::problem::Problems;
use web::sessions::KeySource;
use web::tokens::VerifyingKeys;

use crate::Queries;

/// Timeout of a fetch.
const FETCH_LIMIT: Duration = Duration::from_secs(2);
/// Minimum interval of fetches: tokens with unknown keys must not cause a request each.
const FETCH_INTERVAL: Duration = Duration::from_secs(1);

/// Interval of background fetches.
const KEEP_FRESH: Duration = Duration::from_mins(5);

/// The keys, fetched from the signing process.
#[derive(Debug)]
pub struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    keys: RwLock<Arc<VerifyingKeys>>,
    fetched: Mutex<Option<Instant>>,
}

impl RemoteKeys {
    /// # Errors
    /// If the HTTP client cannot be created.
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(FETCH_LIMIT).build()?;
        Ok(Self { url: url.to_owned(), client, keys: RwLock::default(), fetched: Mutex::default() })
    }

    /// Refreshes the keys periodically, so that new keys are known in advance and old keys are dropped.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(if self.keys().is_empty() { FETCH_INTERVAL } else { KEEP_FRESH }).await;
        }
    }

    async fn fetch(&self) -> Result<VerifyingKeys, reqwest::Error> {
        let set: JwkSet = self.client.get(&self.url).send().await?.error_for_status()?.json().await?;
        Ok(VerifyingKeys::of(&set))
    }
}

#[async_trait]
impl KeySource for RemoteKeys {
    fn keys(&self) -> Arc<VerifyingKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self) -> bool {
        let asked = Instant::now();
        // Fetch one at a time: waiting calls use the keys fetched meanwhile. Keys fetched earlier may lack a newer
        // key.
        let mut fetched = self.fetched.lock().await;
        if let Some(at) = *fetched {
            if at >= asked {
                return true;
            }
            tokio::time::sleep_until(at + FETCH_INTERVAL).await;
        }
        match self.fetch().await {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                *fetched = Some(Instant::now());
                true
            }
            Err(error) => {
                tracing::warn!(outage = "the public keys", url = self.url, %error, "the public keys cannot be fetched");
                false
            }
        }
    }
}

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_keys))
}

/// A JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Key {
    #[schema(example = "OKP")]
    kty: String,
    #[schema(example = "Ed25519")]
    crv: String,
    /// The public key in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
    /// Id of the key, as in the header of a token.
    #[schema(example = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")]
    kid: String,
    #[schema(example = "EdDSA")]
    alg: String,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    purpose: String,
}

/// Get the public keys that verify tokens
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "sessions",
    responses((status = 200, description = "A JSON Web Key Set (RFC 7517)", body = KeySet), Problems)
)]
async fn get_keys(State(queries): State<Queries>) -> Json<JwkSet> {
    Json(queries.keys.keys().set().clone())
}
