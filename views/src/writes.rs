use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Document, Index, StoreError, StoredDocument, View};

/// One change to one view. A commit takes them in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Makes the document what it is to be, whether it was there or not.
    Put {
        view: &'static View,
        key: String,
        document: Map<String, Value>,
        /// Most likely it is not there: no more than a hint.
        is_new: bool,
    },
    /// Changes fields of a document; does nothing if it is not there.
    Patch {
        view: &'static View,
        key: String,
        patch: Patch,
    },
    Delete {
        view: &'static View,
        key: String,
    },
    /// Deletes every document that an index finds by its equal fields.
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
    /// The view that it looks at, and the one that it changes.
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

/// Changes of top-level fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch {
    pub set: Map<String, Value>,
    /// Added to a number; a field that is not there counts as 0.
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

    /// This one, then another.
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

/// What a document consists of.
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

/// For each document that an index finds in one view, puts a document into another: everybody who follows an author
/// gets an entry for a new post, somebody who begins to follow gets entries for the posts there are.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOut {
    /// Where to look, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// Only so many, in the order of the index.
    pub limit: Option<usize>,
    /// What to put where.
    pub into: &'static View,
    /// The parts of the new document's key, joined by dots.
    pub key: Vec<KeyPart>,
    /// Fields that are the same in every new document.
    pub document: Map<String, Value>,
    /// Fields taken over from the document found.
    pub copies: Vec<Copy>,
}

/// For each document that an index finds in one view, deletes one from another: what a fan-out has put there.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteEach {
    /// Where to look, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// Where to delete.
    pub from: &'static View,
    /// The parts of the key of what is deleted, joined by dots.
    pub key: Vec<KeyPart>,
}

/// Changes the document that is named by a field of each document that an index finds: everything that somebody did is
/// marked when they go away, and whoever followed them follows one less. A document that is not there stays away; one that
/// is named twice is changed once.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchEach {
    /// Where to look, by the equal fields of an index.
    pub over: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
    /// Whose documents are changed.
    pub into: &'static View,
    /// The text field of a document found that is the key of the one to change; none: the one found itself.
    pub key: Option<&'static str>,
    pub patch: Patch,
}

/// A part of the key of a document that is made of another.
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

