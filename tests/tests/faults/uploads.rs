//! Uploads and imports of audio: a killed server, two writers, a media store that takes no files, damaged files.

use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::{Chorus, Service};
use tests::client::{Answer, Api, User, fresh, sha256, tagged_wav, wav};
use tests::servers::fetched;
use tests::waiting;

async fn append(api: &Api, user: &User, upload: &str, offset: usize, part: &[u8]) -> Answer {
    let request = api.request(Method::PATCH, &format!("/v1/uploads/{upload}")).bearer_auth(&user.token);
    let request = request.header("upload-offset", offset.to_string());
    api.send(request.header("content-type", "application/octet-stream").body(part.to_vec())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_goes_on_after_the_server_was_killed() {
    let mut chorus = Chorus::standalone().await.unwrap();
    let artist = chorus.artist("singer").await;
    let (api, audio) = (chorus.api(), wav(&fresh("killed"), 31));
    let created = api.post_as(&artist, "/v1/uploads", &json!({ "size": audio.len() })).await.expect(201);
    let upload = created.id();
    append(&api, &artist, &upload, 0, &audio[..100_000]).await.expect(200);
    chorus.kill(Service::Chorus).unwrap();
    chorus.start_again(Service::Chorus).await.unwrap();

    let api = chorus.api();
    let path = format!("/v1/uploads/{upload}");
    assert_eq!(api.get_as(&artist, &path).await.expect(200).json()["offset"], 100_000);
    // Two writers of one upload: the bytes of one arrive, whatever the order.
    let (one, other) = tokio::join!(
        append(&api, &artist, &upload, 100_000, &audio[100_000..]),
        append(&api, &artist, &upload, 100_000, &audio[100_000..])
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    chorus.kill(Service::Chorus).unwrap();
    chorus.start_again(Service::Chorus).await.unwrap();

    let api = chorus.api();
    let checksum = json!({ "sha256": sha256(&audio) });
    api.post_as(&artist, &format!("{path}/finish"), &checksum).await.expect(200);
    let song = json!({ "upload": upload, "title": "Dawn", "artists": [{ "name": artist.username }] });
    let song = api.post_as(&artist, "/v1/songs", &song).await.expect(201).id();
    assert_eq!(api.get(&format!("/v1/songs/{song}/stream")).await.expect(200).body, audio);
    let left = std::fs::read_dir(chorus.folder().join("data/uploads")).unwrap().count();
    assert_eq!(left, 2, "the state of the upload and the count of stored bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_store_that_takes_no_files_publishes_no_song() {
    let chorus = Chorus::standalone().await.unwrap();
    let artist = chorus.artist("singer").await;
    let (api, audio) = (chorus.api(), wav(&fresh("full"), 31));
    let first = api.publish_song(&artist, "First").await;
    let upload = api.upload_audio(&artist, &audio).await;
    let song = json!({ "upload": upload, "title": "Dawn", "artists": [{ "name": artist.username }] });
    // A file where the store needs a folder.
    let media = chorus.folder().join("data/media");
    let (folder, aside) = (media.join("songs"), media.join("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "").unwrap();
    api.post_as(&artist, "/v1/songs", &song).await.problem(503, "unavailable");
    chorus.settle().await.unwrap();
    let songs = api.get("/v1/songs").await.expect(200).json()["items"].clone();
    assert_eq!((songs.as_array().unwrap().len(), &songs[0]["id"]), (1, &json!(first)), "{songs}");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    let song = api.post_as(&artist, "/v1/songs", &song).await.expect(201).id();
    assert_eq!(api.get(&format!("/v1/songs/{song}/stream")).await.expect(200).body, audio);
    chorus.run_cli(&["media", "audit"]).unwrap();
}

/// The test sets of mutagen and beets, with many damaged files: every file is a song or is refused with a reason, and a refused
/// one leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_refused_one_by_one_and_leave_nothing_behind() {
    let chorus = Chorus::standalone().await.unwrap();
    let admin = chorus.api().sign_up("importer").await;
    chorus.run_cli(&["grant", &admin.username, "admin"]).unwrap();
    let folder = fetched("audio", "audio/list.json").unwrap().parent().unwrap().canonicalize().unwrap();
    let import = || {
        let printed =
            chorus.run_cli(&["import", folder.to_str().unwrap(), "--as", &admin.username, "--json"]);
        serde_json::from_str::<Value>(&printed.unwrap()).unwrap()
    };
    let report = import();
    let refused = report["refused"].as_array().unwrap();
    let counts = ["new", "same", "retagged", "moved", "files"].map(|name| report[name].as_u64().unwrap());
    let [new, same, retagged, moved, files] = counts;
    assert_eq!((new + same + refused.len() as u64, retagged, moved), (files, 0, 0), "{report}");
    assert!(new > 20 && refused.len() > 40, "{report}");
    for refused in refused {
        let reason = refused["reason"].as_str().unwrap();
        assert!(reason.len() > 10 && !reason.contains("crashed"), "{refused}");
    }
    let again = import();
    assert_eq!((&again["same"], &again["new"]), (&json!(new + same), &json!(0)), "{again}");
    chorus.settle().await.unwrap();
    // Files of one album store its cover at the same time; the one that is not taken is collected after the grace period.
    chorus.run_cli(&["media", "audit"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_import_reports_what_it_did_and_goes_on() {
    const FILES: u64 = 1000;
    let chorus = Chorus::standalone().await.unwrap();
    let artist = chorus.artist("importer").await;
    let folder = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        let title = format!("Song {n}");
        std::fs::write(folder.path().join(format!("{n}.wav")), tagged_wav(&title, 1, &title, "Ann", "Many"))
            .unwrap();
    }
    let arguments = ["import", folder.path().to_str().unwrap(), "--as", &artist.username, "--json"];
    let import = chorus.cli(&arguments).unwrap().stdout(Stdio::piped()).spawn().unwrap();
    let record = chorus.folder().join("data/imported.jsonl");
    let has_started = async || std::fs::read_to_string(&record).is_ok_and(|lines| lines.lines().count() > 10);
    waiting::until("the import to start", has_started).await;
    Command::new("kill").args(["-INT", &import.id().to_string()]).status().unwrap();
    let output = import.wait_with_output().unwrap();
    assert!(!output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let new = report["new"].as_u64().unwrap();
    assert_eq!((&report["complete"], &report["refused"]), (&json!(false), &json!([])), "{report}");
    assert!(0 < new && new < FILES, "{report}");
    let again: Value = serde_json::from_str(&chorus.run_cli(&arguments).unwrap()).unwrap();
    let counts = [&again["complete"], &again["same"], &again["new"]];
    assert_eq!(counts, [&json!(true), &json!(new), &json!(FILES - new)], "{again}");
}
