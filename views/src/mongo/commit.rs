use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::raw::{CStr, RawArrayBuf, RawBsonRef, RawDocument, cstr};
use mongodb::bson::{self, Document, RawDocumentBuf, doc, rawdoc};
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{ReadConcern, WriteConcern};
use serde_json::{Map, Value};

use super::errors::is_interrupted;
use super::prepare::keys;
use super::read::equal;
use super::{CHECKPOINTS, MongoViews, PARKED};
use crate::{Commit, CommitError, DeleteEach, FanOut, KeyPart, Parked, Patch, PatchEach, StoreError, Write};

/// Attempts at a transaction that fails for a reason that passes, before the caller hears of it.
const ATTEMPTS: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Statements in one command: the server's own limit is 100,000, and its limit of 48 MB a command comes first.
const STATEMENTS: usize = 1000;

impl MongoViews {
    pub(super) async fn commit_in(
        &self,
        session: &mut ClientSession,
        commit: &Commit<'_>,
    ) -> Result<(), CommitError> {
        let mut outcome_unknown = false;
        for attempt in 1.. {
            let error = match self.try_commit(session, commit).await {
                Ok(()) => return Ok(()),
                // It was this very batch, from an attempt before.
                Err(Attempt::Failed(CommitError::Fenced { actual }))
                    if outcome_unknown && actual == commit.checkpoint =>
                {
                    return Ok(());
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Transient(error)) => error,
                Err(Attempt::Unknown(error)) => {
                    outcome_unknown = true;
                    error
                }
            };
            if attempt == ATTEMPTS {
                return Err(StoreError::from(error).into());
            }
            tokio::time::sleep(RETRY_PAUSE * attempt).await;
        }
        Ok(())
    }

