use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, fresh, png};

crate::journeys! {
    invalid_body_names_the_field_and_changes_nothing,
    invalid_upload_names_the_field_and_changes_nothing,
    invalid_path_or_query_names_the_parameter,
    unknown_routes_and_methods_return_problems,
}

async fn invalid_body_names_the_field_and_changes_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("ann");
    let good = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let long = "x".repeat(1000);
    for (field, value) in [
        ("username", json!("")),
        ("username", json!("ab")),
        ("username", json!(long)),
        ("username", json!("a b c")),
        ("username", json!("ann\u{202e}eel")),
        ("username", json!("änn")),
        ("email", json!("nobody")),
        ("email", json!(long)),
        ("email", json!("a@b.org\r\nBcc: c@d.org")),
        ("password", json!("short")),
        ("password", json!(long)),
        ("firstname", json!(long)),
        ("lastname", json!("a\u{7}b")),
        ("lastname", json!("two\nlines")),
    ] {
        let answer = api.post("/v1/accounts", &with(field, value.clone())).await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{field} {value}");
    }
    // All invalid fields are reported together.
    let answer = api.post("/v1/accounts", &json!({ "username": "", "email": "", "password": "" })).await;
    assert_eq!(answer.problem(422, "invalid"), ["username", "email", "password"]);
    for (field, value) in [
        ("username", json!(7)),
        ("username", json!({ "$gt": "" })),
        ("username", json!(["a"])),
        ("username", Value::Null),
        ("admin", json!(true)),
    ] {
        let answer = api.post("/v1/accounts", &with(field, value.clone())).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{field} {value}");
    }
    let raw = async |body: &str, kind: &str| {
        let request = api.request(Method::POST, "/v1/accounts").header("content-type", kind);
        api.send(request.body(body.to_owned())).await
    };
    for body in ["", "{", "[]", "null", "{\"username\":\"a\"", &format!("{good} x"), "{\"a\":\"\u{1}\"}"] {
        assert_eq!(raw(body, "application/json").await.problem(400, "malformed").len(), 1, "{body}");
    }
    raw(&good.to_string(), "text/plain").await.problem(415, "not-json");
    raw(&"x".repeat(100_000), "application/json").await.problem(413, "too-large");
    let compressed = api.request(Method::POST, "/v1/accounts").header("content-encoding", "gzip").json(&good);
    api.send(compressed).await.problem(415, "unsupported-encoding");
    let missing = json!({ "username": name });
    api.post("/v1/accounts", &missing).await.problem(400, "malformed");
    // None of these requests has claimed the name.
    raw(&format!("\u{feff}{good}"), "application/json").await.expect(201);
}

