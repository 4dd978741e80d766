//! Chorus on the open internet: rate limits, TLS, and secrets that are never printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;
use tests::chorus::{Chorus, Service};
use tests::client::{Api, PASSWORD, User};
use tests::waiting::found;
use web::tokens::SigningKeys;

/// Timeout of each wait.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_refuses_only_the_exceeding_client_and_recovers() {
    let settings = [
        // A burst of five, then one every 12 seconds.
        ("CHORUS_RATE_LIMIT", "5"),
        ("CHORUS_TRUSTED_HOPS", "1"),
        ("CHORUS_ALLOWED_ORIGINS", "https://app.example"),
    ];
    let chorus = Chorus::standalone_with(&settings).await.unwrap();
    let api = chorus.api();
    let ask = async |from: &str, path: &str| {
        let request = api.request(Method::GET, path).header("X-Forwarded-For", from);
        api.send(request.header("Origin", "https://app.example")).await
    };
    for left in (0..5).rev() {
        let answer = ask("1.1.1.1", "/v1/posts").await.expect(200);
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"address\";r={left};t=")));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"address\";q=5;w=60"));
    }
    let refused = ask("6.6.6.6, 1.1.1.1", "/v1/posts").await;
    refused.problem(429, "too-many-requests");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    ask("1.1.1.1", "/readyz").await.expect(200);
    ask("2.2.2.2", "/v1/posts").await.expect(200);
    let back = found(LIMIT, "requests are accepted again", async || {
        let answer = ask("1.1.1.1", "/v1/posts").await;
        (answer.status != 429).then_some(answer)
    })
    .await;
    back.expect(200);
}

