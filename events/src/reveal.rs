//! Bodies of events for operators: with their sealed values masked, or opened.

use std::convert::Infallible;

use serde_json::Value;

use crate::event::DecodeError;
use crate::keyring::note_bound_to;
use crate::personal::{DataKey, sealed_bytes};
use crate::sealed_log::bound_to;
use crate::{
    AccountEvent, AccountsEvent, Event, LogError, Message, OperationsEvent, Position, RawEvent, SealedLog,
    Stored, Subject, UserId,
};

/// Stands for a sealed value that is not opened.
pub const SEALED_MARK: &str = "▒ sealed";
/// Stands for a value whose key is destroyed.
pub const ERASED_MARK: &str = "▒ erased";
/// Stands for a value that operators never see, opened or not.
pub const HIDDEN_MARK: &str = "▒ never shown";

/// Fields that are never shown: they help nobody but an attacker.
const HIDDEN_FIELDS: [&str; 1] = ["password_hash"];

/// The body as JSON with its sealed values masked; text if it is not JSON.
pub fn masked(body: &[u8]) -> Value {
    let Ok(mut value) = serde_json::from_slice(body) else {
        return Value::String(String::from_utf8_lossy(body).into_owned());
    };
    let Ok(()) = replace_sealed(&mut value, &mut |_| Ok::<_, Infallible>(SEALED_MARK.into()));
    value
}

/// Replaces sealed values, and then those that are never shown.
fn replace_sealed<E>(
    value: &mut Value,
    replace: &mut impl FnMut(Vec<u8>) -> Result<Value, E>,
) -> Result<(), E> {
    if let Some(sealed) = sealed_bytes(value) {
        *value = replace(sealed)?;
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace_sealed(item, replace)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, field)| {
            if HIDDEN_FIELDS.contains(&name.as_str()) {
                *field = HIDDEN_MARK.into();
            }
            replace_sealed(field, replace)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

impl SealedLog {
    /// The body of an event as JSON with its sealed values opened. The values of erased people are masked.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if this program cannot decode the event, or the key does not open it.
    pub async fn reveal(&self, event: &RawEvent) -> Result<Value, LogError> {
        let corrupt = |problem: String| LogError::corrupt(event.position, problem);
        let Stored { message: Message { envelope, body }, .. } = event.stored().map_err(corrupt)?;
        let decoded = Event::decode(&envelope.event_type, &body);
        let mut decoded = decoded.map_err(|error: DecodeError| LogError::corrupt(event.position, error))?;
        let (key, bound_to) = match (decoded.person(), &decoded) {
            (Some(person), _) => (self.opening_key(person).await?, bound_to(envelope.id)),
            (None, Event::Operations(OperationsEvent::Operation(event))) => {
                (Some(self.keys().note_key()), note_bound_to(event.operation()))
            }
            (None, _) => (None, String::new()),
        };
        let mut value: Value =
            serde_json::from_slice(&body).map_err(|error| LogError::corrupt(event.position, error))?;
        replace_sealed(&mut value, &mut |sealed| open(key.as_ref(), &sealed, &bound_to, event.position))?;
        Ok(value)
    }

    /// The key of a person; none if they are erased. The key of a person who was just erased may still exist.
    async fn opening_key(&self, person: UserId) -> Result<Option<DataKey>, LogError> {
        let is_erased =
            |event: &Event| matches!(event, Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(_))));
        for stored in self.raw().read(Subject::Account(person), Position::START).await? {
            let event = Event::decode(&stored.message.envelope.event_type, &stored.message.body);
            if event.is_ok_and(|event| is_erased(&event)) {
                self.keys().forget(person);
            }
        }
        Ok(self.keys().opening(&[person]).await?.pop().flatten())
    }
}

