use std::path::{Path, PathBuf};

use events::{Filter, Kind, Position};
use serde_json::Value;
use tests::chorus::Chorus;
use tests::client::{PASSWORD, User, fresh, png, tagged_wav, wav, wav_with_tags};

crate::journeys! {
    folders_are_imported,
}

/// One after the other: a deployment has one record of imports.
async fn folders_are_imported(chorus: &Chorus) {
    folder_is_imported_once_and_moved_and_retagged_files_keep_their_songs(chorus).await;
    sampler_without_album_artist_is_one_album(chorus).await;
    one_differing_year_does_not_split_an_album(chorus).await;
    picture_of_a_folder_becomes_the_cover(chorus).await;
}

fn run(chorus: &Chorus, folder: &Path, user: &User, more: &[&str]) -> Value {
    let arguments = ["import", folder.to_str().unwrap(), "--as", &user.username, "--json"];
    let printed = chorus.run_cli(&[&arguments[..], more].concat()).unwrap();
    serde_json::from_str(&printed).unwrap()
}

fn counts(report: &Value) -> [u64; 5] {
    let count = |name: &str| report[name].as_u64().unwrap();
    let refused = report["refused"].as_array().unwrap().len() as u64;
    [count("new"), count("same"), count("retagged"), count("moved"), refused]
}

/// The only song with a title.
async fn song_of(chorus: &Chorus, title: &str) -> Value {
    chorus.settle().await.unwrap();
    let api = chorus.api();
    let request = api.request(reqwest::Method::GET, "/v1/search").query(&[("q", title)]);
    let found = api.send(request).await.expect(200).json()["songs"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1, "{title}: {found}");
    found[0].clone()
}

async fn album_of(chorus: &Chorus, title: &str) -> String {
    song_of(chorus, title).await["album"]["id"].as_str().unwrap().to_owned()
}

/// The number of catalogue events that an account has caused.
async fn events_of(chorus: &Chorus, user: &User) -> usize {
    let log = chorus.raw_log().await.unwrap();
    let (head, user) = (log.head().await.unwrap(), Some(user.id.parse().unwrap()));
    let kinds = [Kind::Song, Kind::Album, Kind::Artist, Kind::ArtistLink];
    let mut follow = log.follow(Filter::kinds(&kinds), Position::START);
    let (mut count, mut passed) = (0, Position::START);
    while passed < head {
        let batch = follow.next_batch(500).await.unwrap().unwrap();
        count += batch.events.iter().filter(|stored| stored.message.envelope.actor == user).count();
        passed = batch.passed;
    }
    count
}

