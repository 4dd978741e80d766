use std::collections::BTreeSet;

use sqlite::Schema;
use sqlite::rusqlite::{self, Connection};

use crate::store::sort_fields;
use crate::{Direction, Index, Layout, View};

/// What is not a view: where each projection stands, and what it has set aside. The steps after the first drop the views
/// whose documents have another shape since then, and let their projections begin anew; MongoDB has the same.
pub(super) const SCHEMA: Schema = Schema {
    steps: &[
        "
        CREATE TABLE checkpoints (projection TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE parked (
            projection TEXT NOT NULL,
            position   INTEGER NOT NULL,
            event_type TEXT NOT NULL,
            error      TEXT NOT NULL,
            PRIMARY KEY (projection, position)
        ) STRICT, WITHOUT ROWID;
        ",
        // Likes tell their post's author, and notifications do without them.
        "
        DROP TABLE IF EXISTS view_posts;
        DROP TABLE IF EXISTS view_likes;
        DROP TABLE IF EXISTS view_notifications;
        DELETE FROM checkpoints WHERE projection IN ('posts', 'likes', 'notifications');
        DELETE FROM parked WHERE projection IN ('posts', 'likes', 'notifications');
        ",
        // Who is deactivated, suspended or erased is counted nowhere.
        "
        DROP TABLE IF EXISTS view_posts;
        DROP TABLE IF EXISTS view_likes;
        DROP TABLE IF EXISTS view_comments;
        DROP TABLE IF EXISTS view_stories;
        DROP TABLE IF EXISTS view_story_views;
        DROP TABLE IF EXISTS view_saves;
        DROP TABLE IF EXISTS view_notifications;
        DELETE FROM checkpoints WHERE projection IN
            ('posts', 'likes', 'comments', 'stories', 'story_views', 'saves', 'notifications');
        DELETE FROM parked WHERE projection IN
            ('posts', 'likes', 'comments', 'stories', 'story_views', 'saves', 'notifications');
        ",
        // Comments that answer no other one are found by themselves.
        "
        DROP TABLE IF EXISTS view_comments;
        DELETE FROM checkpoints WHERE projection = 'comments';
        DELETE FROM parked WHERE projection = 'comments';
        ",
    ],
};

pub(super) fn create(connection: &Connection, view: &View) -> rusqlite::Result<()> {
    let table = table(view);
    let fields = indexed(view).into_iter().map(|name| format!("{} ANY", column(name)));
    let columns: Vec<String> =
        ["key TEXT PRIMARY KEY", "doc TEXT NOT NULL"].map(str::to_owned).into_iter().chain(fields).collect();
    let layout = match view.layout {
        Layout::ByKey => ", WITHOUT ROWID",
        Layout::AsPut => "",
    };
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}) STRICT{layout}",
        columns.join(", ")
    ))?;
    add_columns(connection, view)?;
    for index in view.indexes {
        let direction = direction(index);
        let fields: Vec<String> = sort_fields(index)
            .map(
                |name| {
                    if name == index.order { format!("{} {direction}", column(name)) } else { column(name) }
                },
            )
            .collect();
        connection.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS {} ON {table} ({}, key {direction}){}",
            index_name(view, index),
            fields.join(", "),
            all_there(index)
        ))?;
    }
    Ok(())
}

/// The condition that a document has all the fields that a search of an index names: one without is not to cost anything.
fn all_there(index: &Index) -> String {
    let conditions: Vec<String> =
        index.equals.iter().map(|name| format!("{} IS NOT NULL", column(name))).collect();
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// An index that a newer program declares may name a field that the table has no column for yet.
fn add_columns(connection: &Connection, view: &View) -> rusqlite::Result<()> {
    let table = table(view);
    let mut statement = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
    let there: BTreeSet<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in indexed(view) {
        let column = column(name);
        if !there.contains(&column) {
            connection.execute_batch(&format!(
                "ALTER TABLE {table} ADD COLUMN {column} ANY; UPDATE {table} SET {column} = doc ->> '$.{name}'"
            ))?;
        }
    }
    Ok(())
}

/// The fields that any index of a view names, each once. Each has a column of its own beside the document: a change that
/// touches none of them then leaves the indexes alone, which an index on an expression over the document would not.
pub(super) fn indexed(view: &View) -> BTreeSet<&'static str> {
    view.indexes.iter().flat_map(|index| sort_fields(index)).collect()
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

/// The column of an indexed field.
pub(super) fn column(name: &str) -> String {
    format!("field_{name}")
}
