use reqwest::Method;
use serde_json::json;
use tests::chorus::Chorus;

crate::journeys! {
    writers_read_their_own_writes,
    respond_async_returns_a_position_to_read_at,
    unchanged_response_returns_304,
}

async fn writers_read_their_own_writes(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    for n in 1..=20 {
        let receipt = api.like(&ann, &post).await.expect(200);
        assert_eq!(receipt.json()["pending"], false);
        assert_eq!(receipt.header("chorus-pending"), None);
        assert_eq!(api.post_page(&post).await["likes"], 1, "round {n}");
        api.delete_as(&ann, &format!("/v1/posts/{post}/like")).await.expect(200);
        assert_eq!(api.post_page(&post).await["likes"], 0, "round {n}");
    }
}

async fn respond_async_returns_a_position_to_read_at(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    for n in 1..=10 {
        let (method, likes) = if n % 2 == 1 { (Method::PUT, 1) } else { (Method::DELETE, 0) };
        let request = api.request(method, &format!("/v1/posts/{post}/like")).bearer_auth(&ann.token);
        let accepted = api.send(request.header("Prefer", "respond-async")).await.expect(202);
        assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
        let position = accepted.header("chorus-position").unwrap().to_owned();
        assert_eq!(accepted.json()["position"].to_string(), position);
        let page =
            api.get_with(&format!("/v1/posts/{post}"), "chorus-min-position", &position).await.expect(200);
        assert_eq!(page.header("chorus-pending"), None);
        assert_eq!(page.json()["likes"], likes, "round {n}");
    }
    // A position that is never reached: the wait times out, and the response says so.
    let far = api.get_with("/v1/posts?limit=1", "chorus-min-position", "999999999").await.expect(200);
    assert_eq!(far.header("chorus-pending"), Some("true"));
    for bad in ["x", "-1", "1.5", ""] {
        let answer = api.get_with("/v1/posts", "chorus-min-position", bad).await;
        assert_eq!(answer.problem(400, "malformed"), ["chorus-min-position"], "{bad}");
    }
}

async fn unchanged_response_returns_304(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}");
    let first = api.get(&path).await.expect(200);
    let tag = first.header("etag").unwrap();
    let unchanged = api.get_with(&path, "if-none-match", tag).await.expect(304);
    assert_eq!((unchanged.body.len(), unchanged.header("etag")), (0, Some(tag)));
    api.like(&ann, &post).await.expect(200);
    let changed = api.get_with(&path, "if-none-match", tag).await.expect(200);
    assert_eq!(changed.json()["likes"], json!(1));
    assert_ne!(changed.header("etag"), Some(tag));
    // Responses differ between viewers.
    assert_ne!(api.get_as(&ann, &path).await.expect(200).header("etag"), changed.header("etag"));
}
