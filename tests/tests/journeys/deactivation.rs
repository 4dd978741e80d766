//! Deactivation and return.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    deactivated_account_is_hidden_and_logged_out_until_next_login,
    inactive_and_erased_users_are_in_no_list_or_count,
}

async fn deactivated_account_is_hidden_and_logged_out_until_next_login(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let elsewhere = api.log_in(&ann, PASSWORD).await;
    let post = api.publish(&ann, "Dawn").await;
    api.follow(&bob, &ann).await.expect(200);
    api.like(&bob, &post).await.expect(200);
    let in_feed = async || {
        let feed = api.get_as(&bob, "/v1/feed").await.expect(200).json();
        feed["items"].as_array().unwrap().iter().any(|item| item["id"] == json!(post))
    };
    let user = format!("/v1/users/{}", ann.id);
    assert!(in_feed().await);

    let deactivate = async |password: &str| {
        api.post_as(&ann, "/v1/me/deactivation", &json!({ "current_password": password })).await
    };
    assert_eq!(deactivate("not the password").await.problem(422, "invalid"), ["current_password"]);
    api.get(&user).await.expect(200);
    assert_eq!(deactivate(PASSWORD).await.expect(200).json()["changed"], true);
    api.get(&user).await.problem(404, "not-found");
    api.get(&format!("/v1/posts/{post}")).await.problem(404, "not-found");
    // Hidden posts accept no new activity, but existing activity can be retracted.
    api.like(&bob, &post).await.problem(404, "not-found");
    let comment = json!({ "text": "Where are you?" });
    api.post_as(&bob, &format!("/v1/posts/{post}/comments"), &comment).await.problem(404, "not-found");
    api.put_as(&bob, &format!("/v1/posts/{post}/save")).await.problem(404, "not-found");
    api.delete_as(&bob, &format!("/v1/posts/{post}/like")).await.expect(200);
    assert!(!in_feed().await);
    for gone in [&ann, &elsewhere] {
        api.wait_until_logged_out(gone).await;
    }
    deactivate(PASSWORD).await.problem(401, "session-ended");

    let back = api.log_in(&ann, PASSWORD).await;
    api.get_as(&back, "/v1/me").await.expect(200);
    api.get(&user).await.expect(200);
    assert!(in_feed().await);
    let post = api.post_page(&post).await;
    assert_eq!((&post["likes"], &post["comments"]), (&json!(0), &json!(0)));
    api.wait_until_logged_out(&elsewhere).await;
}

/// Ann, her content, and the activity of others on it.
struct World<'a> {
    api: Api,
    ann: &'a User,
    post: String,
    comment: String,
    story: String,
    collection: String,
}

/// Counts of each kind; each equals the length of its list.
#[derive(Debug, PartialEq)]
struct Counts {
    likes: usize,
    comments: usize,
    replies: usize,
    viewers: usize,
    followers: usize,
    followings: usize,
    saved: usize,
    unread: u64,
}

