/// A kind of read-model documents. Exactly one projection writes it: the one of the same name, or one that writes
/// several views together.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub name: &'static str,
    pub indexes: &'static [&'static Index],
    pub layout: Layout,
    /// The fields with personal data, which operators see masked; `images.alt` is the field `alt` of each image.
    pub personal: &'static [&'static str],
}

/// The physical layout of documents, for engines with a choice: SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Clustered by key: fast access by key.
    Clustered,
    /// In insertion order, with a separate index of the keys. For numerous documents in random key order that are
    /// mostly read through another index: clustering would split pages on nearly every insert.
    Heap,
}

/// A secondary index: fields that must be equal, then an order field. The key breaks ties. Documents without an equal
/// field, or with null in it, are not found; nor are documents without the order field if there are no equal fields.
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
