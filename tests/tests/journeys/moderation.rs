//! Content that moderators remove and restore.

use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    removed_post_is_hidden_everywhere_and_restored_unchanged,
    removed_comment_is_hidden_everywhere_and_restored_unchanged,
    removed_story_is_hidden_everywhere_and_restored_unchanged,
    only_moderators_and_admins_remove_and_restore,
}

async fn moderator(chorus: &Chorus, api: &Api) -> User {
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    api.log_in(&moderator, PASSWORD).await
}

fn removal_of(post: &str) -> String {
    format!("/v1/posts/{post}/removal")
}

/// Reads everything that shows or counts the post or the activity on it.
async fn reads(api: &Api, [ann, bob]: [&User; 2], post: &str, collection: &str) -> Vec<Value> {
    let picture = format!("/v1/posts/{post}");
    let all = [
        (None, picture.clone()),
        (None, format!("{picture}/likes")),
        (None, format!("{picture}/comments")),
        (None, format!("{picture}/captions")),
        (None, format!("/v1/users/{}/posts", ann.id)),
        (None, format!("/v1/users/{}", ann.id)),
        (None, format!("/instamern/posts/{post}")),
        (None, format!("/instamern/users/id/{}", ann.id)),
        (Some(bob), "/v1/feed".to_owned()),
        (Some(bob), "/v1/me/saved".to_owned()),
        (Some(bob), format!("/v1/me/collections/{collection}")),
        (Some(bob), format!("/v1/me/collections/{collection}/posts")),
        (Some(ann), "/v1/me/notifications".to_owned()),
        (Some(ann), "/v1/me/notifications/unread".to_owned()),
    ];
    let mut read = Vec::new();
    for (user, path) in all {
        let answer = match user {
            Some(user) => api.get_as(user, &path).await,
            None => api.get(&path).await,
        };
        read.push(json!({ "path": path, "status": answer.status.as_u16(), "body": answer.json() }));
    }
    read
}

