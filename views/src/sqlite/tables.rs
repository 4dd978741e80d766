use sqlite::Schema;
use sqlite::rusqlite::{self, Connection};

use crate::store::sort_fields;
use crate::{Direction, Index, View};

/// What is not a view: where each projection stands, and what it has set aside.
pub(super) const SCHEMA: Schema = Schema {
    steps: &["
        CREATE TABLE checkpoints (projection TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE parked (
            projection TEXT NOT NULL,
            position   INTEGER NOT NULL,
            event_type TEXT NOT NULL,
            error      TEXT NOT NULL,
            PRIMARY KEY (projection, position)
        ) STRICT, WITHOUT ROWID;
    "],
};

pub(super) fn create(connection: &Connection, view: &View) -> rusqlite::Result<()> {
    let table = table(view);
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID"
    ))?;
    for index in view.indexes {
        let direction = direction(index);
        let fields: Vec<String> = sort_fields(index)
            .map(
                |name| if name == index.order { format!("{} {direction}", field(name)) } else { field(name) },
            )
            .collect();
        connection.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS {} ON {table} ({}, key {direction})",
            index_name(view, index),
            fields.join(", ")
        ))?;
    }
    Ok(())
}

pub(super) fn table(view: &View) -> String {
    format!("view_{}", view.name)
}

pub(super) fn index_name(view: &View, index: &Index) -> String {
    format!("view_{}_{}", view.name, index.name)
}

pub(super) const fn direction(index: &Index) -> &'static str {
    match index.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

/// The expression of a field, the same wherever it stands, so that SQLite knows the index by it.
pub(super) fn field(name: &str) -> String {
    format!("json_extract(doc, '$.{name}')")
}
