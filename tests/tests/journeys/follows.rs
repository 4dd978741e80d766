use serde_json::json;
use tests::chorus::Chorus;
use tests::client::{Api, User};

crate::journeys! {
    somebody_follows_and_follows_no_longer,
    followers_come_in_pages,
}

async fn counts(api: &Api, user: &User) -> (u64, u64) {
    let profile = api.get(&format!("/v1/users/{}", user.id)).await.expect(200).json();
    (profile["followers"].as_u64().unwrap(), profile["followings"].as_u64().unwrap())
}

async fn somebody_follows_and_follows_no_longer(chorus: &Chorus) {
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

async fn followers_come_in_pages(chorus: &Chorus) {
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
