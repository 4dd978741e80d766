use serde_json::json;
use tests::chorus::{Chorus, Service};
use tests::client::{PASSWORD, User, fresh};
use views::mails::{BY_STATE, Mail, State, VIEW};
use views::{Query, ViewStoreExt};

crate::journeys! {
    sign_up_sends_one_mail_with_a_link,
    every_mailed_link_works,
    opening_a_mailed_link_changes_nothing,
    login_from_a_new_device_is_mailed_to_the_owner,
    links_and_addresses_are_neither_stored_nor_printed,
}

fn address(user: &User) -> String {
    format!("{}@example.org", user.username)
}

async fn sign_up_sends_one_mail_with_a_link(chorus: &Chorus) {
    let ann = chorus.api().sign_up("ann").await;
    chorus.settle().await.unwrap();
    let mails = chorus.mails_to(&address(&ann)).await.unwrap();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0].subject, "Confirm your email address");
    // The address is unverified, so the mail has no personal data.
    assert!(mails[0].text.contains("Hello 👋") && mails[0].html.contains("Hello 👋"), "{:?}", mails[0]);
    let (base, token) = mails[0].link().unwrap().rsplit_once('/').unwrap();
    assert_eq!(base, format!("{}/verify-email", chorus.url()));
    assert!(token.len() == 64 && token.starts_with(&ann.id), "{token}");
    // Operators see that the mail was sent, but neither address nor link.
    let views = chorus.views().await.unwrap();
    let sent = Query::new(&VIEW, &BY_STATE, vec![json!(State::Sent)], 200);
    let sent = views.page_of::<Mail>(sent).await.unwrap().documents;
    let of_ann: Vec<_> = sent.iter().filter(|mail| mail.user == ann.id).collect();
    assert_eq!(
        of_ann.iter().map(|mail| (mail.template.as_str(), mail.attempts)).collect::<Vec<_>>(),
        [("email_verification", 1)]
    );
}

/// Uses only the content of the mails.
async fn every_mailed_link_works(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (old, new) = (address(&ann), format!("{}@example.net", ann.username));
    let last_to = async |address: &str, subject: &str| {
        chorus.settle().await.unwrap();
        let mails = chorus.mails_to(address).await.unwrap();
        mails.into_iter().rev().find(|mail| mail.subject == subject).unwrap_or_else(|| panic!("no {subject}"))
    };
    let token_to = async |address: &str, subject: &str| {
        last_to(address, subject).await.token().unwrap_or_else(|| panic!("{subject} has no link")).to_owned()
    };
    let token = token_to(&old, "Confirm your email address").await;
    api.put(&format!("/v1/email-verifications/{token}"), &json!(null)).await.expect(200);
    let welcome = last_to(&old, "Welcome to Chorus").await;
    assert!(welcome.text.contains("Hello, Ann 👋"), "{}", welcome.text);
    assert_eq!(welcome.link(), Some(format!("{}/", chorus.url()).as_str()));

    let change = json!({ "email": new, "current_password": PASSWORD });
    api.post_as(&ann, "/v1/me/email-change", &change).await.expect(200);
    assert_eq!(last_to(&old, "Another email address was asked for").await.link(), None);
    let token = token_to(&new, "Confirm your new email address").await;
    api.put(&format!("/v1/email-changes/{token}"), &json!(null)).await.expect(200);
    assert!(last_to(&old, "Your email address has changed").await.text.contains("If this was not you"));

    api.post("/v1/password-resets", &json!({ "email": new })).await.expect(202);
    let token = token_to(&new, "Reset your password").await;
    let password = json!({ "password": "another horse battery" });
    api.put(&format!("/v1/password-resets/{token}"), &password).await.expect(200);
    assert_eq!(last_to(&new, "Your password has changed").await.link(), None);
    let log_in = json!({ "login": ann.username, "password": "another horse battery" });
    api.post("/v1/sessions", &log_in).await.expect(201);
    // There are no other mails to either address.
    assert_eq!(chorus.mails_to(&old).await.unwrap().len(), 4);
    assert_eq!(chorus.mails_to(&new).await.unwrap().len(), 3);
}