/// Spellings of a name that normalise to the same name.
fn spellings(name: &str) -> Vec<String> {
    let full_width = |range: std::ops::RangeInclusive<char>| -> String {
        let widen =
            |c: char| char::from_u32(u32::from(c) + 0xfee0).filter(|_| range.contains(&c)).unwrap_or(c);
        name.chars().map(widen).collect()
    };
    vec![
        name.to_uppercase(),
        format!(" {name} "),
        full_width('a'..='a'),
        full_width('b'..='z'),
        full_width('0'..='9'),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_origin_is_logged_once_with_each_setting_that_allows_it() {
    let chorus = Chorus::standalone_with(&[("CHORUS_ALLOWED_ORIGINS", "https://app.example")]).await.unwrap();
    let api = chorus.api();
    let ask = async |path: &str, origin: &str| {
        let answer = api.send(api.request(Method::GET, path).header("Origin", origin)).await.expect(200);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert!(ask("/v1/posts", "https://app.example").await.is_some());
    assert!(ask("/v1/posts", chorus.url()).await.is_none());
    for _ in 0..2 {
        assert!(ask("/v1/posts", "https://other.example").await.is_none());
        assert!(ask("/instamern/posts", "https://app.example").await.is_none());
        assert!(ask("/spotifymern/musics", "https://other.example").await.is_none());
    }
    let printed = chorus.printed(Service::Chorus);
    let mut refusals: Vec<&str> =
        printed.lines().filter(|line| line.contains("may not call the API")).collect();
    refusals.sort_unstable_by_key(|line| (line.contains("SPOTIFYMERN"), line.contains("INSTAMERN")));
    let [other, app, music] = refusals[..] else { panic!("{refusals:?}") };
    assert!(other.contains("https://other.example") && other.contains("CHORUS_ALLOWED_ORIGINS"), "{other}");
    assert!(app.contains("https://app.example") && app.contains("CHORUS_INSTAMERN_URL"), "{app}");
    assert!(music.contains("https://other.example") && music.contains("CHORUS_SPOTIFYMERN_URL"), "{music}");
}

#[tokio::test(flavor = "multi_thread")]
async fn password_guessing_is_limited_with_or_without_an_account() {
    let settings = [("CHORUS_LOGIN_RATE_LIMIT", "60"), ("CHORUS_TRUSTED_HOPS", "1")];
    let chorus = Chorus::standalone_with(&settings).await.unwrap();
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let log_in = async |from: &str, login: &str, password: &str| {
        let body = json!({ "login": login, "password": password });
        let request = api.request(Method::POST, "/v1/sessions").header("X-Forwarded-For", from);
        api.send(request.json(&body)).await.status.as_u16()
    };
    // Ten guesses per account and address, then not even the right password is accepted.
    for login in [ann.username.as_str(), "nobody.of.this.name"] {
        for guess in 0..10 {
            assert_eq!(log_in("1.1.1.1", login, &format!("guess {guess}")).await, 401, "{login}");
        }
        assert_eq!(log_in("1.1.1.1", login, PASSWORD).await, 429, "{login}");
    }
    let body = json!({ "login": ann.username, "password": PASSWORD });
    let request = api.request(Method::POST, "/v1/sessions").header("X-Forwarded-For", "1.1.1.1");
    let refused = api.send(request.json(&body)).await.expect(429);
    assert!(refused.header("ratelimit").unwrap().starts_with("\"log-ins-of-account-by-address\";r=0;t="));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"log-ins-of-account-by-address\";q=10;w=600"));
    // Neither with another spelling, nor by email address, nor with a valid session of the account.
    for login in
        spellings(&ann.username).into_iter().chain(spellings(&format!("{}@example.org", ann.username)))
    {
        assert_eq!(log_in("1.1.1.1", &login, PASSWORD).await, 429, "{login}");
    }
    for spelling in spellings("nobody.of.this.name") {
        assert_eq!(log_in("1.1.1.1", &spelling, PASSWORD).await, 429, "{spelling}");
    }
    let instamern = async |username: &str| {
        let body = json!({ "username": username, "password": PASSWORD });
        let request =
            api.request(Method::POST, "/instamern/users/login").header("X-Forwarded-For", "1.1.1.1");
        api.send(request.json(&body)).await.status.as_u16()
    };
    for username in spellings(&ann.username) {
        assert_eq!(instamern(&username).await, 429, "{username}");
    }
    let change = json!({ "current_password": PASSWORD, "password": "staple correct horse" });
    let request = api.request(Method::PUT, "/v1/me/password").header("X-Forwarded-For", "1.1.1.1");
    api.send(request.bearer_auth(&ann.token).json(&change)).await.problem(429, "too-many-requests");
    assert_eq!(log_in("1.1.1.1", &bob.username, PASSWORD).await, 201);
    assert_eq!(log_in("2.2.2.2", &ann.username, PASSWORD).await, 201);
    api.get_as(&ann, "/v1/me").await.expect(200);
    // An address that tries many accounts is limited as well.
    let names: Vec<String> = (0..100).map(|n| format!("somebody.{n}")).collect();
    // Concurrently: sequential requests on a busy machine could be slower than the limit's refill.
    let attempts = names.iter().map(|name| log_in("3.3.3.3", name, "a common password"));
    let statuses = futures::future::join_all(attempts).await;
    let wrong = statuses.iter().filter(|status| **status == 401).count();
    assert!((60..100).contains(&wrong), "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_to_one_address_are_limited() {
    let settings = [("CHORUS_LOGIN_RATE_LIMIT", "40"), ("CHORUS_TRUSTED_HOPS", "1")];
    let chorus = Chorus::standalone_with(&settings).await.unwrap();
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    // The sign-up mail is one of the five.
    for (address, left) in
        [(format!("{}@example.org", ann.username), 4), ("nobody@example.org".to_owned(), 5)]
    {
        let ask = async |path: &str, address: &str| {
            let from = format!("10.0.0.{}", rand::random::<u8>());
            let request = api.request(Method::POST, path).header("X-Forwarded-For", from);
            api.send(request.json(&json!({ "email": address }))).await
        };
        let spellings = [
            address.to_uppercase(),
            format!(" {address} "),
            address.replace("example", "\u{ff45}xample"),
            address.replace("example", "exam\u{ff50}le"),
            address.replace(".org", ".\u{ff4f}rg"),
        ];
        for spelling in spellings.iter().cycle().take(left) {
            ask("/v1/password-resets", spelling).await.expect(202);
        }
        for spelling in &spellings {
            let refused = ask("/v1/password-resets", spelling).await;
            refused.problem(429, "too-many-requests");
            assert!(refused.header("retry-after").is_some());
            assert_eq!(ask("/instamern/users/forgot-password", spelling).await.status.as_u16(), 429);
        }
    }
    // The other requests that send mails are limited as well.
    let verification = api.request(Method::POST, "/v1/me/email-verification").bearer_auth(&ann.token);
    api.send(verification).await.problem(429, "too-many-requests");
    let bob = api.sign_up("bob").await;
    let change = json!({ "current_password": PASSWORD, "email": format!("{}@example.org", ann.username.to_uppercase()) });
    api.post_as(&bob, "/v1/me/email-change", &change).await.problem(429, "too-many-requests");
}

async fn key_rotation_keeps_sessions(mut chorus: Chorus, signer: Service) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let both_sides = async |user: &User| {
        api.get_as(user, "/v1/me").await.expect(200);
        api.patch_as(user, "/v1/me/profile", &json!({ "bio": "x" })).await.expect(200);
    };
    both_sides(&ann).await;
    let file = chorus.folder().join("data/signing-keys.pem");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = SigningKeys::generate();
    std::fs::write(&file, format!("{}{old}", new.reveal())).unwrap();
    chorus.stop(signer).unwrap();
    chorus.start_again(signer).await.unwrap();

    let again = api.log_in(&ann, PASSWORD).await;
    let head = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(head(&ann.token), head(&again.token), "signed with another key");
    both_sides(&ann).await;
    both_sides(&again).await;
    let keys = api.get("/.well-known/jwks.json").await.expect(200).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "{keys}");

    // Without the old key its tokens are refused where they are not cached.
    std::fs::write(&file, new.reveal()).unwrap();
    chorus.stop(signer).unwrap();
    chorus.start_again(signer).await.unwrap();
    api.delete_as(&ann, "/v1/me/photo").await.problem(401, "invalid-token");
    both_sides(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_rotate_standalone() {
    key_rotation_keeps_sessions(Chorus::standalone().await.unwrap(), Service::Chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_rotate_distributed() {
    key_rotation_keeps_sessions(Chorus::distributed().await.unwrap(), Service::CommandApi).await;
}

/// Creates a new certificate for 127.0.0.1 with its key in this folder.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_certificate_is_reloaded_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let settings = [
        ("CHORUS_TLS_CERTIFICATE_FILE", certificate.to_str().unwrap()),
        ("CHORUS_TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let mut chorus = Chorus::standalone_with(&settings).await.unwrap();
    assert!(chorus.printed(Service::Chorus).contains("listening on https://"));
    let old = Api::of(chorus.url().to_owned(), Some(&certificate));
    let answer = old.get("/v1/posts").await.expect(200);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=15552000; includeSubDomains"));

    // A certificate and key that do not match are reported and not used.
    std::fs::write(&key, "no key").unwrap();
    chorus.signal(Service::Chorus, "HUP").unwrap();
    found(LIMIT, "the failed reload is reported", async || {
        chorus.printed(Service::Chorus).contains("the previous one is kept").then_some(())
    })
    .await;
    Api::of(chorus.url().to_owned(), Some(&certificate)).get("/v1/posts").await.expect(200);

    certify(folder.path());
    chorus.signal(Service::Chorus, "HUP").unwrap();
    let shown = found(LIMIT, "the new certificate", async || {
        let new = Api::of(chorus.url().to_owned(), Some(&certificate));
        new.try_send(new.request(Method::GET, "/v1/posts")).await.ok()
    })
    .await;
    shown.expect(200);
    // Existing connections are not affected.
    old.get("/v1/posts").await.expect(200);
}

/// Asserts that no secret is printed at the most verbose log level.
async fn assert_no_secret_is_printed(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("annsecretname").await;
    let log_in = async |password: &str| {
        api.post("/v1/sessions", &json!({ "login": ann.username, "password": password })).await
    };
    let second = log_in(PASSWORD).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    log_in("a wrong guess").await.expect(401);
    let forged = format!("{}x", &ann.token[..ann.token.len() - 1]);
    let with = |token: &str| api.request(Method::GET, "/v1/me").bearer_auth(token);
    api.send(with(&forged)).await;
    api.send(api.request(Method::GET, "/v1/posts").header("Cookie", "jsonwebtoken=a-secret-cookie")).await;
    let post = api.publish(&ann, "a caption that nobody logs").await;
    api.comment(&ann, &post, "a comment that nobody logs").await;
    api.post_as(&ann, &format!("/v1/posts/{post}/comments"), &json!({ "text": 5, "x": "nobody logs" })).await;
    let misplaced = json!({ "current_password": 8_877_665_544_u64, "password": ["8877665544"] });
    api.put_json_as(&ann, "/v1/me/password", &misplaced).await.expect(400);
    api.send(api.request(Method::DELETE, "/v1/sessions/current").bearer_auth(&second)).await;
    chorus.settle().await.unwrap();

    let data = chorus.folder().join("data");
    let master = std::fs::read_to_string(data.join("master.key")).unwrap();
    let signing = std::fs::read_to_string(data.join("signing-keys.pem")).unwrap();
    let signing = signing.lines().find(|line| !line.starts_with('-')).unwrap().to_owned();
    // The bytes of the key, in the formats in which programs print bytes.
    let bytes = STANDARD.decode(master.trim()).unwrap();
    let hex = format!("{:016x}", u64::from_be_bytes(bytes[..8].try_into().unwrap()));
    let list = format!("{}, {}, {}, {}", bytes[0], bytes[1], bytes[2], bytes[3]);
    // The first part of all tokens is the same; the signature is secret.
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for service in chorus.services() {
        let printed = chorus.printed(service);
        assert!(printed.contains("TRACE") || printed.contains("DEBUG"), "{service:?} prints too little");
        for secret in [
            PASSWORD,
            "a wrong guess",
            &signature(&ann.token),
            &signature(&second),
            &signature(&forged),
            "a-secret-cookie",
            master.trim(),
            &hex,
            &list,
            &signing,
            &ann.username,
            "@example.org",
            "nobody logs",
            "8877665544",
        ] {
            let found = printed.find(secret).map(|place| {
                let from = printed[..place].rfind('\n').map_or(0, |end| end + 1);
                printed[from..].lines().next().unwrap_or_default()
            });
            assert_eq!(found, None, "{service:?} prints {secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_printed_at_trace_level_standalone() {
    assert_no_secret_is_printed(&Chorus::standalone_with(&[("CHORUS_TRACE", "trace")]).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_printed_at_trace_level_distributed() {
    let settings = [("CHORUS_TRACE", "trace"), ("CHORUS_QUERY_URL", "http://127.0.0.1:1")];
    let chorus = Chorus::distributed_with(&settings).await.unwrap();
    assert_no_secret_is_printed(&chorus).await;
    // A setting of an older version is accepted.
    let printed = chorus.printed(Service::CommandApi);
    assert!(printed.contains("CHORUS_QUERY_URL is no longer used"), "{printed}");
}
