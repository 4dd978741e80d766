use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::raw::{CStr, RawArrayBuf, RawBsonRef, RawDocument, cstr};
use mongodb::bson::{self, Bson, Document, RawDocumentBuf, doc, rawdoc};
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Hint, ReadConcern, WriteConcern};
use serde_json::{Map, Value};

use super::errors::is_interrupted;
use super::prepare::keys;
use super::read::equal;
use super::statements::{Put, Statements, all_named, change, integer, put, replacement, statements};
use super::{CHECKPOINTS, MongoViews, to_bson};
use crate::{Commit, CommitError, DeleteEach, FanOut, KeyPart, PatchEach, StoreError};

/// Retries of a transaction after transient errors.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_millis(40))
    .with_max_times(4);
/// Maximum number of statements per command. The server allows 100,000, but its limit of 48 MB is reached first.
const STATEMENTS: usize = 1000;
/// The server's error code for a duplicate key.
const DUPLICATE_KEY: i32 = 11000;

impl MongoViews {
    pub(super) async fn commit_in(
        &self,
        session: &mut ClientSession,
        commit: &Commit<'_>,
    ) -> Result<(), CommitError> {
        let mut outcome_unknown = false;
        let mut existence = Existence::Unlikely;
        let mut delays = RETRIES.build();
        loop {
            let error = match self.try_commit(session, commit, existence).await {
                Ok(()) => return Ok(()),
                // An earlier attempt committed this batch.
                Err(Attempt::Failed(CommitError::Fenced { actual }))
                    if outcome_unknown && actual == commit.checkpoint =>
                {
                    return Ok(());
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Exists) if existence == Existence::Unlikely => {
                    existence = Existence::LookedUp;
                    continue;
                }
                Err(Attempt::Exists) => {
                    let problem = "a key appeared that the same transaction had looked up";
                    return Err(StoreError::corrupt(problem).into());
                }
                Err(Attempt::Transient(error)) => error,
                Err(Attempt::Unknown(error)) => {
                    outcome_unknown = true;
                    error
                }
            };
            let Some(delay) = delays.next() else { return Err(StoreError::from(error).into()) };
            tokio::time::sleep(delay).await;
        }
    }

    async fn try_commit(
        &self,
        session: &mut ClientSession,
        commit: &Commit<'_>,
        existence: Existence,
    ) -> Result<(), Attempt> {
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .await?;
        if let Err(error) = self.write_all(session, commit, existence).await {
            // If the abort fails, the server or the next worker ends the transaction.
            let _ = session.abort_transaction().await;
            return Err(error);
        }
        let mut committed = session.commit_transaction().await;
        for delay in RETRIES.build() {
            match &committed {
                // Repeating a commit is safe and may reveal its outcome.
                Err(error) if is_unknown(error) => {
                    tokio::time::sleep(delay).await;
                    committed = session.commit_transaction().await;
                }
                _ => break,
            }
        }
        committed.map_err(
            |error| {
                if is_unknown(&error) { Attempt::Unknown(error) } else { Attempt::from(error) }
            },
        )
    }

    /// Moves the checkpoint first, so that a fenced worker fails after one round trip.
    async fn write_all(
        &self,
        session: &mut ClientSession,
        commit: &Commit<'_>,
        existence: Existence,
    ) -> Result<(), Attempt> {
        let Commit { projection, writes, parked, expected, checkpoint } = commit;
        let moved = self
            .collection::<RawDocumentBuf>(CHECKPOINTS)
            .update_one(
                doc! { "_id": projection, "position": integer(*expected) },
                // This session holds the lock of the checkpoint, so no other session has an open transaction on it.
                doc! { "$set": { "position": integer(*checkpoint), "sessions": [session.id()] } },
            )
            .session(&mut *session)
            .await?;
        if moved.matched_count == 0 {
            let actual = self.find_checkpoint(projection).await?;
            return Err(Attempt::Failed(CommitError::Fenced { actual }));
        }
        for statements in statements(projection, writes, parked)? {
            match statements {
                Statements::Updates { of, updates } => {
                    self.run(session, of, Command::Updates(updates)).await?;
                }
                Statements::Deletes { of, deletes } => {
                    self.run(session, of, Command::Deletes(deletes)).await?;
                }
                Statements::DeleteWhere { of, delete } => {
                    self.run(session, of, Command::Deletes(vec![delete])).await?;
                }
                Statements::Puts { into, puts } => self.put_all(session, into, &puts, existence).await?,
                Statements::DeleteEach(delete_each) => self.delete_each(session, delete_each).await?,
                Statements::PatchEach(patch_each) => self.patch_each(session, patch_each).await?,
            }
        }
        Ok(())
    }