async fn folder_is_imported_once_and_moved_and_retagged_files_keep_their_songs(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("importer").await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let path = |name: &str| -> PathBuf { root.join(name) };
    let (singer, title) = (fresh("Singer"), fresh("Tide"));
    std::fs::create_dir(path("disc")).unwrap();
    std::fs::write(path("a.wav"), tagged_wav(&title, 31, &title, &singer, "First")).unwrap();
    let second = fresh("Ebb");
    std::fs::write(path("disc/b.wav"), tagged_wav(&second, 31, &second, &singer, "First")).unwrap();
    std::fs::write(path("broken.flac"), b"fLaC and nothing more").unwrap();
    std::fs::write(path("untagged.wav"), wav(&fresh("untagged"), 31)).unwrap();
    std::fs::write(path("cover.jpg"), b"no audio").unwrap();

    let dry = run(chorus, root, &artist, &["--dry-run"]);
    assert_eq!((counts(&dry), events_of(chorus, &artist).await), ([2, 0, 0, 0, 2], 0), "{dry}");
    let first = run(chorus, root, &artist, &[]);
    assert_eq!((counts(&first), &first["complete"]), ([2, 0, 0, 0, 2], &Value::Bool(true)), "{first}");
    assert_eq!((&first["others"], &first["files"]), (&1.into(), &4.into()));
    let reasons = first["refused"].to_string();
    assert!(reasons.contains("title is required"), "{reasons}");

    chorus.settle().await.unwrap();
    let find = async |title: &str| {
        let request = api.request(reqwest::Method::GET, "/v1/search").query(&[("q", title)]);
        api.send(request).await.expect(200).json()["songs"].clone()
    };
    let songs = find(&title).await;
    let song = songs[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(songs.as_array().unwrap().len(), 1, "{songs}");
    let streamed = api.get(&format!("/v1/songs/{song}/stream")).await.expect(200).body;
    assert_eq!(streamed, std::fs::read(path("a.wav")).unwrap());

    // Nothing has changed: with and without the record of the first import.
    let before = events_of(chorus, &artist).await;
    assert_eq!(before, 5, "an artist with its manager, an album and two songs");
    for _ in 0..2 {
        let again = run(chorus, root, &artist, &[]);
        assert_eq!((counts(&again), events_of(chorus, &artist).await), ([0, 2, 0, 0, 2], before), "{again}");
        std::fs::remove_file(chorus.folder().join("data/imported.jsonl")).unwrap();
    }
    run(chorus, root, &artist, &[]);

    // One file is moved, the other's tags name another album and title.
    std::fs::rename(path("disc/b.wav"), path("c.wav")).unwrap();
    let new_title = fresh("Flood");
    std::fs::write(path("a.wav"), tagged_wav(&title, 31, &new_title, &singer, "Second")).unwrap();
    let third = run(chorus, root, &artist, &[]);
    assert_eq!(counts(&third), [0, 0, 1, 1, 2], "{third}");
    chorus.settle().await.unwrap();
    let shown = api.get(&format!("/v1/songs/{song}")).await.expect(200).json();
    assert_eq!((&shown["title"], &shown["album"]["title"]), (&new_title.as_str().into(), &"Second".into()));
    assert_eq!(find(&new_title).await[0]["id"], song.as_str());
    assert_eq!(find(&second).await.as_array().unwrap().len(), 1, "the moved song is still one");

    // A copy in another album, beside the first file, is a song of its own.
    std::fs::write(path("copy.wav"), tagged_wav(&title, 31, &new_title, &singer, "Sampler")).unwrap();
    let fourth = run(chorus, root, &artist, &[]);
    assert_eq!(counts(&fourth), [1, 2, 0, 0, 2], "{fourth}");

    // A removed song stays removed.
    api.delete_as(&artist, &format!("/v1/songs/{song}")).await.expect(200);
    let before = events_of(chorus, &artist).await;
    let fifth = run(chorus, root, &artist, &[]);
    assert_eq!((counts(&fifth), events_of(chorus, &artist).await), ([0, 2, 0, 0, 3], before), "{fifth}");

    let listener = api.sign_up("listener").await;
    let refused = chorus.run_cli(&["import", root.to_str().unwrap(), "--as", &listener.username]);
    assert!(refused.unwrap_err().to_string().contains("Only artists and admins"));
}

async fn sampler_without_album_artist_is_one_album(chorus: &Chorus) {
    let api = chorus.api();
    let admin = api.sign_up("admin").await;
    chorus.run_cli(&["grant", &admin.username, "admin"]).unwrap();
    let admin = api.log_in(&admin, PASSWORD).await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let [ann, bob, cat] = ["Ann", "Bob", "Cat"].map(fresh);
    let [hits, still, late] = ["Hits", "Still", "Late"].map(fresh);
    let write = |album: &str, artist: &str, number: &str| -> String {
        let title = fresh("Song");
        std::fs::create_dir_all(root.join(album)).unwrap();
        let tags: [(&[u8; 4], &str); 4] =
            [(b"INAM", &title), (b"IART", artist), (b"IPRD", album), (b"ITRK", number)];
        std::fs::write(root.join(album).join(format!("{number}.wav")), wav_with_tags(&title, 31, &tags))
            .unwrap();
        title
    };
    let titles = [write(&hits, &ann, "1"), write(&hits, &bob, "2")];
    let of_ann = [write(&still, &ann, "1"), write(&still, &ann, "2")];
    let moved = write(&late, &ann, "1");
    let first = run(chorus, root, &admin, &[]);
    assert_eq!(counts(&first), [5, 0, 0, 0, 0], "{first}");
    let sampler = album_of(chorus, &titles[0]).await;
    assert_eq!(album_of(chorus, &titles[1]).await, sampler);
    let shown = api.get(&format!("/v1/albums/{sampler}")).await.expect(200).json();
    assert_eq!(
        (&shown["artists"][0]["name"], &shown["kind"]),
        (&"Various Artists".into(), &"compilation".into())
    );
    let own = album_of(chorus, &of_ann[0]).await;
    assert_eq!(album_of(chorus, &of_ann[1]).await, own);
    let shown = api.get(&format!("/v1/albums/{own}")).await.expect(200).json();
    assert_eq!(shown["artists"][0]["name"], ann.as_str());

    // Files that are added later find the others, and may make them a sampler.
    let (third, song) = (write(&hits, &cat, "3"), song_of(chorus, &moved).await["id"].clone());
    let second = write(&late, &bob, "2");
    let again = run(chorus, root, &admin, &[]);
    assert_eq!(counts(&again), [2, 4, 1, 0, 0], "{again}");
    assert_eq!(album_of(chorus, &third).await, sampler);
    assert_eq!(
        (album_of(chorus, &moved).await, song_of(chorus, &moved).await["id"].clone()),
        (album_of(chorus, &second).await, song)
    );
    let before = events_of(chorus, &admin).await;
    let last = run(chorus, root, &admin, &[]);
    assert_eq!((counts(&last), events_of(chorus, &admin).await), ([0, 7, 0, 0, 0], before), "{last}");
}

async fn one_differing_year_does_not_split_an_album(chorus: &Chorus) {
    let artist = chorus.artist("importer").await;
    let folder = tempfile::tempdir().unwrap();
    let (singer, album) = (fresh("Singer"), fresh("Album"));
    let write = |file: &str, year: &str| -> String {
        let (title, path) = (fresh("Song"), folder.path().join(file));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let tags: [(&[u8; 4], &str); 4] =
            [(b"INAM", &title), (b"IART", &singer), (b"IPRD", &album), (b"ICRD", year)];
        std::fs::write(path, wav_with_tags(&title, 31, &tags)).unwrap();
        title
    };
    let titles = [write("one/1.wav", "1990"), write("one/2.wav", "1990"), write("one/3.wav", "1991")];
    let other = write("two/1.wav", "1991");
    let first = run(chorus, folder.path(), &artist, &[]);
    assert_eq!(counts(&first), [4, 0, 0, 0, 0], "{first}");
    let id = album_of(chorus, &titles[0]).await;
    for title in &titles {
        assert_eq!(album_of(chorus, title).await, id);
    }
    let shown = chorus.api().get(&format!("/v1/albums/{id}")).await.expect(200).json();
    assert_eq!(shown["year"], 1990);
    assert_ne!(album_of(chorus, &other).await, id, "an album in another folder");

    // The album keeps its year when most files name another, with and without the record.
    let added = [write("one/4.wav", "1991"), write("one/5.wav", "1991")];
    let second = run(chorus, folder.path(), &artist, &[]);
    assert_eq!(counts(&second), [2, 4, 0, 0, 0], "{second}");
    for title in &added {
        assert_eq!(album_of(chorus, title).await, id);
    }
    let before = events_of(chorus, &artist).await;
    std::fs::remove_file(chorus.folder().join("data/imported.jsonl")).unwrap();
    let third = run(chorus, folder.path(), &artist, &[]);
    assert_eq!((counts(&third), events_of(chorus, &artist).await), ([0, 6, 0, 0, 0], before), "{third}");
}

async fn picture_of_a_folder_becomes_the_cover(chorus: &Chorus) {
    let artist = chorus.artist("importer").await;
    let folder = tempfile::tempdir().unwrap();
    let singer = fresh("Singer");
    let write = |file: &str, content: &[u8]| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let write_song = |file: &str, album: &str| -> String {
        let title = fresh("Song");
        write(file, &tagged_wav(&title, 31, &title, &singer, album));
        title
    };
    let [plain, broken, discs] = ["Plain", "Broken", "Discs"].map(fresh);
    write("plain/Front.PNG", &png(320, 320));
    write("broken/cover.jpg", b"no picture");
    write("discs/folder.png", &png(320, 320));
    write("discs/CD1/cover.png", &png(640, 640));
    let in_plain = write_song("plain/1.wav", &plain);
    let in_broken = write_song("broken/1.wav", &broken);
    let on_discs = [write_song("discs/CD1/1.wav", &discs), write_song("discs/CD2/1.wav", &discs)];
    let report = run(chorus, folder.path(), &artist, &[]);
    assert_eq!(counts(&report), [4, 0, 0, 0, 0], "{report}");

    let api = chorus.api();
    // Of a song, and of its album.
    let covers_of = async |title: &str| -> [Value; 2] {
        let song = song_of(chorus, title).await["id"].as_str().unwrap().to_owned();
        let song = api.get(&format!("/v1/songs/{song}")).await.expect(200).json();
        let album = format!("/v1/albums/{}", song["album"]["id"].as_str().unwrap());
        let album = api.get(&album).await.expect(200).json();
        [song["cover"]["large"].clone(), album["cover"]["large"].clone()]
    };
    let [cover, of_album] = covers_of(&in_plain).await;
    api.get(cover.as_str().unwrap()).await.expect(200);
    assert_eq!(cover, of_album);
    assert_eq!(covers_of(&in_broken).await, [Value::Null, Value::Null]);
    let [[of_disc, of_album], second] = [covers_of(&on_discs[0]).await, covers_of(&on_discs[1]).await];
    assert_eq!(second, [of_album.clone(), of_album.clone()], "one album");
    assert_ne!(of_disc, of_album, "the disc has a cover of its own");
    for picture in [of_disc, of_album] {
        api.get(picture.as_str().unwrap()).await.expect(200);
    }
}
