use async_trait::async_trait;
use thiserror::Error;

use crate::UserId;

/// The name of a key. Its text form is the key in the store: `person.<user>` or `secret.<purpose>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// Seals the personal data of one user.
    Person(UserId),
    /// A secret of the whole deployment, by its purpose.
    Secret(&'static str),
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(user) => write!(f, "person.{user}"),
            Self::Secret(purpose) => write!(f, "secret.{purpose}"),
        }
    }
}

/// The state of a name in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    Absent,
    /// A key, wrapped by a master key that the vault never sees.
    Present(Vec<u8>),
    /// The key was destroyed; the name is never used again.
    Destroyed,
}

#[derive(Debug, Error)]
pub enum VaultError {
    #[error("the key vault is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the key vault contains invalid data")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Stores wrapped keys, separately from the log. Its essential operation is destruction.
///
/// After [`VaultError::Unavailable`] a key may have been created or destroyed. Both operations can be repeated
/// without loss.
#[async_trait]
pub trait KeyVault: std::fmt::Debug + Send + Sync + 'static {
    /// The state of each name, in the requested order.
    async fn get(&self, names: &[KeyName]) -> Result<Vec<KeyState>, VaultError>;

    /// Stores a wrapped key unless the name is taken or destroyed. Returns the resulting state: concurrent creators
    /// get the same key.
    async fn create(&self, name: KeyName, wrapped: Vec<u8>) -> Result<KeyState, VaultError>;

    /// Overwrites the key with a tombstone. Destroying a destroyed or unknown key is not an error.
    async fn destroy(&self, name: KeyName) -> Result<(), VaultError>;

    /// The number of names that were ever given a key, including destroyed ones. May be slightly stale.
    async fn count(&self) -> Result<u64, VaultError>;

    /// Called last, at shutdown: afterwards a plain copy of the files, if any, contains every key. Later calls may
    /// return [`VaultError::Unavailable`].
    async fn close(&self) -> Result<(), VaultError> {
        Ok(())
    }
}
