use std::sync::Arc;

use tests::contracts::generations::{self, Engine};
use tests::contracts::views::{self as contract, VIEWS};
use views::{Commit, Parked, SqliteGenerations, SqliteViews, ViewStore};

async fn open(folder: &tempfile::TempDir) -> Arc<dyn ViewStore> {
    Arc::new(SqliteViews::open(&folder.path().join("views.db"), VIEWS).await.unwrap())
}

macro_rules! views_on_sqlite {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let folder = tempfile::tempdir().unwrap();
            contract::$promise(&*open(&folder).await).await;
        }
    )+};
}
tests::view_promises!(views_on_sqlite);

macro_rules! generations_on_sqlite {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("views.db");
            let base = Arc::new(SqliteViews::open(&file, VIEWS).await.unwrap());
            let generations = Arc::new(SqliteGenerations::open(Arc::clone(&base), &file).unwrap());
            generations::$promise(&Engine { base, generations, folder }).await;
        }
    )+};
}
tests::generation_promises!(generations_on_sqlite);
/// A file that projections are folded into keeps the same promises.
mod scratch {
    use super::{SqliteViews, VIEWS, contract};

    macro_rules! views_in_a_scratch_file {
        ($($promise:ident,)+) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("scratch.db");
                let store = SqliteViews::create_scratch(&path, VIEWS.to_vec(), 1 << 20).await.unwrap();
                contract::$promise(&store).await;
            }
        )+};
    }
    tests::view_promises!(views_in_a_scratch_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_workers_on_one_projection_are_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let (store, twin) = (open(&folder).await, open(&folder).await);
    contract::concurrent_workers_on_one_projection_are_fenced(&*store, &*twin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_view_store_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    assert!(SqliteViews::open_read_only(&path, VIEWS).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let store = open(&folder).await;
    let read_only = SqliteViews::open_read_only(&path, VIEWS).unwrap();
    contract::read_only_store_sees_commits_and_refuses_its_own(&*store, &read_only).await;
    // A program with more views than the store.
    let more = SqliteViews::open_read_only(&path, views::all()).unwrap();
    assert!(more.sizes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_view_store_is_reopened_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    contract::commit_many(&*store, "p", 0, 10).await.unwrap();
    drop(store);
    let store = open(&folder).await;
    assert_eq!(store.sizes().await.unwrap()["books"].documents, 10);
    assert_eq!(store.checkpoint("p").await.unwrap(), 1);
}

/// Programs before parking by subject stored no subjects.
#[tokio::test(flavor = "multi_thread")]
async fn parked_events_of_an_older_program_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    drop(open(&folder).await);
    let connection = sqlite::rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE parked DROP COLUMN subject;
             INSERT INTO parked (projection, position, event_type, error) VALUES ('p', 7, 'book.lost.v1', 'broken');",
        )
        .unwrap();
    drop(connection);
    let parked =
        Parked { position: 7, event_type: "book.lost.v1".into(), subject: None, error: "broken".into() };
    let read_only = SqliteViews::open_read_only(&path, VIEWS).unwrap();
    assert_eq!(read_only.parked("p", 10).await.unwrap(), std::slice::from_ref(&parked));
    let store = open(&folder).await;
    let newer = Parked { position: 8, subject: Some("book.8".into()), ..parked.clone() };
    let commit = Commit {
        projection: "p",
        writes: Arc::default(),
        parked: vec![newer.clone()],
        expected: 0,
        checkpoint: 8,
    };
    store.commit(commit).await.unwrap();
    for store in [&*store, &read_only] {
        assert_eq!(store.parked("p", 10).await.unwrap(), [parked.clone(), newer.clone()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chorus_view_queries_use_their_indexes_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
    contract::every_query_uses_its_index(&store, views::all(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_with_an_outdated_schema_are_rebuilt_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    let open = async || Arc::new(SqliteViews::open(&path, views::all()).await.unwrap()) as Arc<dyn ViewStore>;
    let age = async || {
        let connection = sqlite::rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
    };
    contract::views_with_an_outdated_schema_are_rebuilt(open, age).await;
}

/// A view store of an older version with fewer indexes.
#[tokio::test(flavor = "multi_thread")]
async fn new_index_covers_existing_documents() {
    use serde_json::json;
    use views::social::comments::{BY_AUTHOR, BY_PARENT, BY_POST, Comment};
    use views::{Commit, Document, Layout, Query, View, ViewStoreExt, Writes};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(transparent)]
    struct Before(Comment);

    impl Document for Before {
        const VIEW: &'static View = &View {
            name: "comments",
            indexes: &[&BY_POST, &BY_AUTHOR],
            layout: Layout::Clustered,
            personal: &[],
        };

        fn key(&self) -> String {
            self.0.key()
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    let old = SqliteViews::open(&path, &[Before::VIEW]).await.unwrap();
    let comment = |id: &str, reply_to: Option<&str>, position| Comment {
        comment: id.to_owned(),
        post: "p".to_owned(),
        author: "a".to_owned(),
        reply_to: reply_to.map(str::to_owned),
        top_level_of: reply_to.is_none().then(|| "p".to_owned()),
        replies: 0,
        shown: true,
        removed: false,
        text: String::new(),
        commented: 0,
        position,
    };
    let mut writes = Writes::default();
    for one in [comment("1", None, 1), comment("2", Some("1"), 2), comment("3", Some("x"), 3)] {
        writes.put(&Before(one)).unwrap();
    }
    let writes = Arc::new(writes.into_list());
    let commit = Commit { projection: "comments", writes, parked: Vec::new(), expected: 0, checkpoint: 3 };
    old.commit(commit).await.unwrap();
    drop(old);
    for _ in 0..2 {
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&path, views::all()).await.unwrap());
        let query = Query::new(&views::social::comments::VIEW, &BY_PARENT, vec![json!("1"), json!(true)], 10);
        let found = store.page_of::<Comment>(query).await.unwrap().documents;
        assert_eq!(found, [comment("2", Some("1"), 2)]);
    }
}
