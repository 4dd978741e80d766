use std::collections::BTreeSet;

use sqlite::Schema;
use sqlite::rusqlite::{self, Connection};

use crate::store::sort_fields;
use crate::{Direction, Family, Index, Layout, View};

/// Checkpoints and parked events. Later steps dropped views whose document format changed and reset their projections;
/// the MongoDB adapter has the same steps.
pub(super) const SCHEMA: Schema = Schema {
    steps: &[
        "
        CREATE TABLE checkpoints (projection TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE parked (
            projection TEXT NOT NULL,
            position   INTEGER NOT NULL,
            event_type TEXT NOT NULL,
            subject    TEXT, -- files of older programs get it by add_parked_subjects
            error      TEXT NOT NULL,
            PRIMARY KEY (projection, position)
        ) STRICT, WITHOUT ROWID;
        ",
        // Likes are notifications themselves; the view of notifications no longer contains them.
        "
        DROP TABLE IF EXISTS view_posts;
        DROP TABLE IF EXISTS view_likes;
        DROP TABLE IF EXISTS view_notifications;
        DELETE FROM checkpoints WHERE projection IN ('posts', 'likes', 'notifications');
        DELETE FROM parked WHERE projection IN ('posts', 'likes', 'notifications');
        ",
        // Deactivated, suspended and erased users are not counted.
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
        // An index for comments that are not replies.
        "
        DROP TABLE IF EXISTS view_comments;
        DELETE FROM checkpoints WHERE projection = 'comments';
        DELETE FROM parked WHERE projection = 'comments';
        ",
    ],
};

/// Adds the column for the subjects of parked events to a file of an older program. No migration step: older programs,
/// which a step would lock out, can go on with the column.
pub(super) fn add_parked_subjects(connection: &Connection) -> rusqlite::Result<()> {
    if !has_parked_subjects(connection)? {
        connection.execute_batch("ALTER TABLE parked ADD COLUMN subject TEXT")?;
    }
    Ok(())
}

/// A file of an older program that is opened to be read only has no such column.
pub(super) fn has_parked_subjects(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pragma_table_info('parked') WHERE name = 'subject')")?
        .query_row([], |row| row.get(0))
}

pub(super) fn create(connection: &Connection, view: &View) -> rusqlite::Result<()> {
    create_table(connection, view)?;
    view.indexes.iter().try_for_each(|index| create_index(connection, view, index))
}

/// The table without its indexes.
pub(super) fn create_table(connection: &Connection, view: &View) -> rusqlite::Result<()> {
    let table = table(view);
    let fields = indexed(view).into_iter().map(|name| format!("{} ANY", column(name)));
    let columns: Vec<String> =
        ["key TEXT PRIMARY KEY", "doc TEXT NOT NULL"].map(str::to_owned).into_iter().chain(fields).collect();
    let layout = match view.layout {
        Layout::Clustered => ", WITHOUT ROWID",
        Layout::Heap => "",
    };
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}) STRICT{layout}",
        columns.join(", ")
    ))?;
    add_columns(connection, view)
}

/// Has no effect if it exists.
pub(super) fn create_index(connection: &Connection, view: &View, index: &Index) -> rusqlite::Result<()> {
    let direction = direction(index);
    let fields: Vec<String> = sort_fields(index)
        .map(|name| if name == index.order { format!("{} {direction}", column(name)) } else { column(name) })
        .collect();
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS {} ON {} ({}, key {direction}){}",
        index_name(view, index),
        table(view),
        fields.join(", "),
        all_there(index)
    ))
}

/// Empties the tables of a family: new ones are quicker than deleting the documents of the old ones.
pub(super) fn clear(connection: &Connection, family: &Family) -> rusqlite::Result<()> {
    for view in family.views {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", table(view)))?;
        create(connection, view)?;
    }
    connection.execute("DELETE FROM checkpoints WHERE projection = ?1", [family.name])?;
    connection.execute("DELETE FROM parked WHERE projection = ?1", [family.name])?;
    Ok(())
}

/// The condition that a document has all equal fields of an index: other documents need no index entry.
fn all_there(index: &Index) -> String {
    let conditions: Vec<String> =
        index.equals.iter().map(|name| format!("{} IS NOT NULL", column(name))).collect();
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// An index added by a newer program may need a column that the table does not have yet.
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

/// The indexed fields of a view. Each has its own column beside the document, so that updates of other fields do not
/// touch the indexes; an index on an expression over the document would be updated every time.
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