impl World<'_> {
    async fn json(&self, path: &str) -> Value {
        self.api.get_as(self.ann, path).await.expect(200).json()
    }

    async fn items(&self, path: &str) -> Vec<Value> {
        self.json(path).await["items"].as_array().unwrap().clone()
    }

    /// Reads every list and count that Ann sees, asserts that they agree, that all of `shown` appear and `hidden` does not.
    async fn counts(&self, shown: &[&User], hidden: Option<&User>) -> Counts {
        let mut all = Vec::new();
        let Self { post, comment, story, collection, ann, .. } = self;
        let post_page = self.json(&format!("/v1/posts/{post}")).await;
        let likes = self.items(&format!("/v1/posts/{post}/likes")).await;
        let comments = self.items(&format!("/v1/posts/{post}/comments")).await;
        let replies = self.items(&format!("/v1/posts/{post}/comments/{comment}/replies")).await;
        assert_eq!(
            (&post_page["likes"], &post_page["comments"]),
            (&json!(likes.len()), &json!(comments.len()))
        );
        let answered = comments.iter().find(|item| item["id"] == json!(comment)).unwrap();
        assert_eq!(answered["replies"], json!(replies.len()));

        let own_story = self.json(&format!("/v1/users/{}/stories/{story}", ann.id)).await;
        let viewers = self.items(&format!("/v1/users/{}/stories/{story}/viewers", ann.id)).await;
        assert_eq!(own_story["views"], json!(viewers.len()));

        let user = self.json(&format!("/v1/users/{}", ann.id)).await;
        let followers = self.items(&format!("/v1/users/{}/followers", ann.id)).await;
        let followings = self.items(&format!("/v1/users/{}/followings", ann.id)).await;
        assert_eq!(
            (&user["followers"], &user["followings"]),
            (&json!(followers.len()), &json!(followings.len()))
        );

        let saved = self.items("/v1/me/saved").await;
        let in_collection = self.items(&format!("/v1/me/collections/{collection}/posts")).await;
        let counted = self.json(&format!("/v1/me/collections/{collection}")).await["posts"].clone();
        assert_eq!((counted, saved.len()), (json!(in_collection.len()), in_collection.len()));

        let notices = self.items("/v1/me/notifications").await;
        let people = |kind: &str| {
            let group = notices.iter().find(|group| group["kind"] == kind);
            group.map_or(0, |group| {
                group["people"].as_array().unwrap().len()
                    + usize::try_from(group["others"].as_u64().unwrap()).unwrap()
            })
        };
        assert_eq!(people("like"), likes.len());
        assert_eq!(people("follow"), followers.len());
        let unread = self.json("/v1/me/notifications/unread").await["count"].as_u64().unwrap();

        // The same through the InstaMERN routes.
        let page = self.json(&format!("/instamern/posts/{post}")).await["data"]["post"].clone();
        assert_eq!(page["likes"].as_array().unwrap().len(), likes.len());
        assert_eq!(page["comments"].as_array().unwrap().len(), comments.len());
        let feed = self.json("/instamern/posts?limit=100").await;
        let posts = feed["data"]["posts"].as_array().unwrap();
        let in_feed = posts.iter().find(|item| item["_id"] == json!(post)).unwrap().clone();
        assert_eq!(in_feed["likes"].as_array().unwrap().len(), likes.len());
        assert_eq!((&in_feed["like"], &in_feed["comment"]), (&json!(likes.len()), &json!(comments.len())));
        let current = self.json("/instamern/users/authorization/current-user").await["data"]["user"].clone();
        assert_eq!(current["notifications"].as_array().unwrap().len() as u64, unread);

        let counts = Counts {
            likes: likes.len(),
            comments: comments.len(),
            replies: replies.len(),
            viewers: viewers.len(),
            followers: followers.len(),
            followings: followings.len(),
            saved: saved.len(),
            unread,
        };
        let lists = [likes, comments, replies, viewers, followers, followings, saved, in_collection, notices];
        all.extend(lists.into_iter().map(Value::from));
        all.extend([page, in_feed, current]);
        let all = Value::from(all).to_string();
        for user in shown {
            assert!(all.contains(&user.id), "{} is in no list", user.username);
        }
        if let Some(user) = hidden {
            assert!(!all.contains(&user.id), "{} is still in a list: {all}", user.username);
        }
        counts
    }
}

/// Bob likes, comments, replies, views, follows, is followed, and publishes a saved post; Cat does a part of it.
async fn inactive_and_erased_users_are_in_no_list_or_count(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;

    let post = api.publish(&ann, "Dawn").await;
    let comment = api.comment(&ann, &post, "My own").await;
    let answer = |text: &str| json!({ "text": text, "reply_to": comment });
    let comments = format!("/v1/posts/{post}/comments");
    let story = api.publish_story(&ann).await;
    let view = format!("/v1/users/{}/stories/{story}/view", ann.id);
    for user in [&bob, &cat] {
        api.like(user, &post).await.expect(200);
        api.comment(user, &post, "Lovely").await;
        api.post_as(user, &comments, &answer("Indeed")).await.expect(201);
        api.put_as(user, &view).await.expect(200);
        api.follow(user, &ann).await.expect(200);
        api.follow(&ann, user).await.expect(200);
    }
    api.comment(&bob, &post, "Once more").await;
    let bobs = api.publish(&bob, "Dusk").await;
    let collection =
        api.post_as(&ann, "/v1/me/collections", &json!({ "name": "Evenings" })).await.expect(201).id();
    api.put_as(&ann, &format!("/v1/me/collections/{collection}/posts/{bobs}")).await.expect(200);

    let world = World { api: chorus.api(), ann: &ann, post, comment, story, collection };
    let with_bob = Counts {
        likes: 2,
        comments: 6,
        replies: 2,
        viewers: 2,
        followers: 2,
        followings: 2,
        saved: 1,
        unread: 9,
    };
    let without_bob = Counts {
        likes: 1,
        comments: 3,
        replies: 1,
        viewers: 1,
        followers: 1,
        followings: 1,
        saved: 0,
        unread: 4,
    };
    assert_eq!(world.counts(&[&bob, &cat], None).await, with_bob);

    let current = json!({ "current_password": PASSWORD });
    api.post_as(&bob, "/v1/me/deactivation", &current).await.expect(200);
    assert_eq!(world.counts(&[&cat], Some(&bob)).await, without_bob);
    let bob = api.log_in(&bob, PASSWORD).await;
    assert_eq!(world.counts(&[&bob, &cat], None).await, with_bob);

    let suspension = format!("/v1/users/{}/suspension", bob.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    assert_eq!(world.counts(&[&cat], Some(&bob)).await, without_bob);
    api.delete_as(&moderator, &suspension).await.expect(200);
    assert_eq!(world.counts(&[&bob, &cat], None).await, with_bob);

    let bob = api.log_in(&bob, PASSWORD).await;
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&bob.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    assert_eq!(world.counts(&[&cat], Some(&bob)).await, without_bob);
}
