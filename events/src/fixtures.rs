//! One frozen file per event in `events/fixtures`, since stored events must stay readable forever. A released fixture
//! never changes; a new version of an event gets a new one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::personal::DataKey;
use crate::samples::samples;
use crate::*;

fn key() -> DataKey {
    DataKey::from_bytes(&[7; 32]).unwrap()
}

fn fixture(wire_name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{wire_name}.json"))
}

/// Opens or seals the personal data of the event, as the log does.
fn with_personal(event: &mut Event, change: impl FnOnce(&mut dyn personal::Sealable)) {
    if let Some((_, personal)) = event.personal() {
        change(personal);
    }
}

#[test]
fn every_fixture_roundtrips() {
    for sample in samples() {
        let path = fixture(sample.wire_name());
        let Ok(text) = std::fs::read_to_string(&path) else {
            let mut event = sample.clone();
            with_personal(&mut event, |personal| personal.seal(&key(), b"fixture").unwrap());
            let body: Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
            let written =
                json!({ "type": event.wire_name(), "subject": event.subject().to_string(), "body": body });
            let proposal = path.with_extension("json.new");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&proposal, format!("{written:#}\n")).unwrap();
            panic!("{} has no fixture; read {} and rename it", sample.wire_name(), proposal.display());
        };
        let fixture: Value = serde_json::from_str(&text).unwrap();
        let mut event =
            Event::decode(fixture["type"].as_str().unwrap(), fixture["body"].to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
        assert_eq!(written, fixture["body"], "{}", path.display());
        assert_eq!(event.subject().to_string(), fixture["subject"].as_str().unwrap());
        with_personal(&mut event, |personal| personal.unseal(Some(&key()), b"fixture").unwrap());
        assert_eq!(event, sample, "{}", path.display());
    }
}

#[test]
fn every_wire_name_has_a_sample_and_every_fixture_is_known() {
    let sampled: BTreeSet<String> = samples().iter().map(|event| event.wire_name().to_owned()).collect();
    let named: BTreeSet<String> = Event::wire_names().map(str::to_owned).collect();
    assert_eq!(sampled, named);
    for file in std::fs::read_dir(fixture("").parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let name = fixture["type"].as_str().unwrap();
        assert_eq!(path.file_stem().unwrap(), name);
        Event::decode(name, fixture["body"].to_string().as_bytes()).unwrap();
    }
}

#[test]
fn open_personal_data_cannot_be_encoded() {
    for mut event in samples() {
        let mut is_personal = false;
        with_personal(&mut event, |_| is_personal = true);
        assert_eq!(event.encode().is_err(), is_personal, "{}", event.wire_name());
    }
}

#[test]
fn invalid_body_and_unknown_name_are_rejected() {
    for sample in samples() {
        assert!(Event::decode(sample.wire_name(), b"{}").is_err(), "{}", sample.wire_name());
        assert!(Event::decode(sample.wire_name(), b"not json").is_err());
    }
    for name in ["post.published.v9", "post", "", "planet.discovered.v1"] {
        assert!(Event::decode(name, b"{}").unwrap_err().to_string().contains("not an event"), "{name}");
    }
}
