use events::Subject;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};
use tests::model::{World, all_events};

crate::journeys! {
    follow_and_unfollow_update_counts_and_flags,
    followers_are_paginated,
    suspended_users_are_in_no_follow_list_or_count,
}

async fn counts(api: &Api, user: &User) -> (u64, u64) {
    let profile = api.get(&format!("/v1/users/{}", user.id)).await.expect(200).json();
    (profile["followers"].as_u64().unwrap(), profile["followings"].as_u64().unwrap())
}

async fn follow_and_unfollow_update_counts_and_flags(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    assert_eq!(api.follow(&bob, &ann).await.expect(200).json()["changed"], true);
    assert_eq!(api.follow(&bob, &ann).await.expect(200).json()["changed"], false);
    assert_eq!((counts(&api, &ann).await, counts(&api, &bob).await), ((1, 0), (0, 1)));
    let viewer = async |who: &User, whom: &User| {
        api.get_as(who, &format!("/v1/users/{}", whom.id)).await.expect(200).json()["viewer"].clone()
    };
    assert_eq!(
        viewer(&bob, &ann).await,
        json!({ "follows": true, "requested": false, "followed_by": false })
    );
    assert_eq!(
        viewer(&ann, &bob).await,
        json!({ "follows": false, "requested": false, "followed_by": true })
    );

    let unfollow =
        async || api.delete_as(&bob, &format!("/v1/users/{}/follow", ann.id)).await.expect(200).json();
    assert_eq!(
        (unfollow().await["changed"].clone(), unfollow().await["changed"].clone()),
        (json!(true), json!(false))
    );
    assert_eq!((counts(&api, &ann).await, counts(&api, &bob).await), ((0, 0), (0, 0)));
    api.follow(&ann, &ann).await.problem(409, "follows-oneself");
    let nobody = User { id: "0".repeat(32), ..ann.clone() };
    api.follow(&ann, &nobody).await.problem(404, "not-found");
}

async fn followers_are_paginated(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        let fan = api.sign_up("fan").await;
        api.follow(&fan, &ann).await.expect(200);
        api.follow(&ann, &fan).await.expect(200);
        expected.insert(0, json!(fan.id));
    }
    for list in ["followers", "followings"] {
        let people = api.all_pages(&format!("/v1/users/{}/{list}?limit=2", ann.id)).await;
        assert_eq!(people.iter().map(|person| person["id"].clone()).collect::<Vec<_>>(), expected, "{list}");
    }
    assert_eq!(counts(&api, &ann).await, (5, 5));
}

pub(crate) async fn moderator(chorus: &Chorus) -> User {
    let api = chorus.api();
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    api.log_in(&moderator, PASSWORD).await
}

pub(crate) async fn suspend(api: &Api, moderator: &User, user: &User) {
    let path = format!("/v1/users/{}/suspension", user.id);
    api.put_json_as(moderator, &path, &json!({ "reason": "Spam" })).await.expect(200);
}

/// Ids of a follow list, from its pages and from the list of ids; both must agree.
async fn list(api: &Api, user: &User, side: &str) -> Vec<String> {
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    let people = api.all_pages(&format!("/v1/users/{}/{side}s?limit=2", user.id)).await;
    let people: Vec<String> = people.iter().map(|person| id(&person["id"])).collect();
    let ids = api.get(&format!("/v1/users/{}/{side}-ids", user.id)).await.expect(200).json();
    let ids: Vec<String> = ids["ids"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(people, ids);
    people
}

async fn suspended_users_are_in_no_follow_list_or_count(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    for (who, whom) in [(&bob, &ann), (&cat, &ann), (&ann, &bob), (&ann, &cat)] {
        api.follow(who, whom).await.expect(200);
    }
    let of_ann = async || {
        let (followers, followings) =
            (list(&api, &ann, "follower").await, list(&api, &ann, "following").await);
        let counted = counts(&api, &ann).await;
        assert_eq!(counted, (followers.len() as u64, followings.len() as u64));
        (followers, followings)
    };
    let both = vec![cat.id.clone(), bob.id.clone()];
    assert_eq!(of_ann().await, (both.clone(), both.clone()));
    let moderator = moderator(chorus).await;
    suspend(&api, &moderator, &bob).await;
    assert_eq!(of_ann().await, (vec![cat.id.clone()], vec![cat.id.clone()]));
    assert_eq!(list(&api, &bob, "follower").await, Vec::<String>::new());
    api.delete_as(&moderator, &format!("/v1/users/{}/suspension", bob.id)).await.expect(200);
    assert_eq!(of_ann().await, (both.clone(), both));
    assert_eq!(list(&api, &bob, "follower").await, std::slice::from_ref(&ann.id));
    suspend(&api, &moderator, &cat).await;
    recount(chorus, &[&ann, &bob, &cat]).await;
}

/// Compares lists and counts of these users with a naive fold of their events.
async fn recount(chorus: &Chorus, people: &[&User]) {
    chorus.settle().await.unwrap();
    let is_theirs = |id: String| people.iter().any(|user| user.id == id);
    let mut events = all_events(&chorus.log().await.unwrap()).await.unwrap();
    events.retain(|recorded| match recorded.envelope.subject {
        Subject::Account(user) | Subject::Profile(user) => is_theirs(user.to_string()),
        Subject::Follow(follower, followee) => {
            is_theirs(follower.to_string()) && is_theirs(followee.to_string())
        }
        _ => false,
    });
    let expected = World::of_log(&events);
    assert_eq!((expected.people.len(), expected.follows.len()), (3, 4));
    let shown = World::of_views(&*chorus.views().await.unwrap(), &expected).await.unwrap();
    assert_eq!((shown.people, shown.follows), (expected.people, expected.follows));
}