    async fn run(
        &self,
        session: &mut ClientSession,
        collection: &str,
        command: Command,
    ) -> Result<(), Attempt> {
        let (name, field, statements): (_, &CStr, _) = match command {
            Command::Updates(statements) => (cstr!("update"), cstr!("updates"), statements),
            Command::Inserts(documents) => (cstr!("insert"), cstr!("documents"), documents),
            Command::Deletes(statements) => (cstr!("delete"), cstr!("deletes"), statements),
        };
        for chunk in statements.chunks(STATEMENTS) {
            let mut list = RawArrayBuf::new();
            for statement in chunk {
                list.push(statement.clone());
            }
            let mut command = RawDocumentBuf::new();
            command.append(name, self.name(collection));
            command.append(field, list);
            let response = self.database.run_raw_command(command).session(&mut *session).await?;
            if let Ok(errors) = response.get_array("writeErrors") {
                let mut codes = errors.iter().filter_map(|error| error.as_document()?.get_i32("code").ok());
                return Err(if codes.any(|code| code == DUPLICATE_KEY) {
                    Attempt::Exists
                } else {
                    Attempt::Failed(StoreError::corrupt(format!("{collection}: {errors:?}")).into())
                });
            }
        }
        Ok(())
    }

    /// Puts documents that are nearly all new. An insert costs a fraction of an upsert, so they are inserted as if
    /// all were new.
    async fn put_all(
        &self,
        session: &mut ClientSession,
        collection: &str,
        puts: &[Put<'_>],
        existence: Existence,
    ) -> Result<(), Attempt> {
        if existence == Existence::Unlikely && all_named(puts) {
            let named = puts.iter().filter_map(|put| match put {
                Put::One(key, document) => Some(replacement(key, document)),
                Put::Each(_) => None,
            });
            return self.run(session, collection, Command::Inserts(named.collect::<Result<_, _>>()?)).await;
        }
        let documents = self.documents(session, puts).await?;
        let mut known = BTreeSet::new();
        if existence == Existence::LookedUp {
            let keys: Vec<&String> = documents.keys().collect();
            for keys in keys.chunks(STATEMENTS) {
                let mut found = self
                    .collection::<RawDocumentBuf>(collection)
                    .find(doc! { "_id": { "$in": keys } })
                    .projection(doc! { "_id": 1 })
                    .session(&mut *session)
                    .await?;
                let mut stream = found.stream(session);
                while let Some(document) = stream.try_next().await? {
                    known.insert(document.get_str("_id").map_err(corrupt)?.to_owned());
                }
            }
        }
        let (known, new): (Vec<_>, Vec<_>) = documents.iter().partition(|(key, _)| known.contains(*key));
        let new =
            new.into_iter().map(|(key, document)| replacement(key, document)).collect::<Result<_, _>>()?;
        let known = known.into_iter().map(|(key, document)| put(key, document)).collect::<Result<_, _>>()?;
        self.run(session, collection, Command::Inserts(new)).await?;
        self.run(session, collection, Command::Updates(known)).await
    }

    /// The resulting documents of the puts by key; later puts win.
    async fn documents(
        &self,
        session: &mut ClientSession,
        puts: &[Put<'_>],
    ) -> Result<BTreeMap<String, Map<String, Value>>, Attempt> {
        let found = self.search_all(session, puts).await?;
        let mut documents = BTreeMap::new();
        for put in puts {
            match put {
                Put::One(key, document) => {
                    documents.insert((*key).to_owned(), Map::clone(document));
                }
                Put::Each(fan_out) => {
                    for source in found.get(&search(fan_out)).into_iter().flatten() {
                        let mut fields = Map::clone(&fan_out.document);
                        for copy in &fan_out.copies {
                            let value =
                                source.get(copy.from).map_err(corrupt)?.map_or(Ok(Value::Null), json)?;
                            fields.insert(copy.to.to_owned(), value);
                        }
                        documents.insert(joined(&fan_out.key, source)?, fields);
                    }
                }
            }
        }
        Ok(documents)
    }

    /// Runs the queries of all fan-outs. Queries on one field without a limit are combined into one, such as the
    /// followers of all authors in a batch.
    async fn search_all(
        &self,
        session: &mut ClientSession,
        puts: &[Put<'_>],
    ) -> Result<HashMap<Search, Vec<RawDocumentBuf>>, Attempt> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        let mut together: HashMap<_, (&FanOut, Vec<Bson>)> = HashMap::new();
        for put in puts {
            let Put::Each(fan_out) = put else { continue };
            match (fan_out.index.equals, &fan_out.equals[..], fan_out.limit) {
                ([field], [value], None) => {
                    let search = together.entry((fan_out.over.name, fan_out.index.name, *field));
                    search.or_insert((fan_out, Vec::new())).1.push(to_bson(value)?);
                }
                _ => {
                    let filter = equal(fan_out.index.equals, &fan_out.equals)?;
                    found.insert(search(fan_out), self.sources(session, fan_out, filter).await?);
                }
            }
        }
        for ((over, index, field), (fan_out, values)) in together {
            for source in self.sources(session, fan_out, doc! { field: { "$in": values } }).await? {
                let value = source.get(field).map_err(corrupt)?.map_or(Ok(Value::Null), json)?;
                found.entry((over, index, None, searched(&[value]))).or_default().push(source);
            }
        }
        Ok(found)
    }

    /// The source documents of a fan-out, in the order of its index.
    async fn sources(
        &self,
        session: &mut ClientSession,
        fan_out: &FanOut,
        filter: Document,
    ) -> Result<Vec<RawDocumentBuf>, Attempt> {
        let FanOut { over, index, limit, .. } = fan_out;
        let mut found = self
            .collection::<RawDocumentBuf>(over.name)
            .find(filter)
            .sort(keys(index))
            .hint(Hint::Keys(keys(index)))
            .limit(limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)))
            .session(&mut *session)
            .await?;
        Ok(found.stream(session).try_collect().await?)
    }

