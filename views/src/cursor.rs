use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::Index;

/// Maximum length of a cursor; real ones are far shorter.
const LENGTH_LIMIT: usize = 1024;

/// The place after the last document of a page: its order value and key. Opaque to clients; inserted or deleted
/// documents do not invalidate it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    pub(crate) order: Value,
    pub(crate) key: String,
}

/// The text is not a cursor of this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor of this list: use the one from the previous page, unchanged")]
pub struct BadCursor;

#[derive(Serialize, Deserialize)]
struct Form(String, Value, String);

impl Cursor {
    /// The place before everything ordered from this text on, in an ascending index.
    pub fn from(order: impl Into<String>) -> Self {
        Self { order: Value::String(order.into()), key: String::new() }
    }

    /// The place of a document that the caller has sorted itself.
    pub fn at(order: i64, key: impl Into<String>) -> Self {
        Self { order: order.into(), key: key.into() }
    }

    /// The place after all documents at or above this position, in an index that descends by position.
    pub fn below(position: i64) -> Self {
        Self::at(position, "")
    }

    /// Its order value if that is a number.
    pub fn number(&self) -> Option<i64> {
        self.order.as_i64()
    }

    /// The text form, safe in URLs. It names its index, so that it cannot be used with another list.
    pub fn to_text(&self, index: &Index) -> impl fmt::Display + use<> {
        let form = Form(index.name.to_owned(), self.order.clone(), self.key.clone());
        // Serialising strings and plain values cannot fail.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&form).unwrap_or_default())
    }

    pub fn parse(text: &str, index: &Index) -> Result<Self, BadCursor> {
        if text.len() > LENGTH_LIMIT {
            return Err(BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let Form(name, order, key) = serde_json::from_slice(&bytes).map_err(|_| BadCursor)?;
        let plain = order.is_string() || order.is_i64();
        if name == index.name && plain { Ok(Self { order, key }) } else { Err(BadCursor) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Direction;

    const NEWEST: Index =
        Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };

    #[test]
    fn cursor_roundtrips_only_with_its_own_index() {
        for order in [json!(42), json!(-1), json!("älice")] {
            let cursor = Cursor { order, key: "k.1".into() };
            let text = cursor.to_text(&NEWEST).to_string();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
            assert_eq!(Cursor::parse(&text, &NEWEST), Ok(cursor));
            assert_eq!(Cursor::parse(&text, &Index { name: "oldest", ..NEWEST }), Err(BadCursor));
        }
    }

    #[test]
    fn invalid_cursor_is_rejected() {
        let text = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for bad in [
            String::new(),
            "%".into(),
            "AAAA".into(),
            "A".repeat(5000),
            text(json!(["newest", { "$gt": "" }, "k"])),
            text(json!(["newest", 1.5, "k"])),
            text(json!(["newest", null, "k"])),
            text(json!(["newest", 1])),
            text(json!({ "order": 1 })),
        ] {
            assert_eq!(Cursor::parse(&bad, &NEWEST), Err(BadCursor), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_cursor_roundtrips(
            order in prop_oneof![any::<i64>().prop_map(Value::from), ".{0,50}".prop_map(Value::from)],
            key in "[0-9a-f.]{1,100}",
        ) {
            let cursor = Cursor { order, key };
            prop_assert_eq!(Cursor::parse(&cursor.to_text(&NEWEST).to_string(), &NEWEST), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_plain_cursor_or_rejected(
            raw in ".{0,60}",
            form in prop_oneof![
                "\\[\"newest\",[-0-9.e]{1,25},\"[a-z.]{0,9}\"\\]",
                "\\[\"newest\",(null|true|\\[1\\]|\\{\"\\$gt\":\"\"\\}|\"\\PC{0,9}\"),\"k\"\\]",
                "[\\[\\]{},:\"a-z0-9 ]{0,40}",
            ],
        ) {
            for text in [raw, URL_SAFE_NO_PAD.encode(form)] {
                if let Ok(cursor) = Cursor::parse(&text, &NEWEST) {
                    // No value that a store could interpret as an operator.
                    prop_assert!(cursor.order.is_string() || cursor.order.is_i64(), "{cursor:?}");
                    prop_assert_eq!(Cursor::parse(&cursor.to_text(&NEWEST).to_string(), &NEWEST), Ok(cursor));
                }
            }
        }
    }
}
