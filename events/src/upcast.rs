//! Converts events of old versions to the newest version. Released versions are no longer written but stay readable:
//! each keeps its fixture, and a step here converts it to the next version.

use std::borrow::Cow;

use serde_json::{Value, json};

/// Converts one version to the next. Sealed values are moved unchanged.
struct Step {
    from: &'static str,
    to: &'static str,
    body: fn(Value) -> Value,
}

const STEPS: &[Step] = &[
    // From before other apps than `/v1`, and mails.
    Step {
        from: "account.signed_up.v1",
        to: "account.signed_up.v2",
        body: |old| with(old, &[("app", json!("chorus"))]),
    },
    Step {
        from: "account.password_reset_requested.v1",
        to: "account.password_reset_requested.v2",
        body: |old| with(old, &[("app", json!("chorus"))]),
    },
    // From before the event named the session that it keeps.
    Step {
        from: "account.password_changed.v1",
        to: "account.password_changed.v2",
        body: |old| with(old, &[("kept", Value::Null)]),
    },
    Step {
        from: "account.email_change_requested.v1",
        to: "account.email_change_requested.v2",
        body: |old| with(old, &[("session", Value::Null), ("app", json!("chorus"))]),
    },
    Step {
        from: "account.email_changed.v1",
        to: "account.email_changed.v2",
        body: |old| with(old, &[("verified", json!(false)), ("kept", Value::Null), ("app", json!("chorus"))]),
    },
    // From before the number of attempts.
    Step {
        from: "mail.given_up.v1",
        to: "mail.given_up.v2",
        body: |old| with(old, &[("attempts", json!(0))]),
    },
    // From before placeholders in the sealed text, and the author of the parent comment.
    Step { from: "post.published.v1", to: "post.published.v2", body: |old| old },
    Step { from: "comment.commented.v1", to: "comment.commented.v2", body: |old| old },
    // From before deletions named the author of the parent comment, who was notified.
    Step { from: "comment.deleted.v1", to: "comment.deleted.v2", body: |old| old },
];

/// Adds missing fields to the body.
fn with(mut body: Value, added: &[(&str, Value)]) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.extend(added.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    body
}

/// Converts the wire name and body of a stored event to the newest version.
pub(crate) fn newest<'a>(
    wire_name: &'a str,
    body: &'a [u8],
) -> Result<(&'a str, Cow<'a, [u8]>), serde_json::Error> {
    lift(STEPS, wire_name, body)
}

fn lift<'a>(
    steps: &[Step],
    mut wire_name: &'a str,
    body: &'a [u8],
) -> Result<(&'a str, Cow<'a, [u8]>), serde_json::Error> {
    let mut lifted = None;
    while let Some(step) = steps.iter().find(|step| step.from == wire_name) {
        let value = match lifted.take() {
            Some(value) => value,
            None => serde_json::from_slice(body)?,
        };
        lifted = Some((step.body)(value));
        wire_name = step.to;
    }
    Ok(match lifted {
        Some(value) => (wire_name, Cow::Owned(serde_json::to_vec(&value)?)),
        None => (wire_name, Cow::Borrowed(body)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETINGS: &[Step] = &[
        Step {
            from: "greeting.sent.v1",
            to: "greeting.sent.v2",
            body: |old| json!({ "words": [old["word"]], "sealed": old["sealed"] }),
        },
        Step {
            from: "greeting.sent.v2",
            to: "greeting.sent.v3",
            body: |mut old| {
                old["language"] = json!("en");
                old
            },
        },
    ];

    #[test]
    fn old_event_is_upcast_to_the_newest_version() {
        let (name, body) = lift(GREETINGS, "greeting.sent.v1", br#"{"word":"hi","sealed":"c2Vh"}"#).unwrap();
        assert_eq!(name, "greeting.sent.v3");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({ "words": ["hi"], "sealed": "c2Vh", "language": "en" }));
    }

    #[test]
    fn newest_version_is_unchanged() {
        let written = br#"{ "words" : [] }"#;
        let (name, body) = lift(GREETINGS, "greeting.sent.v3", written).unwrap();
        assert_eq!((name, body.as_ref()), ("greeting.sent.v3", written.as_slice()));
    }

    #[test]
    fn every_upcast_yields_a_readable_version() {
        for step in STEPS {
            let known = crate::Event::wire_names().any(|name| name == step.to)
                || STEPS.iter().any(|s| s.from == step.to);
            assert!(known, "{} leads to {}, which is unreadable", step.from, step.to);
        }
    }
}
