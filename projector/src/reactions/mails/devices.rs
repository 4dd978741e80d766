//! Whether somebody has logged in with a device that their account has not seen before.

use std::time::Duration;

use events::{AccountsEvent, Event, Position, SessionEvent, SessionId, Subject};
use serde_json::{Value, json};
use views::accounts::sessions::{BY_DEVICE, BY_USER, Session, VIEW};
use views::{Cursor, Index, Query, ViewStoreExt};

use super::Mails;
use super::due::Wish;
use super::ledger::Trouble;

/// How long to wait at a time for the view of sessions.
const VIEW_BOUND: Duration = Duration::from_secs(5);

impl Mails {
    /// What somebody logged in with.
    pub(super) async fn device(&self, wish: &Wish, session: SessionId) -> Result<Option<String>, Trouble> {
        let session = self.parts.log.read(Subject::Session(wish.user, session), Position::START).await?;
        let client = session.iter().find_map(|recorded| {
            let Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) =
                &recorded.event
            else {
                return None;
            };
            event.client.open()
        });
        Ok(client.map(|client| client.device.clone()))
    }

    /// Whether there were sessions before, and none of them had the device of this one.
    pub(super) async fn is_new(&self, wish: &Wish, session: SessionId) -> Result<bool, Trouble> {
        while !self.parts.board.passed_by(&[VIEW.name], wish.position, VIEW_BOUND).await {
            if self.parts.clock.now() >= wish.deadline() {
                // Too late for the mail: what becomes of it is the ledger's to say.
                return Ok(true);
            }
        }
        let Some(session) = self.parts.store.get::<Session>(&session.to_string()).await? else {
            return Ok(false);
        };
        if self.were_before(&session, &BY_DEVICE, json!(session.device_family)).await? {
            return Ok(false);
        }
        Ok(self.were_before(&session, &BY_USER, json!(false)).await?
            || self.were_before(&session, &BY_USER, json!(true)).await?)
    }

    /// Whether the user had sessions before this one that an index finds by a value.
    async fn were_before(
        &self,
        session: &Session,
        index: &'static Index,
        value: Value,
    ) -> Result<bool, Trouble> {
        let equals = vec![json!(session.user), value];
        let query = Query::new(&VIEW, index, equals, 1).after(Some(Cursor::below(session.position)));
        Ok(!self.parts.store.keys(&query).await?.is_empty())
    }
}
