use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, fresh};
use tests::waiting::until;

use super::{App, Member, PASSWORD, fails, member, names, newcomer, picture, says, text};

crate::journeys! {
    user_signs_up_logs_in_and_logs_out,
    invalid_sign_up_fields_have_the_apps_messages,
    failed_log_in_has_the_apps_message,
    token_stays_valid_after_a_password_change,
    token_stays_valid_after_an_email_change,
    forgotten_password_is_reset_by_the_mailed_link,
    deactivated_user_is_hidden_until_next_login,
    deleted_account_is_gone,
}

/// The cookies of a response: name and value, and the attributes.
fn cookies(answer: &Answer) -> Vec<(String, String)> {
    let set = answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let set = set.filter_map(|cookie| cookie.split_once("; "));
    set.map(|(pair, attributes)| (pair.to_owned(), attributes.to_owned())).collect()
}

const FORGOTTEN: (&str, &str) = ("jsonwebtoken=", "Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT");

#[track_caller]
fn keeps_cookie(answer: &Answer, token: &str, forgets_first: bool) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut cookies = cookies(answer);
    let (pair, attributes) = cookies.pop().expect("a cookie");
    assert_eq!(pair, format!("jsonwebtoken={token}"));
    assert!(attributes.starts_with("HttpOnly; SameSite=None; Secure; Path=/; Expires="), "{attributes}");
    let before: Vec<_> = cookies.iter().map(|(pair, rest)| (pair.as_str(), rest.as_str())).collect();
    assert_eq!(before, if forgets_first { vec![FORGOTTEN] } else { vec![] });
}

#[track_caller]
fn forgets_cookie(answer: &Answer) {
    let cookies = cookies(answer);
    let set: Vec<_> = cookies.iter().map(|(pair, rest)| (pair.as_str(), rest.as_str())).collect();
    assert_eq!(set, [FORGOTTEN]);
}

async fn wait_until_logged_out(app: &App, member: &Member) {
    until("the session has ended on both sides", async || {
        let read = app.get_as(member, "/users/authorization/current-user").await;
        let written = app.post_as(member, "/users/remove", &json!({})).await;
        let refused = |answer: &Answer| answer.status == 401;
        if refused(&read) && refused(&written) {
            fails(&read, 401, "You're not logged in. Please login.");
            fails(&written, 401, "You're not logged in. Please login.");
        }
        refused(&read) && refused(&written)
    })
    .await;
}

