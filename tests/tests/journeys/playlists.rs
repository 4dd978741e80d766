mod model;
mod random;

use events::{Event, MusicEvent, Personal, PlaylistEvent, Position, Subject};
use futures::TryStreamExt;
use media::Listed;
use random::concurrent_edits_lose_double_and_misplace_nothing;
use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, fresh, png, wav};
use tests::waiting::until;

crate::journeys! {
    playlists_are_created_edited_shared_and_deleted,
    private_playlists_are_found_by_members_only,
    entries_are_added_moved_removed_replaced_and_restored,
    stale_edits_keep_their_meaning,
    strangers_edit_nothing_and_unknown_entries_are_refused,
    removed_and_private_songs_are_gaps,
    imports_take_only_songs_of_this_server,
    exported_playlist_is_imported_again,
    public_playlists_are_searched,
    playlists_of_an_erased_owner_are_gone,
    cover_of_a_playlist_is_set_by_its_owner_and_deleted_with_it,
    covers_of_playlists_of_an_erased_owner_are_deleted,
    concurrent_edits_lose_double_and_misplace_nothing,
}

/// The number of rounds: the default, or the value of an environment variable.
#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn rounds(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |rounds| rounds.parse().unwrap())
}

const PLAYLISTS: &str = "/v1/playlists";

async fn create(api: &Api, user: &User, name: &str, public: bool) -> String {
    let body = json!({ "name": name, "description": "Long", "public": public });
    api.post_as(user, PLAYLISTS, &body).await.expect(201).id()
}

/// The ids of new public songs.
async fn songs(chorus: &Chorus, count: usize) -> Vec<String> {
    let (api, artist) = (chorus.api(), chorus.artist("singer").await);
    let mut songs = Vec::new();
    for _ in 0..count {
        songs.push(api.publish_song(&artist, &fresh("Song")).await);
    }
    songs
}

/// A playlist and its owner.
struct Playlist {
    api: Api,
    owner: User,
    path: String,
}

impl Playlist {
    async fn new(chorus: &Chorus, public: bool) -> Self {
        let api = chorus.api();
        let owner = api.sign_up("ann").await;
        let path = format!("{PLAYLISTS}/{}", create(&api, &owner, "Road", public).await);
        Self { api, owner, path }
    }

    fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    async fn post(&self, below: &str, body: &Value) -> Answer {
        self.api.post_as(&self.owner, &format!("{}{below}", self.path), body).await
    }

