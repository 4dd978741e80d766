//! Fuzz tests of external input (ids, subjects, key files, stored events): any input is rejected or parsed, and
//! parsed input roundtrips.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::personal::DataKey;
use crate::*;

/// The wire name and body of every fixture.
fn fixtures() -> Vec<(String, Value)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures"].iter().collect();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let read = files.map(|file| {
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        (fixture["type"].as_str().unwrap().to_owned(), fixture["body"].clone())
    });
    let mut read: Vec<_> = read.collect();
    read.sort_by(|(one, _), (other, _)| one.cmp(other));
    read
}

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[0-9a-f]{32}".prop_map(Value::from),
        Just(json!({ "sealed": "AAAA" })),
        Just(json!({ "$gt": "" })),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,12}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// JSON pointers to all values in it.
fn places(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let below = children
        .iter()
        .flat_map(|(name, child)| places(child).into_iter().map(move |place| format!("/{name}{place}")));
    std::iter::once(String::new()).chain(below).collect()
}

/// A fixture with one value replaced or one field added.
fn changed_fixture() -> impl Strategy<Value = (String, Value)> {
    (prop::sample::select(fixtures()), any::<Index>(), any_json(), any::<bool>()).prop_map(
        |((name, mut body), index, value, is_replaced)| {
            if is_replaced {
                let places = places(&body);
                *body.pointer_mut(&places[index.index(places.len())]).unwrap() = value;
            } else {
                body["more"] = value;
            }
            (name, body)
        },
    )
}

fn any_kind() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(Kind::ALL).prop_map(|kind| kind.to_string()), "[a-z]{0,8}"]
}

proptest! {
    #[test]
    fn ids_roundtrip(text in "[0-9a-f]{32}|[0-9a-fA-F{}-]{30,38}|.{0,40}") {
        let is_id = text.len() == 32 && text.bytes().all(|b| b"0123456789abcdef".contains(&b));
        prop_assert_eq!(text.parse::<PostId>().map(|id| id.to_string()), if is_id { Ok(text.clone()) } else { Err(ParseIdError) });
        prop_assert_eq!(serde_json::from_value::<UserId>(json!(text)).is_ok(), is_id);
        prop_assert_eq!(text.parse::<ClaimHash>().map(|hash| hash.to_string()).ok(), is_id.then_some(text));
    }

    #[test]
    fn subjects_roundtrip(
        kind in any_kind(),
        tokens in prop::collection::vec("[0-9a-f]{32}|[0-9a-f*>. ]{0,33}", 0..4),
        raw in ".*",
    ) {
        let dotted = std::iter::once(kind).chain(tokens).collect::<Vec<_>>().join(".");
        for text in [dotted, raw] {
            match text.parse::<Subject>() {
                Ok(subject) => prop_assert_eq!(subject.to_string(), text),
                Err(error) => prop_assert_eq!(error.to_string(), format!("`{text}` is not a subject")),
            }
        }
    }

    /// NATS subjects never contain wildcards or blanks.
    #[test]
    fn subject_contains_no_nats_wildcards(text in "(post|like)\\.[0-9a-f*>.\\s]{32,65}") {
        if let Ok(subject) = text.parse::<Subject>() {
            let text = subject.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{text}");
        }
    }

    #[test]
    fn random_bytes_are_rejected_for_any_name(
        name in prop_oneof![prop::sample::select(Event::wire_names().collect::<Vec<_>>()).prop_map(str::to_owned), ".{0,30}"],
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(Event::decode(&name, &body).is_err(), "{name} {body:?}");
    }

    #[test]
    fn mutated_event_roundtrips_or_is_rejected((name, body) in changed_fixture()) {
        let Ok(mut event) = Event::decode(&name, body.to_string().as_bytes()) else { return Ok(()) };
        // Old versions are upcast.
        prop_assert!(event.wire_name() == name || !Event::wire_names().any(|newest| newest == name), "{name}");
        prop_assert_eq!(event.subject().to_string().parse(), Ok(event.subject()));
        let written = event.encode().unwrap();
        prop_assert_eq!(&Event::decode(event.wire_name(), &written).unwrap(), &event);
        // A replaced sealed value does not open, and reads as erased without a key.
        if let Some((_, personal)) = event.personal() {
            prop_assert!(personal.unseal(Some(&DataKey::from_bytes(&[9; 32]).unwrap()), b"elsewhere").is_err());
            prop_assert!(personal.unseal(None, b"elsewhere").is_ok());
        }
    }

    #[test]
    fn master_keys_are_parsed_between_any_comments(
        lines in prop::collection::vec(prop_oneof![Just(None), " *(#.*)?".prop_map(Some)], 0..6),
        rubbish in prop::option::of("[^\\s#]{1,43}"),
    ) {
        let key = MasterKeys::generate();
        let line_of = |line: &Option<String>| line.clone().unwrap_or_else(|| key.trim().to_owned());
        let text = lines.iter().map(line_of).chain(rubbish.clone()).collect::<Vec<_>>().join("\n");
        let outcome = MasterKeys::parse(&text).map(drop);
        if rubbish.is_some() {
            prop_assert_eq!(outcome, Err(MasterKeysError::BadLine(text.lines().count())));
        } else if lines.iter().all(Option::is_some) {
            prop_assert_eq!(outcome, Err(MasterKeysError::Empty));
        } else {
            prop_assert_eq!(outcome, Ok(()));
        }
    }
}