async fn opening_a_mailed_link_changes_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    chorus.settle().await.unwrap();
    let mail = chorus.mails_to(&address(&ann)).await.unwrap().remove(0);
    let page = api.get(mail.link().unwrap()).await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(
        (page.header("cache-control"), page.header("referrer-policy")),
        (Some("no-store"), Some("no-referrer"))
    );
    assert!(!page.text().contains(mail.token().unwrap()));
    for (file, content_type) in
        [("/links.js", "text/javascript; charset=utf-8"), ("/links.css", "text/css; charset=utf-8")]
    {
        assert!(page.text().contains(file));
        assert_eq!(api.get(file).await.expect(200).header("content-type"), Some(content_type));
    }
    for path in ["/confirm-email/x", "/reset-password/x"] {
        api.get(path).await.expect(200);
    }
    assert_eq!(api.get_as(&ann, "/v1/me").await.expect(200).json()["email_verified"], false);
}

async fn login_from_a_new_device_is_mailed_to_the_owner(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("ann");
    let sign_up = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    let from = |path: &str, device: &'static str, body| {
        api.request(reqwest::Method::POST, path).header("user-agent", device).json(&body)
    };
    let user = api.send(from("/v1/accounts", "Firefox/128.0", sign_up)).await.expect(201).json();
    let ann = User {
        id: user["user"].as_str().unwrap().to_owned(),
        username: name.clone(),
        token: user["token"].as_str().unwrap().to_owned(),
    };
    // Mails to an unverified address do not name the device.
    let token = chorus.mailed_token(&ann, events::LinkPurpose::VerifyEmail).await.unwrap();
    api.put(&format!("/v1/email-verifications/{token}"), &json!(null)).await.expect(200);
    let log_in = json!({ "login": name, "password": PASSWORD });
    for device in ["Firefox/129.0", "Chromium/1"] {
        api.send(from("/v1/sessions", device, log_in.clone())).await.expect(201);
    }
    chorus.settle().await.unwrap();
    let mails = chorus.mails_to(&format!("{name}@example.org")).await.unwrap();
    let notices: Vec<_> = mails.iter().filter(|mail| mail.subject == "A new device has logged in").collect();
    assert_eq!(notices.len(), 1, "{mails:?}");
    assert!(notices[0].text.contains("Chromium/1"), "{}", notices[0].text);
}

async fn links_and_addresses_are_neither_stored_nor_printed(chorus: &Chorus) {
    let ann = chorus.api().sign_up("annsecretname").await;
    chorus.settle().await.unwrap();
    let mail = chorus.mails_to(&address(&ann)).await.unwrap().remove(0);
    let (_, secret) = mail.token().unwrap().split_at(32);
    // The accounts view holds addresses; no view holds tokens.
    let mut stored: Vec<std::path::PathBuf> = Vec::new();
    let data = chorus.folder().join("data");
    stored.extend(["events.db", "events.db-wal", "keys.db", "keys.db-wal"].map(|file| data.join(file)));
    if let Some(nats) = &chorus.nats {
        stored.extend(files(&nats.store()));
    }
    let logs: Vec<Vec<u8>> = stored.iter().filter_map(|file| std::fs::read(file).ok()).collect();
    assert!(logs.iter().any(|bytes| holds(bytes, ann.id.as_bytes())), "the log's files are not among them");
    for bytes in &logs {
        assert!(!holds(bytes, secret.as_bytes()) && !holds(bytes, ann.username.as_bytes()));
    }
    for file in ["views.db", "views.db-wal"] {
        let views = std::fs::read(data.join(file)).unwrap_or_default();
        assert!(!holds(&views, secret.as_bytes()), "{file} holds the token");
    }
    let views = chorus.views().await.unwrap();
    for state in [State::Reserved, State::Sent, State::Failed, State::GivenUp] {
        let page =
            views.page_of::<Mail>(Query::new(&VIEW, &BY_STATE, vec![json!(state)], 500)).await.unwrap();
        let text = serde_json::to_string(&page.documents).unwrap();
        assert!(!text.contains(secret) && !text.contains("example.org"), "{text}");
    }
    for service in chorus.services() {
        let printed = chorus.printed(service);
        assert!(!printed.contains(secret) && !printed.contains(&ann.username), "{service:?} prints it");
        if [Service::Chorus, Service::Projector].contains(&service) {
            assert!(printed.contains("  mail   "), "{printed}");
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
