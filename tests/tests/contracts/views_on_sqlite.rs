use std::sync::Arc;

use tests::contracts::views::{self as contract, VIEWS};
use views::{SqliteViews, ViewStore};

async fn open(folder: &tempfile::TempDir) -> Arc<dyn ViewStore> {
    Arc::new(SqliteViews::open(&folder.path().join("views.db"), VIEWS).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract_of_the_view_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    crate::keeps_the_contract_of_the_view_store(&store, &open(&folder).await).await;
    drop(store);
    // What is there is opened, not made again.
    contract::sizes_are_told(&*open(&folder).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_finds_the_views_of_chorus_by_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteViews::open(&folder.path().join("views.db"), views::ALL).await.unwrap();
    contract::every_query_uses_its_index(&store, views::ALL, true).await;
}
