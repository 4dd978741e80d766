use futures::future::join_all;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    notifications_are_grouped_and_retracted,
    reply_notifies_each_user_once,
    read_cursor_separates_read_from_unread,
    large_groups_are_counted_exactly,
    groups_are_paginated_by_their_newest_remaining_activity,
    suspended_users_are_neither_shown_nor_counted,
}

const LIST: &str = "/v1/me/notifications";

async fn listed(api: &Api, user: &User) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = Some(format!("{LIST}?limit=2"));
    while let Some(path) = next {
        let page = api.get_as(user, &path).await.expect(200).json();
        items.extend(page["items"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    items
}

/// Kind, post, people (newest first) and number of others.
fn short(group: &Value) -> (String, Value, Vec<String>, u64) {
    let people = group["people"].as_array().unwrap().iter();
    (
        group["kind"].as_str().unwrap().to_owned(),
        group["post"]["id"].clone(),
        people.map(|person| person["id"].as_str().unwrap().to_owned()).collect(),
        group["others"].as_u64().unwrap(),
    )
}

async fn shorts(api: &Api, user: &User) -> Vec<(String, Value, Vec<String>, u64)> {
    listed(api, user).await.iter().map(short).collect()
}

fn group(kind: &str, post: Option<&str>, people: &[&User], others: u64) -> (String, Value, Vec<String>, u64) {
    let people = people.iter().map(|user| user.id.clone()).collect();
    (kind.to_owned(), json!(post), people, others)
}

async fn unread(api: &Api, user: &User) -> u64 {
    api.get_as(user, &format!("{LIST}/unread")).await.expect(200).json()["count"].as_u64().unwrap()
}

async fn unlike(api: &Api, user: &User, post: &str) {
    api.delete_as(user, &format!("/v1/posts/{post}/like")).await.expect(200);
}

async fn notifications_are_grouped_and_retracted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let post = api.publish(&ann, "Dawn").await;
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (vec![], 0));
    for user in [&bob, &ann, &cat] {
        api.like(user, &post).await.expect(200);
    }
    api.follow(&bob, &ann).await.expect(200);
    let first = api.comment(&bob, &post, "Lovely").await;
    let second = api.comment(&bob, &post, "Really").await;
    let follow = group("follow", None, &[&bob], 0);
    let likes = group("like", Some(&post), &[&cat, &bob], 0);
    let comments = group("comment", Some(&post), &[&bob], 0);
    assert_eq!(shorts(&api, &ann).await, [comments.clone(), follow, likes.clone()]);
    assert_eq!(unread(&api, &ann).await, 5, "each activity of others, but not one's own");
    let newest = listed(&api, &ann).await.remove(0);
    assert_eq!((&newest["comment"], &newest["unread"]), (&json!(second), &json!(true)));
    assert!(newest["post"]["thumb"].as_str().unwrap().starts_with("http"), "{newest}");
    assert_eq!(newest["people"][0]["username"], bob.username);
    for other in [&bob, &cat] {
        assert_eq!(shorts(&api, other).await, [], "other users are not notified");
    }

    // Retracted one by one; the rest of each group stays.
    api.delete_as(&bob, &format!("/v1/posts/{post}/comments/{second}")).await.expect(200);
    assert_eq!(listed(&api, &ann).await.len(), 3);
    api.delete_as(&bob, &format!("/v1/users/{}/follow", ann.id)).await.expect(200);
    unlike(&api, &cat, &post).await;
    unlike(&api, &ann, &post).await;
    let bobs = group("like", Some(&post), &[&bob], 0);
    assert_eq!(shorts(&api, &ann).await, [comments, bobs]);
    assert_eq!(listed(&api, &ann).await[0]["comment"], json!(first));
    assert_eq!(unread(&api, &ann).await, 2);
    // A second like notifies once more.
    api.like(&cat, &post).await.expect(200);
    assert_eq!((shorts(&api, &ann).await.remove(0), unread(&api, &ann).await), (likes, 3));
    api.delete_as(&ann, &format!("/v1/posts/{post}")).await.expect(200);
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (vec![], 0));
}

