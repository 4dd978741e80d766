/// A kind of read-model document. Each is written by one projection and by nothing else: that of the same name, or one
/// that writes several views together.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub name: &'static str,
    pub indexes: &'static [&'static Index],
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
