//! Whether somebody has logged in with a device that their account has not seen before.

use std::time::Duration;

use events::{Event, Position, SessionEvent, SessionId, Subject};
use serde_json::json;
use views::sessions::{BY_USER, Session};
use views::{Query, ViewStoreExt};

use super::Mails;
use super::due::Wish;
use super::ledger::Trouble;

/// How long to wait at a time for the view of sessions.
const VIEW_BOUND: Duration = Duration::from_secs(5);
/// How many of a user's sessions of either kind are looked at for a device, the newest first.
const SESSIONS_LOOKED_AT: usize = 200;

impl Mails {
    /// What somebody logged in with.
    pub(super) async fn device(&self, wish: &Wish, session: SessionId) -> Result<Option<String>, Trouble> {
        let session = self.parts.log.read(Subject::Session(wish.user, session), Position::START).await?;
        let client = session.iter().find_map(|recorded| {
            let Event::Session(SessionEvent::SessionStarted(event)) = &recorded.event else { return None };
            event.client.open()
        });
        Ok(client.map(|client| client.device.clone()))
    }

    /// Whether there were sessions before, and none of them had this device.
    pub(super) async fn is_new(&self, wish: &Wish, device: &str) -> Result<bool, Trouble> {
        while !self.parts.board.passed_by(&[views::sessions::VIEW.name], wish.position, VIEW_BOUND).await {
            if self.parts.clock.now() >= wish.deadline() {
                return Ok(false);
            }
        }
        let mut earlier = Vec::new();
        for ended in [false, true] {
            let equals = vec![json!(wish.user), json!(ended)];
            let query = Query::new(&views::sessions::VIEW, &BY_USER, equals, SESSIONS_LOOKED_AT);
            let page = self.parts.store.page_of::<Session>(query).await?;
            earlier
                .extend(page.documents.into_iter().filter(|s| s.position.unsigned_abs() < wish.position.0));
        }
        let known =
            earlier.iter().any(|session| without_versions(&session.device) == without_versions(device));
        Ok(!earlier.is_empty() && !known)
    }
}

/// A device as it goes on through its updates.
fn without_versions(device: &str) -> String {
    device.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_stays_the_same_device_through_its_updates() {
        let firefox = |version| {
            format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Gecko/20100101 Firefox/{version}")
        };
        assert_eq!(without_versions(&firefox("128.0")), without_versions(&firefox("131.0.2")));
        let on_windows = firefox("128.0").replace("X11; Linux x86_64", "Windows NT 10.0");
        assert_ne!(without_versions(&firefox("128.0")), without_versions(&on_windows));
    }
}
