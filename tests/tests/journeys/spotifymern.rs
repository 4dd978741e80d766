//! The SpotifyMERN API as its pages use it: every request has the page's origin, and every response has what the pages need.
//! Messages and statuses are those of the app's own server.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, fresh};

crate::journeys! {
    spotifymern_signs_up_logs_in_and_reads_the_current_user,
    spotifymern_refuses_invalid_sign_ups_and_log_ins_with_its_texts,
    spotifymern_answers_empty_lists_without_songs_of_a_name,
    spotifymern_lists_searches_and_plays_songs,
    spotifymern_answers_only_pages_of_its_own_origin,
}

/// The default origin of the app.
const ORIGIN: &str = "https://spotifymern.vercel.app";
const PASSWORD: &str = "correct horse battery";

/// A browser that runs the app.
struct App {
    api: Api,
}

impl App {
    fn of(chorus: &Chorus) -> Self {
        Self { api: chorus.api() }
    }

    /// Asserts that a page can read the response, as JSON.
    async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        let mut request = self.api.request(method, &format!("/spotifymern{path}")).header("origin", ORIGIN);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.api.send(request).await;
        let text = answer.text();
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{} {text}", answer.status);
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{text}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{text}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None, None).await.expect(200).json()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, None, Some(body)).await
    }
}

fn sign_up(username: &str) -> Value {
    json!({
        "firstname": "Ann", "lastname": "L", "username": username,
        "email": format!("{username}@example.org"), "password": PASSWORD, "passwordConfirm": PASSWORD,
    })
}

fn message(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(body["status"], "fail", "{body}");
    (answer.status.as_u16(), body["message"].as_str().unwrap().to_owned())
}

async fn spotifymern_signs_up_logs_in_and_reads_the_current_user(chorus: &Chorus) {
    let app = App::of(chorus);
    let username = fresh("ann");
    let signed_up = app.post("/users/signup", &sign_up(&username)).await.expect(201);
    assert!(signed_up.header("set-cookie").unwrap().starts_with("jsonwebtoken="));
    let body = signed_up.json();
    assert_eq!(body["message"], "You've signed up successfully.");
    let user = &body["data"]["user"];
    assert_eq!(
        *user,
        json!({
            "_id": user["_id"], "firstname": "Ann", "lastname": "L", "username": username,
            "email": format!("{username}@example.org"), "likedSongs": [],
        })
    );
    let logged_in =
        app.post("/users/login", &json!({ "username": username, "password": PASSWORD })).await.expect(200);
    let body = logged_in.json();
    assert_eq!(body["message"], format!("Wellcome back {username}!"));
    assert_eq!(body["data"]["user"], *user);
    let token = body["token"].as_str().unwrap();
    let current = app.send(Method::GET, "/Users/Authorization/current-user/", Some(token), None).await;
    assert_eq!(current.expect(200).json()["data"]["user"], *user);
}

async fn spotifymern_refuses_invalid_sign_ups_and_log_ins_with_its_texts(chorus: &Chorus) {
    let app = App::of(chorus);
    let all = "Firstname is required. Lastname is required. Username is required. Email address is required. \
               Password is required. Please confirm your password.";
    assert_eq!(message(&app.post("/users/signup", &json!({})).await), (403, all.to_owned()));
    let username = fresh("bob");
    let with = |field: &str, value: &str| {
        let mut body = sign_up(&username);
        body[field] = json!(value);
        body
    };
    for (body, expected) in [
        (with("email", "bob"), "Invalid email address."),
        (with("password", "1234567"), "Password cannot be less than 8 characters. Password doesn't match."),
        (with("passwordConfirm", "other password"), "Password doesn't match."),
    ] {
        assert_eq!(message(&app.post("/users/signup", &body).await), (403, expected.to_owned()));
    }
    let long = "x".repeat(33);
    let mut body = with("password", &long);
    body["passwordConfirm"] = json!(long);
    let expected = "Password cannot be longer than 32 characters.";
    assert_eq!(message(&app.post("/users/signup", &body).await), (403, expected.to_owned()));
    // Usernames follow the rules of `/v1`.
    let (status, text) = message(&app.post("/users/signup", &with("username", "b b")).await);
    assert_eq!(status, 403);
    assert!(text.starts_with("Username may have letters"), "{text}");

    app.post("/users/signup", &sign_up(&username)).await.expect(201);
    let taken = app.post("/users/signup", &sign_up(&username)).await;
    assert_eq!(message(&taken), (409, "This user already exists.".to_owned()));
    for (body, expected) in [
        (json!({ "username": username }), (403, "Please type your @username and password.")),
        (
            json!({ "username": fresh("nobody"), "password": PASSWORD }),
            (404, "User not found. You can signup with that user."),
        ),
        (json!({ "username": username, "password": "wrong password" }), (401, "Password doesn't  match.")),
    ] {
        let (status, text) = message(&app.post("/users/login", &body).await);
        assert_eq!((status, text.as_str()), expected);
    }
    for (token, expected) in [
        (None, "You're not logged in. Please login."),
        (Some("null"), "Authentication failed. Please log in."),
        (Some("undefined"), "Authentication failed. Please log in."),
    ] {
        let answer = app.send(Method::GET, "/users/authorization/current-user", token, None).await;
        assert_eq!(message(&answer), (401, expected.to_owned()));
    }
    let guarded = app.send(Method::GET, "/users/nothing", None, None).await;
    assert_eq!(message(&guarded).0, 401);
    let unknown = app.send(Method::GET, "/musics/nothing?a=b", None, None).await;
    assert_eq!(message(&unknown), (404, "Unsupported URL: /spotifymern/musics/nothing?a=b".to_owned()));
}

