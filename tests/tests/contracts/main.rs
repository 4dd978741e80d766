//! The contracts of all adapters on real engines, one test per promise. Tests share servers; each has its own log, vault,
//! database or folder.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what went wrong by failing")]

mod log_on_jetstream;
mod log_on_sqlite;
mod media;
mod views_on_mongo;
mod views_on_sqlite;

use events::{Envelope, EventId, Message, PostId, Subject, UserId};
use uuid::Uuid;

/// The events of the fixtures `log-v1.*`: a log as the first version of Chorus wrote it.
fn written_v1() -> Vec<Message> {
    let id = Uuid::from_u128;
    let (post, ann, bob) = (PostId::new(id(0x90)), UserId::new(id(0xa)), UserId::new(id(0xb)));
    let event = |n: u128, event_type: &'static str, subject, body: &str| Message {
        envelope: Envelope {
            id: EventId::new(id(n)),
            event_type: event_type.into(),
            source: "chorus".into(),
            time: chrono::DateTime::from_timestamp_micros(1_795_000_000_123_456).unwrap(),
            subject,
            actor: Some(ann),
            correlation: id(0xc0 + n),
            causation: (n == 3).then(|| EventId::new(id(2))),
            traceparent: (n == 1).then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        },
        body: body.to_owned().into(),
    };
    let liked = format!(r#"{{"post":"{post}","user":"{bob}","post_author":"{ann}"}}"#);
    vec![
        event(1, "like.liked.v1", Subject::Like(post, bob), &liked),
        event(2, "post.deleted.v1", Subject::Post(post), &format!(r#"{{"post":"{post}","author":"{ann}"}}"#)),
        event(3, "like.unliked.v1", Subject::Like(post, bob), &liked),
    ]
}
