use serde_json::Value;

use crate::{Cursor, Index, StoredDocument, View};

/// A page of documents in the order of an index. There is no query without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub view: &'static View,
    pub index: &'static Index,
    /// One value for each of the index's `equals`.
    pub equals: Vec<Value>,
    /// Only documents whose order field is text that begins so.
    pub prefix: Option<String>,
    /// Only documents whose order field is a number above this one.
    pub above: Option<i64>,
    /// Begins behind this place.
    pub after: Option<Cursor>,
    /// Documents at most; at least 1.
    pub limit: usize,
}

impl Query {
    pub fn new(view: &'static View, index: &'static Index, equals: Vec<Value>, limit: usize) -> Self {
        debug_assert_eq!(equals.len(), index.equals.len(), "{}", index.name);
        debug_assert!(view.indexes.contains(&index), "{} is no index of {}", index.name, view.name);
        Self { view, index, equals, prefix: None, above: None, after: None, limit }
    }

    #[must_use]
    pub fn after(self, after: Option<Cursor>) -> Self {
        Self { after, ..self }
    }

    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }

    #[must_use]
    pub fn above(self, number: i64) -> Self {
        Self { above: Some(number), ..self }
    }
}

/// What a query found.
#[derive(Debug, Clone)]
pub struct Page {
    pub documents: Vec<StoredDocument>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Cursor>,
}

/// A [`Page`] of typed documents.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOf<T> {
    pub documents: Vec<T>,
    pub next: Option<Cursor>,
}
