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

    fn open(&mut self) {
        self.log = Some(Arc::new(SqliteLog::open(&self.folder.path().join("events.db")).unwrap()));
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

    async fn lose_answers(&mut self) -> bool {
        false
    }

    async fn answers_arrive(&mut self) {}

    fn witness(&self) -> Arc<dyn EventLog> {
        self.log()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract_of_the_log() {
    let mut engine = Sqlite::start();
    let log = engine.log();
    contract::what_is_appended_is_read_back_as_it_was_written(&*log).await;
    contract::an_append_that_expects_another_position_is_a_conflict_and_leaves_nothing(&*log).await;
    contract::of_writers_that_race_for_one_subject_exactly_one_wins(&log).await;
    contract::the_same_append_again_answers_the_same_position(&*log).await;
    contract::an_answer_that_is_lost_after_the_append_landed_is_found_out(&mut engine).await;
    contract::a_reader_that_starts_anywhere_misses_nothing_while_writers_go_on(&log).await;
    contract::a_follower_is_told_how_far_it_has_passed_what_is_not_for_it(&*log).await;
    contract::a_listener_hears_what_it_asks_for_and_nothing_else(&*log).await;
    contract::news_of_progress_reaches_every_listener(&*log).await;
    drop(log);
    contract::follow_delivers_every_event_once_and_in_order_across_restarts(&mut engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_passes_an_event_with_an_unreadable_envelope() {
    let engine = Sqlite::start();
    let file = engine.folder.path().join("events.db");
    let spoil = async |subject| contract::spoil_on_sqlite(&file, "like.liked.v1", subject);
    contract::an_event_with_an_unreadable_envelope_is_told_apart_and_passed(&*engine.log(), spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_opens_a_log_written_by_an_older_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let dump = include_str!("../../fixtures/log-v1.sql");
    sqlite::rusqlite::Connection::open(&path).unwrap().execute_batch(dump).unwrap();
    let log = SqliteLog::open(&path).unwrap();
    contract::a_log_written_by_an_older_program_opens_and_goes_on(&log, &crate::written_v1()).await;
}

/// What another process appends (an operator's command beside the server) is seen without being told.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_sees_what_another_process_appends() {
    let engine = Sqlite::start();
    let foreign: Arc<dyn EventLog> =
        Arc::new(SqliteLog::open(&engine.folder.path().join("events.db")).unwrap());
    contract::a_reader_follows_what_somebody_else_appends(&*engine.log(), &*foreign).await;
    contract::of_writers_in_two_processes_exactly_one_wins(&engine.log(), &foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_refuses_to_change_or_delete_an_event() {
    let engine = Sqlite::start();
    contract::what_is_appended_is_read_back_as_it_was_written(&*engine.log()).await;
    let raw = sqlite::rusqlite::Connection::open(engine.folder.path().join("events.db")).unwrap();
    for change in ["DELETE FROM events", "UPDATE events SET body = ''"] {
        let refused = raw.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("never"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract_of_the_vault() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn KeyVault> = Arc::new(SqliteVault::open(&folder.path().join("keys.db")).unwrap());
    vault::a_key_is_kept_as_it_was_wrapped(&*store).await;
    vault::of_those_who_create_at_once_all_are_told_the_same_key(&store).await;
    vault::a_destroyed_key_stays_destroyed(&*store).await;
    vault::keys_that_are_destroyed_at_once_are_all_gone(&*store).await;
    vault::names_are_counted_once_also_when_their_keys_are_destroyed(&*store).await;
}

/// Erasure that could be undone from the files would be none.
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
