use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc, Weekday};
use events::{
    ChartDayClosed, Day, Draft, Event, EventId, ListenEvent, MusicEvent, PairCount, Position, Recorded,
    SongCount, SongId, Subject, time_ordered_id,
};
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};
use uuid::Uuid;

use crate::library::{Song, publish};

crate::journeys! {
    plays_count_once_and_by_the_rule,
    offline_plays_are_reported_together,
    history_is_visible_to_its_user_only,
    plays_are_deleted_one_by_one_by_span_and_all,
    private_session_records_nothing,
    erased_user_leaves_no_readable_play,
    charts_and_recommendations_come_from_closed_days,
}

const PLAYS: &str = "/v1/me/plays";
const SESSION: &str = "/v1/me/private-session";

async fn song(api: &Api, publisher: &User) -> Song {
    publish(api, publisher, "public", 31).await
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn play(song: &Song, started: DateTime<Utc>, listened: i64) -> Value {
    json!({ "song": song.id, "started_at": text(started), "listened_ms": listened })
}

/// Reports plays; returns what became of each.
async fn report(api: &Api, user: &User, plays: &[Value]) -> Vec<Value> {
    let answer = api.post_as(user, PLAYS, &json!({ "plays": plays })).await.expect(200).json();
    answer["plays"].as_array().unwrap().clone()
}

async fn statuses(api: &Api, user: &User, plays: &[Value]) -> Vec<String> {
    let name = |play: &Value| match play["reason"].as_str() {
        Some(reason) => reason.to_owned(),
        None => play["status"].as_str().unwrap().to_owned(),
    };
    report(api, user, plays).await.iter().map(name).collect()
}

/// Starts of the plays in a user's history, checked against the count of the year.
async fn starts(api: &Api, user: &User) -> Vec<DateTime<Utc>> {
    let page = api.get_as(user, &format!("{PLAYS}?limit=100")).await.expect(200).json();
    let items = page["items"].as_array().unwrap();
    let top = api.get_as(user, "/v1/me/top/songs").await.expect(200).json();
    let counted: i64 =
        top["items"].as_array().unwrap().iter().map(|song| song["plays"].as_i64().unwrap()).sum();
    assert_eq!(usize::try_from(counted).unwrap(), items.len());
    items.iter().map(|play| play["started_at"].as_str().unwrap().parse().unwrap()).collect()
}

fn now() -> DateTime<Utc> {
    let now = SystemClock.now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap()
}

async fn plays_count_once_and_by_the_rule(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let long = song(&api, &ann).await;
    let short = publish(&api, &ann, "public", 30).await;
    let started = now() - TimeDelta::minutes(5);
    let early = "2001-12-31T23:59:59Z".parse().unwrap();
    let plays = [
        play(&long, started, 15_500),
        play(&long, started, 31_000),
        play(&long, started + TimeDelta::seconds(20), 31_000),
        play(&long, started - TimeDelta::hours(1), 15_499),
        play(&short, started, 30_000),
        play(&long, early, 31_000),
        play(&long, DateTime::UNIX_EPOCH, 31_000),
        play(&long, now() + TimeDelta::hours(1), 31_000),
        json!({ "song": tests::routes::NOTHING, "started_at": text(started), "listened_ms": 31_000 }),
    ];
    let expected = [
        "counted",
        "already-known",
        "already-known",
        "too-short",
        "too-short",
        "too-early",
        "too-early",
        "in-future",
        "unknown-song",
    ];
    assert_eq!(statuses(&api, &ann, &plays).await, expected);
    assert_eq!(statuses(&api, &ann, &plays[..1]).await, ["already-known"]);
    assert_eq!(starts(&api, &ann).await, [started]);
    for bad in [json!([]), json!(vec![plays[0].clone(); 501])] {
        let answer = api.post_as(&ann, PLAYS, &json!({ "plays": bad })).await;
        assert!([413, 422].contains(&answer.status.as_u16()), "{}", answer.text());
    }
    // Nobody else's play is the same play.
    let bob = api.sign_up("bob").await;
    assert_eq!(statuses(&api, &bob, &plays[..1]).await, ["counted"]);
}

async fn offline_plays_are_reported_together(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let (one, other) = (song(&api, &ann).await, song(&api, &ann).await);
    let first: DateTime<Utc> = "2024-12-30T12:00:00Z".parse().unwrap();
    let plays: Vec<Value> = (0..120)
        .map(|n| play(if n % 3 == 0 { &other } else { &one }, first + TimeDelta::hours(n), 31_000))
        .collect();
    assert_eq!(statuses(&api, &ann, &plays).await, vec!["counted"; 120]);
    assert_eq!(statuses(&api, &ann, &plays).await, vec!["already-known"; 120]);
    let year = api.get_as(&ann, "/v1/me/years/2024").await.expect(200).json();
    assert_eq!((&year["plays"], &year["minutes"]), (&json!(36), &json!(18)));
    assert_eq!(year["first"]["started_at"], "2024-12-30T12:00:00Z");
    assert_eq!(year["last"]["started_at"], "2024-12-31T23:00:00Z");
    let top = &year["songs"][0];
    assert_eq!((&top["song"]["id"], &top["plays"]), (&json!(one.id), &json!(24)));
    assert_eq!(year["artists"][0]["artist"]["id"], one.artist.as_str());
    let year = api.get_as(&ann, "/v1/me/years/2025").await.expect(200).json();
    assert_eq!(year["plays"], 84);
    let none = api.get_as(&ann, "/v1/me/years/2023").await.expect(200).json();
    assert_eq!((&none["plays"], &none["first"], &none["last"]), (&json!(0), &Value::Null, &Value::Null));
    for bad in ["2001", "0", "10000", "x"] {
        let answer = api.get_as(&ann, &format!("/v1/me/years/{bad}")).await;
        assert_eq!(answer.problem(400, "malformed"), ["year"]);
    }
    let top = async |what: &str| api.get_as(&ann, &format!("/v1/me/top/{what}")).await.expect(200).json();
    let songs = top("songs").await;
    assert_eq!(songs["items"][0]["plays"], 80);
    assert_eq!(songs["items"][0]["last_played_at"], text(first + TimeDelta::hours(119)).replace(".000", ""));
    assert_eq!(top("artists").await["items"][1]["artist"]["id"], other.artist.as_str());
    let albums = top("albums").await;
    assert_eq!(
        (&albums["items"][1]["album"]["id"], &albums["items"][1]["plays"]),
        (&json!(other.album), &json!(40))
    );
}

async fn history_is_visible_to_its_user_only(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let song = song(&api, &ann).await;
    let started = now() - TimeDelta::minutes(5);
    let recorded = report(&api, &ann, &[play(&song, started, 31_000)]).await.remove(0);
    assert!(starts(&api, &bob).await.is_empty());
    let path =
        format!("{PLAYS}/{}?day={}", recorded["id"].as_str().unwrap(), recorded["day"].as_str().unwrap());
    api.delete_as(&bob, &path).await.problem(404, "not-found");
    for path in [PLAYS, "/v1/me/top/songs", "/v1/me/years/2026", "/v1/me/private-session"] {
        api.get(path).await.problem(401, "unauthenticated");
    }
    assert_eq!(starts(&api, &ann).await, [started]);
}

async fn plays_are_deleted_one_by_one_by_span_and_all(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = song(&api, &ann).await;
    let ago = |hours| now() - TimeDelta::hours(hours);
    let times: Vec<DateTime<Utc>> = (1..=5).map(ago).collect();
    let plays: Vec<Value> = times.iter().map(|started| play(&song, *started, 31_000)).collect();
    let recorded = report(&api, &ann, &plays).await;
    assert_eq!(starts(&api, &ann).await, times);
    let (id, day) = (recorded[0]["id"].as_str().unwrap(), recorded[0]["day"].as_str().unwrap());
    let delete = async |path: &str| api.delete_as(&ann, path).await;
    assert_eq!(delete(&format!("{PLAYS}/{id}?day={day}")).await.expect(200).json()["changed"], true);
    assert_eq!(delete(&format!("{PLAYS}/{id}?day={day}")).await.expect(200).json()["changed"], false);
    delete(&format!("{PLAYS}/{id}?day=2003-01-01")).await.problem(404, "not-found");
    assert_eq!(delete(&format!("{PLAYS}/{id}")).await.problem(400, "malformed"), ["day"]);
    assert_eq!(delete(&format!("{PLAYS}/{id}?day=x")).await.problem(400, "malformed"), ["day"]);
    assert_eq!(starts(&api, &ann).await, times[1..]);
    // A deleted play does not come back.
    assert_eq!(statuses(&api, &ann, &plays[..1]).await, ["already-known"]);
    let span = format!("{PLAYS}?from={}&until={}", text(times[3]), text(times[1]));
    delete(&span).await.expect(200);
    assert_eq!(starts(&api, &ann).await, [times[1], times[4]]);
    let empty = format!("{PLAYS}?from={}&until={}", text(times[1]), text(times[3]));
    assert_eq!(delete(&empty).await.problem(422, "invalid"), ["from"]);
    delete(PLAYS).await.expect(200);
    assert!(starts(&api, &ann).await.is_empty());
    assert_eq!(api.get_as(&ann, &format!("/v1/me/years/{}", &day[..4])).await.expect(200).json()["plays"], 0);
    assert_eq!(statuses(&api, &ann, &[play(&song, ago(7), 31_000)]).await, ["counted"]);
    assert_eq!(starts(&api, &ann).await.len(), 1);
}

async fn private_session_records_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = song(&api, &ann).await;
    let until = async || api.get_as(&ann, SESSION).await.expect(200).json()["until"].clone();
    assert_eq!(until().await, Value::Null);
    for minutes in [0, 1441] {
        let answer = api.put_json_as(&ann, SESSION, &json!({ "minutes": minutes })).await;
        assert_eq!(answer.problem(422, "invalid"), ["minutes"]);
    }
    api.put_json_as(&ann, SESSION, &json!({})).await.expect(200);
    api.put_json_as(&ann, SESSION, &json!({ "minutes": 60 })).await.expect(200);
    let end: DateTime<Utc> = until().await.as_str().unwrap().parse().unwrap();
    assert!((TimeDelta::minutes(55)..=TimeDelta::minutes(60)).contains(&(end - now())), "{end}");
    let during = play(&song, now(), 31_000);
    assert_eq!(statuses(&api, &ann, std::slice::from_ref(&during)).await, ["private-session"]);
    assert_eq!(api.delete_as(&ann, SESSION).await.expect(200).json()["changed"], true);
    assert_eq!(api.delete_as(&ann, SESSION).await.expect(200).json()["changed"], false);
    assert_eq!(until().await, Value::Null);
    assert_eq!(statuses(&api, &ann, &[during]).await, ["private-session"], "also later");
    let before = play(&song, now() - TimeDelta::hours(1), 31_000);
    assert_eq!(statuses(&api, &ann, &[before]).await, ["counted"]);
    assert_eq!(starts(&api, &ann).await.len(), 1);
}

