use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use sqlite::rusqlite::{self, Connection, params_from_iter};

use super::read::{self, SqlValue};
use super::tables::{column, create_index, direction, index_name, indexed, table};
use crate::{Commit, DeleteEach, FanOut, Index, KeyPart, Parked, Patch, PatchEach, View, Write};

/// A [`Commit`] that owns its data.
pub(super) struct Batch {
    projection: String,
    writes: Arc<Vec<Write>>,
    parked: Vec<Parked>,
    expected: u64,
    checkpoint: u64,
    /// Whether an index is created before the first write that looks through it.
    creates_indexes: bool,
}

impl Batch {
    pub(super) fn of(commit: Commit<'_>, creates_indexes: bool) -> Self {
        let Commit { projection, writes, parked, expected, checkpoint } = commit;
        let projection = projection.to_owned();
        Self { projection, writes, parked, expected, checkpoint, creates_indexes }
    }

    /// Returns the actual checkpoint if it differs from the expected one; then nothing was written.
    pub(super) fn run(&self, connection: &Connection) -> rusqlite::Result<Option<u64>> {
        let actual = read::checkpoint(connection, &self.projection)?;
        if actual != self.expected {
            return Ok(Some(actual));
        }
        connection
            .prepare_cached(
                "INSERT INTO checkpoints (projection, position) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET position = excluded.position",
            )?
            .execute((&self.projection, self.checkpoint))?;
        for parked in &self.parked {
            connection
                .prepare_cached(
                    "INSERT INTO parked (projection, position, event_type, subject, error)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET subject = excluded.subject, error = excluded.error",
                )?
                .execute((
                    &self.projection,
                    parked.position,
                    &parked.event_type,
                    &parked.subject,
                    &parked.error,
                ))?;
        }
        if self.creates_indexes {
            let used = self.writes.iter().filter_map(Write::index);
            let used: BTreeMap<_, _> =
                used.map(|(view, index)| ((view.name, index.name), (view, index))).collect();
            used.into_values().try_for_each(|(view, index)| create_index(connection, view, index))?;
        }
        let mut puts: HashMap<&str, Put> = HashMap::new();
        for write in self.writes.iter() {
            match write {
                Write::Put { view, key, document, is_new: _ } => {
                    let put = puts.entry(view.name).or_insert_with(|| Put::into(view));
                    put.run(connection, key, document)?;
                }
                Write::Patch { view, key, patch } => change(connection, view, key, patch)?,
                Write::Delete { view, key } => delete(connection, view, key)?,
                Write::DeleteWhere { view, index, equals } => delete_where(connection, view, index, equals)?,
                Write::DeleteEach(delete_each) => self::delete_each(connection, delete_each)?,
                Write::FanOut(fan_out) => self::fan_out(connection, fan_out)?,
                Write::PatchEach(patch_each) => self::patch_each(connection, patch_each)?,
            }
        }
        Ok(None)
    }
}

/// The statement that puts documents into a view, written out once for all documents of a commit.
struct Put {
    fields: BTreeSet<&'static str>,
    sql: String,
}

impl Put {
    fn into(view: &View) -> Self {
        let fields = indexed(view);
        let numbers: Vec<String> = (1..=fields.len() + 2).map(|number| format!("?{number}")).collect();
        let sql =
            format!("{} VALUES ({}) {}", insert(view, &fields), numbers.join(", "), or_replace(&fields));
        Self { fields, sql }
    }

    fn run(&self, connection: &Connection, key: &str, document: &Map<String, Value>) -> rusqlite::Result<()> {
        let same: [SqlValue; 2] = [key.to_owned().into(), json(document).into()];
        let indexed =
            self.fields.iter().map(|name| SqlValue::from(document.get(*name).unwrap_or(&Value::Null)));
        connection.prepare_cached(&self.sql)?.execute(params_from_iter(same.into_iter().chain(indexed)))?;
        Ok(())
    }
}

fn insert(view: &View, fields: &BTreeSet<&str>) -> String {
    let columns: Vec<String> = contents(fields).collect();
    format!("INSERT INTO {} (key, {})", table(view), columns.join(", "))
}

fn or_replace(fields: &BTreeSet<&str>) -> String {
    let replaced: Vec<String> =
        contents(fields).map(|column| format!("{column} = excluded.{column}")).collect();
    format!("ON CONFLICT DO UPDATE SET {}", replaced.join(", "))
}

/// The columns of a view's table except the key.
fn contents(fields: &BTreeSet<&str>) -> impl Iterator<Item = String> {
    std::iter::once("doc".to_owned()).chain(fields.iter().map(|name| column(name)))
}

fn json(document: &Map<String, Value>) -> String {
    // Serialising plain JSON values cannot fail.
    serde_json::to_string(document).unwrap_or_default()
}

fn change(connection: &Connection, view: &View, key: &str, patch: &Patch) -> rusqlite::Result<()> {
    let mut values: Vec<SqlValue> = vec![key.to_owned().into()];
    let update = update(view, patch, &mut values);
    connection.prepare_cached(&format!("{update} WHERE key = ?1"))?.execute(params_from_iter(values))?;
    Ok(())
}

