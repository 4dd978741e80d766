//! Groups the writes of a commit into few statements.

use mongodb::bson::raw::{RawBsonRef, cstr};
use mongodb::bson::{self, Document, RawDocumentBuf, rawdoc};
use serde_json::{Map, Value};

use super::PARKED;
use super::prepare::keys;
use super::read::equal;
use crate::{DeleteEach, FanOut, Parked, Patch, PatchEach, StoreError, Write};

/// A group of writes that run as one command.
pub(super) enum Statements<'a> {
    /// Updates by key.
    Updates {
        of: &'static str,
        updates: Vec<RawDocumentBuf>,
    },
    Deletes {
        of: &'static str,
        deletes: Vec<RawDocumentBuf>,
    },
    DeleteWhere {
        of: &'static str,
        delete: RawDocumentBuf,
    },
    /// Probably new documents; from the first fan-out on, all puts into the same collection, in order.
    Puts {
        into: &'static str,
        puts: Vec<Put<'a>>,
    },
    DeleteEach(&'a DeleteEach),
    PatchEach(&'a PatchEach),
}

pub(super) enum Put<'a> {
    One(&'a str, &'a Map<String, Value>),
    Each(&'a FanOut),
}

/// Groups the writes. A write joins an earlier group of its kind unless a write in between affects the same
/// documents. Writes by key can be reordered, since writes to one document are already merged.
pub(super) fn statements<'a>(
    projection: &str,
    writes: &'a [Write],
    parked: &[Parked],
) -> Result<Vec<Statements<'a>>, StoreError> {
    let mut list: Vec<Statements<'a>> = Vec::new();
    if !parked.is_empty() {
        let updates = parked.iter().map(|parked| set_aside(projection, parked)).collect();
        list.push(Statements::Updates { of: PARKED, updates });
    }
    for write in writes {
        add(&mut list, write)?;
    }
    Ok(list)
}

fn add<'a>(list: &mut Vec<Statements<'a>>, write: &'a Write) -> Result<(), StoreError> {
    match write {
        Write::Put { view, key, document, is_new } => match joinable(list, write) {
            Some(Statements::Puts { puts, .. }) => puts.push(Put::One(key, document)),
            Some(Statements::Updates { updates, .. }) => updates.push(put(key, document)?),
            _ if *is_new => {
                list.push(Statements::Puts { into: view.name, puts: vec![Put::One(key, document)] });
            }
            _ => list.push(Statements::Updates { of: view.name, updates: vec![put(key, document)?] }),
        },
        Write::Patch { view, key, patch } => match joinable(list, write) {
            Some(Statements::Updates { updates, .. }) => updates.push(change(key, patch)?),
            _ => list.push(Statements::Updates { of: view.name, updates: vec![change(key, patch)?] }),
        },
        Write::Delete { view, key } => {
            let delete = rawdoc! { "q": { "_id": key.as_str() }, "limit": 1 };
            match joinable(list, write) {
                Some(Statements::Deletes { deletes, .. }) => deletes.push(delete),
                _ => list.push(Statements::Deletes { of: view.name, deletes: vec![delete] }),
            }
        }
        Write::FanOut(fan_out) => match joinable(list, write) {
            Some(Statements::Puts { puts, .. }) => puts.push(Put::Each(fan_out)),
            _ => list.push(Statements::Puts { into: fan_out.into.name, puts: vec![Put::Each(fan_out)] }),
        },
        Write::DeleteWhere { view, index, equals } => {
            let (filter, hint) = (raw(&equal(index.equals, equals)?)?, raw(&keys(index))?);
            let delete = rawdoc! { "q": filter, "limit": 0, "hint": hint };
            list.push(Statements::DeleteWhere { of: view.name, delete });
        }
        Write::DeleteEach(delete_each) => list.push(Statements::DeleteEach(delete_each)),
        Write::PatchEach(patch_each) => list.push(Statements::PatchEach(patch_each)),
    }
    Ok(())
}

