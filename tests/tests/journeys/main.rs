//! Journeys as people make them, over real sockets, unchanged in both deployments: the one binary
//! with SQLite, and three services on NATS, MongoDB, S3 and SES behind the proxy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what went wrong by failing"
)]

mod accounts;
mod answers;
mod bad_input;
mod claims;
mod comments;
mod deactivation;
mod emails;
mod feeds;
mod follows;
mod forms;
mod freshness;
mod frontends;
mod idempotency;
mod injection;
mod instamern;
mod likes;
mod mails;
mod media;
mod moderation;
mod notifications;
mod operation;
mod passwords;
mod posts;
mod profiles;
mod roles;
mod saves;
mod search;
mod sessions;
mod stories;
mod strangers;
mod tokens;

use tests::chorus::Chorus;
use tokio::sync::OnceCell;

/// One system for all journeys on one machine; it ends with the test process.
async fn one_machine() -> &'static Chorus {
    static SYSTEM: OnceCell<Chorus> = OnceCell::const_new();
    SYSTEM.get_or_init(async || Chorus::one_machine().await.unwrap()).await
}

/// One system for all journeys beyond one machine.
async fn distributed() -> &'static Chorus {
    static SYSTEM: OnceCell<Chorus> = OnceCell::const_new();
    SYSTEM.get_or_init(async || Chorus::distributed().await.unwrap()).await
}

/// Makes a test of each journey on each column.
macro_rules! journeys {
    ($($journey:ident,)+) => {
        mod one_machine {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $journey() {
                super::$journey(crate::one_machine().await).await;
            })+
        }

        mod distributed {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $journey() {
                super::$journey(crate::distributed().await).await;
            })+
        }
    };
}
pub(crate) use journeys;