    async fn try_commit(&self, session: &mut ClientSession, commit: &Commit<'_>) -> Result<(), Attempt> {
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .await?;
        if let Err(error) = self.write_all(session, commit).await {
            // An abort that fails leaves the transaction to the server, or to the worker that begins next.
            let _ = session.abort_transaction().await;
            return Err(error);
        }
        let mut committed = session.commit_transaction().await;
        for _ in 1..ATTEMPTS {
            match &committed {
                // Committing again does no harm, and may tell what became of it.
                Err(error) if is_unknown(error) => {
                    tokio::time::sleep(RETRY_PAUSE).await;
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

    /// The checkpoint comes first: a worker that has been fenced off then loses nothing but a round trip.
    async fn write_all(&self, session: &mut ClientSession, commit: &Commit<'_>) -> Result<(), Attempt> {
        let Commit { projection, writes, parked, expected, checkpoint } = commit;
        let moved = self
            .collection(CHECKPOINTS)
            .update_one(
                doc! { "_id": projection, "position": integer(*expected) },
                doc! { "$set": { "position": integer(*checkpoint) } },
            )
            .session(&mut *session)
            .await?;
        if moved.matched_count == 0 {
            let actual = self.find_checkpoint(projection).await?;
            return Err(Attempt::Failed(CommitError::Fenced { actual }));
        }
        for statements in statements(projection, writes, parked)? {
            match statements {
                Statements::Command { collection, command } => {
                    self.run(session, collection, command).await?;
                }
                Statements::DeleteEach(delete_each) => self.delete_each(session, delete_each).await?,
                Statements::FanOut(fan_out) => self.fan_out(session, fan_out).await?,
                Statements::PatchEach(patch_each) => self.patch_each(session, patch_each).await?,
            }
        }
        Ok(())
    }

    async fn run(
        &self,
        session: &mut ClientSession,
        collection: &str,
        command: Batch,
    ) -> Result<(), Attempt> {
        let (name, field, statements): (_, &CStr, _) = match command {
            Batch::Updates(statements) => (cstr!("update"), cstr!("updates"), statements),
            Batch::Inserts(documents) => (cstr!("insert"), cstr!("documents"), documents),
            Batch::Deletes(statements) => (cstr!("delete"), cstr!("deletes"), statements),
        };
        for chunk in statements.chunks(STATEMENTS) {
            let mut list = RawArrayBuf::new();
            for statement in chunk {
                list.push(statement.clone());
            }
            let mut command = RawDocumentBuf::new();
            command.append(name, collection);
            command.append(field, list);
            let told = self.database.run_raw_command(command).session(&mut *session).await?;
            if let Some(errors) = told.get("writeErrors") {
                return Err(Attempt::Failed(StoreError::corrupt(format!("{collection}: {errors}")).into()));
            }
        }
        Ok(())
    }

    async fn fan_out(&self, session: &mut ClientSession, fan_out: &FanOut) -> Result<(), Attempt> {
        let FanOut { over, index, equals, limit, into, key, document, copies } = fan_out;
        let mut found = self
            .collection(over.name)
            .find(equal(index.equals, equals)?)
            .sort(keys(index))
            .hint(mongodb::options::Hint::Keys(keys(index)))
            .limit(limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)))
            .session(&mut *session)
            .await?;
        let mut puts = BTreeMap::new();
        let mut stream = found.stream(session);
        while let Some(source) = stream.try_next().await? {
            let mut fields = Map::clone(document);
            for copy in copies {
                let value = source.get(copy.from).map_err(corrupt)?.map_or(Ok(Value::Null), json)?;
                fields.insert(copy.to.to_owned(), value);
            }
            puts.insert(joined(key, &source)?, fields);
        }
        drop(stream);
        self.put_all(session, into.name, puts).await
    }

    async fn delete_each(
        &self,
        session: &mut ClientSession,
        delete_each: &DeleteEach,
    ) -> Result<(), Attempt> {
        let DeleteEach { over, index, equals, from, key } = delete_each;
        let mut found = self
            .collection(over.name)
            .find(equal(index.equals, equals)?)
            .hint(mongodb::options::Hint::Keys(keys(index)))
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
        self.run(session, from.name, Batch::Deletes(deletions.collect())).await
    }

    /// Puts documents of which nearly all are new: to insert one costs the server a fraction of what an update costs that
    /// has to find out.
    async fn put_all(
        &self,
        session: &mut ClientSession,
        collection: &str,
        puts: BTreeMap<String, Map<String, Value>>,
    ) -> Result<(), Attempt> {
        let mut there = BTreeSet::new();
        let keys: Vec<&String> = puts.keys().collect();
        for keys in keys.chunks(STATEMENTS) {
            let known = doc! { "_id": { "$in": keys } };
            let mut found = self
                .collection(collection)
                .find(known)
                .projection(doc! { "_id": 1 })
                .session(&mut *session)
                .await?;
            let mut stream = found.stream(session);
            while let Some(document) = stream.try_next().await? {
                there.insert(document.get_str("_id").map_err(corrupt)?.to_owned());
            }
        }
        let (known, new): (Vec<_>, Vec<_>) = puts.iter().partition(|(key, _)| there.contains(*key));
        let new =
            new.into_iter().map(|(key, document)| replacement(key, document)).collect::<Result<_, _>>()?;
        let known = known.into_iter().map(|(key, document)| put(key, document)).collect::<Result<_, _>>()?;
        self.run(session, collection, Batch::Inserts(new)).await?;
        self.run(session, collection, Batch::Updates(known)).await
    }

    async fn patch_each(&self, session: &mut ClientSession, patch_each: &PatchEach) -> Result<(), Attempt> {
        let PatchEach { over, index, equals, into, key, patch } = patch_each;
        let field = key.unwrap_or("_id");
        let mut found = self
            .collection(over.name)
            .find(equal(index.equals, equals)?)
            .projection(doc! { field: 1 })
            .hint(mongodb::options::Hint::Keys(keys(index)))
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
        self.run(session, into.name, Batch::Updates(changes)).await
    }
}

/// How an attempt at a transaction ended, if it was not committed for certain.
enum Attempt {
    /// Nothing was written; another attempt may succeed.
    Transient(mongodb::error::Error),
    /// It may or may not have been committed.
    Unknown(mongodb::error::Error),
    Failed(CommitError),
}

/// Whether a commit that failed may have been made all the same. The server puts no label on the answer to a worker
/// whose session another one has ended.
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

/// A key made of a document.
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

/// What goes to the server in one go.
enum Statements<'a> {
    Command { collection: &'static str, command: Batch },
    DeleteEach(&'a DeleteEach),
    FanOut(&'a FanOut),
    PatchEach(&'a PatchEach),
}

enum Batch {
    Updates(Vec<RawDocumentBuf>),
    Inserts(Vec<RawDocumentBuf>),
    Deletes(Vec<RawDocumentBuf>),
}

/// The writes as few commands: one for each collection and kind, as long as nothing in between looks at what they
/// change. Writes to different documents may change places; those to one document have become one before.
fn statements<'a>(
    projection: &str,
    writes: &'a [Write],
    parked: &[Parked],
) -> Result<Vec<Statements<'a>>, StoreError> {
    let mut list: Vec<Statements<'a>> = Vec::new();
    // Commands before this place are closed.
    let mut open = 0;
    for parked in parked {
        let Parked { position, event_type, error } = parked;
        let id = rawdoc! { "projection": projection, "position": integer(*position) };
        let statement = rawdoc! {
            "q": { "_id": id.clone() },
            "u": { "_id": id, "event_type": event_type.as_str(), "error": error.as_str() },
            "upsert": true,
        };
        add(&mut list, open, PARKED, statement, true);
    }
    for write in writes {
        match write {
            Write::Put { view, key, document } => add(&mut list, open, view.name, put(key, document)?, true),
            Write::Patch { view, key, patch } => add(&mut list, open, view.name, change(key, patch)?, true),
            Write::Delete { view, key } => {
                add(&mut list, open, view.name, rawdoc! { "q": { "_id": key.as_str() }, "limit": 1 }, false);
            }
            Write::DeleteWhere { view, index, equals } => {
                let filter = raw(&equal(index.equals, equals)?)?;
                let hint = raw(&keys(index))?;
                // A command of its own, after all before it and before all after it.
                open = list.len();
                add(&mut list, open, view.name, rawdoc! { "q": filter, "limit": 0, "hint": hint }, false);
                open = list.len();
            }
            Write::DeleteEach(delete_each) => {
                list.push(Statements::DeleteEach(delete_each));
                open = list.len();
            }
            Write::FanOut(fan_out) => {
                list.push(Statements::FanOut(fan_out));
                open = list.len();
            }
            Write::PatchEach(patch_each) => {
                list.push(Statements::PatchEach(patch_each));
                open = list.len();
            }
        }
    }
    Ok(list)
}

fn add(
    list: &mut Vec<Statements<'_>>,
    open: usize,
    collection: &'static str,
    statement: RawDocumentBuf,
    updates: bool,
) {
    let fitting = list[open..].iter_mut().find_map(|statements| match statements {
        Statements::Command { collection: found, command: Batch::Updates(of) }
            if *found == collection && updates =>
        {
            Some(of)
        }
        Statements::Command { collection: found, command: Batch::Deletes(of) }
            if *found == collection && !updates =>
        {
            Some(of)
        }
        Statements::Command { .. }
        | Statements::DeleteEach(_)
        | Statements::FanOut(_)
        | Statements::PatchEach(_) => None,
    });
    match fitting {
        Some(of) => of.push(statement),
        None => {
            let command =
                if updates { Batch::Updates(vec![statement]) } else { Batch::Deletes(vec![statement]) };
            list.push(Statements::Command { collection, command });
        }
    }
}

fn put(key: &str, document: &Map<String, Value>) -> Result<RawDocumentBuf, StoreError> {
    Ok(rawdoc! { "q": { "_id": key }, "u": replacement(key, document)?, "upsert": true })
}

fn replacement(key: &str, document: &Map<String, Value>) -> Result<RawDocumentBuf, StoreError> {
    let mut replacement = rawdoc! { "_id": key };
    append_all(&mut replacement, document)?;
    Ok(replacement)
}

fn append_all(to: &mut RawDocumentBuf, document: &Map<String, Value>) -> Result<(), StoreError> {
    let body = bson::serialize_to_raw_document_buf(document).map_err(StoreError::corrupt)?;
    for field in &body {
        let (name, value) = field.map_err(StoreError::corrupt)?;
        // What holds nothing is left out: an index has only documents with all its fields.
        if value != RawBsonRef::Null {
            to.append(name, value);
        }
    }
    Ok(())
}

fn change(key: &str, patch: &Patch) -> Result<RawDocumentBuf, StoreError> {
    let mut update = RawDocumentBuf::new();
    let mut set = RawDocumentBuf::new();
    append_all(&mut set, &patch.set)?;
    if !set.is_empty() {
        update.append(cstr!("$set"), set);
    }
    let emptied = patch.set.iter().filter(|(_, value)| value.is_null());
    let unset: Map<String, Value> = emptied.map(|(name, _)| (name.clone(), true.into())).collect();
    if !unset.is_empty() {
        let unset = bson::serialize_to_raw_document_buf(&unset).map_err(StoreError::corrupt)?;
        update.append(cstr!("$unset"), unset);
    }
    if !patch.inc.is_empty() {
        let inc = bson::serialize_to_raw_document_buf(&patch.inc).map_err(StoreError::corrupt)?;
        update.append(cstr!("$inc"), inc);
    }
    if patch.set.is_empty() && patch.inc.is_empty() {
        // An update without operators would replace the document.
        update.append(cstr!("$set"), RawDocumentBuf::new());
    }
    Ok(rawdoc! { "q": { "_id": key }, "u": update })
}

fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(StoreError::corrupt)
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

/// BSON counts in 63 bits; so many events never are.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
