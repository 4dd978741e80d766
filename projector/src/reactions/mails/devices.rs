//! Detects log-ins with a new device.

use std::time::Duration;

use events::{AccountsEvent, Event, Position, SessionEvent, SessionId, Subject};
use serde_json::{Value, json};
use views::accounts::sessions::{BY_DEVICE, BY_USER, Session, VIEW};
use views::{Cursor, Index, Query, ViewStoreExt};

use super::Mails;
use super::ledger::SettleError;
use super::requests::MailRequest;

/// How long to wait for the view of sessions per attempt.
const VIEW_BOUND: Duration = Duration::from_secs(5);

impl Mails {
    /// The device of a session.
    pub(super) async fn device(
        &self,
        request: &MailRequest,
        session: SessionId,
    ) -> Result<Option<String>, SettleError> {
        let session = self.parts.log.read(Subject::Session(request.user, session), Position::START).await?;
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

    /// Whether the user had earlier sessions, and none of them used this device.
    pub(super) async fn is_new(
        &self,
        request: &MailRequest,
        session: SessionId,
    ) -> Result<bool, SettleError> {
        while !self.parts.tracker.wait_for(&[VIEW.name], request.position, VIEW_BOUND).await {
            if self.parts.clock.now() >= request.deadline() {
                // The deadline has passed: the ledger decides.
                return Ok(true);
            }
        }
        let Some(session) = self.parts.store.get::<Session>(&session.to_string()).await? else {
            return Ok(false);
        };
        if self.has_earlier(&session, &BY_DEVICE, json!(session.device_family)).await? {
            return Ok(false);
        }
        Ok(self.has_earlier(&session, &BY_USER, json!(false)).await?
            || self.has_earlier(&session, &BY_USER, json!(true)).await?)
    }

    /// Whether an index finds earlier sessions of the user by a value.
    async fn has_earlier(
        &self,
        session: &Session,
        index: &'static Index,
        value: Value,
    ) -> Result<bool, SettleError> {
        let equals = vec![json!(session.user), value];
        let query = Query::new(&VIEW, index, equals, 1).after(Some(Cursor::below(session.position)));
        Ok(!self.parts.store.keys(&query).await?.is_empty())
    }
}
