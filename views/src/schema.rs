/// A kind of read-model document. Each is written by the projection of the same name and by nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub name: &'static str,
    pub indexes: &'static [&'static Index],
}

/// A way to find documents of a view: some fields that must be equal, then one that orders. Documents that are
/// alike in all of them are ordered by their key.
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