/// The UPDATE statement without its WHERE clause.
fn update(view: &View, patch: &Patch, values: &mut Vec<SqlValue>) -> String {
    let fields = indexed(view);
    let mut number = |value: SqlValue| {
        values.push(value);
        values.len()
    };
    let (mut changed, mut columns) = ("json_set(doc".to_owned(), String::new());
    for (name, value) in &patch.set {
        // json() preserves the types of texts, lists and booleans.
        let _ = write!(changed, ", '$.{name}', json(?{})", number(value.to_string().into()));
        if fields.contains(&**name) {
            let _ = write!(columns, ", {} = ?{}", column(name), number(value.into()));
        }
    }
    for (name, by) in &patch.inc {
        let by = number((&Value::from(*by)).into());
        let _ = write!(changed, ", '$.{name}', coalesce(doc ->> '$.{name}', 0) + ?{by}");
        if fields.contains(name) {
            let column = column(name);
            let _ = write!(columns, ", {column} = coalesce({column}, 0) + ?{by}");
        }
    }
    format!("UPDATE {} SET doc = {changed}){columns}", table(view))
}

fn patch_each(connection: &Connection, patch_each: &PatchEach) -> rusqlite::Result<()> {
    let PatchEach { over, index, equals, into, key, patch } = patch_each;
    let mut values: Vec<SqlValue> = equals.iter().map(SqlValue::from).collect();
    let update = update(into, patch, &mut values);
    let key = key.map_or_else(|| "key".to_owned(), |field| format!("doc ->> '$.{field}'"));
    // SQLite evaluates the subquery before the first update.
    connection
        .prepare_cached(&format!(
            "{update} WHERE key IN (SELECT {key} FROM {} INDEXED BY {} WHERE {})",
            table(over),
            index_name(over, index),
            read::equal(index),
        ))?
        .execute(params_from_iter(values))?;
    Ok(())
}

fn delete(connection: &Connection, view: &View, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(&format!("DELETE FROM {} WHERE key = ?1", table(view)))?.execute([key])?;
    Ok(())
}

fn delete_where(
    connection: &Connection,
    view: &View,
    index: &Index,
    equals: &[Value],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "DELETE FROM {} INDEXED BY {} WHERE {}",
            table(view),
            index_name(view, index),
            read::equal(index)
        ))?
        .execute(params_from_iter(equals.iter().map(SqlValue::from)))?;
    Ok(())
}

fn delete_each(connection: &Connection, delete_each: &DeleteEach) -> rusqlite::Result<()> {
    let DeleteEach { over, index, equals, from, key } = delete_each;
    let mut values: Vec<SqlValue> = equals.iter().map(SqlValue::from).collect();
    let key = joined(key, &mut |value| {
        values.push(value);
        format!("?{}", values.len())
    });
    // SQLite evaluates the subquery before the first deletion.
    connection
        .prepare_cached(&format!(
            "DELETE FROM {} WHERE key IN (SELECT {key} FROM {} INDEXED BY {} WHERE {})",
            table(from),
            table(over),
            index_name(over, index),
            read::equal(index),
        ))?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// An SQL expression for a key derived from a document.
fn joined(key: &[KeyPart], number: &mut impl FnMut(SqlValue) -> String) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|part| match part {
            KeyPart::Text(text) => number(text.clone().into()),
            KeyPart::Field(name) => format!("(doc ->> '$.{name}')"),
        })
        .collect();
    parts.join(" || '.' || ")
}

fn fan_out(connection: &Connection, fan_out: &FanOut) -> rusqlite::Result<()> {
    let FanOut { over, index, equals, limit, into, key, document, copies } = fan_out;
    let mut values: Vec<SqlValue> = equals.iter().map(SqlValue::from).collect();
    let mut number = |value: SqlValue| {
        values.push(value);
        format!("?{}", values.len())
    };
    let key = joined(key, &mut number);
    let same = number(json(document).into());
    // `->` and json() preserve the JSON types of copied values.
    let copied = copies
        .iter()
        .fold(String::new(), |sql, copy| format!("{sql}, '$.{}', json(doc -> '$.{}')", copy.to, copy.from));
    let fields = indexed(into);
    let columns: Vec<String> = fields
        .iter()
        .map(|name| match copies.iter().find(|copy| copy.to == *name) {
            Some(copy) => format!("doc ->> '$.{}'", copy.from),
            None => number(document.get(*name).unwrap_or(&Value::Null).into()),
        })
        .collect();
    let columns = [vec![format!("json_set({same}{copied})")], columns].concat();
    let limit =
        number(SqlValue::from(&Value::from(limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1)))));
    let (order, direction) = (column(index.order), direction(index));
    connection
        .prepare_cached(&format!(
            "{}
             SELECT {key}, {} FROM {} INDEXED BY {} WHERE {}
             ORDER BY {order} {direction}, key {direction} LIMIT {limit}
             {}",
            insert(into, &fields),
            columns.join(", "),
            table(over),
            index_name(over, index),
            read::equal(index),
            or_replace(&fields),
        ))?
        .execute(params_from_iter(values))?;
    Ok(())
}