async fn user_signs_up_logs_in_and_logs_out(chorus: &Chorus) {
    let app = App::of(chorus);
    let username = fresh("Ann");
    let answer = app.post("/users/signup", &newcomer(&username)).await.expect(201);
    let body = answer.json();
    assert_eq!(names(&body), ["data", "message", "status", "token"]);
    assert_eq!(body["message"], "You've signed up successfully. Welcome to InstaMERN!");
    let ann = member(&answer);
    keeps_cookie(&answer, &ann.token, false);
    let expected = json!({
        "_id": ann.id, "id": ann.id, "firstname": "Ann", "lastname": "Lee", "username": username,
        "email": ann.address(), "bio": "", "followers": [], "followings": [], "notifications": [],
    });
    assert_eq!(body["data"]["user"], expected);
    fails(&app.post("/users/signup", &newcomer(&username)).await, 409, "This user already exists.");
    let mut other = newcomer(&fresh("bob"));
    other["email"] = json!(ann.address());
    fails(&app.post("/users/signup", &other).await, 409, "This user already exists.");

    // The log-in response has the user's data.
    let fan = app.sign_up("fan").await;
    app.press(&fan, &format!("/users/follow/{username}")).await.expect(200);
    app.press(&ann, &format!("/users/follow/{}", fan.username)).await.expect(200);
    let post = app.publish(&ann, "Dawn").await;
    app.upload_as(&ann, "/users/upload", picture("photo")).await.expect(200);
    let answer = app.log_in(&username, PASSWORD).await.expect(200);
    assert_eq!(answer.json()["message"], format!("Welcome back {username}!"));
    assert_eq!(answer.header("chorus-pending"), None);
    let again = member(&answer);
    assert_ne!(again.token, ann.token);
    keeps_cookie(&answer, &again.token, false);
    let user = answer.json()["data"]["user"].clone();
    let current = app.current(&again).await;
    assert_eq!(
        names(&current),
        [
            "_id",
            "active",
            "bio",
            "email",
            "firstname",
            "followers",
            "followings",
            "id",
            "lastname",
            "notifications",
            "photo",
            "posts",
            "stories",
            "username",
        ]
    );
    let mut expected = current.clone();
    expected.as_object_mut().unwrap().remove("active");
    assert_eq!(user, expected);
    assert_eq!((&current["followers"], &current["followings"]), (&json!([fan.id]), &json!([fan.id])));
    assert_eq!((&current["posts"][0]["_id"], &current["active"]), (&json!(post), &json!(true)));
    assert_eq!(current["email"], ann.address());

    let answer = app.press(&again, "/users/logout").await;
    assert_eq!(
        answer.json(),
        json!({ "status": "success", "message": "You're logged out successfully.", "data": null })
    );
    forgets_cookie(&answer);
    wait_until_logged_out(&app, &again).await;
    app.current(&ann).await;

    // The same account works on `/v1`; the welcome mail has the app's text.
    let login = json!({ "login": username, "password": PASSWORD });
    app.api.post("/v1/sessions", &login).await.expect(201);
    chorus.settle().await.unwrap();
    let mails = chorus.mails_to(&ann.address()).await.unwrap();
    let welcome = mails.iter().find(|mail| mail.subject == "Wellcome to InstaMERN").unwrap();
    assert!(welcome.text.contains("Hello 👋") && welcome.text.contains("We're glad to have you! 🥳"));
    assert_eq!(welcome.link(), Some("https://instamern.netlify.app/"));
}

async fn invalid_sign_up_fields_have_the_apps_messages(chorus: &Chorus) {
    let app = App::of(chorus);
    let long = "x".repeat(30);
    let everything = "Firstname is required. Lastname is required. @username is required. \
        Email address is required. Password is required. Please confirm your password.";
    fails(&app.post("/users/signup", &json!({})).await, 403, everything);
    let username = fresh("ann");
    for (field, value, message) in [
        ("firstname", json!(""), "Firstname is required."),
        ("firstname", json!("A"), "Firstname cannot be shorter than 2 characters."),
        ("firstname", json!(long), "Firstname cannot be longer than 16 characters."),
        ("lastname", json!(null), "Lastname is required."),
        ("lastname", json!("L"), "Lastname cannot be shorter than 2 characters."),
        ("lastname", json!(long), "Lastname cannot be longer than 16 characters."),
        ("username", json!("  "), "@username is required."),
        ("username", json!("ab"), "@username cannot be shorter than 3 characters."),
        ("username", json!(long), "@username cannot be longer than 12 characters."),
        ("email", json!(""), "Email address is required."),
        ("email", json!("nobody"), "Invalid email address."),
        ("password", json!(""), "Password is required. Password doesn't match."),
        ("password", json!("short"), "Password cannot be shorter than 8 characters. Password doesn't match."),
        ("password", json!(long), "Password cannot be longer than 24 characters. Password doesn't match."),
        ("passwordConfirm", json!(""), "Please confirm your password."),
        ("passwordConfirm", json!("another one"), "Password doesn't match."),
    ] {
        let mut body = newcomer(&username);
        body[field] = value;
        fails(&app.post("/users/signup", &body).await, 403, message);
    }
    for field in ["firstname", "lastname", "username", "email", "password", "passwordConfirm"] {
        for value in [json!({ "$gt": "" }), json!(["a"])] {
            let mut body = newcomer(&username);
            body[field] = value;
            let answer = app.post("/users/signup", &body).await.expect(403).json();
            assert_eq!(answer["status"], "fail", "{field}");
        }
    }
    // None of these requests has claimed the name.
    app.post("/users/signup", &newcomer(&username)).await.expect(201);
}

