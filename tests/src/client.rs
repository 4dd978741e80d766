//! A client of the HTTP API.

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::routes;

/// How long a response may take: longer than any timeout of the server.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// How long a session may stay valid after it has ended, on a machine that is busy with tests.
const REVOCATION_LIMIT: Duration = Duration::from_secs(30);

/// A client of one deployment.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    url: String,
}

/// A response, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// Asserts the status and returns the response.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Asserts a problem document with this status and code; returns the names of the fields in `errors`.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:chorus:problem:{code}"), "{problem}");
        assert_eq!(problem["status"], status);
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("no id: {}", self.text())).to_owned()
    }
}

/// A user who is logged in.
#[derive(Debug, Clone)]
pub struct User {
    pub id: String,
    pub username: String,
    pub token: String,
}

pub const PASSWORD: &str = "correct horse battery";

/// Creates every HTTP client of the tests: rustls needs its crypto provider installed once.
pub(crate) fn client() -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

impl Api {
    /// A client of the deployment at this URL. It trusts this certificate authority, if there is one.
    pub fn of(url: String, authority: Option<&Path>) -> Self {
        let mut client = client().timeout(ANSWER_LIMIT).redirect(Policy::none());
        if let Some(authority) = authority {
            let pem = std::fs::read(authority).expect("the certificate");
            client = client.add_root_certificate(Certificate::from_pem(&pem).expect("a certificate"));
        }
        Self { client: client.build().expect("a client"), url }
    }

    /// A client for absolute URLs.
    pub fn plain() -> Self {
        Self::of(String::new(), None)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        self.client.request(method, url)
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    /// Sends a request. The status of this deployment's answer must be one that the description of the API names for it.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let (method, url) = (request.method().clone(), request.url().clone());
        let response = self.client.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let is_own = !self.url.is_empty() && url.as_str().starts_with(&self.url);
        // Proxies answer 502.
        if is_own && status != StatusCode::BAD_GATEWAY {
            routes::expect_described(&method, url.path(), status);
        }
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn get_as(&self, user: &User, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(&user.token)).await
    }

