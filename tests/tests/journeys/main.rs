//! User journeys over real sockets, unchanged in both deployments: the one binary with SQLite, and four services on NATS,
//! MongoDB, S3 and SES behind the proxy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what went wrong by failing"
)]

mod accounts;
mod answers;
mod bad_input;
mod catalogue;
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
mod import;
mod injection;
mod instamern;
mod library;
mod likes;
mod listening;
mod mails;
mod media;
mod moderation;
mod music;
mod notifications;
mod operation;
mod ownership;
mod passwords;
mod playlists;
mod posts;
mod profiles;
mod roles;
mod saves;
mod search;
mod sessions;
mod spotifymern;
mod stories;
mod tokens;
mod views;

use tests::chorus::Chorus;
use tokio::sync::OnceCell;

/// The standalone deployment that all journeys share; it ends with the test process.
async fn standalone() -> &'static Chorus {
    static DEPLOYMENT: OnceCell<Chorus> = OnceCell::const_new();
    DEPLOYMENT.get_or_init(async || Chorus::standalone().await.unwrap()).await
}

/// The distributed deployment that all journeys share.
async fn distributed() -> &'static Chorus {
    static DEPLOYMENT: OnceCell<Chorus> = OnceCell::const_new();
    DEPLOYMENT.get_or_init(async || Chorus::distributed().await.unwrap()).await
}

/// Makes a test of each journey on each deployment.
macro_rules! journeys {
    ($($journey:ident,)+) => {
        mod standalone {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $journey() {
                super::$journey(crate::standalone().await).await;
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