async fn reply_notifies_each_user_once(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}/comments");
    let reply = async |user: &User, to: &str| {
        api.post_as(user, &path, &json!({ "text": "Yes", "reply_to": to })).await.expect(201).id()
    };
    let (by_bob, by_ann) =
        (api.comment(&bob, &post, "Where?").await, api.comment(&ann, &post, "There").await);
    let to_bob = reply(&cat, &by_bob).await;
    assert_eq!(shorts(&api, &bob).await, [group("reply", Some(&post), &[&cat], 0)]);
    assert_eq!(shorts(&api, &ann).await, [group("comment", Some(&post), &[&cat, &bob], 0)]);
    // A reply to the post's author notifies as a reply only.
    let to_ann = reply(&cat, &by_ann).await;
    let both = [group("reply", Some(&post), &[&cat], 0), group("comment", Some(&post), &[&cat, &bob], 0)];
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (both.to_vec(), 3));
    for comment in [&to_bob, &to_ann] {
        api.delete_as(&cat, &format!("{path}/{comment}")).await.expect(200);
    }
    assert_eq!(shorts(&api, &bob).await, []);
    assert_eq!(shorts(&api, &ann).await, [group("comment", Some(&post), &[&bob], 0)]);
    // A reply to oneself notifies the post's author only.
    reply(&bob, &by_bob).await;
    assert_eq!((shorts(&api, &bob).await, unread(&api, &ann).await), (vec![], 2));
}

async fn read_cursor_separates_read_from_unread(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let read = async |up_to: &Value| {
        let path = format!("{LIST}/read");
        api.put_json_as(&ann, &path, &json!({ "up_to": up_to })).await.expect(200).json()["changed"].clone()
    };
    let (one, two) = (api.publish(&ann, "one").await, api.publish(&ann, "two").await);
    api.like(&bob, &one).await.expect(200);
    api.like(&bob, &two).await.expect(200);
    let oldest = listed(&api, &ann).await[1]["position"].clone();
    assert_eq!((read(&oldest).await, unread(&api, &ann).await), (json!(true), 1));
    let flags = async || -> Vec<Value> {
        listed(&api, &ann).await.iter().map(|group| group["unread"].clone()).collect()
    };
    assert_eq!(flags().await, [true, false]);
    let state = api.get_as(&ann, &format!("{LIST}/unread")).await.expect(200).json();
    assert_eq!((&state["read_up_to"], &state["newest"]), (&oldest, &listed(&api, &ann).await[0]["position"]));
    assert_eq!(read(&state["newest"]).await, true);
    for less in [json!(0), oldest] {
        assert_eq!((read(&less).await, unread(&api, &ann).await), (json!(false), 0));
    }
    // A cursor beyond the newest position does not mark future activity as read.
    assert_eq!((read(&json!(9_007_199_254_740_991_i64)).await, unread(&api, &ann).await), (json!(true), 0));
    api.like(&cat, &one).await.expect(200);
    assert_eq!((unread(&api, &ann).await, flags().await), (1, vec![json!(true), json!(false)]));
    // Unliked and liked again: unread once, and not while it is retracted.
    unlike(&api, &cat, &one).await;
    assert_eq!((unread(&api, &ann).await, flags().await), (0, vec![json!(false), json!(false)]));
    api.like(&cat, &one).await.expect(200);
    assert_eq!(unread(&api, &ann).await, 1);
    for bad in [json!(-1), json!("7"), json!(1.5), json!(u64::MAX), Value::Null] {
        let answer = api.put_json_as(&ann, &format!("{LIST}/read"), &json!({ "up_to": bad })).await;
        assert_eq!(answer.problem(400, "malformed"), ["up_to"], "{bad}");
    }
}

