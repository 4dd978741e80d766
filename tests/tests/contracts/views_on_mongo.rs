use std::sync::Arc;

use async_trait::async_trait;
use tests::cable::Cable;
use tests::contracts::views::{self as contract, VIEWS, ViewEngine};
use tests::servers::{MongoServer, ServerProcess, fetched, free_port};
use views::{MongoViews, StoreError, ViewStore};

struct Mongo {
    server: MongoServer,
    cable: Cable,
    store: Arc<dyn ViewStore>,
}

async fn open(cable: &Cable) -> Arc<dyn ViewStore> {
    // Directly, because the set would tell the client the way around the cable.
    let setting = format!("mongodb://127.0.0.1:{}/contract?directConnection=true", cable.port());
    Arc::new(MongoViews::open(&setting, VIEWS).await.unwrap())
}

impl Mongo {
    async fn start() -> Self {
        let server = MongoServer::start().await.unwrap();
        let cable = Cable::to(server.port()).await.unwrap();
        let store = open(&cable).await;
        Self { server, cable, store }
    }
}

#[async_trait]
impl ViewEngine for Mongo {
    fn store(&self) -> Arc<dyn ViewStore> {
        self.store.clone()
    }

    async fn cut(&mut self) {
        self.cable.cut();
    }

    async fn mend(&mut self) {
        self.cable.mend();
    }

    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongo_keeps_the_contract_of_the_view_store() {
    let mut engine = Mongo::start().await;
    crate::keeps_the_contract_of_the_view_store(&engine.store, &open(&engine.cable).await).await;
    contract::an_outage_is_told_and_ends_by_itself(&mut engine).await;
    contract::every_batch_is_taken_in_once_however_often_the_engine_is_killed(&mut engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongo_finds_the_views_of_chorus_by_their_indexes() {
    let server = MongoServer::start().await.unwrap();
    let store = MongoViews::open(&server.url("chorus"), views::ALL).await.unwrap();
    contract::every_query_uses_its_index(&store, views::ALL, true).await;
    // Opening again changes nothing and fails at nothing.
    MongoViews::open(&server.url("chorus"), views::ALL).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_another_shape_by_now_is_built_anew_on_mongo() {
    let server = MongoServer::start().await.unwrap();
    let url = server.url("chorus");
    let open = async || Arc::new(MongoViews::open(&url, views::ALL).await.unwrap()) as Arc<dyn ViewStore>;
    let age = async || {
        let client = mongodb::Client::with_uri_str(&url).await.unwrap();
        client.database("chorus").collection::<mongodb::bson::Document>("schema").drop().await.unwrap();
    };
    contract::what_has_another_shape_by_now_is_built_anew(open, age).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_without_transactions_is_refused_with_the_reason() {
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
