//! The context of a command: actor, time, correlation and `Idempotency-Key`. A decision must not fetch any of them itself.

use axum::extract::{FromRef, FromRequestParts};
use chrono::{DateTime, Utc};
use events::{EventId, KeyRing, Subject, UserId, time_ordered_id};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use web::http::{IDEMPOTENCY_KEY, RequestContext};
use web::problem::{FieldCode, Problem};

use crate::Commands;
use crate::pipeline::partial_failure::FirstEvent;

/// Longest `Idempotency-Key` in bytes.
const KEY_LIMIT: usize = 255;

/// The context of one command. All commands of a request share its correlation and its first event.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) actor: Option<UserId>,
    pub now: DateTime<Utc>,
    /// UUIDv7, shared by all events of the request.
    pub(crate) correlation: Uuid,
    pub(crate) traceparent: Option<String>,
    key: Option<Key>,
    first: FirstEvent,
}

/// The client's `Idempotency-Key`, and the request it was sent with.
#[derive(Debug, Clone)]
struct Key {
    text: String,
    /// The method and path of the request.
    route: String,
    /// Hash of the payload.
    content: [u8; 32],
}

/// Whether an event was appended by an earlier copy of the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// No: by another request.
    None,
    /// Yes.
    Same,
    /// By another request with the same key.
    KeyReused,
}

impl Context {
    /// The context of a command that does not come from an HTTP request.
    pub(crate) fn system(now: DateTime<Utc>) -> Self {
        let correlation = time_ordered_id(now);
        Self { actor: None, now, correlation, traceparent: None, key: None, first: FirstEvent::default() }
    }

    /// The cause of the next event of this request: the request's first event.
    pub(crate) fn cause(&self) -> Option<EventId> {
        self.first.get()
    }

    /// Records that an event of this request is in the log. Only the first is kept.
    pub(crate) fn set_first_event(&self, event: EventId) {
        self.first.set(event);
    }

    #[must_use]
    pub fn with_actor(self, actor: UserId) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// For routes whose clients send no keys, and for commands that must not be replayed.
    #[must_use]
    pub fn without_idempotency_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// The context of an event without an effect that a client could see. If the rest of the request fails, nothing was done.
    #[must_use]
    pub(crate) fn for_preparation(&self) -> Self {
        Self { key: None, first: FirstEvent::default(), ..self.clone() }
    }

    /// Adds the payload, so that the key cannot be reused for another command.
    #[must_use]
    pub(crate) fn with_payload<'a>(mut self, payload: impl IntoIterator<Item = &'a [u8]>) -> Self {
        if let Some(key) = &mut self.key {
            let mut hash = Sha256::new();
            for part in payload {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            key.content = hash.finalize().into();
        }
        self
    }

    /// The context of another event of the same request on the same subject: under a key its id is another one.
    #[must_use]
    pub(crate) fn for_step(&self, step: &str) -> Self {
        let mut context = self.clone();
        if let Some(key) = &mut context.key {
            key.route = format!("{} {step}", key.route);
        }
        context
    }

    /// True if a copy of the request must be recognised as a replay.
    pub(crate) fn has_idempotency_key(&self) -> bool {
        self.key.is_some()
    }

    /// A new id. Under a key it is derived from actor, key and label, so that a replay derives the same.
    pub(crate) fn new_id(&self, keys: &KeyRing, label: &str) -> Uuid {
        match &self.key {
            None => time_ordered_id(self.now),
            Some(key) => keys.derive_id(&[
                &self.actor_bytes(),
                key.text.as_bytes(),
                key.route.as_bytes(),
                label.as_bytes(),
            ]),
        }
    }

    /// The id of the event that this command appends to a subject. Under a key its first half is derived from the
    /// key, its second from the payload.
    pub(crate) fn event_id(&self, keys: &KeyRing, subject: Subject) -> EventId {
        EventId::new(self.derived_event_id(keys, subject).unwrap_or_else(|| time_ordered_id(self.now)))
    }

    pub(crate) fn replay_of(&self, keys: &KeyRing, subject: Subject, event: EventId) -> Replay {
        let Some(own) = self.derived_event_id(keys, subject) else { return Replay::None };
        let event = event.uuid();
        let (own_key, own_content) = own.as_bytes().split_at(8);
        let (key, content) = event.as_bytes().split_at(8);
        match (own_key == key, own_content == content) {
            (false, _) => Replay::None,
            (true, true) => Replay::Same,
            (true, false) => Replay::KeyReused,
        }
    }

    fn derived_event_id(&self, keys: &KeyRing, subject: Subject) -> Option<Uuid> {
        let key = self.key.as_ref()?;
        let subject = subject.to_string();
        let of_key = keys.derive_id(&[
            b"event",
            &self.actor_bytes(),
            key.text.as_bytes(),
            key.route.as_bytes(),
            subject.as_bytes(),
        ]);
        let of_content = keys.derive_id(&[b"content", &key.content]);
        let mut bytes = *of_key.as_bytes();
        bytes[8..].copy_from_slice(&of_content.as_bytes()[8..]);
        Some(Uuid::from_bytes(bytes))
    }

    fn actor_bytes(&self) -> Vec<u8> {
        self.actor.map_or_else(Vec::new, |actor| actor.uuid().as_bytes().to_vec())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Context
where
    Commands: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let commands = Commands::from_ref(state);
        let RequestContext { correlation, traceparent, .. } =
            RequestContext::from_request_parts(parts, state).await?;
        let route = format!("{} {}", parts.method, parts.uri.path());
        let key = idempotency_key(&parts.headers)?.map(|text| Key { text, route, content: [0; 32] });
        let first = parts.extensions.get().cloned().unwrap_or_default();
        let now = commands.clock.now();
        Ok(Self { actor: None, now, correlation, traceparent, key, first })
    }
}