async fn large_groups_are_counted_exactly(chorus: &Chorus) {
    const PEOPLE: usize = 16;
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let people = join_all((0..PEOPLE).map(|_| api.sign_up("fan"))).await;
    for user in &people {
        api.like(user, &post).await.expect(200);
        api.comment(user, &post, "Lovely").await;
        api.comment(user, &post, "Lovely!").await;
    }
    let [first, second, third] = [&people[15], &people[14], &people[13]];
    let both = async |others| {
        let groups =
            ["comment", "like"].map(|kind| group(kind, Some(&post), &[first, second, third], others));
        assert_eq!(shorts(&api, &ann).await, groups);
    };
    both(13).await;
    assert_eq!(unread(&api, &ann).await, 48);
    unlike(&api, &people[0], &post).await;
    let comments = api.all_pages(&format!("/v1/posts/{post}/comments?limit=100")).await;
    for comment in comments.iter().filter(|comment| comment["author"]["id"] == people[0].id) {
        let path = format!("/v1/posts/{post}/comments/{}", comment["id"].as_str().unwrap());
        api.delete_as(&ann, &path).await.expect(200);
    }
    both(12).await;
    assert_eq!(unread(&api, &ann).await, 45);
}

async fn groups_are_paginated_by_their_newest_remaining_activity(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let mut posts = Vec::new();
    for n in 0..7 {
        let post = api.publish(&ann, &n.to_string()).await;
        api.like(&bob, &post).await.expect(200);
        posts.push(post);
    }
    let order = async || -> Vec<usize> {
        let listed = shorts(&api, &ann).await;
        listed.iter().map(|(_, post, ..)| posts.iter().position(|id| *post == json!(id)).unwrap()).collect()
    };
    assert_eq!(order().await, [6, 5, 4, 3, 2, 1, 0]);
    for post in [0, 3, 5] {
        api.like(&cat, &posts[post]).await.expect(200);
    }
    assert_eq!(order().await, [5, 3, 0, 6, 4, 2, 1]);
    // Two groups return to their old places; one loses its only like and is gone.
    for (user, post) in [(&cat, 0), (&cat, 5), (&bob, 4), (&bob, 3)] {
        unlike(&api, user, &posts[post]).await;
    }
    assert_eq!(order().await, [3, 6, 5, 2, 1, 0]);
    // New activity during pagination changes no later page.
    let first = api.get_as(&ann, &format!("{LIST}?limit=3")).await.expect(200).json();
    api.like(&cat, &posts[6]).await.expect(200);
    let second = api.get_as(&ann, first["next"].as_str().unwrap()).await.expect(200).json();
    let ids = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|group| group["post"]["id"].clone()).collect()
    };
    let expected = |places: [usize; 3]| places.map(|place| json!(posts[place])).to_vec();
    assert_eq!((ids(&first), ids(&second)), (expected([3, 6, 5]), expected([2, 1, 0])));
    assert_eq!(second["next"], Value::Null);
    assert_eq!(api.get_as(&ann, &format!("{LIST}?cursor=x")).await.problem(400, "malformed"), ["cursor"]);
    api.get(LIST).await.problem(401, "unauthenticated");
}

async fn suspended_users_are_neither_shown_nor_counted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    let post = api.publish(&ann, "Dawn").await;
    for user in [&cat, &bob] {
        api.like(user, &post).await.expect(200);
    }
    api.comment(&bob, &post, "Lovely").await;
    api.follow(&cat, &ann).await.expect(200);
    let follow = group("follow", None, &[&cat], 0);
    let comments = group("comment", Some(&post), &[&bob], 0);
    let before = [follow.clone(), comments, group("like", Some(&post), &[&bob, &cat], 0)];
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (before.to_vec(), 4));
    let suspension = format!("/v1/users/{}/suspension", bob.id);
    let spam = json!({ "reason": "spam" });
    api.put_json_as(&moderator, &suspension, &spam).await.expect(200);
    let without = [follow, group("like", Some(&post), &[&cat], 0)];
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (without.to_vec(), 2));
    api.delete_as(&moderator, &suspension).await.expect(200);
    assert_eq!((shorts(&api, &ann).await, unread(&api, &ann).await), (before.to_vec(), 4));
}
