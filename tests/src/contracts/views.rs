//! The contract of [`ViewStore`], on views of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use views::social::captions::Caption;
use views::social::notifications::{ReadCursor, Role};
use views::{
    Commit, CommitError, Copy, Cursor, DeleteEach, Direction, Document, FanOut, Index, KeyPart, Layout,
    Parked, Patch, PatchEach, Query, StoreError, View, ViewStore, ViewStoreExt, Writes,
};

use crate::waiting::found;

/// How long a view may stall after a worker or server was lost: half of MongoDB's timeout of an abandoned transaction.
const RESUME_LIMIT: Duration = Duration::from_secs(30);
/// Timeout of each wait.
const LIMIT: Duration = Duration::from_mins(1);

/// Passes the name of every promise of a view store to a macro that makes a test of each.
#[macro_export]
macro_rules! view_promises {
    ($test:ident) => {
        $test! {
            documents_are_read_back_unchanged,
            fractions_are_read_back_unchanged,
            commit_is_atomic_and_moves_its_checkpoint,
            writes_to_several_views_are_atomic,
            patch_sets_and_increments_only_the_named_fields,
            delete_removes_only_the_named_documents,
            index_follows_a_field_that_appears_and_disappears,
            document_without_the_order_field_is_found_by_no_index,
            pages_return_every_document_once_in_order,
            values_are_never_interpreted_as_operators,
            prefix_query_finds_matching_documents,
            pagination_is_stable_under_concurrent_writes,
            fan_out_writes_one_document_per_match,
            delete_each_removes_fanned_out_documents,
            patch_each_patches_every_named_document_once,
            batched_writes_equal_the_same_writes_one_by_one,
            count_matches_the_query_results,
            every_contract_query_uses_its_index,
            scan_returns_every_document_once_in_key_order,
            parked_events_are_stored_with_their_error,
            sizes_report_documents_and_bytes,
        }
    };
}

pub const VIEWS: &[&View] = &[&BOOKS, &SHELVES];

const BOOKS: View = View {
    name: "books",
    indexes: &[&BY_AUTHOR, &BY_TITLE, &OF_AUTHOR_IN_PRINT, &BY_YEAR, &BY_NOTE],
    layout: Layout::Clustered,
    personal: &[],
};
const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "year", direction: Direction::Descending };
const BY_TITLE: Index =
    Index { name: "by_title", equals: &[], order: "title", direction: Direction::Ascending };
const OF_AUTHOR_IN_PRINT: Index = Index {
    name: "of_author_in_print",
    equals: &["author", "in_print"],
    order: "year",
    direction: Direction::Ascending,
};
const BY_YEAR: Index =
    Index { name: "by_year", equals: &[], order: "year", direction: Direction::Descending };
/// Over an optional field.
const BY_NOTE: Index =
    Index { name: "by_note", equals: &["note"], order: "year", direction: Direction::Ascending };
const SHELVES: View = View { name: "shelves", indexes: &[&ON_SHELF], layout: Layout::Heap, personal: &[] };
const ON_SHELF: Index =
    Index { name: "on_shelf", equals: &["reader"], order: "year", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Book {
    title: String,
    author: String,
    year: i64,
    in_print: bool,
    copies: i64,
    note: Option<String>,
    kilograms: f64,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    name: String,
    pages: u32,
}

impl Document for Book {
    const VIEW: &'static View = &BOOKS;

    fn key(&self) -> String {
        self.title.clone()
    }
}

/// A book on a reader's shelf, written by a fan-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OnShelf {
    reader: String,
    title: String,
    year: i64,
    in_print: bool,
    parts: Option<Vec<Part>>,
}

impl Document for OnShelf {
    const VIEW: &'static View = &SHELVES;

    fn key(&self) -> String {
        format!("{}.{}", self.reader, self.title)
    }
}

fn book(title: &str, author: &str, year: i64) -> Book {
    Book {
        title: title.into(),
        author: author.into(),
        year,
        in_print: year % 2 == 0,
        copies: 1,
        note: None,
        kilograms: 0.3,
        parts: vec![Part { name: "Größe \"7\"\n🌄".into(), pages: 300 }],
    }
}

/// A name that no other contract uses on the same store.
fn fresh(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::rng().random::<u64>())
}

async fn commit(store: &dyn ViewStore, projection: &str, checkpoint: u64, write: impl FnOnce(&mut Writes)) {
    let expected = store.checkpoint(projection).await.unwrap();
    try_commit(store, projection, expected, checkpoint, write).await.unwrap();
}

async fn try_commit(
    store: &dyn ViewStore,
    projection: &str,
    expected: u64,
    checkpoint: u64,
    write: impl FnOnce(&mut Writes),
) -> Result<(), CommitError> {
    let mut writes = Writes::default();
    write(&mut writes);
    store
        .commit(Commit {
            projection,
            writes: Arc::new(writes.into_list()),
            parked: Vec::new(),
            expected,
            checkpoint,
        })
        .await
}

/// Commits a batch of this many new documents and moves the checkpoint by one.
pub async fn commit_many(
    store: &dyn ViewStore,
    projection: &str,
    expected: u64,
    documents: usize,
) -> Result<(), CommitError> {
    let author = fresh("a");
    try_commit(store, projection, expected, expected + 1, |writes| {
        for n in 0..documents {
            writes.put(&book(&format!("{author}-{n}"), &author, 1)).unwrap();
        }
    })
    .await
}

/// Retries an empty commit until the checkpoint has moved, as a projector does in an outage; returns the time it took.
pub async fn move_checkpoint(store: &Arc<dyn ViewStore>, projection: &str, checkpoint: u64) -> Duration {
    let since = Instant::now();
    found(RESUME_LIMIT, "the checkpoint is moved", async || {
        let expected = store.checkpoint(projection).await.ok()?;
        let moved = expected >= checkpoint
            || try_commit(&**store, projection, expected, checkpoint, |_| {}).await.is_ok();
        moved.then_some(())
    })
    .await;
    since.elapsed()
}

async fn get(store: &dyn ViewStore, key: &str) -> Option<Book> {
    store.get(key).await.unwrap()
}

fn of_author(author: &str, limit: usize) -> Query {
    Query::new(&BOOKS, &BY_AUTHOR, vec![author.into()], limit)
}

