//! SpotifyMERN's calls, from the origin of the app in a real browser.

use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::fresh;

use crate::browser::{Browser, Pages};

#[tokio::test(flavor = "multi_thread")]
async fn spotifymern_page_signs_up_lists_searches_and_plays() {
    let pages = Pages::serve().await;
    let chorus = Chorus::standalone_with(&[("CHORUS_SPOTIFYMERN_URL", &pages.origin())]).await.unwrap();
    chorus.run_cli(&["demo", "--url", chorus.url(), "--people", "2", "--posts", "1"]).unwrap();
    chorus.settle().await.unwrap();

    let username = fresh("ann");
    let input = json!({ "api": chorus.url(), "username": username });
    let browser = Browser::open(&pages, "spotifymern.html", &input).unwrap();
    let report = pages.report(&browser).await;
    assert!(report["error"].is_null(), "{report}");
    let steps = report["steps"].as_array().unwrap();
    let found = |name: &str| -> Vec<&Value> {
        steps.iter().filter(|step| step["name"] == name).map(|step| &step["found"]).collect()
    };
    assert_eq!(found("sign up"), [&json!("You've signed up successfully.")]);
    assert_eq!(found("log in"), [&json!(format!("Wellcome back {username}!"))]);
    assert_eq!(found("current user"), [&json!(username)]);
    assert_eq!(found("categories"), [&json!(["AMBIENT", "ELECTRONIC", "FOLK"])]);
    assert_eq!(found("search"), [&json!(["Low Water"])]);
    let names = found("lists")[0].as_array().unwrap();
    assert_eq!(names.len(), 8, "{report}");
    let played = found("play");
    assert_eq!(played.len(), 8, "{report}");
    for song in played {
        let (duration, at) = (song["duration"].as_f64().unwrap(), song["at"].as_f64().unwrap());
        assert!((31.5..32.5).contains(&duration) && at > duration - 5.0, "{song}");
    }
}