/// The key as the IETF draft writes it, a quoted string, or bare.
/// Source: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let bad = |message| Problem::malformed(IDEMPOTENCY_KEY.as_str(), FieldCode::InvalidFormat, message);
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(bad("may be given once"));
    }
    let text = value.to_str().unwrap_or("").trim();
    let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let (text, may_be_blank) = unquoted.map_or((text, false), |text| (text, true));
    let is_good = |b: u8| (b.is_ascii_graphic() && b != b'"') || (b == b' ' && may_be_blank);
    if text.bytes().all(is_good) && (1..=KEY_LIMIT).contains(&text.len()) {
        Ok(Some(text.to_owned()))
    } else {
        Err(bad("must be 1 to 255 visible ASCII characters, bare or in quotes"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use events::{MasterKeys, PostId, SqliteVault};

    use super::*;

    fn context(key: Option<&str>, content: &str) -> Context {
        let key = key.map(|text| Key { text: text.into(), route: "POST /v1/posts".into(), content: [0; 32] });
        let context = Context {
            actor: Some(UserId::new(Uuid::from_u128(1))),
            now: DateTime::UNIX_EPOCH,
            correlation: Uuid::nil(),
            traceparent: None,
            key,
            first: FirstEvent::default(),
        };
        context.with_payload([content.as_bytes()])
    }

    async fn ring(folder: &tempfile::TempDir) -> KeyRing {
        let vault = SqliteVault::open(&folder.path().join("keys.db")).unwrap();
        KeyRing::open(Arc::new(vault), MasterKeys::parse(&MasterKeys::generate()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn replay_derives_the_same_ids_and_no_other_request_does() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ring(&folder).await;
        let first = context(Some("k"), "a");
        assert_eq!(first.new_id(&keys, "post"), context(Some("k"), "a").new_id(&keys, "post"));
        assert_ne!(first.new_id(&keys, "post"), first.new_id(&keys, "comment"));
        assert_ne!(first.new_id(&keys, "post"), context(Some("l"), "a").new_id(&keys, "post"));
        let other_user = context(Some("k"), "a").with_actor(UserId::new(Uuid::from_u128(2)));
        assert_ne!(first.new_id(&keys, "post"), other_user.new_id(&keys, "post"));
        let unkeyed = context(None, "a");
        assert_ne!(unkeyed.new_id(&keys, "post"), unkeyed.new_id(&keys, "post"));
    }

    #[tokio::test]
    async fn reused_key_is_distinguished_from_a_replay() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ring(&folder).await;
        let subject = Subject::Post(PostId::new(Uuid::from_u128(9)));
        let (first, other) = (context(Some("k"), "a"), context(Some("k"), "b"));
        let event = first.event_id(&keys, subject);
        assert_eq!(first.replay_of(&keys, subject, event), Replay::Same);
        assert_eq!(other.replay_of(&keys, subject, event), Replay::KeyReused);
        assert_eq!(context(Some("l"), "a").replay_of(&keys, subject, event), Replay::None);
        assert_eq!(context(None, "a").replay_of(&keys, subject, event), Replay::None);
        let elsewhere = Subject::Post(PostId::new(Uuid::from_u128(8)));
        assert_eq!(first.replay_of(&keys, elsewhere, event), Replay::None);
    }

    #[test]
    fn later_events_of_a_request_name_its_first_as_their_cause() {
        let request = context(None, "a");
        let by_user = request.clone().with_actor(UserId::new(Uuid::from_u128(2)));
        assert_eq!(request.cause(), None);
        let [first, second] = [1, 2].map(|n| EventId::new(Uuid::from_u128(n)));
        request.set_first_event(first);
        by_user.set_first_event(second);
        assert_eq!((request.cause(), by_user.cause()), (Some(first), Some(first)));
        assert_eq!(context(None, "a").cause(), None);
    }

    #[tokio::test]
    async fn steps_of_a_request_append_different_events() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ring(&folder).await;
        let subject = Subject::Post(PostId::new(Uuid::from_u128(9)));
        let request = context(Some("k"), "a");
        let second = request.for_step("second");
        assert_ne!(request.event_id(&keys, subject), second.event_id(&keys, subject));
        assert_eq!(second.event_id(&keys, subject), request.for_step("second").event_id(&keys, subject));
    }

    #[test]
    fn key_is_accepted_quoted_or_bare_within_its_limit() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
            }
            idempotency_key(&headers).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"8e03978e\""]), Ok(Some("8e03978e".into())));
        assert_eq!(read(&["8e03978e"]), Ok(Some("8e03978e".into())));
        for bad in [&[""][..], &["\"\""], &["\"a"], &["a b"], &["a", "b"], &[&"x".repeat(300)]] {
            assert_eq!(read(bad), Err(400), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_a_valid_key_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..30), text in "\"?[ -~]{0,300}\"?",
        ) {
            for value in [bytes, text.into_bytes()] {
                let Ok(header) = http::HeaderValue::from_bytes(&value) else { continue };
                match idempotency_key(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, header)])) {
                    Ok(key) => {
                        let key = key.unwrap();
                        prop_assert!((1..=KEY_LIMIT).contains(&key.len()) && !key.contains('"'), "{key:?}");
                        prop_assert!(key.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{key:?}");
                        prop_assert!(String::from_utf8_lossy(&value).contains(&key));
                    }
                    Err(problem) => prop_assert_eq!(problem.status, 400),
                }
            }
        }
    }
}
