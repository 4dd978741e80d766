//! The verbs of operators, run beside the services of a deployment.

use crate::chorus::Chorus;

/// Runs each test on both deployments, with a deployment of its own.
#[macro_export]
macro_rules! on_both {
    ($($test:ident,)+) => {
        mod standalone {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::chorus::Chorus::standalone().await.unwrap()).await;
            }
        )+}

        mod distributed {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::chorus::Chorus::distributed().await.unwrap()).await;
            }
        )+}
    };
}

/// What a verb prints.
#[track_caller]
pub fn run(chorus: &Chorus, arguments: &[&str]) -> String {
    tokio::task::block_in_place(|| chorus.run_cli(arguments))
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// What a verb prints that fails.
#[track_caller]
pub fn failure(chorus: &Chorus, arguments: &[&str]) -> String {
    let outcome = tokio::task::block_in_place(|| chorus.run_cli(arguments));
    outcome.expect_err("the verb succeeds").to_string()
}

/// A verb fails, and says why.
#[track_caller]
pub fn fails(chorus: &Chorus, arguments: &[&str], because: &str) {
    let printed = failure(chorus, arguments);
    assert!(printed.contains(because), "{arguments:?}: {printed}");
}
