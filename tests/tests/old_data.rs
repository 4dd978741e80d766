//! Data of earlier versions (`tests/fixtures`): this version opens it and serves every read from it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mongodb::bson::Document;
use serde::Deserialize;
use serde_json::Value;
use tests::chorus::Chorus;
use tests::client::{Api, User};
use tests::folder::Folder;
use tests::routes;
use tests::servers::MongoServer;

/// Fields with text that users wrote.
const WRITTEN: &[&str] = &["caption", "text", "bio", "username", "firstname", "lastname", "name", "email"];

#[derive(Deserialize)]
struct Expected {
    people: BTreeMap<String, Person>,
    reads: Vec<Read>,
    /// Size in bytes of media files, by path.
    media: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Person {
    id: String,
    login: String,
    password: String,
    #[serde(default)]
    erased: bool,
    /// A log-in would end the deactivation, so there is none.
    #[serde(default)]
    deactivated: bool,
    #[serde(default)]
    suspended: bool,
}

/// The parts of a response that do not depend on the time.
#[derive(Deserialize)]
struct Read {
    /// The user of the request, if any.
    r#as: Option<String>,
    path: String,
    texts: BTreeSet<String>,
    items: Option<usize>,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1.0")
}

/// A folder with the `data` of the old version.
fn old_data() -> Folder {
    Folder::of_earlier_version().unwrap()
}

async fn restore(mongo: &MongoServer, name: &str) {
    let client = mongodb::Client::with_uri_str(mongo.url(name)).await.unwrap();
    for file in std::fs::read_dir(fixture().join("mongodb")).unwrap() {
        let file = file.unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        let (mut rest, mut documents) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            documents.push(Document::from_reader(&mut rest).unwrap());
        }
        if !documents.is_empty() {
            let collection = file.file_stem().unwrap().to_str().unwrap();
            client.database(name).collection(collection).insert_many(documents).await.unwrap();
        }
    }
}

/// Collects the texts that users wrote, at any depth of a response.
fn written(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if WRITTEN.contains(&name.as_str()) && !text.is_empty() => {
                        found.insert(text.clone());
                    }
                    other => written(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| written(item, found)),
        _ => {}
    }
}

/// Texts that newer versions show in addition: a notification has the text of its comment.
const SHOWN_SINCE: &[(&str, &str)] = &[("/v1/me/notifications", "Reply of bob")];

async fn every_read_answers_as_before(chorus: &Chorus) {
    let expected: Expected =
        serde_json::from_slice(&std::fs::read(fixture().join("expected.json")).unwrap()).unwrap();
    chorus.settle().await.unwrap();
    let api = chorus.api();
    let mut users = BTreeMap::new();
    for (name, person) in &expected.people {
        let user = User { id: person.id.clone(), username: person.login.clone(), token: String::new() };
        if person.erased {
            api.try_log_in(&user, &person.password).await.problem(401, "wrong-login");
        } else if person.suspended {
            api.try_log_in(&user, &person.password).await.expect(403);
        } else if !person.deactivated {
            users.insert(name.as_str(), api.log_in(&user, &person.password).await);
        }
    }
    for read in &expected.reads {
        let answer = match &read.r#as {
            Some(name) => api.get_as(&users[name.as_str()], &read.path).await,
            None => api.get(&read.path).await,
        };
        let answer = answer.expect(200).json();
        if let Some(items) = read.items {
            assert_eq!(answer["items"].as_array().unwrap().len(), items, "{}: {answer}", read.path);
        }
        if !read.texts.is_empty() {
            let mut texts = BTreeSet::new();
            written(&answer, &mut texts);
            for (path, text) in SHOWN_SINCE {
                if read.path == *path {
                    texts.remove(*text);
                }
            }
            assert_eq!(texts, read.texts, "{}", read.path);
        }
    }
    for (path, size) in &expected.media {
        assert_eq!(api.get(path).await.expect(200).body.len(), *size, "{path}");
    }
    no_route_fails(&api, &users["ann"], &expected).await;
}

/// Requests every documented read route with existing ids.
async fn no_route_fails(api: &Api, ann: &User, expected: &Expected) {
    let id_after = |prefix: &str| {
        let id = expected.reads.iter().find_map(|read| read.path.strip_prefix(prefix));
        id.and_then(|rest| rest.split('/').next()).unwrap()
    };
    let (post, collection) = (id_after("/v1/posts/"), id_after("/v1/me/collections/"));
    let comments = api.get(&format!("/v1/posts/{post}/comments")).await.expect(200).json();
    let comment = comments["items"][0]["id"].as_str().unwrap();
    let media = expected.media.keys().next().unwrap().strip_prefix("/media/images/").unwrap();
    let (picture, file) = media.split_once('/').unwrap();
    let values = [
        ("user", ann.id.as_str()),
        ("username", "bob.fixture"),
        ("post", post),
        ("comment", comment),
        ("collection", collection),
        ("state", "sent"),
        ("day", "2026-02-03"),
        ("monday", "2026-02-02"),
        ("year", "2026"),
        ("picture", picture),
        ("file", file),
    ];
    let routes = routes::all(api).await;
    for route in routes.iter().filter(|route| route.method == "GET") {
        let path = route.path_with(&values);
        let request = route.request_to(api, &path).bearer_auth(&ann.token);
        let request =
            if route.query.contains_key("part") { request.query(&[("part", "fix")]) } else { request };
        let answer = api.send(request).await;
        // Stories have expired, and the collection belongs to another user.
        let may_be_missing = path.contains(routes::NOTHING) || path.contains(collection);
        let status = answer.status.as_u16();
        assert!(status == 200 || (status == 404 && may_be_missing), "{path}: {status} {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_folder_of_an_earlier_version_serves_every_read() {
    let chorus = Chorus::standalone_in(old_data(), &[]).await.unwrap();
    every_read_answers_as_before(&chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_views_of_an_earlier_version_serve_every_read() {
    let mongo = MongoServer::start().await.unwrap();
    restore(&mongo, "chorus").await;
    let settings = [("CHORUS_VIEWS", &*mongo.url("chorus"))];
    let chorus = Chorus::standalone_in(old_data(), &settings).await.unwrap();
    every_read_answers_as_before(&chorus).await;
}

/// Views are folds of the log: rebuilt from the old log alone, they give the same responses.
#[tokio::test(flavor = "multi_thread")]
async fn views_rebuilt_from_the_log_of_an_earlier_version_serve_every_read() {
    let folder = old_data();
    for file in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let file = file.unwrap().path();
        if file.file_name().unwrap().to_str().unwrap().starts_with("views.db") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let chorus = Chorus::standalone_in(folder, &[]).await.unwrap();
    every_read_answers_as_before(&chorus).await;
}
