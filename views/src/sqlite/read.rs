use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sqlite::rusqlite::types::{self, ToSqlOutput};
use sqlite::rusqlite::{self, Connection, OptionalExtension, Row, ToSql, params_from_iter};

use super::tables::{column, direction, has_parked_subjects, index_name, table};
use crate::store::{ViewSize, prefix_bounds};
use crate::{Direction, Index, Page, Parked, Plan, Query, StoredDocument, View};

pub(super) fn get_many(
    connection: &Connection,
    view: &View,
    keys: &[String],
) -> rusqlite::Result<Vec<Option<StoredDocument>>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT doc FROM {} WHERE key = ?1", table(view)))?;
    let mut get = |key: &String| {
        let found = statement.query_row([key], |row| row.get(0)).optional()?;
        Ok(found.map(|body| StoredDocument::json(key.clone(), body)))
    };
    if let [key] = keys {
        return Ok(vec![get(key)?]);
    }
    // Lock and unlock the file once instead of once per key.
    connection.prepare_cached("BEGIN")?.execute([])?;
    let found = keys.iter().map(get).collect();
    connection.prepare_cached("COMMIT")?.execute([])?;
    found
}

pub(super) fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let Select { sql, values } = select_page(query);
    let found = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| {
            Ok((StoredDocument::json(row.get(0)?, row.get(1)?), plain_value(row, 2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Page::of(found, query.limit))
}

pub(super) fn scan(
    connection: &Connection,
    view: &View,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<StoredDocument>> {
    // Keys are never empty.
    let after = after.unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT key, doc FROM {} WHERE key > ?1 ORDER BY key LIMIT ?2",
            table(view)
        ))?
        .query_map((after, limit), |row| Ok(StoredDocument::json(row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(super) fn keys(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<String>> {
    // Without `doc`, the index covers the query.
    let Select { sql, values } = select(query, &["key"], query.limit);
    connection.prepare_cached(&sql)?.query_map(params_from_iter(values), |row| row.get(0))?.collect()
}

pub(super) fn count(connection: &Connection, query: &Query) -> rusqlite::Result<u64> {
    let Conditions { sql, values } = conditions(query);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 {sql} LIMIT {limit})"))?
        .query_row(params_from_iter(values), |row| row.get(0))
}

pub(super) fn plan(connection: &Connection, query: &Query) -> rusqlite::Result<Plan> {
    let Select { sql, values } = select_page(query);
    let steps: Vec<String> = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?
        .query_map(params_from_iter(values), |row| row.get("detail"))?
        .collect::<rusqlite::Result<_>>()?;
    let uses = index_name(query.view, query.index);
    let walks = |step: &String| step.split(' ').any(|word| word == uses);
    // SQLite calls walking a whole index in order a scan; that does not scan documents.
    let whole_index_wanted = query.index.equals.is_empty();
    let scans = |step: &String| {
        step.contains("TEMP B-TREE") || (step.starts_with("SCAN") && !(whole_index_wanted && walks(step)))
    };
    Ok(Plan {
        index: steps.iter().any(walks).then(|| query.index.name.to_owned()),
        scans_or_sorts: steps.iter().any(scans),
        explained: steps.join("; "),
    })
}

struct Select {
    sql: String,
    values: Vec<SqlValue>,
}

/// Selects one more document than the page size, to detect a next page.
fn select_page(query: &Query) -> Select {
    select(query, &["key", "doc", &column(query.index.order)], query.limit.saturating_add(1))
}

fn select(query: &Query, columns: &[&str], limit: usize) -> Select {
    let Conditions { sql, mut values } = conditions(query);
    let (columns, order) = (columns.join(", "), column(query.index.order));
    values.push(SqlValue(types::Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))));
    let (limit, direction) = (values.len(), direction(query.index));
    let sql = format!("SELECT {columns} {sql} ORDER BY {order} {direction}, key {direction} LIMIT ?{limit}");
    Select { sql, values }
}

/// The FROM and WHERE clauses of a query.
struct Conditions {
    sql: String,
    values: Vec<SqlValue>,
}

fn conditions(query: &Query) -> Conditions {
    let Query { view, index, equals, prefix, above, after, limit: _ } = query;
    let order = column(index.order);
    let mut values: Vec<SqlValue> = equals.iter().map(SqlValue::from).collect();
    let mut sql =
        format!("FROM {} INDEXED BY {} WHERE {}", table(view), index_name(view, index), equal(index));
    if index.equals.is_empty() {
        // With equal fields the index has only documents that have them.
        let _ = write!(sql, " AND {order} IS NOT NULL");
    }
    let mut number = |value: SqlValue| {
        values.push(value);
        values.len()
    };
    if let Some(prefix) = prefix {
        let (from, to) = prefix_bounds(prefix);
        let (from, to) = (number(from.into()), number(to.into()));
        let _ = write!(sql, " AND {order} >= ?{from} AND {order} < ?{to}");
    }
    if let Some(above) = above {
        let above = number((&Value::from(*above)).into());
        let _ = write!(sql, " AND {order} > ?{above}");
    }
    if let Some(after) = after {
        let beyond = match index.direction {
            Direction::Ascending => '>',
            Direction::Descending => '<',
        };
        let (place, key) = (number(SqlValue::from(&after.order)), number(after.key.clone().into()));
        // The first condition is an index range; the second skips the documents of the previous page.
        let _ = write!(
            sql,
            " AND {order} {beyond}= ?{place} AND ({order} {beyond} ?{place} OR key {beyond} ?{key})"
        );
    }
    Conditions { sql, values }
}

/// The condition that the equal fields of an index equal the first parameters.
pub(super) fn equal(index: &Index) -> String {
    let conditions: Vec<String> =
        index.equals.iter().zip(1..).map(|(name, n)| format!("{} = ?{n}", column(name))).collect();
    if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") }
}

pub(super) fn checkpoint(connection: &Connection, projection: &str) -> rusqlite::Result<u64> {
    let found = connection
        .prepare_cached("SELECT position FROM checkpoints WHERE projection = ?1")?
        .query_row([projection], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

pub(super) fn checkpoints(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    connection
        .prepare_cached("SELECT projection, position FROM checkpoints")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(super) fn parked(
    connection: &Connection,
    projection: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Parked>> {
    let subject = if has_parked_subjects(connection)? { "subject" } else { "NULL" };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT position, event_type, {subject}, error FROM parked WHERE projection = ?1
             ORDER BY position LIMIT ?2"
        ))?
        .query_map((projection, limit), |row| {
            let (position, event_type) = (row.get(0)?, row.get(1)?);
            Ok(Parked { position, event_type, subject: row.get(2)?, error: row.get(3)? })
        })?
        .collect()
}

pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(super) fn sizes(
    connection: &Connection,
    views: &[&View],
) -> rusqlite::Result<BTreeMap<String, ViewSize>> {
    let mut sizes = BTreeMap::new();
    for view in views {
        // The table and all its indexes.
        let names: Vec<String> = connection
            .prepare_cached("SELECT name FROM sqlite_schema WHERE tbl_name = ?1")?
            .query_map([table(view)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if names.is_empty() {
            // The store of a program without this view.
            continue;
        }
        let documents =
            connection.query_row(&format!("SELECT count(*) FROM {}", table(view)), [], |row| row.get(0))?;
        let mut bytes = 0;
        for name in names {
            let of_one: u64 = connection
                .prepare_cached("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ?1")?
                .query_row([name], |row| row.get(0))?;
            bytes += of_one;
        }
        sizes.insert(view.name.to_owned(), ViewSize { documents, bytes });
    }
    Ok(sizes)
}

/// A JSON value as a column value.
#[derive(Debug)]
pub(super) struct SqlValue(pub(super) types::Value);

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self(types::Value::Text(text))
    }
}

impl From<&Value> for SqlValue {
    fn from(value: &Value) -> Self {
        Self(match value {
            Value::Bool(value) => types::Value::Integer(i64::from(*value)),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => types::Value::Integer(integer),
                None => types::Value::Real(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => types::Value::Text(text.clone()),
            // Indexed fields never hold lists or objects.
            Value::Null | Value::Array(_) | Value::Object(_) => types::Value::Null,
        })
    }
}

fn plain_value(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    Ok(match row.get::<_, types::Value>(column)? {
        types::Value::Integer(integer) => integer.into(),
        types::Value::Real(real) => real.into(),
        types::Value::Text(text) => text.into(),
        types::Value::Null | types::Value::Blob(_) => Value::Null,
    })
}