    pub async fn get_with(&self, path: &str, header: &'static str, value: &str) -> Answer {
        let value = HeaderValue::from_str(value).expect("a header value");
        self.send(self.request(Method::GET, path).header(HeaderName::from_static(header), value)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn post_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).bearer_auth(&user.token).json(body)).await
    }

    pub async fn patch_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).bearer_auth(&user.token).json(body)).await
    }

    pub async fn put_as(&self, user: &User, path: &str) -> Answer {
        self.send(self.request(Method::PUT, path).bearer_auth(&user.token)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn put_json_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).bearer_auth(&user.token).json(body)).await
    }

    pub async fn delete_as(&self, user: &User, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).bearer_auth(&user.token)).await
    }

    /// Signs up a user under a unique name.
    pub async fn sign_up(&self, name: &str) -> User {
        let username = fresh(name);
        let body = json!({
            "username": username,
            "email": format!("{username}@example.org"),
            "password": PASSWORD,
            "firstname": "Ann",
            "lastname": "Lee",
        });
        let answer = self.post("/v1/accounts", &body).await.expect(201).json();
        let text = |field: &str| answer[field].as_str().expect("a text").to_owned();
        User { id: text("user"), username, token: text("token") }
    }

    /// Logs a user in on another device.
    pub async fn log_in(&self, user: &User, password: &str) -> User {
        let answer = self.try_log_in(user, password).await.expect(201).json();
        User { token: answer["token"].as_str().expect("a token").to_owned(), ..user.clone() }
    }

    pub async fn try_log_in(&self, user: &User, password: &str) -> Answer {
        self.post("/v1/sessions", &json!({ "login": user.username, "password": password })).await
    }

    /// Waits until both the write side and the read side refuse the token.
    pub async fn wait_until_logged_out(&self, user: &User) {
        let start = Instant::now();
        while self.get_as(user, "/v1/me").await.status != StatusCode::UNAUTHORIZED
            || self.delete_as(user, "/v1/me/photo").await.status != StatusCode::UNAUTHORIZED
        {
            assert!(start.elapsed() < REVOCATION_LIMIT, "an ended session is still accepted");
        }
    }

    /// A form with one image and a caption.
    pub fn post_form(caption: &str) -> Form {
        let image = Part::bytes(png(40, 30)).file_name("a.png").mime_str("image/png").expect("a media type");
        Form::new().part("image", image).text("caption", caption.to_owned())
    }

    /// A form with one picture and what it shows.
    pub fn story_form(alt: &str) -> Form {
        Form::new().part("image", Part::bytes(png(40, 30)).file_name("a.png")).text("alt", alt.to_owned())
    }

    /// Adds an empty file input, as browsers send it.
    pub fn with_empty_file(form: Form, field: &'static str) -> Form {
        let empty = Part::bytes(Vec::new()).file_name("").mime_str("application/octet-stream");
        form.part(field, empty.expect("a media type"))
    }

    pub async fn publish(&self, user: &User, caption: &str) -> String {
        self.publish_form(user, Self::post_form(caption)).await.expect(201).id()
    }

    pub async fn publish_form(&self, user: &User, form: Form) -> Answer {
        self.send(self.request(Method::POST, "/v1/posts").bearer_auth(&user.token).multipart(form)).await
    }

    /// Uploads audio in one part and has it checked; returns the id of the upload.
    pub async fn upload_audio(&self, user: &User, audio: &[u8]) -> String {
        let upload =
            self.post_as(user, "/v1/uploads", &json!({ "size": audio.len() })).await.expect(201).id();
        let path = format!("/v1/uploads/{upload}");
        let part = self.request(Method::PATCH, &path).bearer_auth(&user.token).header("upload-offset", "0");
        let part = part.header("content-type", "application/octet-stream").body(audio.to_vec());
        self.send(part).await.expect(200);
        let checksum = json!({ "sha256": sha256(audio) });
        self.post_as(user, &format!("{path}/finish"), &checksum).await.expect(200);
        upload
    }

    /// Publishes a song of 31 seconds by an artist of the user's name.
    pub async fn publish_song(&self, artist: &User, title: &str) -> String {
        let upload = self.upload_audio(artist, &wav(title, 31)).await;
        let song = json!({
            "upload": upload, "title": title, "artists": [{ "name": artist.username }], "genres": ["Sea shanty"],
        });
        self.post_as(artist, "/v1/songs", &song).await.expect(201).id()
    }

    pub async fn publish_story(&self, user: &User) -> String {
        let image = Part::bytes(png(40, 30)).file_name("a.png");
        self.publish_story_form(user, Form::new().part("image", image)).await.expect(201).id()
    }

    pub async fn publish_story_form(&self, user: &User, form: Form) -> Answer {
        self.send(self.request(Method::POST, "/v1/stories").bearer_auth(&user.token).multipart(form)).await
    }

    pub async fn comment(&self, user: &User, post: &str, text: &str) -> String {
        self.post_as(user, &format!("/v1/posts/{post}/comments"), &json!({ "text": text }))
            .await
            .expect(201)
            .id()
    }

    pub async fn like(&self, user: &User, post: &str) -> Answer {
        self.put_as(user, &format!("/v1/posts/{post}/like")).await
    }

    pub async fn follow(&self, user: &User, other: &User) -> Answer {
        self.put_as(user, &format!("/v1/users/{}/follow", other.id)).await
    }

    pub async fn post_page(&self, post: &str) -> Value {
        self.get(&format!("/v1/posts/{post}")).await.expect(200).json()
    }

    /// All items of a list, from all its pages.
    pub async fn all_pages(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.get(&path).await.expect(200).json();
            items.extend(page["items"].as_array().expect("items").clone());
            next = page["next"].as_str().map(str::to_owned);
        }
        items
    }
}

/// A unique username.
pub fn fresh(name: &str) -> String {
    format!("{name}{:08x}", rand::random::<u32>())
}

/// A PNG of one colour.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(width, height, Rgb([40, 120, 200]));
    picture.write_to(&mut bytes, ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

/// A mono WAV file with noise that depends on the seed.
pub fn wav(seed: &str, seconds: u32) -> Vec<u8> {
    const RATE: u32 = 8000;
    let length = RATE * seconds;
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&RATE.to_le_bytes());
    // One byte per sample.
    file.extend_from_slice(&[1, 0, 8, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    let mut state = seed.bytes().fold(1_u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    file.extend((0..length).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    file
}

/// As [`wav`], with a title, an artist and an album.
pub fn tagged_wav(seed: &str, seconds: u32, title: &str, artist: &str, album: &str) -> Vec<u8> {
    wav_with_tags(seed, seconds, &[(b"INAM", title), (b"IART", artist), (b"IPRD", album)])
}

/// As [`wav`], with tags in an INFO list.
pub fn wav_with_tags(seed: &str, seconds: u32, tags: &[(&[u8; 4], &str)]) -> Vec<u8> {
    let mut list = b"INFO".to_vec();
    for (key, value) in tags {
        let value = [value.as_bytes(), &b"\0\0"[..2 - value.len() % 2]].concat();
        list.extend_from_slice(*key);
        list.extend_from_slice(&u32::try_from(value.len()).expect("a small file").to_le_bytes());
        list.extend_from_slice(&value);
    }
    let mut file = wav(seed, seconds);
    file.extend_from_slice(b"LIST");
    file.extend_from_slice(&u32::try_from(list.len()).expect("a small file").to_le_bytes());
    file.extend_from_slice(&list);
    let size = u32::try_from(file.len() - 8).expect("a small file");
    file[4..8].copy_from_slice(&size.to_le_bytes());
    file
}

/// SHA-256 as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    events::AudioHash::new(Sha256::digest(bytes).into()).to_string()
}
