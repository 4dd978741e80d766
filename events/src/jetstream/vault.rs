use async_nats::jetstream::kv::{Config, CreateErrorKind, Store};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{Context, stream::StorageType};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use tokio::time::timeout;

use super::{Connection, JetStreamSettings, REPLICA_TIMEOUT};
use crate::{KeyName, KeyState, KeyVault, LogError, VaultError};

/// A key vault in one JetStream key-value bucket without history: overwritten keys are gone.
#[derive(Debug)]
pub struct JetStreamVault {
    connection: Connection,
    store: Store,
    read_only: bool,
}

impl JetStreamVault {
    pub async fn open(settings: &JetStreamSettings) -> Result<Self, VaultError> {
        let connection = connect(settings).await?;
        let store = bucket(&connection.jetstream(), settings).await?;
        Ok(Self { connection, store, read_only: false })
    }

    /// For programs that change nothing: does not create or reconfigure the bucket, and every change fails.
    pub async fn open_read_only(settings: &JetStreamSettings) -> Result<Self, VaultError> {
        let connection = connect(settings).await?;
        let store = connection.jetstream().get_key_value(bucket_name(settings)).await.map_err(unavailable)?;
        Ok(Self { connection, store, read_only: true })
    }

    fn writable(&self) -> Result<(), VaultError> {
        if self.read_only { Err(unavailable("it was opened to be read only")) } else { Ok(()) }
    }

    async fn ready(&self) -> Result<(), VaultError> {
        self.connection.ready().await.map_err(unavailable)
    }

    async fn state(&self, name: KeyName) -> Result<KeyState, VaultError> {
        // Any replica may answer, but only the leader's "not found" is trusted: a key that a replica does not have
        // yet must not count as absent. The leader is also asked if the replica is broken or down.
        if let Ok(Ok(Some(value))) = timeout(REPLICA_TIMEOUT, self.store.get(name.to_string())).await {
            return Ok(present_or_destroyed(&value));
        }
        let subject = format!("{}{name}", self.store.prefix);
        match self.store.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(present_or_destroyed(&message.payload)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(KeyState::Absent),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// A destroyed key is an empty value: after a deletion the name could be created again.
fn present_or_destroyed(value: &Bytes) -> KeyState {
    if value.is_empty() { KeyState::Destroyed } else { KeyState::Present(value.to_vec()) }
}

#[async_trait]
impl KeyVault for JetStreamVault {
    async fn get(&self, names: &[KeyName]) -> Result<Vec<KeyState>, VaultError> {
        self.ready().await?;
        try_join_all(names.iter().map(|&name| self.state(name))).await
    }

    async fn create(&self, name: KeyName, wrapped: Vec<u8>) -> Result<KeyState, VaultError> {
        self.writable()?;
        self.ready().await?;
        match self.store.create(name.to_string(), wrapped.clone().into()).await {
            Ok(_) => Ok(KeyState::Present(wrapped)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => self.state(name).await,
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn destroy(&self, name: KeyName) -> Result<(), VaultError> {
        self.writable()?;
        self.ready().await?;
        self.store.put(name.to_string(), Bytes::new()).await.map(|_| ()).map_err(unavailable)
    }

    async fn count(&self) -> Result<u64, VaultError> {
        self.ready().await?;
        // The bucket has no history, so there is one message per name.
        let info = self.store.stream.get_info().await.map_err(unavailable)?;
        Ok(info.state.messages)
    }
}

async fn connect(settings: &JetStreamSettings) -> Result<Connection, VaultError> {
    Connection::open(settings).await.map_err(|error| match error {
        LogError::Unavailable(cause) => VaultError::Unavailable(cause),
        LogError::Corrupt { source, .. } => VaultError::Corrupt(source),
    })
}

fn bucket_name(settings: &JetStreamSettings) -> String {
    format!("{}-keys", settings.name)
}

async fn bucket(context: &Context, settings: &JetStreamSettings) -> Result<Store, VaultError> {
    let config = Config {
        bucket: bucket_name(settings),
        description: "The wrapped keys of Chorus".to_owned(),
        history: 1,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..Config::default()
    };
    let store = match context.get_key_value(&config.bucket).await {
        Ok(store) => store,
        // Not created yet; two concurrent creations with the same configuration both succeed.
        Err(_) => context.create_key_value(config).await.map_err(unavailable)?,
    };
    let found = store.stream.get_info().await.map_err(unavailable)?.config;
    super::reconfigure(context, &found, super::without_compression(&found)).await.map_err(unavailable)?;
    Ok(store)
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VaultError {
    VaultError::Unavailable(error.into())
}