async fn invalid_upload_names_the_field_and_changes_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let image = || Part::bytes(png(10, 10)).file_name("a.png");
    let publish = async |form: Form| api.publish_form(&ann, form).await;
    assert_eq!(publish(Form::new().text("caption", "x")).await.problem(400, "malformed"), ["image"]);
    assert_eq!(publish(Form::new().part("photo", image())).await.problem(400, "malformed"), ["photo"]);
    let twice = Form::new().part("image", image()).text("caption", "a").text("caption", "b");
    assert_eq!(publish(twice).await.problem(400, "malformed"), ["caption"]);
    let long = Form::new().part("image", image()).text("caption", "x".repeat(2201));
    assert_eq!(publish(long).await.problem(422, "invalid"), ["caption"]);
    let bidi = Form::new().part("image", image()).text("alt", "a\u{202e}b");
    assert_eq!(publish(bidi).await.problem(422, "invalid"), ["alt[0]"]);
    let binary = Form::new().part("image", image()).part("caption", Part::bytes(vec![0xff, 0xfe]));
    assert_eq!(publish(binary).await.problem(400, "malformed"), ["caption"]);
    let huge = Form::new().part("image", Part::bytes(vec![0; 21 << 20]).file_name("a.png"));
    publish(huge).await.problem(413, "too-large");

    let raw = async |kind: &str, body: &'static [u8]| {
        let request =
            api.request(Method::POST, "/v1/posts").bearer_auth(&ann.token).header("content-type", kind);
        api.send(request.body(body)).await
    };
    raw("application/json", b"{}").await.problem(415, "not-multipart");
    assert_eq!(raw("multipart/form-data", b"x").await.problem(400, "malformed"), ["content-type"]);
    assert_eq!(
        raw("multipart/form-data; boundary=x", b"--x\r\nbroken").await.problem(400, "malformed"),
        ["body"]
    );
    assert_eq!(api.get_as(&ann, "/v1/me").await.expect(200).json()["posts"], 0);
    let edits = [json!({ "caption": "x".repeat(2201) }), json!({ "caption": "a\0b" })];
    let post = api.publish(&ann, "Dawn").await;
    for edit in edits {
        let answer = api.patch_as(&ann, &format!("/v1/posts/{post}"), &edit).await;
        assert_eq!(answer.problem(422, "invalid"), ["caption"]);
    }
    let comment = async |text: &str| {
        api.post_as(&ann, &format!("/v1/posts/{post}/comments"), &json!({ "text": text })).await
    };
    for text in ["", " \n ", "\u{3164}\u{200b}", &"x".repeat(1001), "a\u{0}b"] {
        assert_eq!(comment(text).await.problem(422, "invalid"), ["text"], "{text}");
    }
    assert_eq!(api.post_page(&post).await["caption"], "Dawn");

    // The longest caption as a browser's form sends it, saved twice.
    let caption = "x\r\n".repeat(1100);
    let edit = async |caption: &str| {
        api.patch_as(&ann, &format!("/v1/posts/{post}"), &json!({ "caption": caption }))
            .await
            .expect(200)
            .json()
    };
    assert_eq!(edit(&caption).await["changed"], true);
    assert_eq!(edit(&caption).await["changed"], false);
    assert_eq!(api.post_page(&post).await["caption"], "x\n".repeat(1100).trim_end());
}

async fn invalid_path_or_query_names_the_parameter(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for id in
        ["x", "ABCDEF00000000000000000000000000", "0191e2a4-0000-7000-8000-000000000001", "%00", "a%2fb", "'"]
    {
        for (method, path, field) in [
            (Method::GET, format!("/v1/posts/{id}"), "post"),
            (Method::GET, format!("/v1/posts/{id}/comments"), "post"),
            (Method::GET, format!("/v1/users/{id}/posts"), "user"),
            (Method::PUT, format!("/v1/posts/{id}/like"), "post"),
            (Method::PUT, format!("/v1/users/{id}/follow"), "user"),
            (Method::DELETE, format!("/v1/posts/{id}/comments/{id}"), ""),
        ] {
            let answer = api.send(api.request(method.clone(), &path).bearer_auth(&ann.token)).await;
            let fields = answer.problem(400, "malformed");
            assert!(field.is_empty() || fields == [field], "{method} {path}: {fields:?}");
        }
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("offset=5", "offset"),
    ] {
        let answer = api.get(&format!("/v1/posts?{query}")).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{query}");
    }
}

async fn unknown_routes_and_methods_return_problems(chorus: &Chorus) {
    let api: Api = chorus.api();
    api.get("/v1/nothing").await.problem(404, "not-found");
    api.get("/nothing").await.problem(404, "not-found");
    let ann = api.sign_up("ann").await;
    api.post_as(&ann, "/v1/nothing", &json!({})).await.problem(404, "not-found");
    let answer = api.send(api.request(Method::PUT, "/v1/posts").bearer_auth(&ann.token)).await;
    answer.problem(405, "method-not-allowed");
    let id = answer.header("x-request-id").unwrap();
    assert!(!id.is_empty());
    for path in ["/v1/me/profile", "/v1/posts"] {
        let method = if path == "/v1/posts" { Method::POST } else { Method::PATCH };
        api.send(api.request(method, path)).await.problem(401, "unauthenticated");
    }
}
