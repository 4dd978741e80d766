use async_trait::async_trait;
use thiserror::Error;

use crate::UserId;

/// Whose key it is. The text form is the key's name in the store: `person.<user>` or `secret.<purpose>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// Seals what one person wrote or is.
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

/// What a vault has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    Absent,
    /// A key, wrapped by a master key that the vault never sees.
    Present(Vec<u8>),
    /// There was a key; it is gone for good and the name is never used again.
    Destroyed,
}

#[derive(Debug, Error)]
pub enum VaultError {
    #[error("the key vault is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the key vault holds what it should not")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where wrapped keys live, beside the log and never inside it. All it must do well is forget.
///
/// After [`VaultError::Unavailable`] a key may have been created or destroyed all the same. Both may be repeated, and
/// nothing else is lost by either.
#[async_trait]
pub trait KeyVault: std::fmt::Debug + Send + Sync + 'static {
    /// The state of each name, in the order asked for.
    async fn get(&self, names: &[KeyName]) -> Result<Vec<KeyState>, VaultError>;

    /// Stores a wrapped key unless the name is taken or destroyed. Answers what stands there now: of two who
    /// create at once, both are told the same key.
    async fn create(&self, name: KeyName, wrapped: Vec<u8>) -> Result<KeyState, VaultError>;

    /// Overwrites the key with a mark that it is gone. Destroying twice, or what never was, is no error.
    async fn destroy(&self, name: KeyName) -> Result<(), VaultError>;

    /// How many names have ever been given a key, destroyed ones included. May be some moments old.
    async fn count(&self) -> Result<u64, VaultError>;

    /// The last call of a process that ends: afterwards a plain copy of the files, where the vault is one, holds every key.
    /// Later calls may answer [`VaultError::Unavailable`].
    async fn close(&self) -> Result<(), VaultError> {
        Ok(())
    }
}