fn open(key: Option<&DataKey>, sealed: &[u8], bound_to: &str, at: Position) -> Result<Value, LogError> {
    let Some(key) = key else { return Ok(ERASED_MARK.into()) };
    let plaintext = key.open_bytes(sealed, bound_to.as_bytes())?;
    // The parser's message may quote the value, so it is dropped.
    serde_json::from_slice(&plaintext).map_err(|_| LogError::corrupt(at, "a sealed value is not JSON"))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::samples::samples;
    use crate::*;

    async fn sealed_log(folder: &std::path::Path) -> SealedLog {
        let url = format!("sqlite:{}", folder.join("events.db").display());
        open_sealed(&url, None, &MasterKeys::parse(&MasterKeys::generate()).unwrap()).await.unwrap()
    }

    async fn append(log: &SealedLog, event: Event, n: u128) -> RawEvent {
        let id = uuid::Uuid::from_u128(n);
        let draft = Draft {
            id: EventId::new(id),
            time: DateTime::UNIX_EPOCH,
            actor: None,
            correlation: id,
            causation: None,
            traceparent: None,
            event,
        };
        let last = log.last(&[draft.event.subject()], Freshness::Latest).await.unwrap();
        let expected = last[0].as_ref().map_or(Position::START, |last| last.position);
        let position = log.append(draft, expected).await.unwrap();
        log.raw().raw(Position(position.0 - 1), 1).await.unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn every_sealed_value_is_masked_and_opens_until_its_person_is_erased() {
        let folder = tempfile::tempdir().unwrap();
        let log = sealed_log(folder.path()).await;
        let person = UserId::new(uuid::Uuid::from_u128(0xa));
        let mut opened = Vec::new();
        for (n, mut event) in samples().into_iter().enumerate() {
            if event.person() != Some(person) {
                continue;
            }
            let raw = append(&log, event, n as u128).await;
            let (masked, shown) =
                (masked(&raw.body).to_string(), log.reveal(&raw).await.unwrap().to_string());
            assert!(masked.contains(SEALED_MARK) || masked.contains(HIDDEN_MARK), "{masked}");
            assert!(!shown.contains(SEALED_MARK) && !shown.contains("argon2"), "{shown}");
            opened.push(raw);
        }
        assert!(opened.len() > 5, "{}", opened.len());
        let shown = log.reveal(&opened[0]).await.unwrap();
        assert_eq!(shown["person"]["email"], "ann@example.org");
        assert_eq!(shown["person"]["password_hash"], HIDDEN_MARK);
        // The vault still has the key.
        append(&log, Erased { user: person }.into(), 1000).await;
        for raw in opened {
            let shown = log.reveal(&raw).await.unwrap().to_string();
            assert!(shown.contains(ERASED_MARK) || shown.contains(HIDDEN_MARK), "{shown}");
            assert!(!shown.contains("ann@example.org") && !shown.contains("Dawn"), "{shown}");
        }
    }

    #[tokio::test]
    async fn operators_note_is_sealed_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = sealed_log(folder.path()).await;
        let note = OperatorNote { operator: "eve".to_owned(), reason: "A report by Ann".to_owned() };
        let scope = RevealedScope::Event { position: Position(7) };
        let (operation, position) = log.record_reveal(scope, &note, DateTime::UNIX_EPOCH).await.unwrap();
        let raw = log.raw().raw(Position(position.0 - 1), 1).await.unwrap().pop().unwrap();
        assert_eq!(raw.subject, format!("operation.{operation}"));
        assert!(!String::from_utf8_lossy(&raw.body).contains("Ann"));
        assert_eq!(masked(&raw.body)["note"], SEALED_MARK);
        let shown = log.reveal(&raw).await.unwrap();
        assert_eq!(shown["note"], json!({ "operator": "eve", "reason": "A report by Ann" }));
        assert_eq!(shown["scope"], json!({ "kind": "event", "position": 7 }));
    }

    #[tokio::test]
    async fn notes_of_all_operations_are_sealed_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = sealed_log(folder.path()).await;
        let note = OperatorNote { operator: "eve".to_owned(), reason: "A bug with Ann's posts".to_owned() };
        let family = || "posts".to_owned();
        let now = DateTime::UNIX_EPOCH;
        log.record_operation(&note, now, |operation, note| RebuildStarted {
            operation,
            family: family(),
            version: 2,
            generation: 3,
            note,
        })
        .await
        .unwrap();
        log.record_operation(&note, now, |operation, note| ParkedEventDiscarded {
            operation,
            family: family(),
            position: Position(7),
            note,
        })
        .await
        .unwrap();
        let events = log.raw().raw(Position::START, 10).await.unwrap();
        assert_eq!(events.len(), 2);
        for event in events {
            assert_eq!(event.kind(), Some(Kind::Operation));
            assert!(!String::from_utf8_lossy(&event.body).contains("Ann"));
            assert_eq!(masked(&event.body)["note"], SEALED_MARK);
            let shown = log.reveal(&event).await.unwrap();
            assert_eq!(shown["note"], json!({ "operator": "eve", "reason": "A bug with Ann's posts" }));
            assert_eq!(shown["family"], "posts");
        }
    }

    #[test]
    fn body_of_another_program_is_shown_as_text() {
        assert_eq!(masked(b"hello \xff"), "hello \u{fffd}");
        let body = json!({ "list": [{ "sealed": "AAAA" }], "sealed": "AAAA", "more": { "sealed": 7 } });
        let expected = json!({ "list": [SEALED_MARK], "sealed": "AAAA", "more": { "sealed": 7 } });
        assert_eq!(masked(body.to_string().as_bytes()), expected);
    }
}
