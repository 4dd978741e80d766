use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "mongodb")]
use crate::mongo;
use crate::{StoreError, View};

/// A typed document of a view.
pub trait Document: Serialize + DeserializeOwned + Send + Sync {
    const VIEW: &'static View;

    /// The key: unique in the view, and immutable.
    fn key(&self) -> String;
}

/// A document in the engine's form. Callers that know its type deserialise it directly from that form.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    pub key: String,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Json(String),
    #[cfg(feature = "mongodb")]
    Bson(mongo::Body),
}

impl StoredDocument {
    pub(crate) fn json(key: String, body: String) -> Self {
        Self { key, body: Body::Json(body) }
    }

    /// # Errors
    /// [`StoreError::Corrupt`] if the document is not of this type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        match &self.body {
            Body::Json(text) => serde_json::from_str(text).map_err(|e| self.unreadable(e)),
            #[cfg(feature = "mongodb")]
            Body::Bson(body) => body.read().map_err(|e| self.unreadable(e)),
        }
    }

    fn unreadable(&self, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError::corrupt(format!("the document {} is not of its type: {error}", self.key))
    }
}
