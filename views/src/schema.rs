/// A kind of read-model document. Each is written by one projection and by nothing else: that of the same name, or one
/// that writes several views together.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub name: &'static str,
    pub indexes: &'static [&'static Index],
    pub layout: Layout,
}

/// How documents lie in a file, for an engine that has the choice: SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In the order of their keys: found by key at once.
    ByKey,
    /// In the order in which they were put, with an index of their keys beside them. For documents that come in great
    /// numbers and no order and are mostly read through an index: a few to a page, they would otherwise have pages
    /// split and rearranged for nearly every one.
    AsPut,
}

/// A way to find documents of a view: some fields that must be equal, then one that orders. Documents that are
/// alike in all of them are ordered by their key; one that lacks an equal field, or holds null there, is not found.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// Unique in its view.
    pub name: &'static str,
    pub equals: &'static [&'static str],
    pub order: &'static str,
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}