/// The groups that a write can join.
fn joinable<'l, 'a>(list: &'l mut [Statements<'a>], write: &Write) -> Option<&'l mut Statements<'a>> {
    list.iter_mut()
        .rev()
        .find_map(|statements| {
            if statements.can_take(write) {
                Some(Some(statements))
            } else {
                statements.conflicts_with(write).then_some(None)
            }
        })
        .flatten()
}

impl Statements<'_> {
    /// Whether a write can be appended to this group.
    fn can_take(&self, write: &Write) -> bool {
        match (self, write) {
            (
                Self::Updates { of, .. },
                Write::Put { view, is_new: false, .. } | Write::Patch { view, .. },
            )
            | (Self::Deletes { of, .. }, Write::Delete { view, .. }) => *of == view.name,
            // A document that likely exists would force a lookup of all new ones.
            (Self::Puts { into, puts }, Write::Put { view, is_new, .. }) => {
                *into == view.name && (*is_new || !all_named(puts))
            }
            (Self::Puts { into, puts }, Write::FanOut(fan_out)) => {
                // All reads run before the first put, so a fan-out cannot join if it reads what others put.
                let looks_there = |put: &Put<'_>| matches!(put, Put::Each(each) if each.over.name == *into);
                *into == fan_out.into.name && fan_out.over.name != *into && !puts.iter().any(looks_there)
            }
            _ => false,
        }
    }

    /// Whether the order of the two matters.
    fn conflicts_with(&self, write: &Write) -> bool {
        let named = matches!(write, Write::Put { .. } | Write::Patch { .. } | Write::Delete { .. });
        let (over, of) = write.views();
        let (over, of) = (over.name, of.name);
        match self {
            Self::Updates { of: changed, .. } | Self::Deletes { of: changed, .. } => {
                !named && (*changed == over || *changed == of)
            }
            Self::DeleteWhere { of: changed, .. } => *changed == over || *changed == of,
            Self::DeleteEach(DeleteEach { over: looked_at, from: changed, .. })
            | Self::PatchEach(PatchEach { over: looked_at, into: changed, .. }) => {
                looked_at.name == of || changed.name == of || changed.name == over
            }
            Self::Puts { into: changed, puts } => {
                let look_at = |put: &Put<'_>| matches!(put, Put::Each(each) if each.over.name == of);
                let in_the_same = *changed == of || *changed == over;
                (in_the_same && !(named && all_named(puts))) || puts.iter().any(look_at)
            }
        }
    }
}

pub(super) fn all_named(puts: &[Put<'_>]) -> bool {
    puts.iter().all(|put| matches!(put, Put::One(..)))
}

fn set_aside(projection: &str, parked: &Parked) -> RawDocumentBuf {
    let Parked { position, event_type, subject, error } = parked;
    let id = rawdoc! { "projection": projection, "position": integer(*position) };
    let mut document =
        rawdoc! { "_id": id.clone(), "event_type": event_type.as_str(), "error": error.as_str() };
    if let Some(subject) = subject {
        document.append(cstr!("subject"), subject.as_str());
    }
    rawdoc! { "q": { "_id": id }, "u": document, "upsert": true }
}

pub(super) fn put(key: &str, document: &Map<String, Value>) -> Result<RawDocumentBuf, StoreError> {
    Ok(rawdoc! { "q": { "_id": key }, "u": replacement(key, document)?, "upsert": true })
}

pub(super) fn replacement(key: &str, document: &Map<String, Value>) -> Result<RawDocumentBuf, StoreError> {
    let mut replacement = rawdoc! { "_id": key };
    append_all(&mut replacement, document)?;
    Ok(replacement)
}

fn append_all(to: &mut RawDocumentBuf, document: &Map<String, Value>) -> Result<(), StoreError> {
    let body = bson::serialize_to_raw_document_buf(document).map_err(StoreError::corrupt)?;
    for field in &body {
        let (name, value) = field.map_err(StoreError::corrupt)?;
        // Omit null fields: an index only contains documents with all its fields.
        if value != RawBsonRef::Null {
            to.append(name, value);
        }
    }
    Ok(())
}

pub(super) fn change(key: &str, patch: &Patch) -> Result<RawDocumentBuf, StoreError> {
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

/// BSON integers have 63 bits, enough for any number of events.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
