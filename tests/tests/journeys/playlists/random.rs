//! Random edits of one playlist by several clients at the same time: some from old versions, some sent twice under one
//! `Idempotency-Key`. Every version that a client reads is the one of a simple model.

use std::collections::{BTreeMap, BTreeSet};

use events::{EntryId, Event, MusicEvent, PlaylistEvent, Position, Subject};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, User, fresh};

use super::model::{Edit, Entry, Model, Place};
use super::{PLAYLISTS, create, songs};

/// Histories on each deployment, or as many as `PLAYLIST_HISTORIES` says.
const HISTORIES: usize = 3;
/// Requests of each client in one history.
const REQUESTS: usize = 20;

/// What a client has done and seen.
#[derive(Default)]
struct Diary {
    /// Accepted edits by the version that they made, with the version that the client had seen.
    edits: BTreeMap<u64, (Edit, u64)>,
    reads: Vec<(u64, Vec<Entry>)>,
}

struct Client<'a> {
    api: Api,
    user: &'a User,
    path: &'a str,
    songs: &'a [String],
    rng: StdRng,
    diary: Diary,
}

impl Client<'_> {
    /// All entries at one version.
    async fn read(&mut self) {
        let (version, entries) = loop {
            let (mut next, mut versions) = (Some(format!("{}/entries?limit=40", self.path)), BTreeSet::new());
            let mut entries = Vec::new();
            while let Some(path) = next {
                let page = self.api.get_as(self.user, &path).await.expect(200).json();
                entries.extend(page["items"].as_array().unwrap().iter().map(entry));
                versions.insert(page["version"].as_u64().unwrap());
                next = page["next"].as_str().map(str::to_owned);
            }
            if versions.len() == 1 {
                break (versions.pop_first().unwrap(), entries);
            }
        };
        self.diary.reads.push((version, entries));
    }

    /// A random edit of the list that the client has seen last.
    fn edit(&mut self) -> Option<Edit> {
        let (_, seen) = self.diary.reads.last().unwrap();
        let count = self.rng.random_range(1..4);
        let songs: Vec<String> =
            (0..count).map(|_| self.songs.choose(&mut self.rng).unwrap().clone()).collect();
        let entries: Vec<String> =
            seen.sample(&mut self.rng, count).map(|(entry, _)| entry.clone()).collect();
        let place = match (self.rng.random_range(0..6), seen.choose(&mut self.rng)) {
            (0, _) => Place::Start,
            (1, _) | (_, None) => Place::End,
            (_, Some((anchor, _))) => Place::After(anchor.clone()),
        };
        match self.rng.random_range(0..12) {
            0..5 => Some(Edit::Add(songs, place)),
            5..8 => (!entries.is_empty()).then_some(Edit::Move(entries, place)),
            8..10 => (!entries.is_empty()).then_some(Edit::Remove(entries)),
            10 => {
                let mut all: Vec<String> = seen.iter().map(|(_, song)| song.clone()).collect();
                all.splice(0..all.len().min(2), songs);
                Some(Edit::Replace(all))
            }
            _ => {
                let versions: Vec<u64> = self.diary.reads.iter().map(|(version, _)| *version).collect();
                versions.choose(&mut self.rng).map(|version| Edit::Restore(*version))
            }
        }
    }

    async fn send(&self, edit: &Edit, version: u64, key: &str) -> Answer {
        let (method, below, body) = edit.request(version);
        loop {
            let request = self.api.request(method.parse().unwrap(), &format!("{}{below}", self.path));
            let request = request.bearer_auth(&self.user.token).header("Idempotency-Key", key);
            let answer = self.api.send(request.json(&body)).await;
            // Too many concurrent changes: the client tries again.
            if answer.status != 503 {
                return answer;
            }
        }
    }

    async fn live(mut self) -> Diary {
        self.read().await;
        for _ in 0..REQUESTS {
            if self.rng.random_ratio(1, 3) {
                self.read().await;
            }
            let Some(edit) = self.edit() else { continue };
            let (version, key) = (self.diary.reads.last().unwrap().0, fresh("key"));
            let copies = if self.rng.random_ratio(1, 3) { 2 } else { 1 };
            let answers = join_all((0..copies).map(|_| self.send(&edit, version, &key))).await;
            let mut made = BTreeSet::new();
            for answer in answers {
                if matches!(edit, Edit::Move(..)) && answer.status == 409 {
                    answer.problem(409, "entry-removed");
                    continue;
                }
                let receipt = answer.expect(200).json();
                if receipt["changed"] == true {
                    assert_eq!(receipt["version"], receipt["position"], "{receipt}");
                    made.insert(receipt["position"].as_u64().unwrap());
                }
            }
            assert!(made.len() <= 1, "one request made several versions: {made:?}");
            self.diary.edits.extend(made.into_iter().map(|made| (made, (edit.clone(), version))));
        }
        self.read().await;
        self.diary
    }
}

