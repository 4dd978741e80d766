#![allow(clippy::print_stdout, reason = "times that are not asserted are printed")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use mongodb::bson::doc;
use tests::contracts::generations::{self, Engine};
use tests::contracts::views::{self as contract, VIEWS, ViewEngine};
use tests::fault_proxy::FaultProxy;
use tests::servers::{MongoReplicaSet, MongoServer, ServerProcess, fetched, free_port};
use tests::waiting::until;
use tokio::sync::OnceCell;
use views::{CommitError, MongoGenerations, MongoViews, StoreError, ViewStore};

struct Mongo {
    server: MongoServer,
    proxy: FaultProxy,
    store: Arc<dyn ViewStore>,
}

async fn open(proxy: &FaultProxy) -> Arc<dyn ViewStore> {
    // A direct connection, because the replica set would tell the client the server's own address.
    let setting = format!("mongodb://127.0.0.1:{}/contract?directConnection=true", proxy.port());
    Arc::new(MongoViews::open(&setting, VIEWS).await.unwrap())
}

impl Mongo {
    async fn start() -> Self {
        let server = MongoServer::start().await.unwrap();
        let proxy = FaultProxy::to(server.port()).await.unwrap();
        let store = open(&proxy).await;
        Self { server, proxy, store }
    }
}

#[async_trait]
impl ViewEngine for Mongo {
    fn store(&self) -> Arc<dyn ViewStore> {
        self.store.clone()
    }

    async fn cut(&mut self) {
        self.proxy.cut();
    }

    async fn restore(&mut self) {
        self.proxy.restore();
    }

    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
    }
}

/// One server for all promises that do not disturb it; it ends with the test process.
async fn shared() -> &'static MongoServer {
    static SERVER: OnceCell<MongoServer> = OnceCell::const_new();
    SERVER.get_or_init(async || MongoServer::start().await.unwrap()).await
}

/// The URL of an unused database.
async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    shared().await.url(&format!("contract{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

macro_rules! views_on_mongo {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            contract::$promise(&MongoViews::open(&database().await, VIEWS).await.unwrap()).await;
        }
    )+};
}
tests::view_promises!(views_on_mongo);