async fn erased_user_leaves_no_readable_play(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let song = song(&api, &ann).await;
    let started = now() - TimeDelta::minutes(5);
    assert_eq!(statuses(&api, &bob, &[play(&song, started, 31_000)]).await, ["counted"]);
    let subject = Subject::Listen(bob.id.parse().unwrap(), Day::of(started));
    // A new reader each time: none has seen the key before.
    let is_readable = async || {
        let events = chorus.log().await.unwrap().read(subject, Position::START).await.unwrap();
        match &events[..] {
            [Recorded { event: Event::Music(MusicEvent::Listen(ListenEvent::SongPlayed(play))), .. }] => {
                play.played.open().is_some()
            }
            other => panic!("one play: {other:?}"),
        }
    };
    assert!(is_readable().await);
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&bob.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    chorus.settle().await.unwrap();
    assert!(!is_readable().await);
}

/// Appends a part of a closed day.
async fn close(chorus: &Chorus, event: ChartDayClosed) {
    let now = SystemClock.now();
    let draft = Draft {
        id: EventId::new(time_ordered_id(now)),
        time: now,
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    chorus.log().await.unwrap().append(draft, Position::START).await.unwrap();
    chorus.settle().await.unwrap();
}

async fn charts_and_recommendations_come_from_closed_days(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let (one, other) = (song(&api, &ann).await, song(&api, &ann).await);
    let private = publish(&api, &ann, "private", 31).await;
    // A day that no other journey closes.
    let first: DateTime<Utc> = "2003-01-01T00:00:00Z".parse().unwrap();
    let day = Day::of(first + TimeDelta::days(i64::from(rand::random::<u16>() % 5000)));
    let id = |song: &Song| -> SongId { song.id.parse().unwrap() };
    let count = |song: &Song, plays| SongCount { song: id(song), plays, listeners: 4 };
    let songs = vec![count(&one, 4), count(&other, 6), count(&private, 9)];
    let pairs = vec![PairCount { first: id(&one), second: id(&other), listeners: 3 }];
    close(chorus, ChartDayClosed { day, part: 0, parts: 1, songs, pairs }).await;

    let monday = Day::new(day.date().week(Weekday::Mon).first_day());
    for path in [format!("/v1/charts/{day}"), format!("/v1/charts/weeks/{monday}")] {
        let chart = api.get_as(&ann, &path).await.expect(200).json();
        let shown: Vec<(&Value, &Value)> = chart["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (&item["song"]["id"], &item["plays"]))
            .collect();
        let (one, other) = (json!(one.id), json!(other.id));
        assert_eq!(shown, [(&other, &json!(6)), (&one, &json!(4))], "private songs are in no chart");
    }
    let empty = api.get("/v1/charts/2002-01-01").await.expect(200).json();
    assert_eq!(empty["items"], json!([]));
    let tuesday = monday.date().succ_opt().unwrap();
    assert_eq!(tuesday.weekday(), Weekday::Tue);
    let answer = api.get(&format!("/v1/charts/weeks/{tuesday}")).await;
    assert_eq!(answer.problem(400, "malformed"), ["monday"]);

    let recommended = async |limit: usize| -> Vec<Value> {
        let path = format!("/v1/me/recommendations?limit={limit}");
        api.get_as(&ann, &path).await.expect(200).json()["items"].as_array().unwrap().clone()
    };
    let new = recommended(50).await;
    assert!(new.iter().all(|item| item["reason"]["kind"] != "because"), "nothing is known of the user");
    api.put_as(&ann, &format!("/v1/songs/{}/like", one.id)).await.expect(200);
    let items = recommended(2).await;
    assert_eq!(items[0]["song"]["id"], other.id.as_str());
    assert_eq!(items[0]["reason"]["kind"], "because");
    assert_eq!(items[0]["reason"]["because"]["id"], one.id.as_str());
    assert!(items[1]["reason"]["because"].is_null());
    // Songs that were played lately are not recommended.
    let started = now() - TimeDelta::minutes(5);
    assert_eq!(statuses(&api, &ann, &[play(&other, started, 31_000)]).await, ["counted"]);
    let items = recommended(50).await;
    assert!(
        items
            .iter()
            .all(|item| item["song"]["id"] != other.id.as_str() && item["song"]["id"] != one.id.as_str())
    );
}