fn entry(item: &Value) -> Entry {
    (item["id"].as_str().unwrap().to_owned(), item["song"]["id"].as_str().unwrap().to_owned())
}

pub(super) async fn concurrent_edits_lose_double_and_misplace_nothing(chorus: &Chorus) {
    let songs = songs(chorus, 3).await;
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    for seed in 0..super::rounds("PLAYLIST_HISTORIES", HISTORIES) {
        let playlist = create(&api, &ann, "Road", false).await;
        let path = format!("{PLAYLISTS}/{playlist}");
        for member in [&bob, &cat] {
            api.put_as(&ann, &format!("{path}/collaborators/{}", member.id)).await.expect(200);
        }
        chorus.settle().await.unwrap();
        let client = |(user, number): (_, u64)| Client {
            api: chorus.api(),
            user,
            path: &path,
            songs: &songs,
            rng: StdRng::seed_from_u64(seed as u64 * 10 + number),
            diary: Diary::default(),
        };
        let clients = [&ann, &ann, &bob, &cat].into_iter().zip(0..).map(client);
        let diaries = join_all(clients.map(Client::live)).await;
        chorus.settle().await.unwrap();
        let mut last = client((&ann, 9));
        last.read().await;

        let log = chorus.log().await.unwrap();
        let recorded = log.read(Subject::Playlist(playlist.parse().unwrap()), Position::START).await.unwrap();
        let is_edit = |event: &Event| {
            let Event::Music(MusicEvent::Playlist(event)) = event else { return false };
            !matches!(event, PlaylistEvent::PlaylistCreated(_) | PlaylistEvent::CollaboratorAdded(_))
        };
        let mut model = Model::default();
        model.past.insert(recorded[0].position.0, Vec::new());
        let mut edits: BTreeMap<u64, (Edit, u64)> = BTreeMap::new();
        for diary in &diaries {
            edits.extend(diary.edits.clone());
        }
        for recorded in recorded.iter().filter(|recorded| is_edit(&recorded.event)) {
            let version = recorded.position.0;
            let (edit, seen) = edits.remove(&version).expect("every event was asked for once");
            let id = |number: usize| {
                EntryId::of_event(recorded.envelope.id, number.try_into().unwrap()).to_string()
            };
            model.apply(&edit, seen, version, id);
        }
        assert!(edits.is_empty(), "accepted, but not in the log: {edits:?}");
        for (version, entries) in diaries.iter().chain([&last.diary]).flat_map(|diary| &diary.reads) {
            assert_eq!(*entries, model.past[version], "history {seed}, version {version}");
        }
        let (version, entries) = model.past.last_key_value().unwrap();
        assert_eq!(last.diary.reads[0].0, *version);
        let shown = api.get_as(&ann, &path).await.expect(200).json();
        assert_eq!((&shown["version"], &shown["entries"]), (&json!(version), &json!(entries.len())));
    }
}