/// All pages of a query. Cursors go through their text form, as clients send them.
async fn all_pages<T: Document>(store: &dyn ViewStore, query: Query) -> Vec<T> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.page_of::<T>(query.clone().after(after)).await.unwrap();
        assert!(page.documents.len() <= query.limit);
        found.extend(page.documents);
        match page.next {
            None => return found,
            Some(next) => {
                after = Some(Cursor::parse(&next.to_text(query.index).to_string(), query.index).unwrap());
            }
        }
    }
}

pub async fn documents_are_read_back_unchanged(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("a"));
    let (one, two) = (book(&fresh("one.with.dots $and"), &author, 2000), book(&fresh("two"), &author, -1));
    let mut noted = book(&fresh("noted"), &author, i64::MAX);
    noted.note = Some(String::new());
    noted.parts.clear();
    commit(store, &projection, 10, |writes| {
        for book in [&one, &two, &noted] {
            writes.put(book).unwrap();
        }
    })
    .await;
    assert_eq!(store.checkpoint(&projection).await.unwrap(), 10);
    assert_eq!(get(store, &one.title).await.as_ref(), Some(&one));
    assert_eq!(get(store, &fresh("none")).await, None);
    let keys = [two.title.clone(), fresh("none"), one.title.clone(), two.title.clone(), noted.title.clone()];
    let found = store.get_all::<Book>(&keys).await.unwrap();
    assert_eq!(found, [Some(two.clone()), None, Some(one), Some(two), Some(noted)]);
    assert_eq!(store.get_all::<Book>(&[]).await.unwrap(), []);
}

/// To the last digit: the same document in two stores must be equal.
pub async fn fractions_are_read_back_unchanged(store: &dyn ViewStore) {
    let author = fresh("a");
    let weighed = |n: usize| Book {
        kilograms: f64::from(rand::rng().random::<f32>()),
        ..book(&format!("{author}-{n}"), &author, 1)
    };
    let books: Vec<Book> = (0..500).map(weighed).collect();
    commit(store, &fresh("p"), 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    let titles: Vec<String> = books.iter().map(|book| book.title.clone()).collect();
    let found = store.get_all::<Book>(&titles).await.unwrap();
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), books);
}

pub async fn commit_is_atomic_and_moves_its_checkpoint(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("a"));
    let (old, new) = (book(&fresh("old"), &author, 1), book(&fresh("new"), &author, 2));
    commit(store, &projection, 5, |writes| writes.put(&old).unwrap()).await;

    // From a checkpoint other than the current one, older or newer: nothing is written.
    for stale in [0, 4, 6] {
        let fenced = try_commit(store, &projection, stale, 9, |writes| {
            writes.put(&new).unwrap();
            writes.delete::<Book>(&old.title);
        })
        .await;
        assert!(matches!(fenced, Err(CommitError::Fenced { actual: 5 })), "{fenced:?}");
    }
    assert_eq!(store.checkpoint(&projection).await.unwrap(), 5);
    assert_eq!((get(store, &old.title).await, get(store, &new.title).await), (Some(old), None));

    assert_eq!(store.checkpoints().await.unwrap().get(&projection), Some(&5));
    // A batch without writes moves its own checkpoint and no other.
    commit(store, &projection, 7, |_| {}).await;
    assert_eq!(store.checkpoint(&projection).await.unwrap(), 7);
    assert_eq!(store.checkpoint(&fresh("p")).await.unwrap(), 0);
}

