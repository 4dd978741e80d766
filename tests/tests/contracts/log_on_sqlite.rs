use std::sync::Arc;

use async_trait::async_trait;
use events::{EventLog, KeyName, KeyVault, SqliteLog, SqliteVault, UserId};
use tempfile::TempDir;
use tests::contracts::log::{self as contract, LogEngine};
use tests::contracts::vault;
use uuid::Uuid;

struct Sqlite {
    folder: TempDir,
    log: Option<Arc<SqliteLog>>,
}

impl Sqlite {
    fn start() -> Self {
        let mut engine = Self { folder: tempfile::tempdir().unwrap(), log: None };
        engine.open();
        engine
    }

    fn opened(&self) -> SqliteLog {
        SqliteLog::open(&self.folder.path().join("events.db")).unwrap()
    }

    fn open(&mut self) {
        self.log = Some(Arc::new(self.opened()));
    }
}

#[async_trait]
impl LogEngine for Sqlite {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone().unwrap()
    }

    async fn restart(&mut self) {
        self.log = None;
        self.open();
    }

    async fn drop_responses(&mut self) -> bool {
        false
    }

    async fn deliver_responses(&mut self) {}

    /// Appends of another process (`chorus` subcommands run beside the server) are seen without a notification.
    fn observer(&self) -> Arc<dyn EventLog> {
        Arc::new(self.opened())
    }
}

macro_rules! log_on_sqlite {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let engine = Sqlite::start();
            contract::$promise(&*engine.log()).await;
        }
    )+};
}
tests::log_promises!(log_on_sqlite);

macro_rules! engine_on_sqlite {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            contract::$promise(&mut Sqlite::start()).await;
        }
    )+};
}
tests::log_engine_promises!(engine_on_sqlite);

macro_rules! vault_on_sqlite {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let folder = tempfile::tempdir().unwrap();
            vault::$promise(&SqliteVault::open(&folder.path().join("keys.db")).unwrap()).await;
        }
    )+};
}
tests::vault_promises!(vault_on_sqlite);

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_skips_an_event_with_an_unreadable_envelope() {
    let engine = Sqlite::start();
    let file = engine.folder.path().join("events.db");
    let spoil = async |subject| contract::spoil_on_sqlite(&file, "like.liked.v1", subject);
    contract::unreadable_envelope_is_reported_and_skipped(&*engine.log(), spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_events_are_read_raw_on_sqlite() {
    let engine = Sqlite::start();
    let file = engine.folder.path().join("events.db");
    let plant = async |foreign| contract::plant_on_sqlite(&file, foreign);
    contract::foreign_events_are_read_raw_with_their_position(&*engine.log(), plant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_log_and_vault_on_sqlite() {
    let engine = Sqlite::start();
    let (events, keys) = (engine.folder.path().join("events.db"), engine.folder.path().join("keys.db"));
    let read_only = SqliteLog::open_read_only(&events).unwrap();
    contract::read_only_log_sees_appends_and_refuses_its_own(&*engine.log(), &read_only).await;
    assert!(read_only.check_writable().await.is_err());
    let writable = SqliteVault::open(&keys).unwrap();
    let read_only = SqliteVault::open_read_only(&keys).unwrap();
    vault::read_only_vault_reads_keys_and_refuses_changes(&writable, &read_only).await;

    let empty = tempfile::tempdir().unwrap();
    assert!(SqliteLog::open_read_only(&empty.path().join("events.db")).is_err());
    assert!(SqliteVault::open_read_only(&empty.path().join("keys.db")).is_err());
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_opens_a_log_of_an_older_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let dump = include_str!("../../fixtures/log-v1.sql");
    sqlite::rusqlite::Connection::open(&path).unwrap().execute_batch(dump).unwrap();
    let log = SqliteLog::open(&path).unwrap();
    contract::log_of_an_older_version_opens_and_accepts_appends(&log, &crate::written_v1()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_refuses_to_change_or_delete_an_event() {
    let engine = Sqlite::start();
    contract::appended_events_are_read_back_unchanged(&*engine.log()).await;
    let raw = sqlite::rusqlite::Connection::open(engine.folder.path().join("events.db")).unwrap();
    for change in ["DELETE FROM events", "UPDATE events SET body = ''"] {
        let refused = raw.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("never"), "{refused}");
    }
}

/// Crypto-shredding: an erased key must not be recoverable from the files.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_leaves_no_byte_of_a_destroyed_key_in_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let vault = SqliteVault::open(&folder.path().join("keys.db")).unwrap();
    let (key, name) =
        (b"a key that must not be found again", KeyName::Person(UserId::new(Uuid::from_u128(1))));
    let found = || {
        let files = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.filter(|bytes| bytes.windows(key.len()).any(|window| window == key)).count()
    };
    vault.create(name, key.to_vec()).await.unwrap();
    assert!(found() > 0);
    vault.destroy(name).await.unwrap();
    assert_eq!(found(), 0);
}
