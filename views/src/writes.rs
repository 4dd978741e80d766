use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Document, Index, StoreError, StoredDocument, View};

/// One change to one view. A commit applies them in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Inserts or replaces the document.
    Put {
        view: &'static View,
        key: String,
        document: Map<String, Value>,
        /// A hint that the document most likely does not exist.
        is_new: bool,
    },
    /// Changes fields of a document; no effect if it does not exist.
    Patch {
        view: &'static View,
        key: String,
        patch: Patch,
    },
    Delete {
        view: &'static View,
        key: String,
    },
    /// Deletes all documents that an index finds by its equal fields.
    DeleteWhere {
        view: &'static View,
        index: &'static Index,
        equals: Vec<Value>,
    },
    DeleteEach(DeleteEach),
    FanOut(FanOut),
    PatchEach(PatchEach),
}

impl Write {
    /// The view it reads, and the view it changes.
    pub(crate) const fn views(&self) -> (&'static View, &'static View) {
        match self {
            Self::Put { view, .. }
            | Self::Patch { view, .. }
            | Self::Delete { view, .. }
            | Self::DeleteWhere { view, .. } => (view, view),
            Self::DeleteEach(DeleteEach { over, from, .. }) => (over, from),
            Self::FanOut(FanOut { over, into, .. }) | Self::PatchEach(PatchEach { over, into, .. }) => {
                (over, into)
            }
        }
    }
}

impl Write {
    /// The key of the one document that it writes, if it names one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. } | Self::Patch { key, .. } | Self::Delete { key, .. } => Some(key),
            Self::DeleteWhere { .. } | Self::DeleteEach(_) | Self::FanOut(_) | Self::PatchEach(_) => None,
        }
    }

    /// The index through which it finds documents, if it does.
    pub(crate) const fn index(&self) -> Option<(&'static View, &'static Index)> {
        match self {
            Self::Put { .. } | Self::Patch { .. } | Self::Delete { .. } => None,
            Self::DeleteWhere { view, index, .. } => Some((view, index)),
            Self::DeleteEach(DeleteEach { over, index, .. })
            | Self::FanOut(FanOut { over, index, .. })
            | Self::PatchEach(PatchEach { over, index, .. }) => Some((over, index)),
        }
    }
}

/// Changes of top-level fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch {
    pub set: Map<String, Value>,
    /// Increments; a missing field counts as 0.
    pub inc: BTreeMap<&'static str, i64>,
}

impl Patch {
    #[must_use]
    pub fn set(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.inc.remove(field);
        self.set.insert(field.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn inc(mut self, field: &'static str, by: i64) -> Self {
        add(&mut self.set, &mut self.inc, field, by);
        self
    }

    /// Applies another patch after this one.
    fn merge(&mut self, then: Self) {
        for (field, value) in then.set {
            self.inc.remove(field.as_str());
            self.set.insert(field, value);
        }
        for (field, by) in then.inc {
            add(&mut self.set, &mut self.inc, field, by);
        }
    }

    fn apply(self, document: &mut Map<String, Value>) {
        document.extend(self.set);
        for (field, by) in self.inc {
            let now = document.get(field).and_then(Value::as_i64).unwrap_or(0);
            document.insert(field.to_owned(), (now + by).into());
        }
    }
}

/// The fields of a document.
fn fields<T: Document>(document: &T) -> Result<Map<String, Value>, StoreError> {
    let unfit =
        |problem: String| StoreError::corrupt(format!("{} of {}: {problem}", document.key(), T::VIEW.name));
    match serde_json::to_value(document).map_err(|e| unfit(e.to_string()))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(unfit("not an object".to_owned())),
    }
}

fn add(set: &mut Map<String, Value>, inc: &mut BTreeMap<&'static str, i64>, field: &'static str, by: i64) {
    match set.get(field).and_then(Value::as_i64) {
        Some(known) => {
            set.insert(field.to_owned(), (known + by).into());
        }
        None => *inc.entry(field).or_default() += by,
    }
}

/// For each document that an index finds in one view, puts a document into another: a new post creates an entry in
/// the home of each follower, a new follow creates entries for existing posts.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOut {
    /// The documents to read, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// The maximum number, in the order of the index.
    pub limit: Option<usize>,
    /// The view to write.
    pub into: &'static View,
    /// The parts of the new document's key, joined by dots.
    pub key: Vec<KeyPart>,
    /// Fields with the same value in all new documents.
    pub document: Map<String, Value>,
    /// Fields copied from the document found.
    pub copies: Vec<Copy>,
}