/// Several workers of one projection in two processes: every batch is committed once.
pub async fn concurrent_workers_on_one_projection_are_fenced(
    store: &dyn ViewStore,
    of_another_process: &dyn ViewStore,
) {
    const BATCHES: u64 = 30;
    let (projection, title) = (fresh("p"), fresh("counted"));
    commit(store, &projection, 1, |writes| writes.put(&book(&title, &title, 1)).unwrap()).await;
    let work = async |store: &dyn ViewStore| {
        let mut fenced = 0;
        loop {
            let expected = store.checkpoint(&projection).await.unwrap();
            if expected > BATCHES {
                return fenced;
            }
            let outcome = try_commit(store, &projection, expected, expected + 1, |writes| {
                writes.patch::<Book>(&title, Patch::default().inc("copies", 1));
            })
            .await;
            match outcome {
                Ok(()) => {}
                Err(CommitError::Fenced { actual }) => {
                    assert!(actual > expected);
                    fenced += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let fenced = timeout(LIMIT, async { tokio::join!(work(store), work(store), work(of_another_process)) })
        .await
        .unwrap();
    let counted = get(store, &title).await.unwrap().copies;
    assert_eq!(counted, 1 + i64::try_from(BATCHES).unwrap(), "fenced off: {fenced:?}");
}

/// A crash leaves either the whole batch or none of it.
pub async fn writes_to_several_views_are_atomic(store: &dyn ViewStore) {
    let projection = fresh("p");
    let reader = fresh("r");
    let title = fresh("both");
    let shelf =
        OnShelf { reader: reader.clone(), title: title.clone(), year: 1, in_print: true, parts: None };
    let committing = commit(store, &projection, 3, |writes| {
        writes.put(&book(&title, &reader, 1)).unwrap();
        writes.put(&shelf).unwrap();
    });
    // A concurrent reader never sees the second write without the first.
    let watching = async {
        loop {
            let on_shelf = store.get::<OnShelf>(&shelf.key()).await.unwrap();
            let known = get(store, &title).await;
            assert!(on_shelf.is_none() || known.is_some(), "the second write is visible, the first is not");
            if on_shelf.is_some() {
                return;
            }
        }
    };
    timeout(LIMIT, async { tokio::join!(committing, watching) }).await.unwrap();
}

pub async fn patch_sets_and_increments_only_the_named_fields(store: &dyn ViewStore) {
    let (projection, title) = (fresh("p"), fresh("patched"));
    let mut expected = book(&title, &fresh("a"), 1900);
    commit(store, &projection, 1, |writes| writes.put(&expected).unwrap()).await;
    commit(store, &projection, 2, |writes| {
        let patch = Patch::default().inc("copies", 41).set("note", "it's \"quoted\"").set("in_print", false);
        writes.patch::<Book>(&title, patch);
        writes.patch::<Book>(fresh("missing"), Patch::default().inc("copies", 1));
    })
    .await;
    expected.copies = 42;
    expected.note = Some("it's \"quoted\"".into());
    expected.in_print = false;
    assert_eq!(get(store, &title).await.unwrap(), expected);

    commit(store, &projection, 3, |writes| {
        let parts = json!([{ "name": "x", "pages": 1 }]);
        let patch = Patch::default().inc("copies", -50).set("note", Value::Null).set("parts", parts);
        writes.patch::<Book>(&title, patch);
    })
    .await;
    expected.copies = -8;
    expected.note = None;
    expected.parts = vec![Part { name: "x".into(), pages: 1 }];
    assert_eq!(get(store, &title).await.unwrap(), expected);

    // A patch of the order field updates the index.
    commit(store, &projection, 4, |writes| {
        writes.patch::<Book>(&title, Patch::default().set("year", 1950));
        writes.patch::<Book>(&title, Patch::default());
    })
    .await;
    expected.year = 1950;
    assert_eq!(all_pages::<Book>(store, of_author(&expected.author, 5)).await, [expected]);
}

pub async fn delete_removes_only_the_named_documents(store: &dyn ViewStore) {
    let (projection, author, other) = (fresh("p"), fresh("a"), fresh("a"));
    let books: Vec<Book> =
        (0..50).map(|n| book(&fresh("b"), if n < 40 { &author } else { &other }, n)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;

    commit(store, &projection, 2, |writes| {
        writes.delete::<Book>(&books[0].title);
        writes.delete::<Book>(fresh("missing"));
    })
    .await;
    assert_eq!(get(store, &books[0].title).await, None);
    assert_eq!(all_pages::<Book>(store, of_author(&author, 100)).await.len(), 39);

    // `delete_where` deletes what the same batch has put before it, not what it puts after it.
    let (before, after) = (book(&fresh("before"), &author, 0), book(&fresh("after"), &author, 1));
    commit(store, &projection, 3, |writes| {
        writes.put(&before).unwrap();
        writes.delete_where::<Book>(&OF_AUTHOR_IN_PRINT, vec![author.clone().into(), true.into()]);
        writes.put(&after).unwrap();
    })
    .await;
    let left = all_pages::<Book>(store, of_author(&author, 100)).await;
    assert!(left.iter().all(|book| !book.in_print));
    assert_eq!(left.len(), 21, "the odd ones, and the one put afterwards");
    assert_eq!(all_pages::<Book>(store, of_author(&other, 100)).await.len(), 10);
}

pub async fn index_follows_a_field_that_appears_and_disappears(store: &dyn ViewStore) {
    let (projection, author, note) = (fresh("p"), fresh("a"), fresh("n"));
    let noted = |title: &str, year| Book { note: Some(note.clone()), ..book(title, &author, year) };
    let (with, without) = (noted(&fresh("with"), 1), book(&fresh("without"), &author, 2));
    let with_note = Query::new(&BOOKS, &BY_NOTE, vec![json!(note)], 10);
    let found = async || all_pages::<Book>(store, with_note.clone()).await;
    commit(store, &projection, 1, |writes| {
        writes.put(&with).unwrap();
        writes.put(&without).unwrap();
    })
    .await;
    assert_eq!(found().await, std::slice::from_ref(&with));
    let nothing = Query::new(&BOOKS, &BY_NOTE, vec![Value::Null], 10);
    assert_eq!(all_pages::<Book>(store, nothing).await, [], "null is not indexed");

    // By a patch, and by a second put.
    let set = |note: Value| Patch::default().set("note", note).inc("copies", 1);
    commit(store, &projection, 2, |writes| {
        writes.patch::<Book>(&with.title, set(Value::Null));
        writes.patch::<Book>(&without.title, set(json!(note)));
    })
    .await;
    let unnoted = Book { note: None, copies: 2, ..with.clone() };
    assert_eq!(get(store, &with.title).await, Some(unnoted));
    assert_eq!(found().await, [Book { copies: 2, ..noted(&without.title, 2) }]);
    commit(store, &projection, 3, |writes| {
        writes.put(&with).unwrap();
        writes.put(&without).unwrap();
    })
    .await;
    assert_eq!(found().await, std::slice::from_ref(&with));
    commit(store, &projection, 4, |writes| writes.delete_where::<Book>(&BY_NOTE, vec![json!(note)])).await;
    assert_eq!((get(store, &with.title).await, get(store, &without.title).await), (None, Some(without)));
}

pub async fn document_without_the_order_field_is_found_by_no_index(store: &dyn ViewStore) {
    let (projection, author, marker) = (fresh("p"), fresh("a"), fresh("marker"));
    let real = Book { year: 1_000_000, ..book(&fresh("real"), &author, 1) };
    commit(store, &projection, 1, |writes| {
        writes.put(&real).unwrap();
        writes.put_raw(
            &BOOKS,
            marker.clone(),
            [("absence".to_owned(), json!("erased"))].into_iter().collect(),
        );
    })
    .await;
    assert!(store.get_many(&BOOKS, &[marker]).await.unwrap()[0].is_some());
    for index in [&BY_YEAR, &BY_TITLE] {
        let query = Query::new(&BOOKS, index, Vec::new(), 10);
        let found = all_pages::<Book>(store, query.clone()).await;
        assert!(found.contains(&real), "{}", index.name);
        let counted = Query { limit: 10_000, ..query };
        assert_eq!(store.count(&counted).await.unwrap(), found.len() as u64);
        assert_eq!(store.keys(&counted).await.unwrap().len(), found.len());
    }
}

pub async fn pages_return_every_document_once_in_order(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("a"));
    // Many books share a year, so the key must break ties.
    let mut books: Vec<Book> = (0..103).map(|n| book(&fresh("b"), &author, n / 10)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;

    books.sort_by(|a, b| (b.year, &b.title).cmp(&(a.year, &a.title)));
    for limit in [1, 7, 102, 103, 104] {
        assert_eq!(all_pages::<Book>(store, of_author(&author, limit)).await, books, "pages of {limit}");
        let keys = store.keys(&of_author(&author, limit)).await.unwrap();
        let titles = books.iter().map(|book| &book.title).take(limit);
        assert!(keys.iter().eq(titles), "keys up to {limit}");
    }
    assert_eq!(store.keys(&of_author(&author, 0)).await.unwrap(), Vec::<String>::new());
    let after = store.page(&of_author(&author, 60)).await.unwrap().next;
    let rest = store.keys(&of_author(&author, 100).after(after)).await.unwrap();
    assert!(rest.iter().eq(books[60..].iter().map(|book| &book.title)), "keys after a page");
    let mut in_print: Vec<Book> = books.iter().filter(|book| book.in_print).cloned().collect();
    in_print.sort_by(|a, b| (a.year, &a.title).cmp(&(b.year, &b.title)));
    let query = Query::new(&BOOKS, &OF_AUTHOR_IN_PRINT, vec![author.clone().into(), true.into()], 9);
    assert_eq!(all_pages::<Book>(store, query).await, in_print);
    assert_eq!(all_pages::<Book>(store, of_author(&fresh("nobody"), 5)).await, []);
}

/// Values that look like operators, paths or patterns match only themselves.
pub async fn values_are_never_interpreted_as_operators(store: &dyn ViewStore) {
    let projection = fresh("p");
    let strange = ["$gt", ".*", "' OR 1=1 --", "%", "\u{0}", "a\"b", "{\"$gt\":\"\"}"];
    let books: Vec<Book> = strange.iter().map(|author| book(&fresh(author), author, 1)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    for author in strange {
        let found = all_pages::<Book>(store, of_author(author, 10)).await;
        assert!(found.iter().any(|book| books.contains(book)), "{author}");
        assert!(found.iter().all(|book| book.author == author), "{author}");
    }
    for operator in [json!({ "$gt": "" }), json!({ "$ne": null }), json!(["$gt"])] {
        let query = Query::new(&BOOKS, &BY_AUTHOR, vec![operator], 10);
        assert_eq!(all_pages::<Book>(store, query).await, []);
    }
}

pub async fn prefix_query_finds_matching_documents(store: &dyn ViewStore) {
    let (projection, root) = (fresh("p"), fresh("π"));
    let titles = ["", "a", "ab", "abc", "abä", "ab\u{10ffff}", "ac", "b", "A", "ä"];
    let books: Vec<Book> = titles.iter().map(|title| book(&format!("{root}{title}"), "x", 1)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    for prefix in ["", "a", "ab", "abc", "z", "A", "ä"] {
        let mut expected: Vec<String> = titles
            .iter()
            .filter(|title| title.starts_with(prefix))
            .map(|title| format!("{root}{title}"))
            .collect();
        // A title that ends in the highest character lies beyond the range of its own prefix.
        expected.retain(|title| !title.ends_with(char::MAX));
        expected.sort();
        let query = Query::new(&BOOKS, &BY_TITLE, Vec::new(), 2).with_prefix(format!("{root}{prefix}"));
        let mut found: Vec<String> =
            all_pages::<Book>(store, query).await.into_iter().map(|b| b.title).collect();
        found.retain(|title| !title.ends_with(char::MAX));
        assert_eq!(found, expected, "{prefix}");
    }
}

/// A client pages through a list while others add to both ends and delete from the middle.
pub async fn pagination_is_stable_under_concurrent_writes(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("a"));
    let books: Vec<Book> = (0..200).map(|n| book(&fresh("b"), &author, 1000 + n)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;

    let removed: Vec<&Book> = books.iter().step_by(9).collect();
    let change = async {
        for (n, deleted) in removed.iter().enumerate() {
            let n = i64::try_from(n).unwrap();
            commit(store, &projection, 2 + n.unsigned_abs(), |writes| {
                writes.put(&book(&fresh("newer"), &author, 5000 + n)).unwrap();
                writes.put(&book(&fresh("older"), &author, 500 - n)).unwrap();
                writes.delete::<Book>(&deleted.title);
            })
            .await;
        }
    };
    let readers = join_all((0..4).map(|reader| all_pages::<Book>(store, of_author(&author, 3 + reader))));
    let (read, ()) = timeout(LIMIT, async { tokio::join!(readers, change) }).await.unwrap();
    for found in read {
        assert!(found.is_sorted_by(|a, b| a.year > b.year), "out of order or duplicated");
        let kept = books.iter().filter(|book| !removed.contains(book));
        for book in kept {
            assert!(found.contains(book), "{} is missing although it was never deleted", book.year);
        }
    }
}

pub async fn fan_out_writes_one_document_per_match(store: &dyn ViewStore) {
    let (projection, author, reader) = (fresh("p"), fresh("a"), fresh("r"));
    let mut books: Vec<Book> = (0..1500).map(|n| book(&fresh("b"), &author, n)).collect();
    books.push(book(&fresh("foreign"), &fresh("a"), 1));
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    books.pop();

    let fan_out = |limit| FanOut {
        over: &BOOKS,
        index: &BY_AUTHOR,
        equals: vec![author.clone().into()],
        limit,
        into: &SHELVES,
        key: vec![KeyPart::Text(reader.clone()), KeyPart::Field("title")],
        document: serde_json::Map::from_iter([("reader".to_owned(), reader.clone().into())]),
        copies: vec![
            Copy { from: "title", to: "title" },
            Copy { from: "year", to: "year" },
            Copy { from: "in_print", to: "in_print" },
        ],
    };
    let on_shelf = Query::new(&SHELVES, &ON_SHELF, vec![reader.clone().into()], 400);
    books.sort_by(|a, b| (b.year, &b.title).cmp(&(a.year, &a.title)));
    let expected: Vec<OnShelf> = books
        .iter()
        .map(|book| OnShelf {
            reader: reader.clone(),
            title: book.title.clone(),
            year: book.year,
            in_print: book.in_print,
            parts: None,
        })
        .collect();

    // With a limit: the first ones in index order.
    commit(store, &projection, 2, |writes| writes.fan_out(fan_out(Some(5)))).await;
    assert_eq!(all_pages::<OnShelf>(store, on_shelf.clone()).await, expected[..5]);
    // A repeated fan-out is idempotent, and includes what the same batch has put before it.
    let late = book(&fresh("late"), &author, 9999);
    commit(store, &projection, 3, |writes| {
        writes.put(&late).unwrap();
        writes.fan_out(fan_out(None));
        writes.delete::<OnShelf>(format!("{reader}.{}", expected[0].title));
    })
    .await;
    let found = all_pages::<OnShelf>(store, on_shelf).await;
    assert_eq!(found[0].title, late.title);
    assert_eq!(found[1..], expected[1..]);
}

pub async fn delete_each_removes_fanned_out_documents(store: &dyn ViewStore) {
    let (projection, author, reader) = (fresh("p"), fresh("a"), fresh("r"));
    let books: Vec<Book> = (0..1500).map(|n| book(&fresh("b"), &author, n)).collect();
    let shelf = |reader: &str, book: &Book| OnShelf {
        reader: reader.to_owned(),
        title: book.title.clone(),
        year: book.year,
        in_print: book.in_print,
        parts: None,
    };
    let (foreign, other) = (book(&fresh("foreign"), &fresh("a"), 1), fresh("r"));
    commit(store, &projection, 1, |writes| {
        for book in &books {
            writes.put(book).unwrap();
            writes.put(&shelf(&reader, book)).unwrap();
        }
        writes.put(&shelf(&reader, &foreign)).unwrap();
        writes.put(&shelf(&other, &books[0])).unwrap();
    })
    .await;
    let on_shelf = |reader: &str| Query::new(&SHELVES, &ON_SHELF, vec![json!(reader)], 400);

    // It deletes what the same batch has put before it, not what it puts after it; some books are on no shelf.
    let (before, after) = (book(&fresh("before"), &author, 2000), book(&fresh("after"), &author, 2001));
    commit(store, &projection, 2, |writes| {
        writes.put(&book(&fresh("nowhere"), &author, 1)).unwrap();
        writes.put(&before).unwrap();
        writes.put(&after).unwrap();
        writes.put(&shelf(&reader, &before)).unwrap();
        writes.delete_each(DeleteEach {
            over: &BOOKS,
            index: &BY_AUTHOR,
            equals: vec![author.clone().into()],
            from: &SHELVES,
            key: vec![KeyPart::Text(reader.clone()), KeyPart::Field("title")],
        });
        writes.put(&shelf(&reader, &after)).unwrap();
    })
    .await;
    let left = all_pages::<OnShelf>(store, on_shelf(&reader)).await;
    assert_eq!(left, [shelf(&reader, &after), shelf(&reader, &foreign)]);
    assert_eq!(all_pages::<OnShelf>(store, on_shelf(&other)).await, [shelf(&other, &books[0])]);
    assert_eq!(get(store, &books[0].title).await.as_ref(), Some(&books[0]), "the matching books stay");
}

pub async fn patch_each_patches_every_named_document_once(store: &dyn ViewStore) {
    let (projection, author, other, reader) = (fresh("p"), fresh("a"), fresh("a"), fresh("r"));
    let books: Vec<Book> =
        (0..1200).map(|n| book(&fresh("b"), if n < 1100 { &author } else { &other }, n)).collect();
    let shelf = |title: &str, of: &str| OnShelf {
        reader: reader.clone(),
        title: title.to_owned(),
        year: i64::try_from(of.len()).unwrap(),
        in_print: true,
        parts: None,
    };
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    let in_print = |of: &str| vec![json!(of), json!(true)];
    let patch = |key, equals, patch| PatchEach {
        over: &BOOKS,
        index: &OF_AUTHOR_IN_PRINT,
        equals,
        into: &BOOKS,
        key,
        patch,
    };

    // Patches the matching documents, also fields of the index that selects them, but none put after the patch.
    let late = book(&fresh("late"), &author, 5000);
    commit(store, &projection, 2, |writes| {
        writes.patch_each(patch(
            None,
            in_print(&author),
            Patch::default().set("in_print", false).set("note", "a \"b\"").inc("copies", 2),
        ));
        writes.put(&late).unwrap();
    })
    .await;
    let found = all_pages::<Book>(store, of_author(&author, 500)).await;
    assert_eq!(found.iter().filter(|book| book.in_print).collect::<Vec<_>>(), [&late]);
    let changed = |book: &&Book| book.note.as_deref() == Some("a \"b\"") && book.copies == 3;
    assert_eq!(found.iter().filter(changed).count(), 550);
    let query = Query::new(&BOOKS, &OF_AUTHOR_IN_PRINT, in_print(&other), 100);
    assert_eq!(all_pages::<Book>(store, query).await.len(), 50, "books of another author");

    // A document that several others refer to, and a reference to a missing document.
    let series = book(&fresh("series"), &fresh("x"), 1);
    let mut parts: Vec<Book> = (0..3).map(|n| book(&fresh("part"), &author, 6000 + 2 * n)).collect();
    for part in &mut parts {
        part.note = Some(series.title.clone());
    }
    parts[2].note = Some(fresh("missing"));
    commit(store, &projection, 3, |writes| {
        writes.delete::<Book>(&late.title);
        writes.put(&series).unwrap();
        for part in &parts {
            writes.put(part).unwrap();
        }
        writes.patch_each(patch(Some("note"), in_print(&author), Patch::default().inc("copies", 8)));
        writes.patch::<Book>(&series.title, Patch::default().inc("copies", 1));
    })
    .await;
    assert_eq!(get(store, &series.title).await, Some(Book { copies: 10, ..series }));
    assert_eq!(get(store, parts[2].note.as_deref().unwrap()).await, None);
    assert_eq!(get(store, &parts[0].title).await.as_ref(), Some(&parts[0]), "the referring ones stay");

    // Referred documents of another view.
    let (mine, theirs) = (shelf(&books[0].title, "x"), shelf(&fresh("theirs"), "x"));
    commit(store, &projection, 4, |writes| {
        writes.put(&mine).unwrap();
        writes.put(&theirs).unwrap();
        let mut named = book(&fresh("named"), &author, 7000);
        named.note = Some(mine.key());
        writes.put(&named).unwrap();
        let into_shelves = PatchEach {
            into: &SHELVES,
            ..patch(Some("note"), in_print(&author), Patch::default().set("year", 77))
        };
        writes.patch_each(into_shelves);
    })
    .await;
    let on_shelf = Query::new(&SHELVES, &ON_SHELF, vec![json!(reader)], 10);
    assert_eq!(all_pages::<OnShelf>(store, on_shelf).await, [OnShelf { year: 77, ..mine }, theirs]);
}

/// A random write to one of a few books or shelf entries, so that writes overlap.
#[derive(Debug, Clone, Copy)]
enum Step {
    Put {
        title: u8,
        author: u8,
        year: i64,
        named: Option<u8>,
    },
    Patch {
        title: u8,
    },
    Delete {
        title: u8,
    },
    Shelve {
        reader: u8,
        title: u8,
        year: i64,
    },
    Move {
        reader: u8,
        title: u8,
    },
    Unshelve {
        reader: u8,
        title: u8,
    },
    DeleteOf {
        author: u8,
    },
    Clear {
        reader: u8,
    },
    /// All books of an author, those in print, or the newest two, onto a shelf.
    FanOut {
        author: u8,
        reader: u8,
        index: &'static Index,
        limit: Option<usize>,
    },
    /// A fan-out into its own source view.
    Copy {
        reader: u8,
        to: u8,
    },
    UnshelveEach {
        author: u8,
        reader: u8,
    },
    CountNamed {
        author: u8,
    },
}

const TITLES: u8 = 6;
const READERS: u8 = 3;

fn any_step() -> Step {
    let mut rng = rand::rng();
    let (title, author, reader) =
        (rng.random_range(0..TITLES), rng.random_range(0..2), rng.random_range(0..READERS));
    let year = rng.random_range(0..8);
    match rng.random_range(0..20) {
        0..5 => Step::Put {
            title,
            author,
            year,
            named: rng.random_bool(0.5).then(|| rng.random_range(0..TITLES)),
        },
        5 => Step::Patch { title },
        6 => Step::Delete { title },
        7..10 => Step::Shelve { reader, title, year },
        10 => Step::Move { reader, title },
        11 => Step::Unshelve { reader, title },
        12 => Step::DeleteOf { author },
        13 => Step::Clear { reader },
        14..17 => Step::FanOut {
            author,
            reader,
            index: if rng.random_bool(0.7) { &BY_AUTHOR } else { &OF_AUTHOR_IN_PRINT },
            limit: rng.random_bool(0.3).then_some(2),
        },
        17 => Step::Copy { reader, to: rng.random_range(0..READERS) },
        18 => Step::UnshelveEach { author, reader },
        _ => Step::CountNamed { author },
    }
}

impl Step {
    fn write(self, world: &str, writes: &mut Writes) {
        let title = |n: u8| format!("{world}t{n}");
        let author = |n: u8| format!("{world}a{n}");
        let reader = |n: u8| format!("{world}r{n}");
        let key = |of: u8, n: u8| format!("{}.{}", reader(of), title(n));
        let copies = |fields: &[&'static str]| fields.iter().map(|f| Copy { from: f, to: f }).collect();
        let of_reader = |n: u8| [("reader".to_owned(), json!(reader(n)))].into_iter().collect();
        let by_author = |n: u8| vec![json!(author(n))];
        match self {
            Self::Put { title: n, author: by, year, named } => {
                let book = Book { note: named.map(title), ..book(&title(n), &author(by), year) };
                put_or_insert(writes, &book, year);
            }
            Self::Patch { title: n } => {
                writes.patch::<Book>(title(n), Patch::default().set("in_print", true).inc("copies", 1));
            }
            Self::Delete { title: n } => writes.delete::<Book>(title(n)),
            Self::Shelve { reader: of, title: n, year } => {
                let (reader, title) = (reader(of), title(n));
                put_or_insert(writes, &OnShelf { reader, title, year, in_print: false, parts: None }, year);
            }
            Self::Move { reader: of, title: n } => {
                writes.patch::<OnShelf>(key(of, n), Patch::default().inc("year", 10));
            }
            Self::Unshelve { reader: of, title: n } => writes.delete::<OnShelf>(key(of, n)),
            Self::DeleteOf { author: by } => writes.delete_where::<Book>(&BY_AUTHOR, by_author(by)),
            Self::Clear { reader: of } => writes.delete_where::<OnShelf>(&ON_SHELF, vec![json!(reader(of))]),
            Self::FanOut { author: by, reader: of, index, limit } => {
                let mut equals = by_author(by);
                equals.resize(index.equals.len(), json!(true));
                writes.fan_out(FanOut {
                    over: &BOOKS,
                    index,
                    equals,
                    limit,
                    into: &SHELVES,
                    key: vec![KeyPart::Text(reader(of)), KeyPart::Field("title")],
                    document: of_reader(of),
                    copies: copies(&["title", "year", "in_print"]),
                });
            }
            Self::Copy { reader: of, to } => writes.fan_out(FanOut {
                over: &SHELVES,
                index: &ON_SHELF,
                equals: vec![json!(reader(of))],
                limit: None,
                into: &SHELVES,
                key: vec![KeyPart::Text(reader(to)), KeyPart::Field("title")],
                document: of_reader(to),
                copies: copies(&["title", "year", "in_print"]),
            }),
            Self::UnshelveEach { author: by, reader: of } => writes.delete_each(DeleteEach {
                over: &BOOKS,
                index: &BY_AUTHOR,
                equals: by_author(by),
                from: &SHELVES,
                key: vec![KeyPart::Text(reader(of)), KeyPart::Field("title")],
            }),
            Self::CountNamed { author: by } => writes.patch_each(PatchEach {
                over: &BOOKS,
                index: &BY_AUTHOR,
                equals: by_author(by),
                into: &BOOKS,
                key: Some("note"),
                patch: Patch::default().inc("copies", 100),
            }),
        }
    }
}

/// Uses `insert` in even years, whether the document exists or not.
fn put_or_insert<T: Document>(writes: &mut Writes, document: &T, year: i64) {
    if year % 2 == 0 { writes.insert(document) } else { writes.put(document) }.unwrap();
}

/// All documents of a world, with the world's prefix removed.
async fn documents_of(store: &dyn ViewStore, world: &str) -> Vec<String> {
    let titles: Vec<String> = (0..TITLES).map(|n| format!("{world}t{n}")).collect();
    let places: Vec<String> =
        (0..READERS).flat_map(|n| titles.iter().map(move |title| format!("{world}r{n}.{title}"))).collect();
    let books = store.get_all::<Book>(&titles).await.unwrap();
    let on_shelves = store.get_all::<OnShelf>(&places).await.unwrap();
    let books = books.into_iter().flatten().map(|book| serde_json::to_string(&book));
    let on_shelves = on_shelves.into_iter().flatten().map(|place| serde_json::to_string(&place));
    books.chain(on_shelves).map(|text| text.unwrap().replace(world, "")).collect()
}

pub async fn batched_writes_equal_the_same_writes_one_by_one(store: &dyn ViewStore) {
    for _ in 0..40 {
        let steps: Vec<Step> = (0..40).map(|_| any_step()).collect();
        let (projection, together, apart) = (fresh("p"), fresh("w"), fresh("w"));
        for (checkpoint, steps) in (1..).zip(steps.chunks(20)) {
            commit(store, &projection, checkpoint, |writes| {
                for step in steps {
                    step.write(&together, writes);
                }
            })
            .await;
        }
        for (checkpoint, step) in (3..).zip(&steps) {
            commit(store, &projection, checkpoint, |writes| step.write(&apart, writes)).await;
        }
        assert_eq!(documents_of(store, &together).await, documents_of(store, &apart).await, "{steps:?}");
    }
}

pub async fn count_matches_the_query_results(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("a"));
    let books: Vec<Book> = (0..150).map(|n| book(&fresh("b"), &author, n)).collect();
    commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
    let count = async |query: Query| store.count(&query).await.unwrap();
    assert_eq!(count(of_author(&author, 1000)).await, 150);
    assert_eq!(count(of_author(&author, 100)).await, 100, "at most the limit");
    assert_eq!(count(of_author(&fresh("nobody"), 100)).await, 0);
    let in_print = Query::new(&BOOKS, &OF_AUTHOR_IN_PRINT, vec![json!(author), json!(true)], 1000);
    assert_eq!(count(in_print).await, 75);
    // Above a value of the order field, and after a cursor.
    for above in [-1, 0, 99, 148, 149, i64::MAX] {
        let query = of_author(&author, 1000).above(above);
        let expected = books.iter().filter(|book| book.year > above).count();
        assert_eq!(count(query.clone()).await, expected as u64, "{above}");
        assert_eq!(all_pages::<Book>(store, Query { limit: 7, ..query }).await.len(), expected, "{above}");
    }
    let below = of_author(&author, 1000).after(Some(Cursor::at(50, "")));
    assert_eq!(count(below.clone().above(39)).await, 10);
    assert_eq!(count(below).await, 50);
}

pub async fn every_contract_query_uses_its_index(store: &dyn ViewStore) {
    every_query_uses_its_index(store, VIEWS, false).await;
}

pub async fn every_query_uses_its_index(store: &dyn ViewStore, views: &[&'static View], filled: bool) {
    for view in views {
        for index in view.indexes {
            let values: Vec<Value> = index.equals.iter().map(|_| json!("x")).collect();
            let plain = Query::new(view, index, values, 20);
            let cursors = [
                None,
                Some(Cursor::parse(&cursor_text(index, json!(5)), index).unwrap()),
                Some(Cursor::parse(&cursor_text(index, json!("m")), index).unwrap()),
            ];
            for query in [plain.clone(), plain.clone().above(3), plain.with_prefix("a")] {
                for after in cursors.clone() {
                    let query = query.clone().after(after);
                    let plan = store.plan(&query).await.unwrap();
                    let name = plan.index.as_deref();
                    assert_eq!(name, Some(index.name), "{}: {}", view.name, plan.explained);
                    assert!(!plan.scans_or_sorts, "{} of {}: {}", index.name, view.name, plan.explained);
                }
            }
        }
    }
    // The engine must not choose another plan on a filled store.
    if !filled {
        let projection = fresh("p");
        // They match every query, with several per year. Keys behind "k" are on the page before the cursor.
        let key = |n: i64| fresh(if n < 1000 { "b" } else { "z" });
        let of_author = |n| Book { note: Some("x".to_owned()), ..book(&key(n), "x", n % 100) };
        let books: Vec<Book> = (0..3000).map(of_author).collect();
        commit(store, &projection, 1, |writes| books.iter().for_each(|book| writes.put(book).unwrap())).await;
        Box::pin(every_query_uses_its_index(store, views, true)).await;
    }
}

/// The text of a cursor, as a client could forge it.
fn cursor_text(index: &Index, order: Value) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!([index.name, order, "k"]).to_string())
}

/// `age` makes a store with the views of Chorus look as if an older version had written it.
pub async fn views_with_an_outdated_schema_are_rebuilt(
    open: impl AsyncFn() -> Arc<dyn ViewStore>,
    age: impl AsyncFnOnce(),
) {
    let mark = ReadCursor { owner: "ann".to_owned(), role: Role::ReadCursor, position: 3 };
    let written = Caption {
        post: "p".to_owned(),
        author: "ann".to_owned(),
        caption: Some("Dawn".to_owned()),
        written: 0,
        position: 4,
    };
    let store = open().await;
    commit(&*store, "notifications", 7, |writes| writes.put(&mark).unwrap()).await;
    commit(&*store, "captions", 9, |writes| writes.put(&written).unwrap()).await;
    let parked =
        Parked { position: 5, event_type: "like.liked.v1".into(), subject: None, error: "broken".into() };
    let parking = Commit {
        projection: "posts",
        writes: Arc::default(),
        parked: vec![parked],
        expected: 0,
        checkpoint: 8,
    };
    store.commit(parking).await.unwrap();
    drop(store);
    age().await;

    let store = open().await;
    assert_eq!(store.get::<ReadCursor>(&mark.key()).await.unwrap(), None);
    assert_eq!(store.get(&written.key()).await.unwrap(), Some(written));
    for (projection, checkpoint) in [("notifications", 0), ("posts", 0), ("captions", 9)] {
        assert_eq!(store.checkpoint(projection).await.unwrap(), checkpoint, "{projection}");
    }
    assert_eq!(store.parked("posts", 1).await.unwrap(), []);
    // Only on the first open.
    commit(&*store, "notifications", 3, |writes| writes.put(&mark).unwrap()).await;
    drop(store);
    let store = open().await;
    assert_eq!(store.get(&mark.key()).await.unwrap(), Some(mark));
    assert_eq!(store.checkpoint("notifications").await.unwrap(), 3);
}

pub async fn parked_events_are_stored_with_their_error(store: &dyn ViewStore) {
    let (projection, other) = (fresh("p"), fresh("p"));
    let parked = |position, error: &str| Parked {
        position,
        event_type: "book.lost.v1".into(),
        subject: Some("book.7".into()),
        error: error.into(),
    };
    let park = async |projection: &str, expected, checkpoint, parked| {
        let commit = Commit { projection, writes: Arc::default(), parked, expected, checkpoint };
        store.commit(commit).await.unwrap();
    };
    park(&projection, 0, 20, vec![parked(20, "b"), parked(3, "a")]).await;
    park(&other, 0, 9, vec![parked(9, "z")]).await;
    assert_eq!(store.parked(&projection, 10).await.unwrap(), [parked(3, "a"), parked(20, "b")]);
    assert_eq!(store.parked(&projection, 1).await.unwrap(), [parked(3, "a")]);
    // Parked again with another error: the newest is kept.
    park(&projection, 20, 21, vec![parked(3, "c")]).await;
    assert_eq!(store.parked(&projection, 1).await.unwrap(), [parked(3, "c")]);
    assert_eq!(store.parked(&fresh("p"), 10).await.unwrap(), []);
    // Reactions park single events, whatever their subjects.
    let without_subject = Parked { subject: None, ..parked(22, "d") };
    park(&projection, 21, 22, vec![without_subject.clone()]).await;
    assert_eq!(store.parked(&projection, 10).await.unwrap().last(), Some(&without_subject));
}

pub async fn scan_returns_every_document_once_in_key_order(store: &dyn ViewStore) {
    let (projection, author) = (fresh("p"), fresh("scanned"));
    let titles: Vec<String> = (0..5).map(|n| fresh(&format!("t{n}"))).collect();
    commit(store, &projection, 1, |writes| {
        for title in &titles {
            writes.put(&book(title, &author, 1)).unwrap();
        }
    })
    .await;
    let (mut keys, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let found = store.scan(&BOOKS, after.as_deref(), 2).await.unwrap();
        assert!(found.len() <= 2);
        let Some(last) = found.last() else { break };
        after = Some(last.key.clone());
        keys.extend(found.into_iter().map(|document| document.key));
    }
    assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
    assert!(titles.iter().all(|title| keys.contains(title)), "{keys:?}");
    assert_eq!(store.scan(&BOOKS, None, 0).await.unwrap().len(), 0);
    let first: Book = store.scan(&BOOKS, None, 1).await.unwrap()[0].read().unwrap();
    assert_eq!(first.title, keys[0]);
}

pub async fn sizes_report_documents_and_bytes(store: &dyn ViewStore) {
    commit_many(store, &fresh("p"), 0, 10).await.unwrap();
    let sizes = store.sizes().await.unwrap();
    assert_eq!(sizes.keys().collect::<Vec<_>>(), ["books", "shelves"]);
    let books = sizes["books"];
    assert!(books.documents > 0 && books.bytes > books.documents, "{books:?}");
}

/// An engine that a contract can disconnect and restart.
#[async_trait]
pub trait ViewEngine: Send {
    fn store(&self) -> Arc<dyn ViewStore>;
    async fn cut(&mut self);
    async fn restore(&mut self);
    /// Kills the engine without warning and starts it again.
    async fn restart(&mut self);
}

pub async fn outage_is_reported_and_recovery_is_automatic(engine: &mut dyn ViewEngine) {
    let store = engine.store();
    let (projection, title) = (fresh("p"), fresh("b"));
    commit(&*store, &projection, 1, |writes| writes.put(&book(&title, "x", 1)).unwrap()).await;
    engine.cut().await;
    let (keys, query) = ([title.clone()], of_author("x", 5));
    let outcomes = timeout(LIMIT, async {
        tokio::join!(
            store.get_many(&BOOKS, &keys),
            store.page(&query),
            store.checkpoint(&projection),
            try_commit(&*store, &projection, 1, 2, |writes| writes.delete::<Book>(&title)),
        )
    })
    .await
    .expect("a call does not return during an outage");
    assert!(matches!(outcomes.0, Err(StoreError::Unavailable(_))), "{:?}", outcomes.0);
    assert!(matches!(outcomes.1, Err(StoreError::Unavailable(_))), "{:?}", outcomes.1);
    assert!(matches!(outcomes.2, Err(StoreError::Unavailable(_))), "{:?}", outcomes.2);
    assert!(matches!(outcomes.3, Err(CommitError::Store(StoreError::Unavailable(_)))), "{:?}", outcomes.3);
    engine.restore().await;
    timeout(LIMIT, async { while get_or_error(&*store, &title).await.is_err() {} })
        .await
        .expect("the store is not available again");
    assert!(get(&*store, &title).await.is_some());
}

async fn get_or_error(store: &dyn ViewStore, key: &str) -> Result<Option<Book>, StoreError> {
    store.get(key).await
}

/// A worker commits batch after batch and reads its checkpoint again after an error, while the engine is killed. In the
/// end every batch is committed exactly once.
pub async fn every_batch_is_committed_once_across_engine_kills(engine: &mut dyn ViewEngine) {
    const BATCHES: u64 = 120;
    let (projection, title) = (fresh("p"), fresh("counted"));
    commit(&*engine.store(), &projection, 1, |writes| writes.put(&book(&title, &title, 1)).unwrap()).await;
    let store = engine.store();
    let worker = async {
        loop {
            let Ok(expected) = store.checkpoint(&projection).await else { continue };
            if expected > BATCHES {
                return;
            }
            // The checkpoint shows whether the commit succeeded.
            let _ = try_commit(&*store, &projection, expected, expected + 1, |writes| {
                writes.patch::<Book>(&title, Patch::default().inc("copies", 1));
                writes.put(&book(&format!("{title}-{expected}"), &title, 1)).unwrap();
            })
            .await;
        }
    };
    let killer = async {
        for _ in 0..3 {
            let pause = rand::rng().random_range(5..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            engine.restart().await;
        }
    };
    timeout(LIMIT * 2, async { tokio::join!(worker, killer) }).await.expect("the worker does not finish");
    let counted = get(&*store, &title).await.unwrap().copies;
    assert_eq!(counted, 1 + i64::try_from(BATCHES).unwrap());
    let put = all_pages::<Book>(&*store, of_author(&title, 50)).await.len();
    assert_eq!(put, 1 + usize::try_from(BATCHES).unwrap());
}

/// The same store, opened to be read only.
pub async fn read_only_store_sees_commits_and_refuses_its_own(
    store: &dyn ViewStore,
    read_only: &dyn ViewStore,
) {
    commit_many(store, "p", 0, 3).await.unwrap();
    assert_eq!(read_only.checkpoint("p").await.unwrap(), 1);
    assert_eq!(read_only.checkpoints().await.unwrap(), store.checkpoints().await.unwrap());
    assert_eq!(read_only.sizes().await.unwrap()["books"].documents, 3);
    assert_eq!(read_only.schema_version().await.unwrap(), store.schema_version().await.unwrap());
    let books = VIEWS.iter().find(|view| view.name == "books").unwrap();
    assert_eq!(read_only.scan(books, None, 10).await.unwrap().len(), 3);
    assert!(commit_many(read_only, "p", 1, 3).await.is_err());
    assert_eq!(store.checkpoint("p").await.unwrap(), 1);
    read_only.close().await.unwrap();
    commit_many(store, "p", 1, 3).await.unwrap();
}