    async fn delete_each(
        &self,
        session: &mut ClientSession,
        delete_each: &DeleteEach,
    ) -> Result<(), Attempt> {
        let DeleteEach { over, index, equals, from, key } = delete_each;
        let mut found = self
            .collection::<RawDocumentBuf>(over.name)
            .find(equal(index.equals, equals)?)
            .hint(Hint::Keys(keys(index)))
            .session(&mut *session)
            .await?;
        let mut named = Vec::new();
        let mut stream = found.stream(session);
        while let Some(source) = stream.try_next().await? {
            named.push(joined(key, &source)?);
        }
        drop(stream);
        let deletions = named.chunks(STATEMENTS).map(|keys| {
            let mut list = RawArrayBuf::new();
            for key in keys {
                list.push(key.as_str());
            }
            rawdoc! { "q": { "_id": { "$in": list } }, "limit": 0 }
        });
        self.run(session, from.name, Command::Deletes(deletions.collect())).await
    }

    async fn patch_each(&self, session: &mut ClientSession, patch_each: &PatchEach) -> Result<(), Attempt> {
        let PatchEach { over, index, equals, into, key, patch } = patch_each;
        let field = key.unwrap_or("_id");
        let mut found = self
            .collection::<RawDocumentBuf>(over.name)
            .find(equal(index.equals, equals)?)
            .projection(doc! { field: 1 })
            .hint(Hint::Keys(keys(index)))
            .session(&mut *session)
            .await?;
        let mut named = BTreeSet::new();
        let mut stream = found.stream(session);
        while let Some(source) = stream.try_next().await? {
            if let Some(RawBsonRef::String(key)) = source.get(field).map_err(corrupt)? {
                named.insert(key.to_owned());
            }
        }
        drop(stream);
        let changes = named.iter().map(|key| change(key, patch)).collect::<Result<_, _>>()?;
        self.run(session, into.name, Command::Updates(changes)).await
    }
}

/// The query of a fan-out: collection, index, limit, values.
type Search = (&'static str, &'static str, Option<usize>, String);

fn search(fan_out: &FanOut) -> Search {
    (fan_out.over.name, fan_out.index.name, fan_out.limit, searched(&fan_out.equals))
}

fn searched(values: &[Value]) -> String {
    Value::from(values).to_string()
}

/// The statements of one command.
enum Command {
    Updates(Vec<RawDocumentBuf>),
    Inserts(Vec<RawDocumentBuf>),
    Deletes(Vec<RawDocumentBuf>),
}

/// Whether probably new documents are looked up before they are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    /// No lookup: a duplicate aborts the transaction.
    Unlikely,
    LookedUp,
}

/// How an attempt ended if the commit is not certain.
enum Attempt {
    /// Nothing was written; another attempt may succeed.
    Transient(mongodb::error::Error),
    /// Nothing was written: a document that was assumed to be new exists.
    Exists,
    /// The transaction may have been committed.
    Unknown(mongodb::error::Error),
    Failed(CommitError),
}

/// Whether a failed commit may have succeeded. The server does not label the error of a worker whose session another
/// worker has ended.
fn is_unknown(error: &mongodb::error::Error) -> bool {
    error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) || is_interrupted(error)
}

impl From<mongodb::error::Error> for Attempt {
    fn from(error: mongodb::error::Error) -> Self {
        if error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_interrupted(&error) {
            Self::Transient(error)
        } else {
            Self::Failed(StoreError::from(error).into())
        }
    }
}

impl From<StoreError> for Attempt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// A key derived from a document.
fn joined(key: &[KeyPart], source: &RawDocument) -> Result<String, Attempt> {
    let part = |part: &KeyPart| match part {
        KeyPart::Text(text) => Ok(text.clone()),
        KeyPart::Field(name) => source.get_str(*name).map(str::to_owned).map_err(corrupt),
    };
    Ok(key.iter().map(part).collect::<Result<Vec<_>, Attempt>>()?.join("."))
}

fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Attempt {
    Attempt::Failed(StoreError::corrupt(error).into())
}

fn json(value: RawBsonRef<'_>) -> Result<Value, Attempt> {
    Ok(match value {
        RawBsonRef::String(text) => text.into(),
        RawBsonRef::Int32(number) => number.into(),
        RawBsonRef::Int64(number) => number.into(),
        RawBsonRef::Double(number) => number.into(),
        RawBsonRef::Boolean(yes) => yes.into(),
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Document(document) => whole(document)?,
        other => return Err(corrupt(format!("a {:?} cannot be copied", other.element_type()))),
    })
}

fn whole(document: &RawDocument) -> Result<Value, Attempt> {
    bson::deserialize_from_slice(document.as_bytes()).map_err(corrupt)
}