/// For each document that an index finds in one view, deletes one from another: the inverse of a fan-out.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteEach {
    /// The documents to read, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// The view to delete from.
    pub from: &'static View,
    /// The parts of the deleted document's key, joined by dots.
    pub key: Vec<KeyPart>,
}

/// For each document that an index finds, patches the document that one of its fields names. Used when a user is
/// deactivated: their content is hidden and the counts of others change. Missing documents are skipped; a document
/// that is named twice is patched once.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchEach {
    /// The documents to read, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// The view to change.
    pub into: &'static View,
    /// The text field of the document found that holds the key to patch; none: the document found itself.
    pub key: Option<&'static str>,
    pub patch: Patch,
}

/// A part of a key derived from another document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    Text(String),
    /// The value of this text field of the document found.
    Field(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    pub from: &'static str,
    pub to: &'static str,
}

/// The writes of one batch of events. Writes to the same document are merged, so that the cost of a batch depends on
/// the changed documents, not on the number of events.
#[derive(Debug, Default)]
pub struct Writes {
    list: Vec<Write>,
    /// The index in `list` of the latest write to each document, by view.
    latest: HashMap<&'static str, HashMap<String, usize>>,
    /// Preloaded documents with the writes so far applied.
    preloaded: HashMap<(&'static str, String), Option<Map<String, Value>>>,
    /// Documents that a [`preload_found`](Self::preload_found) added, with their view's name.
    found: Vec<(&'static str, StoredDocument)>,
    /// The estimated number of documents written by fan-outs and other writes without keys.
    weight: usize,
}

impl Writes {
    /// Preloads a document in its state before the batch.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not a document.
    pub fn preload(
        &mut self,
        view: &'static View,
        key: String,
        document: Option<StoredDocument>,
    ) -> Result<(), StoreError> {
        let document = document.map(|document| document.read()).transpose()?;
        self.preloaded.insert((view.name, key), document);
        Ok(())
    }

    /// Preloads the documents that an index finds for the first event of the batch.
    pub fn preload_found(&mut self, view: &'static View, documents: Vec<StoredDocument>) {
        self.found.extend(documents.into_iter().map(|document| (view.name, document)));
    }

    /// The documents that an index found for the first event of the batch, in their state before the batch.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a document is not of its type.
    pub fn found<T: Document>(&self) -> Result<Vec<T>, StoreError> {
        let of_view = self.found.iter().filter(|(name, _)| *name == T::VIEW.name);
        of_view.map(|(_, document)| document.read()).collect()
    }

    /// A preloaded document with the writes so far applied.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not of its type, or was not preloaded.
    pub fn get<T: Document>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.get_in(T::VIEW, key)
    }

    /// Like [`get`](Self::get), for a kind of document that several views contain.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not of its type, or was not preloaded.
    pub fn get_in<T: DeserializeOwned>(&self, view: &View, key: &str) -> Result<Option<T>, StoreError> {
        let problem = |problem: String| StoreError::corrupt(format!("{key} of {}: {problem}", view.name));
        let preloaded = self.preloaded.get(&(view.name, key.to_owned()));
        let preloaded = preloaded.ok_or_else(|| problem("not preloaded".to_owned()))?;
        let read = |document: &Map<String, Value>| serde_json::from_value(Value::Object(document.clone()));
        preloaded.as_ref().map(read).transpose().map_err(|error| problem(error.to_string()))
    }

    /// Adds the estimated number of documents that a fan-out or deletion writes.
    pub fn add_weight(&mut self, documents: usize) {
        self.weight = self.weight.saturating_add(documents);
    }

    /// Marks the number of written documents as unknown, so that nothing else joins this commit.
    pub fn add_unknown_weight(&mut self) {
        self.weight = usize::MAX;
    }

    /// The estimated number of documents written by writes without keys.
    pub fn weight(&self) -> usize {
        self.weight
    }

    pub fn put<T: Document>(&mut self, document: &T) -> Result<(), StoreError> {
        let key = document.key();
        let fields = fields(document)?;
        self.put_raw(T::VIEW, key, fields);
        Ok(())
    }

    /// As [`put`](Self::put), of a document that is most likely not there: it comes to the same if it is, but an engine that
    /// need not find out is faster.
    pub fn insert<T: Document>(&mut self, document: &T) -> Result<(), StoreError> {
        let key = document.key();
        let fields = fields(document)?;
        // What has been written before in this batch may be there, or have been.
        let is_new = self.latest(T::VIEW, &key).is_none();
        self.put_fields(T::VIEW, key, fields, is_new);
        Ok(())
    }

    pub fn put_raw(&mut self, view: &'static View, key: String, document: Map<String, Value>) {
        self.put_fields(view, key, document, false);
    }

    fn put_fields(&mut self, view: &'static View, key: String, document: Map<String, Value>, is_new: bool) {
        if let Some(current) = self.preloaded.get_mut(&(view.name, key.clone())) {
            *current = Some(document.clone());
        }
        self.replace(view, key.clone(), Write::Put { view, key, document, is_new });
    }

    pub fn patch<T: Document>(&mut self, key: impl Into<String>, patch: Patch) {
        let (view, key) = (T::VIEW, key.into());
        if let Some(Some(current)) = self.preloaded.get_mut(&(view.name, key.clone())) {
            patch.clone().apply(current);
        }
        let latest = self.latest(view, &key).map(|place| &mut self.list[place]);
        match latest {
            Some(Write::Put { document, .. }) => patch.apply(document),
            Some(Write::Patch { patch: earlier, .. }) => earlier.merge(patch),
            Some(Write::Delete { .. }) => {}
            Some(
                Write::DeleteWhere { .. } | Write::DeleteEach(_) | Write::FanOut(_) | Write::PatchEach(_),
            )
            | None => {
                self.replace(view, key.clone(), Write::Patch { view, key, patch });
            }
        }
    }

    pub fn delete<T: Document>(&mut self, key: impl Into<String>) {
        self.delete_raw(T::VIEW, key.into());
    }

    pub fn delete_raw(&mut self, view: &'static View, key: String) {
        if let Some(current) = self.preloaded.get_mut(&(view.name, key.clone())) {
            *current = None;
        }
        self.replace(view, key.clone(), Write::Delete { view, key });
    }

    pub fn delete_where<T: Document>(&mut self, index: &'static Index, equals: Vec<Value>) {
        self.barrier(Write::DeleteWhere { view: T::VIEW, index, equals });
    }

    pub fn delete_each(&mut self, delete_each: DeleteEach) {
        self.barrier(Write::DeleteEach(delete_each));
    }

    pub fn fan_out(&mut self, fan_out: FanOut) {
        self.barrier(Write::FanOut(fan_out));
    }

    pub fn patch_each(&mut self, patch_each: PatchEach) {
        self.barrier(Write::PatchEach(patch_each));
    }

    pub fn into_list(self) -> Vec<Write> {
        self.list
    }

    /// Like [`into_list`](Self::into_list), with the writes by key in the order of views and keys: an engine that
    /// stores documents by key then changes each page once. Writes without keys keep their place between the writes
    /// to the views that they read or change.
    pub fn into_sorted_list(self) -> Vec<Write> {
        let mut sorted = Vec::with_capacity(self.list.len());
        let mut waiting: BTreeMap<&'static str, Vec<Write>> = BTreeMap::new();
        let flush = |mut writes: Vec<Write>, sorted: &mut Vec<Write>| {
            writes.sort_by(|one, other| one.key().cmp(&other.key()));
            sorted.append(&mut writes);
        };
        for write in self.list {
            let (over, of) = write.views();
            if write.key().is_some() {
                waiting.entry(of.name).or_default().push(write);
                continue;
            }
            for view in [over.name, of.name] {
                flush(waiting.remove(view).unwrap_or_default(), &mut sorted);
            }
            sorted.push(write);
        }
        for writes in waiting.into_values() {
            flush(writes, &mut sorted);
        }
        sorted
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The place of the latest write to a document.
    fn latest(&self, view: &View, key: &str) -> Option<usize> {
        self.latest.get(view.name)?.get(key).copied()
    }

    /// Replaces an earlier write to the same document, or appends the write.
    fn replace(&mut self, view: &'static View, key: String, write: Write) {
        let of_view = self.latest.entry(view.name).or_default();
        let place = *of_view.entry(key).or_insert(self.list.len());
        match self.list.get_mut(place) {
            Some(earlier) => *earlier = write,
            None => self.list.push(write),
        }
    }

    /// Appends a write that reads or changes documents of these views without keys. Later writes to the same views are not
    /// merged into earlier ones.
    fn barrier(&mut self, write: Write) {
        let (over, of) = write.views();
        for view in [over, of] {
            self.latest.remove(view.name);
        }
        self.list.push(write);
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::{Direction, Layout};

    const BY_COLOUR: Index =
        Index { name: "by_colour", equals: &["colour"], order: "n", direction: Direction::Ascending };
    const THINGS: View =
        View { name: "things", indexes: &[&BY_COLOUR], layout: Layout::Clustered, personal: &[] };

    const OTHERS: View =
        View { name: "others", indexes: &[&BY_COLOUR], layout: Layout::Clustered, personal: &[] };

    #[derive(Serialize, Deserialize)]
    struct Thing {
        name: String,
        n: i64,
    }

    impl Document for Thing {
        const VIEW: &'static View = &THINGS;

        fn key(&self) -> String {
            self.name.clone()
        }
    }

    fn thing(name: &str, n: i64) -> Thing {
        Thing { name: name.into(), n }
    }

    fn put(name: &str, n: i64) -> Write {
        let Value::Object(document) = json!({ "name": name, "n": n }) else { unreachable!() };
        Write::Put { view: &THINGS, key: name.into(), document, is_new: false }
    }

    fn written(write: impl FnOnce(&mut Writes)) -> Vec<Write> {
        let mut writes = Writes::default();
        write(&mut writes);
        writes.into_list()
    }

    #[test]
    fn insert_is_new_unless_the_batch_has_written_the_document() {
        let is_new =
            |list: &[Write]| list.iter().any(|write| matches!(write, Write::Put { is_new: true, .. }));
        let inserted = |before: fn(&mut Writes)| {
            written(|writes| {
                before(writes);
                writes.insert(&thing("a", 1)).unwrap();
            })
        };
        assert!(is_new(&inserted(|_| {})));
        assert!(is_new(&inserted(|writes| writes.put(&thing("b", 1)).unwrap())));
        assert!(!is_new(&inserted(|writes| writes.delete::<Thing>("a"))));
        assert!(!is_new(&inserted(|writes| writes.put(&thing("a", 2)).unwrap())));
        assert!(!is_new(&inserted(|writes| writes.patch::<Thing>("a", Patch::default().inc("n", 1)))));
    }

    #[test]
    fn writes_to_one_document_are_merged() {
        let list = written(|writes| {
            writes.put(&thing("a", 1)).unwrap();
            writes.put(&thing("b", 5)).unwrap();
            writes.patch::<Thing>("a", Patch::default().inc("n", 2));
            writes.patch::<Thing>("b", Patch::default().set("n", 7).inc("n", 1));
        });
        assert_eq!(list, [put("a", 3), put("b", 8)]);

        let list = written(|writes| {
            writes.patch::<Thing>("a", Patch::default().inc("n", 2));
            writes.patch::<Thing>("a", Patch::default().inc("n", -5).set("name", "A"));
            writes.patch::<Thing>("a", Patch::default().set("n", 1));
            writes.patch::<Thing>("a", Patch::default().inc("n", 1));
        });
        let patch = Patch::default().set("name", "A").set("n", 2);
        assert_eq!(list, [Write::Patch { view: &THINGS, key: "a".into(), patch }]);
    }

    #[test]
    fn patch_after_a_deletion_has_no_effect_and_a_put_recreates_the_document() {
        let deleted = Write::Delete { view: &THINGS, key: "a".into() };
        let list = written(|writes| {
            writes.put(&thing("a", 1)).unwrap();
            writes.delete::<Thing>("a");
            writes.patch::<Thing>("a", Patch::default().inc("n", 1));
        });
        assert_eq!(list, [deleted]);
        let list = written(|writes| {
            writes.delete::<Thing>("a");
            writes.put(&thing("a", 1)).unwrap();
        });
        assert_eq!(list, [put("a", 1)]);
    }

    #[test]
    fn preloaded_document_reflects_the_writes_so_far() {
        let mut writes = Writes::default();
        assert!(matches!(writes.get::<Thing>("a"), Err(StoreError::Corrupt(_))), "not preloaded");
        let before = StoredDocument::json("a".into(), json!({ "name": "a", "n": 1 }).to_string());
        writes.preload(&THINGS, "a".into(), Some(before)).unwrap();
        writes.preload(&THINGS, "b".into(), None).unwrap();
        let n = |writes: &Writes, key: &str| writes.get::<Thing>(key).unwrap().map(|thing| thing.n);
        assert_eq!((n(&writes, "a"), n(&writes, "b")), (Some(1), None));
        writes.patch::<Thing>("a", Patch::default().inc("n", 2));
        writes.put(&thing("b", 7)).unwrap();
        // Found documents are separate from preloaded ones.
        writes.delete_where::<Thing>(&BY_COLOUR, vec![json!("red")]);
        assert_eq!((n(&writes, "a"), n(&writes, "b")), (Some(3), Some(7)));
        writes.delete::<Thing>("a");
        assert_eq!(n(&writes, "a"), None);
    }

    #[test]
    fn writes_never_move_before_a_barrier() {
        let sweep = Write::DeleteWhere { view: &THINGS, index: &BY_COLOUR, equals: vec![json!("red")] };
        let list = written(|writes| {
            writes.put(&thing("a", 1)).unwrap();
            writes.delete_where::<Thing>(&BY_COLOUR, vec![json!("red")]);
            writes.put(&thing("a", 2)).unwrap();
        });
        assert_eq!(list, [put("a", 1), sweep, put("a", 2)]);
    }

    #[test]
    fn sorted_writes_by_key_stay_between_the_barriers_of_their_view() {
        let sweep = Write::DeleteWhere { view: &THINGS, index: &BY_COLOUR, equals: vec![json!("red")] };
        let other = Write::DeleteWhere { view: &OTHERS, index: &BY_COLOUR, equals: vec![json!("red")] };
        let mut writes = Writes::default();
        for name in ["c", "a"] {
            writes.put(&thing(name, 1)).unwrap();
        }
        writes.barrier(other.clone());
        writes.put(&thing("b", 1)).unwrap();
        writes.delete_where::<Thing>(&BY_COLOUR, vec![json!("red")]);
        for name in ["b", "a"] {
            writes.put(&thing(name, 2)).unwrap();
        }
        let expected = [other, put("a", 1), put("b", 1), put("c", 1), sweep, put("a", 2), put("b", 2)];
        assert_eq!(writes.into_sorted_list(), expected);
    }
}