async fn removed_post_is_hidden_everywhere_and_restored_unchanged(chorus: &Chorus) {
    let api = chorus.api();
    let moderator = moderator(chorus, &api).await;
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    api.follow(&bob, &ann).await.expect(200);
    let post = api.publish(&ann, "Dawn").await;
    let other = api.publish(&ann, "Dusk").await;
    api.like(&ann, &post).await.expect(200);
    api.like(&bob, &post).await.expect(200);
    api.comment(&bob, &post, "Lovely").await;
    let collection =
        api.post_as(&bob, "/v1/me/collections", &json!({ "name": "Lakes" })).await.expect(201).id();
    api.put_as(&bob, &format!("/v1/me/collections/{collection}/posts/{post}")).await.expect(200);
    let picture = api.post_page(&post).await["images"][0]["feed"].as_str().unwrap().to_owned();
    let before = reads(&api, [&ann, &bob], &post, &collection).await;
    for read in &before {
        assert_eq!(read["status"], 200, "{read}");
        let shows = read.to_string().contains(&post) || read["path"].as_str().unwrap().contains("captions");
        assert!(shows || read["body"]["posts"].is_number() || read["body"]["count"].is_number(), "{read}");
    }

    let reason = json!({ "reason": "Shows an address" });
    let removed = api.put_json_as(&moderator, &removal_of(&post), &reason).await.expect(200).json();
    assert_eq!((&removed["changed"], &removed["pending"]), (&json!(true), &json!(false)));
    let again = api.put_json_as(&moderator, &removal_of(&post), &json!({ "reason": "spam" })).await;
    assert_eq!(again.expect(200).json()["changed"], false);
    for path in ["", "/likes", "/comments", "/captions"] {
        api.get(&format!("/v1/posts/{post}{path}")).await.problem(404, "not-found");
        api.get_as(&ann, &format!("/v1/posts/{post}{path}")).await.problem(404, "not-found");
    }
    api.get(&format!("/instamern/posts/{post}")).await.expect(404);
    api.get(&picture).await.problem(404, "not-found");
    let profile = api.get(&format!("/v1/users/{}", ann.id)).await.expect(200).json();
    assert_eq!(profile["posts"], 1);
    for path in [format!("/v1/users/{}/posts", ann.id), format!("/instamern/users/id/{}", ann.id)] {
        let list = api.get(&path).await.expect(200).text();
        assert!(!list.contains(&post) && list.contains(&other), "{path}: {list}");
    }
    for path in ["/v1/posts?limit=100", "/instamern/posts"] {
        assert!(!api.get(path).await.expect(200).text().contains(&post), "{path}");
    }
    let collection_page = format!("/v1/me/collections/{collection}");
    for path in ["/v1/feed".to_owned(), "/v1/me/saved".to_owned(), format!("{collection_page}/posts")] {
        assert!(!api.get_as(&bob, &path).await.expect(200).text().contains(&post), "{path}");
    }
    assert_eq!(api.get_as(&bob, &collection_page).await.expect(200).json()["posts"], 0);

    // Nobody can change it any more, not even its author.
    let path = format!("/v1/posts/{post}");
    api.like(&moderator, &post).await.problem(404, "not-found");
    api.put_as(&moderator, &format!("{path}/save")).await.problem(404, "not-found");
    let comment = json!({ "text": "Why?" });
    api.post_as(&moderator, &format!("{path}/comments"), &comment).await.problem(404, "not-found");
    api.patch_as(&ann, &path, &json!({ "caption": "Still here" })).await.problem(404, "not-found");
    api.delete_as(&ann, &path).await.problem(404, "not-found");

    // Its author is notified of the reason and of nothing else about it.
    let listed = api.get_as(&ann, "/v1/me/notifications").await.expect(200).json();
    let about: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().filter(|item| item["post"]["id"] == json!(post)).collect();
    let [notice] = about.as_slice() else { panic!("{listed}") };
    assert_eq!(
        (&notice["kind"], &notice["reason"], &notice["people"], &notice["unread"]),
        (&json!("content_removed"), &json!("Shows an address"), &json!([]), &json!(true))
    );
    assert!(!listed.to_string().contains(&moderator.id));
    let unread = api.get_as(&ann, "/v1/me/notifications/unread").await.expect(200).json();
    assert_eq!(unread["count"], 2, "the follower and the removal");

    api.delete_as(&moderator, &removal_of(&post)).await.expect(200);
    assert_eq!(reads(&api, [&ann, &bob], &post, &collection).await, before);
    api.get(&picture).await.expect(200);
    api.like(&moderator, &post).await.expect(200);
}

async fn only_moderators_and_admins_remove_and_restore(chorus: &Chorus) {
    let api = chorus.api();
    let moderator = moderator(chorus, &api).await;
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let removal = removal_of(&post);
    let reason = json!({ "reason": "spam" });
    for user in [&ann, &bob] {
        api.put_json_as(user, &removal, &reason).await.problem(403, "forbidden");
        api.delete_as(user, &removal).await.problem(403, "forbidden");
    }
    let empty = api.put_json_as(&moderator, &removal, &json!({ "reason": " " })).await;
    assert_eq!(empty.problem(422, "invalid"), ["reason"]);
    let nothing = removal_of(&"0".repeat(32));
    api.put_json_as(&moderator, &nothing, &reason).await.problem(404, "not-found");
    api.delete_as(&moderator, &nothing).await.problem(404, "not-found");
    assert_eq!(api.delete_as(&moderator, &removal).await.expect(200).json()["changed"], false);
}