/// The writes of one batch of events. Several to one document become one, so that a batch costs what it changes
/// and not what happened in it.
#[derive(Debug, Default)]
pub struct Writes {
    list: Vec<Write>,
    /// Where in the list the latest write to a document stands.
    latest: HashMap<(&'static str, String), usize>,
    /// Documents that the batch looks at, as the writes so far leave them.
    seen: HashMap<(&'static str, String), Option<Map<String, Value>>>,
    /// What the batch's first event has found by an index, by the view's name.
    found: Vec<(&'static str, StoredDocument)>,
    /// Documents that are written without being named, as far as is known.
    weight: usize,
}

impl Writes {
    /// Takes in what a document was before the batch, so that it can be looked at.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is no document.
    pub fn see(
        &mut self,
        view: &'static View,
        key: String,
        document: Option<StoredDocument>,
    ) -> Result<(), StoreError> {
        let document = document.map(|document| document.read()).transpose()?;
        self.seen.insert((view.name, key), document);
        Ok(())
    }

    /// Takes in what an index finds for the first event of the batch.
    pub fn find(&mut self, view: &'static View, documents: Vec<StoredDocument>) {
        self.found.extend(documents.into_iter().map(|document| (view.name, document)));
    }

    /// What an index has found for the first event of the batch, as it was before the batch.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a document is not of its type.
    pub fn found<T: Document>(&self) -> Result<Vec<T>, StoreError> {
        let of_view = self.found.iter().filter(|(name, _)| *name == T::VIEW.name);
        of_view.map(|(_, document)| document.read()).collect()
    }

    /// A document as the writes so far leave it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not of its type, or was not taken in before.
    pub fn seen<T: Document>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.seen_in(T::VIEW, key)
    }

    /// As [`seen`](Self::seen), of a kind of document that is in several views.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not of its type, or was not taken in before.
    pub fn seen_in<T: DeserializeOwned>(&self, view: &View, key: &str) -> Result<Option<T>, StoreError> {
        let problem = |problem: String| StoreError::corrupt(format!("{key} of {}: {problem}", view.name));
        let seen = self.seen.get(&(view.name, key.to_owned()));
        let seen = seen.ok_or_else(|| problem("looked at without having been asked for".to_owned()))?;
        let read = |document: &Map<String, Value>| serde_json::from_value(Value::Object(document.clone()));
        seen.as_ref().map(read).transpose().map_err(|error| problem(error.to_string()))
    }

    /// Notes that a fan-out or a deletion writes about so many documents.
    pub fn weigh(&mut self, documents: usize) {
        self.weight = self.weight.saturating_add(documents);
    }

    /// Notes that nobody knows how many documents a write changes, so that nothing more is committed together with it.
    pub fn weigh_unknown(&mut self) {
        self.weight = usize::MAX;
    }

    /// About how many documents are written by writes that do not name them.
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
        let is_new = !self.latest.contains_key(&(T::VIEW.name, key.clone()));
        self.put_fields(T::VIEW, key, fields, is_new);
        Ok(())
    }

    pub fn put_raw(&mut self, view: &'static View, key: String, document: Map<String, Value>) {
        self.put_fields(view, key, document, false);
    }

    fn put_fields(&mut self, view: &'static View, key: String, document: Map<String, Value>, is_new: bool) {
        if let Some(seen) = self.seen.get_mut(&(view.name, key.clone())) {
            *seen = Some(document.clone());
        }
        self.replace(view, key.clone(), Write::Put { view, key, document, is_new });
    }

    pub fn patch<T: Document>(&mut self, key: impl Into<String>, patch: Patch) {
        let (view, key) = (T::VIEW, key.into());
        if let Some(Some(seen)) = self.seen.get_mut(&(view.name, key.clone())) {
            patch.clone().apply(seen);
        }
        let latest = self.latest.get(&(view.name, key.clone())).map(|&place| &mut self.list[place]);
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
        if let Some(seen) = self.seen.get_mut(&(view.name, key.clone())) {
            *seen = None;
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

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The write takes the place of an earlier one to the same document, or goes to the end.
    fn replace(&mut self, view: &'static View, key: String, write: Write) {
        let place = *self.latest.entry((view.name, key)).or_insert(self.list.len());
        match self.list.get_mut(place) {
            Some(earlier) => *earlier = write,
            None => self.list.push(write),
        }
    }

    /// The write looks at documents of these views that earlier ones have changed, or changes some, so nothing later that
    /// is for the same views may move before it.
    fn barrier(&mut self, write: Write) {
        let (over, of) = write.views();
        self.latest.retain(|(name, _), _| *name != over.name && *name != of.name);
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
    const THINGS: View = View { name: "things", indexes: &[&BY_COLOUR], layout: Layout::ByKey };

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
    fn a_document_is_taken_for_new_unless_the_batch_has_written_it_before() {
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
    fn several_writes_to_one_document_become_one() {
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
    fn a_patch_after_a_deletion_does_nothing_and_a_put_brings_the_document_back() {
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
    fn a_document_that_is_looked_at_is_seen_as_the_writes_so_far_leave_it() {
        let mut writes = Writes::default();
        assert!(matches!(writes.seen::<Thing>("a"), Err(StoreError::Corrupt(_))), "nobody has looked");
        let before = StoredDocument::json("a".into(), json!({ "name": "a", "n": 1 }).to_string());
        writes.see(&THINGS, "a".into(), Some(before)).unwrap();
        writes.see(&THINGS, "b".into(), None).unwrap();
        let n = |writes: &Writes, key: &str| writes.seen::<Thing>(key).unwrap().map(|thing| thing.n);
        assert_eq!((n(&writes, "a"), n(&writes, "b")), (Some(1), None));
        writes.patch::<Thing>("a", Patch::default().inc("n", 2));
        writes.put(&thing("b", 7)).unwrap();
        // What is found by an index is not looked at, and takes nothing of this away.
        writes.delete_where::<Thing>(&BY_COLOUR, vec![json!("red")]);
        assert_eq!((n(&writes, "a"), n(&writes, "b")), (Some(3), Some(7)));
        writes.delete::<Thing>("a");
        assert_eq!(n(&writes, "a"), None);
    }

    #[test]
    fn nothing_moves_before_a_write_that_looks_at_other_documents() {
        let sweep = Write::DeleteWhere { view: &THINGS, index: &BY_COLOUR, equals: vec![json!("red")] };
        let list = written(|writes| {
            writes.put(&thing("a", 1)).unwrap();
            writes.delete_where::<Thing>(&BY_COLOUR, vec![json!("red")]);
            writes.put(&thing("a", 2)).unwrap();
        });
        assert_eq!(list, [put("a", 1), sweep, put("a", 2)]);
    }
}