    /// Adds songs and returns the ids of their entries.
    async fn add(&self, songs: &[&String], place: &Value) -> Vec<String> {
        let mut body = place.clone();
        body["songs"] = json!(songs);
        let added = self.post("/entries", &body).await.expect(200).json();
        added["entries"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// The whole page of entries, as a user sees it.
    async fn page(&self, viewer: &User) -> Value {
        self.api.get_as(viewer, &format!("{}/entries?limit=100", self.path)).await.expect(200).json()
    }

    /// The ids of entries, in order.
    async fn entries(&self) -> Vec<String> {
        ids(&self.page(&self.owner).await)
    }

    async fn version(&self) -> u64 {
        self.api.get_as(&self.owner, &self.path).await.expect(200).json()["version"].as_u64().unwrap()
    }
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn own_names(api: &Api, user: &User) -> Vec<Value> {
    let page = api.get_as(user, "/v1/me/playlists").await.expect(200).json();
    page["items"].as_array().unwrap().iter().map(|playlist| playlist["name"].clone()).collect()
}

async fn playlists_are_created_edited_shared_and_deleted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let id = create(&api, &ann, "Road", false).await;
    let path = format!("{PLAYLISTS}/{id}");
    let shown = api.get_as(&ann, &path).await.expect(200).json();
    assert_eq!(
        (&shown["name"], &shown["entries"], &shown["public"]),
        (&json!("Road"), &json!(0), &json!(false))
    );
    assert_eq!((&shown["owner"]["id"], &shown["viewer"]["can_edit"]), (&json!(ann.id), &json!(true)));
    // A replayed request creates no second playlist, and both of its changes are done once.
    let again = async |method: Method, path: &str, body: Value| {
        let request = api.request(method, path).bearer_auth(&ann.token);
        api.send(request.header("Idempotency-Key", "k1").json(&body)).await
    };
    let sea = json!({ "name": "Sea" });
    let first = again(Method::POST, PLAYLISTS, sea.clone()).await.expect(201).id();
    assert_eq!(again(Method::POST, PLAYLISTS, sea).await.expect(201).id(), first);
    let change = json!({ "name": "Roads", "public": true });
    for _ in 0..2 {
        assert_eq!(again(Method::PATCH, &path, change.clone()).await.expect(200).json()["changed"], true);
    }
    assert_eq!(api.patch_as(&ann, &path, &change).await.expect(200).json()["changed"], false);
    let shown = api.get(&path).await.expect(200).json();
    assert_eq!(
        (&shown["name"], &shown["description"], &shown["viewer"]),
        (&json!("Roads"), &json!("Long"), &Value::Null)
    );
    let public = api.get(&format!("/v1/users/{}/playlists", ann.id)).await.expect(200).json();
    assert_eq!(public["items"].as_array().unwrap().len(), 1);
    for bad in ["", "two\nlines", &"x".repeat(101)] {
        assert_eq!(
            api.patch_as(&ann, &path, &json!({ "name": bad })).await.problem(422, "invalid"),
            ["name"]
        );
    }
    // Collaborators.
    api.patch_as(&bob, &path, &json!({ "name": "Mine" })).await.problem(403, "forbidden");
    let member = format!("{path}/collaborators/{}", bob.id);
    assert_eq!(api.put_as(&ann, &member).await.expect(200).json()["changed"], true);
    assert_eq!(api.put_as(&ann, &member).await.expect(200).json()["changed"], false);
    api.put_as(&ann, &format!("{path}/collaborators/{}", "0".repeat(32))).await.problem(404, "not-found");
    assert_eq!(own_names(&api, &bob).await, ["Roads"]);
    assert_eq!(api.get_as(&bob, &path).await.json()["collaborators"][0]["id"], bob.id);
    api.delete_as(&bob, &member).await.expect(200);
    assert_eq!(own_names(&api, &bob).await, [""; 0]);
    // A song that does not exist.
    let songs = json!({ "songs": ["0".repeat(32)] });
    assert_eq!(
        api.post_as(&ann, &format!("{path}/entries"), &songs).await.problem(422, "invalid"),
        ["songs"]
    );
    let entries = api.get(&format!("{path}/entries")).await.expect(200).json();
    assert_eq!((&entries["items"], &entries["version"]), (&json!([]), &shown["version"]));
    let nothing = json!({ "entries": ["0".repeat(32)] });
    api.post_as(&ann, &format!("{path}/entries/move"), &nothing).await.problem(404, "not-found");
    let future = json!({ "version": 1_000_000_000_u64 });
    assert_eq!(
        api.post_as(&ann, &format!("{path}/restore"), &future).await.problem(422, "invalid"),
        ["version"]
    );
    // The history.
    let history = api.all_pages(&format!("{path}/history?limit=2")).await;
    let changes: Vec<&Value> = history.iter().map(|change| &change["change"]).collect();
    let expected =
        ["collaborator_removed", "collaborator_added", "made_public", "details_changed", "created"];
    assert_eq!(changes, expected);
    assert_eq!((&history[4]["by"]["id"], &history[0]["by"]["id"]), (&json!(ann.id), &json!(bob.id)));
    // Deletion.
    let delete = async || api.delete_as(&ann, &path).await.expect(200).json()["changed"].clone();
    assert_eq!((delete().await, delete().await), (json!(true), json!(false)));
    api.get_as(&ann, &path).await.problem(404, "not-found");
    api.patch_as(&ann, &path, &change).await.problem(409, "playlist-deleted");
    assert_eq!(own_names(&api, &ann).await, ["Sea"]);
}

async fn private_playlists_are_found_by_members_only(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let id = create(&api, &ann, "Road", false).await;
    let path = format!("{PLAYLISTS}/{id}");
    for below in ["", "/entries", "/history", "/export"] {
        api.get(&format!("{path}{below}")).await.problem(404, "not-found");
        api.get_as(&bob, &format!("{path}{below}")).await.problem(404, "not-found");
        api.get_as(&ann, &format!("{path}{below}")).await.expect(200);
    }
    api.patch_as(&bob, &path, &json!({ "name": "Mine" })).await.problem(404, "not-found");
    api.delete_as(&bob, &path).await.problem(404, "not-found");
    let entries = json!({ "entries": ["0".repeat(32)] });
    api.post_as(&bob, &format!("{path}/entries/remove"), &entries).await.problem(404, "not-found");
    api.post_as(&bob, &format!("{path}/restore"), &json!({ "version": 1 })).await.problem(404, "not-found");
    let public = async || api.get(&format!("/v1/users/{}/playlists", ann.id)).await.expect(200).json();
    assert_eq!(public().await["items"], json!([]));
    api.put_as(&ann, &format!("{path}/collaborators/{}", bob.id)).await.expect(200);
    api.get_as(&bob, &format!("{path}/entries")).await.expect(200);
    assert_eq!(public().await["items"], json!([]));
    api.patch_as(&ann, &path, &json!({ "public": true })).await.expect(200);
    assert_eq!(ids(&public().await), [id]);
    api.patch_as(&ann, &path, &json!({ "public": false })).await.expect(200);
    api.get(&format!("{path}/entries")).await.problem(404, "not-found");
}

#[expect(clippy::many_single_char_names, reason = "songs and entries of one list")]
async fn entries_are_added_moved_removed_replaced_and_restored(chorus: &Chorus) {
    let songs = songs(chorus, 3).await;
    let [x, y, z] = &songs[..] else { unreachable!() };
    let list = Playlist::new(chorus, true).await;
    let [a, b] = &list.add(&[x, y], &json!({})).await[..] else { unreachable!() };
    let [c] = &list.add(&[x], &json!({ "at": "start" })).await[..] else { unreachable!() };
    let [d] = &list.add(&[z], &json!({ "after": a })).await[..] else { unreachable!() };
    let page = list.page(&list.owner).await;
    assert_eq!(ids(&page), [c, a, d, b].map(String::clone));
    let first = &page["items"][0];
    assert_eq!((&first["song"]["id"], &first["gap"]), (&json!(x), &Value::Null), "{first}");
    assert_eq!(
        (&first["song"]["duration_ms"], &first["added_by"]["id"]),
        (&json!(31_000), &json!(list.owner.id))
    );
    let shown = list.api.get(&list.path).await.expect(200).json();
    assert_eq!((&shown["entries"], &shown["duration_ms"]), (&json!(4), &json!(124_000)));
    assert_eq!(shown["version"], page["version"]);
    let paged = list.api.all_pages(&format!("{}/entries?limit=1", list.path)).await;
    let paged: Vec<&Value> = paged.iter().map(|entry| &entry["id"]).collect();
    assert_eq!(paged, [c, a, d, b]);
    let version = list.version().await;

    // A block keeps its order. The same again has no effect, and makes no version.
    let moved = json!({ "entries": [b, c], "after": d });
    let receipt = list.post("/entries/move", &moved).await.expect(200).json();
    assert_eq!((&receipt["changed"], &receipt["version"]), (&json!(true), &receipt["position"]));
    assert_eq!(list.entries().await, [a, d, b, c].map(String::clone));
    let again = list.post("/entries/move", &moved).await.expect(200).json();
    assert_eq!((&again["changed"], &again["version"]), (&json!(false), &receipt["version"]));
    let removed = json!({ "entries": [a, c] });
    for changed in [true, false] {
        assert_eq!(list.post("/entries/remove", &removed).await.expect(200).json()["changed"], changed);
    }
    assert_eq!(list.entries().await, [d, b].map(String::clone));
    // Songs that stay keep their entries.
    let entries = format!("{}/entries", list.path);
    list.api.put_json_as(&list.owner, &entries, &json!({ "songs": [y, x, z] })).await.expect(200);
    let replaced = list.entries().await;
    assert_eq!((&replaced[0], &replaced[2], replaced.len()), (b, d, 3));

    let restored = list.post("/restore", &json!({ "version": version })).await.expect(200).json();
    assert_eq!(list.entries().await, [c, a, d, b].map(String::clone));
    assert_eq!(list.post("/restore", &json!({ "version": version })).await.json()["changed"], false);
    let history = list.api.all_pages(&format!("{}/history?limit=3", list.path)).await;
    let changes: Vec<(&str, i64)> = history
        .iter()
        .map(|change| (change["change"].as_str().unwrap(), change["entries"].as_i64().unwrap()))
        .collect();
    let expected = [
        ("restored", 4),
        ("entries_replaced", 3),
        ("entries_removed", 2),
        ("entries_moved", 2),
        ("entries_added", 1),
        ("entries_added", 1),
        ("entries_added", 2),
        ("created", 0),
    ];
    assert_eq!(changes, expected);
    assert_eq!((&history[0]["restored"], &history[0]["version"]), (&json!(version), &restored["version"]));
    assert!(history.iter().all(|change| change["by"]["id"] == json!(list.owner.id)));
    // The first version of the entries has none.
    let created = &history[7]["version"];
    list.post("/restore", &json!({ "version": created })).await.expect(200);
    assert_eq!(list.entries().await, [""; 0]);
    let detail = json!({ "version": created.as_u64().unwrap() + 1_000_000_000 });
    assert_eq!(list.post("/restore", &detail).await.problem(422, "invalid"), ["version"]);
}

#[expect(clippy::many_single_char_names, reason = "songs and entries of one list")]
async fn stale_edits_keep_their_meaning(chorus: &Chorus) {
    let songs = songs(chorus, 2).await;
    let [x, y] = &songs[..] else { unreachable!() };
    let list = Playlist::new(chorus, false).await;
    let bob = list.api.sign_up("bob").await;
    list.api.put_as(&list.owner, &format!("{}/collaborators/{}", list.path, bob.id)).await.expect(200);
    let [a, b, c] = &list.add(&[x, x, x], &json!({})).await[..] else { unreachable!() };
    let seen = list.version().await;
    // Bob adds a song at the start and removes an entry; Ann has seen neither.
    let entries = format!("{}/entries", list.path);
    let added = list.api.post_as(&bob, &entries, &json!({ "songs": [y], "at": "start" })).await;
    let d = &added.expect(200).json()["entries"][0].as_str().unwrap().to_owned();
    list.api.post_as(&bob, &format!("{entries}/remove"), &json!({ "entries": [b] })).await.expect(200);
    assert_eq!(list.entries().await, [d, a, c].map(String::clone));
    // The removed entry still has a place.
    let e = &list.add(&[y], &json!({ "after": b, "version": seen })).await[0];
    assert_eq!(list.entries().await, [d, a, e, c].map(String::clone));
    let moved = json!({ "entries": [c], "after": a, "version": seen });
    list.post("/entries/move", &moved).await.expect(200);
    assert_eq!(list.entries().await, [d, a, c, e].map(String::clone));
    let gone = json!({ "entries": [a, b], "at": "end", "version": seen });
    list.post("/entries/move", &gone).await.problem(409, "entry-removed");
    let gone = json!({ "entries": [a, b], "version": seen });
    assert_eq!(list.post("/entries/remove", &gone).await.expect(200).json()["changed"], true);
    // A replacement keeps what its client has not seen, behind the entry that it follows.
    let replacement = json!({ "songs": [x, y], "version": seen });
    list.api.put_json_as(&list.owner, &entries, &replacement).await.expect(200);
    let replaced = list.entries().await;
    assert_eq!((replaced.len(), &replaced[..3]), (4, &[d, c, e].map(String::clone)[..]));
    // Who added an entry.
    let page = list.page(&bob).await;
    assert_eq!(page["items"][0]["added_by"]["id"], json!(bob.id));
    // A repeated request answers with the same entries.
    let again = async || {
        let request = list.api.request(Method::POST, &entries).bearer_auth(&bob.token);
        let body = json!({ "songs": [x, y], "after": b });
        list.api.send(request.header("Idempotency-Key", "again").json(&body)).await.expect(200).json()
    };
    let (first, second) = (again().await, again().await);
    assert_eq!((&first["entries"], &first["version"]), (&second["entries"], &second["version"]));
    assert_eq!(list.entries().await.len(), 6);
}

async fn strangers_edit_nothing_and_unknown_entries_are_refused(chorus: &Chorus) {
    let songs = songs(chorus, 1).await;
    for (public, status, code) in [(true, 403, "forbidden"), (false, 404, "not-found")] {
        let list = Playlist::new(chorus, public).await;
        let entry = list.add(&[&songs[0]], &json!({})).await.remove(0);
        // Without the songs, whose analyses may appear meanwhile.
        let before = (list.version().await, list.entries().await);
        let (api, bob) = (chorus.api(), chorus.api().sign_up("bob").await);
        let at = |below: &str| format!("{}{below}", list.path);
        let (entries, songs) = (json!({ "entries": [entry] }), json!({ "songs": songs }));
        api.post_as(&bob, &at("/entries"), &songs).await.problem(status, code);
        api.put_json_as(&bob, &at("/entries"), &json!({ "songs": [] })).await.problem(status, code);
        api.post_as(&bob, &at("/entries/move"), &entries).await.problem(status, code);
        api.post_as(&bob, &at("/entries/remove"), &entries).await.problem(status, code);
        api.post_as(&bob, &at("/restore"), &json!({ "version": 1 })).await.problem(status, code);
        let member = at(&format!("/collaborators/{}", bob.id));
        api.put_as(&bob, &member).await.problem(status, code);
        api.post(&at("/entries"), &songs).await.problem(401, "unauthenticated");
        assert_eq!((list.version().await, list.entries().await), before);
        // A collaborator edits entries, but not the playlist, until they are removed.
        api.put_as(&list.owner, &member).await.expect(200);
        api.post_as(&bob, &at("/entries"), &songs).await.expect(200);
        api.patch_as(&bob, &list.path, &json!({ "public": true })).await.problem(403, "forbidden");
        api.delete_as(&bob, &list.path).await.problem(403, "forbidden");
        api.delete_as(&list.owner, &member).await.expect(200);
        api.post_as(&bob, &at("/entries"), &songs).await.problem(status, code);
        // Unknown entries and wrong bodies.
        let unknown = json!({ "entries": ["0".repeat(32)] });
        list.post("/entries/move", &unknown).await.problem(404, "not-found");
        list.post("/entries/remove", &unknown).await.problem(404, "not-found");
        let after = json!({ "songs": songs["songs"], "after": "0".repeat(32) });
        list.post("/entries", &after).await.problem(404, "not-found");
        let twice = json!({ "entries": [entry, entry] });
        assert_eq!(list.post("/entries/remove", &twice).await.problem(422, "invalid"), ["entries[1]"]);
        assert_eq!(list.post("/entries", &json!({ "songs": [] })).await.problem(422, "invalid"), ["songs"]);
        let both = json!({ "songs": songs["songs"], "after": entry, "at": "end" });
        assert_eq!(list.post("/entries", &both).await.problem(400, "malformed"), ["at"]);
    }
}

async fn removed_and_private_songs_are_gaps(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let title = fresh("Gone");
    let song = api.publish_song(&artist, &title).await;
    let secret = fresh("Secret");
    let upload = api.upload_audio(&artist, &wav(&secret, 31)).await;
    let private = json!({
        "upload": upload, "title": secret, "artists": [{ "name": artist.username }], "visibility": "private",
    });
    let private = api.post_as(&artist, "/v1/songs", &private).await.expect(201).id();
    // A private song is added by its publisher only.
    let list = Playlist::new(chorus, true).await;
    let refused = list.post("/entries", &json!({ "songs": [song, private] })).await;
    assert_eq!(refused.problem(422, "invalid"), ["songs"]);
    api.put_as(&list.owner, &format!("{}/collaborators/{}", list.path, artist.id)).await.expect(200);
    let songs = json!({ "songs": [song, private] });
    api.post_as(&artist, &format!("{}/entries", list.path), &songs).await.expect(200);
    let page = list.page(&artist).await;
    assert_eq!(
        (&page["items"][0]["song"]["id"], &page["items"][1]["song"]["id"]),
        (&json!(song), &json!(private))
    );
    let duration = async |viewer: &User| api.get_as(viewer, &list.path).await.json()["duration_ms"].clone();
    assert_eq!((duration(&artist).await, duration(&list.owner).await), (json!(62_000), json!(31_000)));
    // For others it is a gap that says nothing, also if it is removed.
    let hidden = json!({ "reason": "hidden", "title": null, "display_artist": null });
    let gap = async |viewer: &User, place: usize| {
        let page = list.page(viewer).await;
        assert_eq!(page["items"][place]["song"], Value::Null, "{page}");
        page["items"][place]["gap"].clone()
    };
    assert_eq!(gap(&list.owner, 1).await, hidden);
    api.delete_as(&artist, &format!("/v1/songs/{private}")).await.expect(200);
    assert_eq!(gap(&list.owner, 1).await, hidden);
    let named =
        |title: &str| json!({ "reason": "removed", "title": title, "display_artist": artist.username });
    assert_eq!(gap(&artist, 1).await, named(&secret));
    let page = api.get(&format!("{}/entries", list.path)).await.expect(200).text();
    assert!(!page.contains(&private) && !page.contains(&secret), "{page}");
    // A removed song keeps its name and place, and comes back when it is restored.
    api.delete_as(&artist, &format!("/v1/songs/{song}")).await.expect(200);
    assert_eq!(gap(&list.owner, 0).await, named(&title));
    assert_eq!(duration(&list.owner).await, json!(0));
    assert_eq!(api.get(&list.path).await.json()["entries"], json!(2));
    let export = api.get_as(&list.owner, &format!("{}/export", list.path)).await.expect(200).text();
    let comment = format!("# Removed: {} - {title}", artist.username);
    assert_eq!(export.lines().last(), Some(comment.as_str()), "{export}");
    assert!(!export.contains("/v1/songs/") && !export.contains(&secret), "{export}");
    let refused = list.post("/entries", &json!({ "songs": [song] })).await;
    assert_eq!(refused.problem(422, "invalid"), ["songs"]);
    // A gap is moved and removed like a song.
    let entries = list.entries().await;
    list.post("/entries/move", &json!({ "entries": [entries[1]], "at": "start" })).await.expect(200);
    assert_eq!(gap(&list.owner, 1).await, named(&title));
    list.post("/entries/remove", &json!({ "entries": [entries[1]] })).await.expect(200);
    api.post_as(&artist, &format!("/v1/songs/{song}/restore"), &json!({})).await.expect(200);
    let page = list.page(&list.owner).await;
    assert_eq!((ids(&page).len(), &page["items"][0]["song"]["title"]), (1, &json!(title)));
}

async fn import(api: &Api, user: &User, query: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = api.request(Method::POST, &format!("{PLAYLISTS}/import{query}")).bearer_auth(&user.token);
    api.send(request.header("content-type", "application/octet-stream").body(body.into())).await
}

async fn imports_take_only_songs_of_this_server(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let song = songs(chorus, 1).await.remove(0);
    let nothing = "0".repeat(32);
    let file = format!(
        "#EXTM3U\n#PLAYLIST:Road\n/etc/passwd\n../x.mp3\nhttps://other.example/x.mp3\n{nothing}\n\
        /v1/songs/{song}/stream\nfile:///v1/songs/{song}\n{}/v1/songs/{song}/stream?format=raw\n",
        chorus.url()
    );
    let imported = import(&api, &ann, "?format=m3u8", file).await.expect(201).json();
    assert_eq!((&imported["name"], &imported["songs"]), (&json!("Road"), &json!(2)));
    let skipped: Vec<(&Value, &Value)> = imported["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| (&skipped["number"], &skipped["reason"]))
        .collect();
    let (path, foreign, missing) = (&json!("path"), &json!("foreign_url"), &json!("not_found"));
    let expected = [
        (&json!(1), path),
        (&json!(2), path),
        (&json!(3), foreign),
        (&json!(4), missing),
        (&json!(6), foreign),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(imported["skipped"][0]["location"], "/etc/passwd");
    let path = format!("{PLAYLISTS}/{}", imported["id"].as_str().unwrap());
    let shown = api.get_as(&ann, &path).await.expect(200).json();
    assert_eq!((&shown["entries"], &shown["public"]), (&json!(2), &json!(false)));
    let track = json!({ "location": ["file:///x.mp3", format!("/v1/songs/{song}")] });
    let file = json!({ "playlist": { "title": "Sea", "track": [track, { "title": "Dawn" }] } });
    let imported = import(&api, &ann, "", file.to_string()).await.expect(201).json();
    assert_eq!((&imported["songs"], &imported["skipped_entries"]), (&json!(1), &json!(1)));
    import(&api, &ann, "?format=jspf", "#EXTM3U").await.problem(400, "malformed");
    assert_eq!(own_names(&api, &ann).await, ["Sea", "Road"]);
    // A repeated import is the same playlist.
    let again = async || {
        let request = api.request(Method::POST, &format!("{PLAYLISTS}/import")).bearer_auth(&ann.token);
        let request = request.header("content-type", "application/octet-stream").body(song.clone());
        api.send(request.header("Idempotency-Key", "import")).await.expect(201).json()
    };
    assert_eq!(again().await, again().await);
    assert_eq!(own_names(&api, &ann).await.len(), 3);
}

async fn exported_playlist_is_imported_again(chorus: &Chorus) {
    let songs = songs(chorus, 2).await;
    let [x, y] = &songs[..] else { unreachable!() };
    let list = Playlist::new(chorus, true).await;
    list.add(&[x, y, x], &json!({})).await;
    let m3u8 = list.api.get(&format!("{}/export", list.path)).await.expect(200);
    assert_eq!(m3u8.header("content-type"), Some("audio/mpegurl"));
    let name = format!("attachment; filename=\"playlist-{}.m3u8\"", list.id());
    assert_eq!(m3u8.header("content-disposition"), Some(name.as_str()));
    let text = m3u8.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["#EXTM3U", "#PLAYLIST:Road"]);
    assert!(lines[2].starts_with("#EXTINF:31,singer"), "{text}");
    assert_eq!(lines[3], format!("{}/v1/songs/{x}/stream", chorus.url()));
    assert_eq!(list.api.get(lines[3]).await.expect(200).body.len(), 44 + 31 * 8000);
    let jspf = list.api.get(&format!("{}/export?format=jspf", list.path)).await.expect(200);
    let document = &jspf.json()["playlist"];
    assert_eq!((&document["title"], &document["creator"]), (&json!("Road"), &json!(list.owner.username)));
    assert_eq!(
        (&document["annotation"], &document["track"][1]["duration"]),
        (&json!("Long"), &json!(31_000))
    );
    list.api.get(&format!("{}/export?format=xspf", list.path)).await.problem(400, "malformed");
    for file in [m3u8.body, jspf.body] {
        let imported = import(&list.api, &list.owner, "", file).await.expect(201).json();
        assert_eq!((&imported["name"], &imported["skipped_entries"]), (&json!("Road"), &json!(0)));
        let path = format!("{PLAYLISTS}/{}/entries", imported["id"].as_str().unwrap());
        let page = list.api.get_as(&list.owner, &path).await.expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        assert_eq!(items.map(|item| &item["song"]["id"]).collect::<Vec<_>>(), [x, y, x]);
    }
}

async fn public_playlists_are_searched(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let name = fresh("Tide");
    let (public, private) =
        (create(&api, &ann, &format!("{name} out"), true).await, create(&api, &ann, &name, false).await);
    let search = async || {
        let request = api.request(Method::GET, "/v1/search").query(&[("q", &name)]);
        api.send(request).await.expect(200).json()
    };
    // Another projection than that of the receipt.
    chorus.settle().await.unwrap();
    let found = search().await;
    assert_eq!(found["playlists"][0]["id"], json!(public), "{found}");
    assert_eq!(
        (&found["playlists"][0]["owner"]["id"], found["playlists"].as_array().unwrap().len()),
        (&json!(ann.id), 1)
    );
    api.patch_as(&ann, &format!("{PLAYLISTS}/{private}"), &json!({ "public": true })).await.expect(200);
    api.delete_as(&ann, &format!("{PLAYLISTS}/{public}")).await.expect(200);
    chorus.settle().await.unwrap();
    let found = search().await;
    assert_eq!(found["playlists"][0]["id"], json!(private), "{found}");
    assert_eq!(found["playlists"].as_array().unwrap().len(), 1);
    api.post_as(&ann, "/v1/me/deactivation", &json!({ "current_password": PASSWORD })).await.expect(200);
    chorus.settle().await.unwrap();
    assert_eq!(search().await["playlists"], json!([]));
}

async fn erase(api: &Api, user: &User) {
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&user.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
}

async fn playlists_of_an_erased_owner_are_gone(chorus: &Chorus) {
    let song = songs(chorus, 1).await.remove(0);
    let list = Playlist::new(chorus, true).await;
    let (api, bob) = (chorus.api(), chorus.api().sign_up("bob").await);
    let shared = create(&api, &bob, "Shared", true).await;
    for (owner, path, member) in
        [(&list.owner, &list.path, &bob), (&bob, &format!("{PLAYLISTS}/{shared}"), &list.owner)]
    {
        api.put_as(owner, &format!("{path}/collaborators/{}", member.id)).await.expect(200);
        api.post_as(member, &format!("{path}/entries"), &json!({ "songs": [song] })).await.expect(200);
    }
    assert_eq!(own_names(&api, &bob).await, ["Road", "Shared"]);
    erase(&api, &list.owner).await;
    chorus.settle().await.unwrap();
    // The playlist is gone for its collaborator, too.
    for below in ["", "/entries", "/history", "/export"] {
        api.get_as(&bob, &format!("{}{below}", list.path)).await.problem(404, "not-found");
    }
    let songs = json!({ "songs": [song] });
    api.post_as(&bob, &format!("{}/entries", list.path), &songs).await.problem(404, "not-found");
    assert_eq!(own_names(&api, &bob).await, ["Shared"]);
    // What the erased user has added to the playlist of another user stays without a name.
    let path = format!("{PLAYLISTS}/{shared}");
    let shown = api.get(&path).await.expect(200).json();
    assert_eq!((&shown["entries"], &shown["collaborators"]), (&json!(1), &json!([])));
    let page = api.get(&format!("{path}/entries")).await.expect(200).json();
    assert_eq!(
        (&page["items"][0]["song"]["id"], &page["items"][0]["added_by"]),
        (&json!(song), &Value::Null)
    );
    let history = api.all_pages(&format!("{path}/history")).await;
    assert_eq!((&history[0]["by"], &history[1]["collaborator"]), (&Value::Null, &Value::Null));
    // The log has the name, but nobody can read it.
    let log = chorus.log().await.unwrap();
    let events = log.read(Subject::Playlist(list.id().parse().unwrap()), Position::START).await.unwrap();
    let Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCreated(created))) = &events[0].event else {
        panic!("{:?}", events[0].event)
    };
    assert!(matches!(created.details, Personal::Erased), "{:?}", created.details);
}

async fn put_cover(api: &Api, user: &User, path: &str, side: u32) -> Answer {
    let request = api.request(Method::PUT, &format!("{path}/cover")).bearer_auth(&user.token);
    let request = request.header("content-type", "application/octet-stream");
    api.send(request.body(png(side, side))).await
}

/// The number of stored files of the picture at a URL.
async fn stored(chorus: &Chorus, url: &str) -> usize {
    let picture = url.split('/').rev().nth(1).unwrap().to_owned();
    let listed: Vec<Listed> = chorus.media().await.unwrap().list().try_collect().await.unwrap();
    listed.iter().filter(|file| file.name.contains(&picture)).count()
}

async fn cover_of_a_playlist_is_set_by_its_owner_and_deleted_with_it(chorus: &Chorus) {
    let Playlist { api, owner, path } = Playlist::new(chorus, true).await;
    let (editor, stranger) = (api.sign_up("bob").await, api.sign_up("cat").await);
    api.put_as(&owner, &format!("{path}/collaborators/{}", editor.id)).await.expect(200);
    let cover = async || api.get(&path).await.expect(200).json()["cover"].clone();
    assert_eq!(cover().await, Value::Null);
    for refused in [&editor, &stranger] {
        put_cover(&api, refused, &path, 40).await.problem(403, "forbidden");
        api.delete_as(refused, &format!("{path}/cover")).await.problem(403, "forbidden");
    }
    let nothing = format!("{PLAYLISTS}/00000000000070008000000000000000");
    put_cover(&api, &owner, &nothing, 40).await.problem(404, "not-found");

    let set = put_cover(&api, &owner, &path, 40).await.expect(200).json();
    assert_eq!((&set["changed"], &set["cover"]), (&json!(true), &cover().await));
    let first = set["cover"]["large"].as_str().unwrap().to_owned();
    for size in ["large", "small"] {
        api.get(set["cover"][size].as_str().unwrap()).await.expect(200);
    }
    for list in ["/v1/me/playlists".to_owned(), format!("/v1/users/{}/playlists", owner.id)] {
        let listed = api.get_as(&owner, &list).await.expect(200).json();
        assert_eq!(listed["items"][0]["cover"], set["cover"], "{list}");
    }
    let history = api.get(&format!("{path}/history")).await.expect(200).json();
    assert_eq!(history["items"][0]["change"], "cover_changed");

    let second = put_cover(&api, &owner, &path, 50).await.expect(200).json();
    let second = second["cover"]["large"].as_str().unwrap().to_owned();
    api.get(&first).await.problem(404, "not-found");
    until("the replaced cover is deleted", async || stored(chorus, &first).await == 0).await;
    assert_eq!(stored(chorus, &second).await, 2);
    assert_eq!(api.delete_as(&owner, &format!("{path}/cover")).await.expect(200).json()["changed"], true);
    assert_eq!(api.delete_as(&owner, &format!("{path}/cover")).await.expect(200).json()["changed"], false);
    assert_eq!(cover().await, Value::Null);

    let third = put_cover(&api, &owner, &path, 60).await.expect(200).json();
    let third = third["cover"]["large"].as_str().unwrap().to_owned();
    api.delete_as(&owner, &path).await.expect(200);
    api.get(&third).await.problem(404, "not-found");
    until("covers are deleted", async || stored(chorus, &second).await + stored(chorus, &third).await == 0)
        .await;
    put_cover(&api, &owner, &path, 40).await.problem(409, "playlist-deleted");
}

async fn covers_of_playlists_of_an_erased_owner_are_deleted(chorus: &Chorus) {
    let Playlist { api, owner, path } = Playlist::new(chorus, true).await;
    let set = put_cover(&api, &owner, &path, 40).await.expect(200).json();
    let cover = set["cover"]["large"].as_str().unwrap().to_owned();
    api.get(&cover).await.expect(200);
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&owner.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    until("the cover is not delivered", async || api.get(&cover).await.status == 404).await;
    until("the cover is deleted", async || stored(chorus, &cover).await == 0).await;
}