async fn failed_log_in_has_the_apps_message(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("Ann").await;
    let incomplete = "Please type your username and password.";
    for body in [
        json!({}),
        json!({ "username": ann.username }),
        json!({ "username": "", "password": PASSWORD }),
        json!({ "username": { "$gt": "" }, "password": { "$gt": "" } }),
    ] {
        fails(&app.post("/users/login", &body).await, 403, incomplete);
    }
    let unknown = "User not found. You can signup with that user.";
    fails(&app.log_in("nobody", PASSWORD).await, 404, unknown);
    // Usernames are case-sensitive, and email addresses are not accepted.
    fails(&app.log_in(&ann.username.to_lowercase(), PASSWORD).await, 404, unknown);
    fails(&app.log_in(&ann.address(), PASSWORD).await, 404, unknown);
    fails(&app.log_in(&ann.username, "wrong horse").await, 401, "Password doesn't match.");
    app.log_in(&ann.username, PASSWORD).await.expect(200);
}

async fn token_stays_valid_after_a_password_change(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let elsewhere = member(&app.log_in(&ann.username, PASSWORD).await.expect(200));
    let new = "another horse <b>";
    let change = async |body: &Value| app.patch_as(&ann, "/users/change-password", body).await;
    let with = |current: &str, password: &str, confirm: &str| json!({ "currentPassword": current, "password": password, "passwordConfirm": confirm });
    for (body, status, message) in [
        (json!({}), 403, "Please confirm your current password."),
        (with("", new, new), 403, "Please confirm your current password."),
        (json!({ "currentPassword": PASSWORD }), 403, "Please set your new password."),
        (with("wrong horse", "", ""), 403, "Please set your new password."),
        (with("wrong horse", new, new), 401, "Your current password doesn't match."),
        (
            with(PASSWORD, PASSWORD, PASSWORD),
            409,
            "Your new password cannot be the same as your previous password.",
        ),
        (
            with(PASSWORD, "short", "other"),
            403,
            "Password cannot be shorter than 8 characters. Password doesn't match.",
        ),
        (with(PASSWORD, new, ""), 403, "Please confirm your password."),
    ] {
        fails(&change(&body).await, status, message);
    }
    let answer = change(&with(PASSWORD, new, new)).await.expect(200);
    let body = answer.json();
    assert_eq!(body["message"], "Your password has been updated successfully.");
    assert_eq!(body["data"]["user"]["_id"], ann.id);
    keeps_cookie(&answer, &text(&body["token"]), true);
    wait_until_logged_out(&app, &elsewhere).await;
    app.current(&ann).await;
    app.current(&member(&answer)).await;
    fails(&app.log_in(&ann.username, PASSWORD).await, 401, "Password doesn't match.");
    // `<` is sanitised in every field, so the password still matches.
    app.log_in(&ann.username, new).await.expect(200);
}