macro_rules! generations_on_mongo {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let base = Arc::new(MongoViews::open(&database().await, VIEWS).await.unwrap());
            let generations = Arc::new(MongoGenerations::new(Arc::clone(&base)));
            let folder = tempfile::tempdir().unwrap();
            generations::$promise(&Engine { base, generations, folder }).await;
        }
    )+};
}
tests::generation_promises!(generations_on_mongo);

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_workers_on_one_projection_are_fenced() {
    let database = database().await;
    let store = MongoViews::open(&database, VIEWS).await.unwrap();
    let twin = MongoViews::open(&database, VIEWS).await.unwrap();
    contract::concurrent_workers_on_one_projection_are_fenced(&store, &twin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_view_store_on_mongo() {
    let server = MongoServer::start().await.unwrap();
    let url = server.url("contract");
    assert!(MongoViews::open_read_only(&url, VIEWS).await.is_err());
    assert_eq!(server.inventory("contract").await.unwrap(), Vec::<String>::new(), "nothing was created");
    let store = MongoViews::open(&url, VIEWS).await.unwrap();
    let before = server.inventory("contract").await.unwrap();
    let read_only = MongoViews::open_read_only(&url, VIEWS).await.unwrap();
    // A program with more views than the store.
    let more = MongoViews::open_read_only(&url, views::all()).await.unwrap();
    assert_eq!(more.sizes().await.unwrap()["posts"].documents, 0);
    assert_eq!(server.inventory("contract").await.unwrap(), before, "nothing was created or changed");
    contract::read_only_store_sees_commits_and_refuses_its_own(&store, &read_only).await;
    // A newer program.
    let steps = doc! { "q": { "_id": "views" }, "u": { "$set": { "steps": 99_i64 } } };
    server.command_on("contract", doc! { "update": "schema", "updates": [steps] }).await.unwrap();
    let refused = MongoViews::open_read_only(&url, VIEWS).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_reported_and_recovery_is_automatic() {
    contract::outage_is_reported_and_recovery_is_automatic(&mut Mongo::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_committed_once_across_engine_kills() {
    let mut engine = Mongo::start().await;
    contract::every_batch_is_committed_once_across_engine_kills(&mut engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chorus_view_queries_use_their_indexes_on_mongo() {
    let server = MongoServer::start().await.unwrap();
    let store = MongoViews::open(&server.url("chorus"), views::all()).await.unwrap();
    contract::every_query_uses_its_index(&store, views::all(), true).await;
    // Opening again is idempotent.
    MongoViews::open(&server.url("chorus"), views::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn views_with_an_outdated_schema_are_rebuilt_on_mongo() {
    let server = MongoServer::start().await.unwrap();
    let url = server.url("chorus");
    let open = async || Arc::new(MongoViews::open(&url, views::all()).await.unwrap()) as Arc<dyn ViewStore>;
    let age = async || {
        let client = mongodb::Client::with_uri_str(&url).await.unwrap();
        client.database("chorus").collection::<mongodb::bson::Document>("schema").drop().await.unwrap();
    };
    contract::views_with_an_outdated_schema_are_rebuilt(open, age).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongod_without_transactions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let arguments =
        ["--dbpath", &folder.path().display().to_string(), "--port", &port.to_string(), "--nounixsocket"]
            .map(str::to_owned);
    let program = fetched("mongod", "mongod").unwrap();
    let mut lone = ServerProcess::start(&program, &arguments, &[], &folder.path().join("log")).unwrap();
    lone.listens_on(port).await.unwrap();
    let refused = MongoViews::open(&format!("mongodb://127.0.0.1:{port}"), VIEWS).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt(_)));
    let reason = std::error::Error::source(&refused).unwrap().to_string();
    assert!(reason.contains("--replSet"), "{reason}");
}

/// How many sessions clients have asked the server to end.
async fn sessions_ended(server: &MongoServer) -> i64 {
    let status = server.command(doc! { "serverStatus": 1 }).await.unwrap();
    let commands = status.get_document("metrics").unwrap().get_document("commands").unwrap();
    commands.get_document("killSessions").unwrap().get_i64("total").unwrap()
}

/// A dead worker leaves its transaction open; the server would keep its locks for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn view_resumes_after_a_worker_dies_in_a_transaction() {
    const DEATHS: u64 = 5;
    const PROJECTION: &str = "dying";
    let server = MongoServer::start().await.unwrap();
    let survivor: Arc<dyn ViewStore> =
        Arc::new(MongoViews::open(&server.url("contract"), VIEWS).await.unwrap());
    let mut left_open = 0;
    for death in 0..DEATHS {
        let expected = survivor.checkpoint(PROJECTION).await.unwrap();
        let proxy = FaultProxy::to(server.port()).await.unwrap();
        let worker = open(&proxy).await;
        let mut dying = pin!(contract::commit_many(&*worker, PROJECTION, expected, 20_000));
        let in_transaction = async {
            let open = doc! { "$currentOp": { "idleSessions": true } };
            let of_worker = doc! { "$match": { "transaction.parameters.autocommit": false } };
            let aggregate = doc! { "aggregate": 1, "pipeline": [open, of_worker], "cursor": {} };
            until("the worker is in a transaction", async || {
                let found = server.command(aggregate.clone()).await.unwrap();
                !found.get_document("cursor").unwrap().get_array("firstBatch").unwrap().is_empty()
            })
            .await;
        };
        tokio::select! {
            _ = &mut dying => {}
            () = in_transaction => {}
        }
        // Neither the rest of the transaction nor its end reaches the server.
        proxy.cut();
        let before = sessions_ended(&server).await;
        let resumed = contract::move_checkpoint(&survivor, PROJECTION, 1 + death).await;
        left_open += sessions_ended(&server).await - before;
        println!("death {death}: the view resumed after {:.1} s", resumed.as_secs_f64());
    }
    assert!(left_open > 0, "no worker died in a transaction");
}

/// A worker may take long for a large batch. Others that try to commit meanwhile are fenced off and do no harm.
#[tokio::test(flavor = "multi_thread")]
async fn running_worker_keeps_its_sessions_when_another_starts() {
    const PROJECTION: &str = "living";
    let server = MongoServer::start().await.unwrap();
    let open = async || {
        Arc::new(MongoViews::open(&server.url("contract"), VIEWS).await.unwrap()) as Arc<dyn ViewStore>
    };
    let (worker, newcomer) = (open().await, open().await);
    contract::commit_many(&*worker, PROJECTION, 0, 1).await.unwrap();
    let done = AtomicBool::new(false);
    let working = async {
        let mut expected = 1;
        for _ in 0..3 {
            // A newcomer at the same checkpoint may commit first; then the worker is fenced off.
            while let Err(error) = contract::commit_many(&*worker, PROJECTION, expected, 10_000).await {
                match error {
                    CommitError::Fenced { actual } => expected = actual,
                    error @ CommitError::Store(_) => panic!("{error:?}"),
                }
            }
            expected += 1;
        }
        done.store(true, Ordering::Relaxed);
    };
    let trying = async {
        while !done.load(Ordering::Relaxed) {
            let now = newcomer.checkpoint(PROJECTION).await.unwrap();
            for expected in [now.saturating_sub(1), now] {
                let _ = contract::commit_many(&*newcomer, PROJECTION, expected, 1).await;
            }
        }
    };
    tokio::join!(working, trying);
    assert_eq!(sessions_ended(&server).await, 0);
}

/// Reads resume soon after the election when the primary is killed or frozen. Prints the times.
#[tokio::test(flavor = "multi_thread")]
async fn reads_resume_with_the_election_when_the_primary_is_lost() {
    const PROJECTION: &str = "elected";
    let mut set = MongoReplicaSet::start().await.unwrap();
    let store: Arc<dyn ViewStore> = Arc::new(MongoViews::open(&set.url("contract"), VIEWS).await.unwrap());
    let mut position = 1;
    contract::move_checkpoint(&store, PROJECTION, position).await;
    for frozen in [true, false] {
        let lost = set.primary().await.unwrap();
        let since = Instant::now();
        if frozen {
            set.signal(lost, "STOP").unwrap();
        } else {
            set.kill(lost).unwrap();
        }
        // Several concurrent reads, some of them already in progress.
        let reads = (0..8).map(|_| async {
            until("reads are answered", async || store.checkpoint(PROJECTION).await.is_ok()).await;
            since.elapsed()
        });
        let (reads, elected) = tokio::join!(futures::future::join_all(reads), async {
            set.primary().await.unwrap();
            since.elapsed()
        });
        let last = reads.into_iter().max().unwrap_or_default();
        position += 1;
        let writes = contract::move_checkpoint(&store, PROJECTION, position).await;
        println!(
            "frozen: {frozen}; a primary after {:.1} s, reads after {:.1} s, a write {:.1} s later",
            elected.as_secs_f64(),
            last.as_secs_f64(),
            writes.as_secs_f64()
        );
        if frozen {
            set.signal(lost, "CONT").unwrap();
        } else {
            set.start_again(lost).await.unwrap();
        }
    }
}