async fn spotifymern_answers_empty_lists_without_songs_of_a_name(chorus: &Chorus) {
    let app = App::of(chorus);
    for path in ["/musics/search/no%20song%20has%20this", "/musics/search/("] {
        let body = app.get(path).await;
        assert_eq!(body, json!({ "status": "success", "results": 0, "data": { "musics": [] } }));
    }
    let body = app.get("/musics/category/no-such-category").await;
    assert_eq!(body, json!({ "status": "success", "data": { "musics": [] } }));
    for id in ["000000000000000000000000", "x", "00000000000000000000000000000000"] {
        let body = app.get(&format!("/musics/id/{id}")).await;
        assert_eq!(body, json!({ "status": "success", "data": { "music": null } }));
    }
}

async fn spotifymern_lists_searches_and_plays_songs(chorus: &Chorus) {
    let app = App::of(chorus);
    let artist = chorus.artist("singer").await;
    let title = fresh("Harbour Lights");
    let song = app.api.publish_song(&artist, &title).await;
    let music = app.get(&format!("/musics/id/{song}")).await["data"]["music"].clone();
    assert_eq!((&music["_id"], &music["name"]), (&json!(song), &json!(title)));
    assert!(music["singer"].is_string() && music["thumbnail"].is_string(), "{music}");
    for category in music["categories"].as_array().unwrap() {
        let listed = app.get(&format!("/musics/category/{}", category.as_str().unwrap())).await;
        assert!(listed["data"]["musics"].as_array().unwrap().contains(&music), "{listed}");
    }
    let part: String = title.chars().skip(2).collect::<String>().to_uppercase();
    let found = app.get(&format!("/musics/search/{}", part.replace(' ', "%20"))).await;
    assert_eq!(found["data"]["musics"], json!([music]));
    for (path, limit) in [("/musics/", 8), ("/musics/recommended", 5), ("/musics/all", 1000)] {
        let body = app.get(path).await;
        let musics = body["data"]["musics"].as_array().unwrap();
        assert_eq!(body["results"], musics.len());
        assert!((1..=limit).contains(&musics.len()), "{path}: {}", musics.len());
        let mut ids: Vec<&str> = musics.iter().map(|music| music["_id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), musics.len(), "{path} lists a song twice");
    }
    // The app has no route to like a song: its users like songs elsewhere.
    let second = app.api.publish_song(&artist, &fresh("Harbour Lights")).await;
    for liked in [&song, &second] {
        app.api.put_as(&artist, &format!("/v1/songs/{liked}/like")).await.expect(200);
    }
    let current = async || {
        let path = "/users/authorization/current-user";
        let answer = app.send(Method::GET, path, Some(&artist.token), None).await.expect(200);
        answer.json()["data"]["user"]["likedSongs"].clone()
    };
    assert_eq!(current().await, json!([song, second]));
    app.api.delete_as(&artist, &format!("/v1/songs/{second}")).await.expect(200);
    assert_eq!(current().await, json!([song]));
    let source = music["source"].as_str().unwrap();
    let path = &source[source.find("/v1/").unwrap()..];
    let played = app.api.send(app.api.request(Method::GET, path).header("range", "bytes=0-1")).await;
    assert_eq!(played.expect(206).body.len(), 2);
}

async fn spotifymern_answers_only_pages_of_its_own_origin(chorus: &Chorus) {
    let api = chorus.api();
    for (path, allowed) in [("/spotifymern/musics", true), ("/instamern/posts", false)] {
        let answer = api.send(api.request(Method::GET, path).header("origin", ORIGIN)).await;
        assert_eq!(answer.header("access-control-allow-origin").is_some(), allowed, "{path}");
    }
}