async fn removed_story_is_hidden_everywhere_and_restored_unchanged(chorus: &Chorus) {
    let api = chorus.api();
    let moderator = moderator(chorus, &api).await;
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    api.follow(&bob, &ann).await.expect(200);
    let story = api.publish_story(&ann).await;
    let path = format!("/v1/users/{}/stories/{story}", ann.id);
    api.put_as(&bob, &format!("{path}/view")).await.expect(200);
    let shown = async || {
        let mut shown = vec![api.get_as(&ann, &path).await, api.get_as(&bob, "/v1/stories").await];
        for path in [format!("/v1/users/{}/stories", ann.id), format!("/instamern/users/id/{}", ann.id)] {
            shown.push(api.get(&path).await);
        }
        shown.into_iter().map(|answer| (answer.status.as_u16(), answer.json())).collect::<Vec<_>>()
    };
    let before = shown().await;
    assert!(
        before.iter().all(|(status, body)| *status == 200 && body.to_string().contains(&story)),
        "{before:?}"
    );
    let picture = before[0].1["image"]["story"].as_str().unwrap().to_owned();

    let removal = format!("{path}/removal");
    let reason = json!({ "reason": "Shows an address" });
    api.put_json_as(&bob, &removal, &reason).await.problem(403, "forbidden");
    api.put_json_as(&moderator, &removal, &reason).await.expect(200);
    for (_, body) in shown().await {
        assert!(!body.to_string().contains(&story), "{body}");
    }
    assert!(!api.get("/v1/stories/newest?limit=100").await.expect(200).text().contains(&story));
    assert!(!api.get("/instamern/stories").await.expect(200).text().contains(&story));
    api.get_as(&ann, &path).await.problem(404, "not-found");
    api.get_as(&ann, &format!("{path}/viewers")).await.problem(404, "not-found");
    api.put_as(&moderator, &format!("{path}/view")).await.problem(404, "not-found");
    api.delete_as(&ann, &path).await.problem(404, "not-found");
    api.get(&picture).await.problem(404, "not-found");
    let listed = api.get_as(&ann, "/v1/me/notifications").await.expect(200).json();
    assert_eq!(
        (&listed["items"][0]["kind"], &listed["items"][0]["reason"]),
        (&json!("content_removed"), &json!("Shows an address"))
    );

    api.delete_as(&moderator, &removal).await.expect(200);
    assert_eq!(shown().await, before);
    api.get(&picture).await.expect(200);
    api.delete_as(&ann, &path).await.expect(200);
    api.put_json_as(&moderator, &removal, &reason).await.problem(404, "not-found");
}

async fn removed_comment_is_hidden_everywhere_and_restored_unchanged(chorus: &Chorus) {
    let api = chorus.api();
    let moderator = moderator(chorus, &api).await;
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    api.comment(&ann, &post, "Mine").await;
    let comment = api.comment(&bob, &post, "Ann lives at 1 Lake Street").await;
    let path = format!("/v1/posts/{post}/comments/{comment}");
    let reads = async || {
        let mut read = vec![api.get_as(&ann, "/v1/me/notifications").await];
        read.push(api.get_as(&ann, "/v1/me/notifications/unread").await);
        for path in [
            format!("/v1/posts/{post}"),
            format!("/v1/posts/{post}/comments"),
            format!("/instamern/posts/{post}"),
        ] {
            read.push(api.get(&path).await);
        }
        read.into_iter().map(|answer| answer.expect(200).json()).collect::<Vec<_>>()
    };
    let before = reads().await;
    assert_eq!((&before[1]["count"], &before[2]["comments"]), (&json!(1), &json!(2)));

    let (removal, reason) = (format!("{path}/removal"), json!({ "reason": "Shows an address" }));
    api.put_json_as(&ann, &removal, &reason).await.problem(403, "forbidden");
    api.put_json_as(&moderator, &removal, &reason).await.expect(200);
    let removed = reads().await;
    assert_eq!((&removed[1]["count"], &removed[2]["comments"]), (&json!(0), &json!(1)));
    assert!(removed.iter().all(|body| !body.to_string().contains("Lake Street")), "{removed:?}");
    let reply = json!({ "text": "Where?", "reply_to": comment });
    api.post_as(&ann, &format!("/v1/posts/{post}/comments"), &reply).await.problem(404, "not-found");
    for user in [&ann, &bob] {
        api.delete_as(user, &path).await.problem(404, "not-found");
    }
    let listed = api.get_as(&bob, "/v1/me/notifications").await.expect(200).json();
    let notice = &listed["items"][0];
    assert_eq!((&notice["kind"], &notice["comment"]), (&json!("content_removed"), &json!(comment)));

    api.delete_as(&moderator, &removal).await.expect(200);
    assert_eq!(reads().await, before);
    api.delete_as(&bob, &path).await.expect(200);
}
