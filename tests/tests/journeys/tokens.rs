//! Forged and revoked tokens, on every route that reads one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use events::{SessionId, UserId};
use futures::future::join_all;
use jsonwebtoken::jwk::AlgorithmParameters;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use service::config::Secret;
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};
use tests::routes::{self, Access};
use tests::waiting::until;
use uuid::Uuid;
use web::tokens::{Claims, SigningKeys};

crate::journeys! {
    forged_token_is_refused_on_every_route,
    token_of_an_ended_session_is_refused_on_every_route,
    protected_routes_refuse_requests_without_a_token,
}

fn keys_of(chorus: &Chorus) -> SigningKeys {
    let file = chorus.folder().join("data/signing-keys.pem");
    SigningKeys::parse(&Secret::new(std::fs::read_to_string(file).unwrap())).unwrap()
}

fn claims_of(token: &str) -> Claims {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// Forgeries of an attacker who has a valid token, the public keys and time.
fn forgeries(chorus: &Chorus, valid: &str, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let keys = keys_of(chorus);
    let claims = claims_of(valid);
    let public = &keys.public().keys[0];
    let kid = public.common.key_id.clone().unwrap();
    let AlgorithmParameters::OctetKeyPair(pair) = &public.algorithm else { panic!("not an Ed25519 key") };
    let sign = |keys: &SigningKeys, user, session, from: DateTime<Utc>, until| {
        keys.sign(user, session, from, until).unwrap()
    };
    let later = now + TimeDelta::days(1);
    // Another key with the id of the right one.
    let foreign = SigningKeys::parse(&SigningKeys::generate()).unwrap();
    let head = |fields: Value| URL_SAFE_NO_PAD.encode(fields.to_string());
    let (valid_head, rest) = valid.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let foreign_token = sign(&foreign, claims.sub, claims.sid, now, later);
    let foreign_signature = foreign_token.rsplit_once('.').unwrap().1;
    let hs256 = |secret: &[u8]| {
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let other_user = json!({ "sub": Uuid::from_u128(1).simple().to_string(), "sid": claims.sid,
        "iat": claims.iat, "exp": claims.exp });
    let longer = json!({ "sub": claims.sub, "sid": claims.sid,
        "iat": claims.iat, "exp": i64::MAX });
    vec![
        ("of another key", foreign_token.clone()),
        ("of another key, with the id of the right one", format!("{valid_head}.{body}.{foreign_signature}")),
        (
            "without an algorithm",
            format!("{}.{body}.", head(json!({ "alg": "none", "typ": "JWT", "kid": kid }))),
        ),
        (
            "without an algorithm, signed",
            format!("{}.{body}.{signature}", head(json!({ "alg": "none", "kid": kid }))),
        ),
        ("without a key id", format!("{}.{body}.{signature}", head(json!({ "alg": "EdDSA", "typ": "JWT" })))),
        ("HS256 with the public key", hs256(&URL_SAFE_NO_PAD.decode(&pair.x).unwrap())),
        ("HS256 with the public key as it is written", hs256(pair.x.as_bytes())),
        (
            "expired",
            sign(&keys, claims.sub, claims.sid, now - TimeDelta::days(2), now - TimeDelta::seconds(1)),
        ),
        (
            "for another user",
            format!("{valid_head}.{}.{signature}", URL_SAFE_NO_PAD.encode(other_user.to_string())),
        ),
        ("for longer", format!("{valid_head}.{}.{signature}", URL_SAFE_NO_PAD.encode(longer.to_string()))),
        ("without its signature", format!("{valid_head}.{body}.")),
        ("of an unknown session", sign(&keys, claims.sub, SessionId::new(Uuid::from_u128(7)), now, later)),
        ("of another's session", sign(&keys, UserId::new(Uuid::from_u128(7)), claims.sid, now, later)),
    ]
}

async fn forged_token_is_refused_on_every_route(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    // Both sides have seen the session before the forgeries arrive.
    api.get_as(&ann, "/v1/me").await.expect(200);
    let forged = forgeries(chorus, &ann.token, SystemClock.now());
    join_all(forged.iter().map(|(what, token)| is_refused_everywhere(&api, what, token))).await;
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!(
        (&me["username"], &me["posts"]),
        (&json!(ann.username), &json!(0)),
        "a forged token was accepted"
    );
}

async fn is_refused_everywhere(api: &Api, what: &str, token: &str) {
    for route in routes::all(api).await.iter().filter(|route| route.access != Access::Public) {
        let answer = api.send(route.request(api).bearer_auth(token)).await;
        assert_eq!(answer.status, 401, "{} accepts a token {what}: {}", route.name(), answer.text());
        let kind = answer.json()["type"].as_str().unwrap().to_owned();
        let codes = ["invalid-token", "session-expired", "session-ended"];
        assert!(codes.iter().any(|code| kind == format!("urn:chorus:problem:{code}")), "{what}: {kind}");
    }
}

async fn token_of_an_ended_session_is_refused_on_every_route(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let login = json!({ "login": ann.username, "password": PASSWORD });
    let token =
        api.post("/v1/sessions", &login).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    let device = User { token, ..ann.clone() };
    api.get_as(&device, "/v1/me").await.expect(200);
    api.delete_as(&device, "/v1/sessions/current").await.expect(200);
    until("the session has ended everywhere", async || api.get_as(&device, "/v1/me").await.status == 401)
        .await;
    is_refused_everywhere(&api, "of a session that has ended", &device.token).await;
    api.get_as(&ann, "/v1/me").await.expect(200);
}

async fn protected_routes_refuse_requests_without_a_token(chorus: &Chorus) {
    let api = chorus.api();
    for route in routes::all(&api).await {
        let answer = api.send(route.request(&api)).await;
        let name = route.name();
        match route.access {
            Access::LoggedIn => {
                answer.problem(401, "unauthenticated");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{name}");
            }
            Access::Either => {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{name}: {}", answer.text());
            }
            Access::Public => {}
        }
        assert!(!answer.status.is_server_error(), "{name}: {}", answer.text());
    }
}
