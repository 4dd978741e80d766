use tests::chorus::Chorus;

crate::journeys! {
    views_equal_the_log,
}

/// After most journeys, since tests run in the order of their names.
async fn views_equal_the_log(chorus: &Chorus) {
    chorus.settle().await.unwrap();
    chorus.run_cli(&["verify"]).unwrap();
}