async fn token_stays_valid_after_an_email_change(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let elsewhere = member(&app.log_in(&ann.username, PASSWORD).await.expect(200));
    let new = format!("{}@example.net", ann.username);
    let change = async |body: &Value| app.patch_as(&ann, "/users/change-email", body).await;
    let with = |current: &str, email: &str| json!({ "currentPassword": current, "email": email });
    for (body, status, message) in [
        (json!({}), 403, "Please confirm your current password."),
        (with("", &new), 403, "Please confirm your current password."),
        (with("wrong horse", ""), 401, "Your current password doesn't match."),
        (json!({ "currentPassword": PASSWORD }), 403, "Please set your new email address."),
        (with(PASSWORD, "nobody"), 403, "Please type a valid email address."),
        (with(PASSWORD, &ann.address()), 403, "That email address is already the same as the existing one."),
        (with(PASSWORD, &bob.address()), 409, "This user already exists."),
    ] {
        fails(&change(&body).await, status, message);
    }
    let answer = change(&with(PASSWORD, &new)).await.expect(200);
    let body = answer.json();
    assert_eq!(body["message"], "Your email address has been changed successfully.");
    assert_eq!(body["data"]["user"]["email"], new);
    keeps_cookie(&answer, &text(&body["token"]), true);
    wait_until_logged_out(&app, &elsewhere).await;
    assert_eq!(app.current(&ann).await["email"], new);
    // The old address is released.
    let mut next = newcomer(&fresh("eve"));
    next["email"] = json!(ann.address());
    app.post("/users/signup", &next).await.expect(201);
}

async fn forgotten_password_is_reset_by_the_mailed_link(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let forgot = async |body: Value| app.post("/users/forgot-password", &body).await;
    for (body, status, message) in [
        (json!({}), 403, "Please type your email address to reset your password."),
        (json!({ "email": "nobody" }), 403, "Please type a valid email address."),
        (json!({ "email": "nobody@example.org" }), 404, "User not found with that email."),
    ] {
        fails(&forgot(body).await, status, message);
    }
    let sent = "The password reset link has been sent to your email address.";
    says(&forgot(json!({ "email": ann.address() })).await, 200, sent);
    chorus.settle().await.unwrap();
    let mails = chorus.mails_to(&ann.address()).await.unwrap();
    let mail = mails.iter().find(|mail| mail.subject == "Reset your password").expect("a mail");
    assert!(mail.text.contains("your InstaMERN account"), "{}", mail.text);
    let (page, token) = mail.link().expect("a link").rsplit_once('/').unwrap();
    assert_eq!((page, token.len()), ("https://instamern.netlify.app/reset-password", 64));

    let new = json!({ "password": "another horse", "passwordConfirm": "another horse" });
    let reset = async |token: &str, body: &Value| {
        app.send(app.request(Method::PATCH, &format!("/users/reset-password/{token}")).json(body)).await
    };
    let broken = "The password reset link has expired or has broken. Please try again later.";
    for bad in ["x", &"0".repeat(64), &format!("{}{}", &token[..63], i32::from(token.ends_with('0')))] {
        fails(&reset(bad, &new).await, 404, broken);
    }
    let short = json!({ "password": "short", "passwordConfirm": "shorter" });
    let message = "Password cannot be shorter than 8 characters. Password doesn't match.";
    fails(&reset(token, &short).await, 403, message);
    let answer = reset(token, &new).await.expect(200);
    assert_eq!(answer.json()["message"], "Your password has been updated successfully.");
    let again = member(&answer);
    keeps_cookie(&answer, &again.token, true);
    assert_eq!(again.id, ann.id);
    app.current(&again).await;
    wait_until_logged_out(&app, &ann).await;
    fails(&reset(token, &new).await, 404, broken);
    app.log_in(&ann.username, "another horse").await.expect(200);
}

