use serde_json::Value;

use crate::{Cursor, Index, StoredDocument, View};

/// A query for documents in the order of an index. Every query uses an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub view: &'static View,
    pub index: &'static Index,
    /// One value per `equals` field of the index.
    pub equals: Vec<Value>,
    /// Only documents whose order field is a text with this prefix.
    pub prefix: Option<String>,
    /// Only documents whose order field is a number greater than this.
    pub above: Option<i64>,
    /// Starts after this place.
    pub after: Option<Cursor>,
    /// Maximum number of documents; at least 1.
    pub limit: usize,
}

impl Query {
    pub fn new(view: &'static View, index: &'static Index, equals: Vec<Value>, limit: usize) -> Self {
        debug_assert_eq!(equals.len(), index.equals.len(), "{}", index.name);
        debug_assert!(view.indexes.contains(&index), "{} is not an index of {}", index.name, view.name);
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

/// The result of a query.
#[derive(Debug, Clone)]
pub struct Page {
    pub documents: Vec<StoredDocument>,
    /// The start of the next page; none on the last page.
    pub next: Option<Cursor>,
}

/// A [`Page`] of typed documents.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOf<T> {
    pub documents: Vec<T>,
    pub next: Option<Cursor>,
}
