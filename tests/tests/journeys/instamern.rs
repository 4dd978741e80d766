//! The InstaMERN API as its pages use it: every request has the page's origin, and every response has what the pages need.
//! Messages and statuses are those of the app's own server.

mod accounts;
mod errors;
mod notifications;
mod people;
mod posts;
mod spelling;
mod stories;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, fresh, png};

/// The default origin of the app.
const ORIGIN: &str = "https://instamern.netlify.app";
const PASSWORD: &str = "correct horse";

/// A browser that runs the app.
struct App {
    api: Api,
}

/// A user who is logged in.
#[derive(Debug, Clone)]
struct Member {
    id: String,
    username: String,
    token: String,
}

impl Member {
    fn address(&self) -> String {
        format!("{}@example.org", self.username)
    }
}

impl App {
    fn of(chorus: &Chorus) -> Self {
        Self { api: chorus.api() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.request(method, &format!("/instamern{path}")).header("origin", ORIGIN)
    }

    /// Asserts that a page can read the response, as JSON.
    async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = self.api.send(request).await;
        let text = answer.text();
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{} {text}", answer.status);
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{text}");
        let vary = answer
            .headers
            .get_all("vary")
            .iter()
            .any(|vary| vary.to_str().unwrap().to_lowercase().contains("origin"));
        assert!(vary, "{:?}", answer.headers);
        if answer.status != 204 {
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{text}");
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).header("content-type", "application/json")).await
    }

    async fn get_as(&self, member: &Member, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(&member.token)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    async fn call_as(&self, member: &Member, method: Method, path: &str, body: &Value) -> Answer {
        self.send(self.request(method, path).bearer_auth(&member.token).json(body)).await
    }

    async fn post_as(&self, member: &Member, path: &str, body: &Value) -> Answer {
        self.call_as(member, Method::POST, path, body).await
    }

    async fn patch_as(&self, member: &Member, path: &str, body: &Value) -> Answer {
        self.call_as(member, Method::PATCH, path, body).await
    }

    async fn delete_as(&self, member: &Member, path: &str, body: &Value) -> Answer {
        self.call_as(member, Method::DELETE, path, body).await
    }

    /// A request as like, follow, unfollow and logout send it: with the JSON content type and no body.
    async fn press(&self, member: &Member, path: &str) -> Answer {
        let request = self.request(Method::POST, path).bearer_auth(&member.token);
        self.send(request.header("content-type", "application/json")).await
    }

    async fn upload_as(&self, member: &Member, path: &str, form: Form) -> Answer {
        self.send(self.request(Method::POST, path).bearer_auth(&member.token).multipart(form)).await
    }

    async fn sign_up(&self, name: &str) -> Member {
        let username = fresh(name);
        let answer = self.post("/users/signup", &newcomer(&username)).await.expect(201);
        member(&answer)
    }

    async fn log_in(&self, username: &str, password: &str) -> Answer {
        self.post("/users/login", &json!({ "username": username, "password": password })).await
    }

    async fn publish(&self, member: &Member, caption: &str) -> String {
        let form = picture("post").text("caption", caption.to_owned());
        let answer = self.upload_as(member, "/posts/upload", form).await.expect(201);
        text(&answer.json()["data"]["post"]["_id"])
    }

    async fn user(&self, username: &str) -> Value {
        self.get(&format!("/users/username/{username}")).await.expect(200).json()["data"]["user"].clone()
    }

    async fn current(&self, member: &Member) -> Value {
        let answer = self.get_as(member, "/users/authorization/current-user").await.expect(200);
        answer.json()["data"]["user"].clone()
    }

    async fn post_page(&self, post: &str) -> Value {
        self.get(&format!("/posts/{post}")).await.expect(200).json()["data"]["post"].clone()
    }
}

fn newcomer(username: &str) -> Value {
    json!({
        "firstname": "Ann", "lastname": "Lee",
        "username": username, "email": format!("{username}@example.org"),
        "password": PASSWORD, "passwordConfirm": PASSWORD,
    })
}

fn member(answer: &Answer) -> Member {
    let answer = answer.json();
    let user = &answer["data"]["user"];
    Member { id: text(&user["_id"]), username: text(&user["username"]), token: text(&answer["token"]) }
}

/// A form with one image in this field.
fn picture(field: &'static str) -> Form {
    let image = Part::bytes(png(40, 30)).file_name("a.png").mime_str("image/png").unwrap();
    Form::new().part(field, image)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// The names of an object's fields.
fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[track_caller]
fn fails(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status.as_u16(), status, "{message}: {}", answer.text());
    assert_eq!(answer.json(), json!({ "status": "fail", "message": message }));
}

/// Asserts a success with only a message.
#[track_caller]
fn says(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status.as_u16(), status, "{message}: {}", answer.text());
    assert_eq!(answer.json(), json!({ "status": "success", "message": message }));
}