async fn deactivated_user_is_hidden_until_next_login(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let post = app.publish(&ann, "Dawn").await;
    let deactivate = async |body: Value| app.delete_as(&ann, "/users/deactivate", &body).await;
    fails(&deactivate(json!({})).await, 403, "Please confirm your password.");
    fails(&deactivate(json!({ "currentPassword": "wrong horse" })).await, 401, "Password doesn't match.");
    let answer = deactivate(json!({ "currentPassword": PASSWORD })).await;
    let done = "Your account has been deactivated successfully. To activate again, please login.";
    says(&answer, 200, done);
    forgets_cookie(&answer);
    fails(
        &deactivate(json!({ "currentPassword": PASSWORD })).await,
        403,
        "Your account is already inactive.",
    );
    let inactive = "That user is no longer active.";
    fails(&app.get(&format!("/users/username/{}", ann.username)).await, 404, inactive);
    fails(&app.get(&format!("/users/id/{}", ann.id)).await, 404, inactive);
    let found = app.get(&format!("/users/search/{}", ann.username)).await.expect(200).json();
    assert_eq!((&found["results"], &found["data"]["users"]), (&json!(0), &json!([])));
    // The token stays valid, and posts stay visible.
    assert_eq!(app.current(&ann).await["active"], false);
    assert_eq!(app.post_page(&post).await["postedBy"], ann.id);
    assert_no_visible_change(&app, &ann, &post).await;
    app.log_in(&ann.username, PASSWORD).await.expect(200);
    assert_eq!(app.user(&ann.username).await["active"], true);
}

/// The token of a deactivated user changes nothing that others see.
async fn assert_no_visible_change(app: &App, ann: &Member, own: &str) {
    let bob = app.sign_up("bob").await;
    let post = app.publish(&bob, "Dusk").await;
    let out = "You're not logged in. Please login.";
    for path in [
        format!("/posts/like/{post}"),
        format!("/users/follow/{}", bob.username),
        format!("/users/unfollow/{}", bob.username),
        "/users/remove".to_owned(),
    ] {
        fails(&app.press(ann, &path).await, 401, out);
    }
    let said = json!({ "comment": "Lovely!", "caption": "Noon" });
    fails(&app.post_as(ann, &format!("/posts/comments/{post}"), &said).await, 401, out);
    fails(&app.post_as(ann, &format!("/posts/update/{own}"), &said).await, 401, out);
    fails(&app.delete_as(ann, &format!("/posts/delete/{own}"), &json!({})).await, 401, out);
    fails(&app.patch_as(ann, "/users/update", &json!({ "bio": "Back soon" })).await, 401, out);
    for (path, field) in [("/posts/upload", "post"), ("/stories/upload", "story"), ("/users/upload", "photo")]
    {
        fails(&app.upload_as(ann, path, picture(field)).await, 401, out);
    }
    let page = app.post_page(&post).await;
    assert_eq!((&page["likes"], &page["comments"]), (&json!([]), &json!([])));
    let bob = app.current(&bob).await;
    assert_eq!((&bob["notifications"], &bob["followers"]), (&json!([]), &json!([])));
}

async fn deleted_account_is_gone(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    let other = app.publish(&bob, "Dusk").await;
    app.post_as(&ann, &format!("/posts/comments/{other}"), &json!({ "comment": "Lovely!" }))
        .await
        .expect(201);
    let erase = async |body: Value| app.delete_as(&ann, "/users/delete", &body).await;
    fails(&erase(json!({})).await, 403, "Please confirm your password.");
    fails(&erase(json!({ "currentPassword": "wrong horse" })).await, 401, "Password doesn't match.");
    let answer = erase(json!({ "currentPassword": PASSWORD })).await.expect(204);
    assert!(answer.body.is_empty());
    forgets_cookie(&answer);
    wait_until_logged_out(&app, &ann).await;
    fails(&app.get(&format!("/users/username/{}", ann.username)).await, 404, "User not found.");
    fails(&app.get(&format!("/users/id/{}", ann.id)).await, 404, "User not found.");
    fails(&app.get(&format!("/posts/{post}")).await, 404, "The post no longer active.");
    assert_eq!(app.post_page(&other).await["comments"], json!([]));
    let unknown = "User not found. You can signup with that user.";
    fails(&app.log_in(&ann.username, PASSWORD).await, 404, unknown);
    // The address is released, but the username is reserved for 30 days.
    let mut again = newcomer(&ann.username);
    fails(&app.post("/users/signup", &again).await, 409, "This user already exists.");
    again["username"] = json!(fresh("eve"));
    app.post("/users/signup", &again).await.expect(201);
}
