//! The state of each mail, for operators.

use events::{Event, EventId, Kind, MailEvent, MailTemplate, MailsEvent, Recorded, UserId};
use views::mails::{Mail, State, VIEW};
use views::{Patch, StoreError, Writes};

use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Mails;

impl Projection for Mails {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Mail]
    }

    /// A missing entry only affects a list for operators.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let Event::Mail(MailsEvent::Mail(event)) = &recorded.event else { return Ok(()) };
        let of = |event: EventId, template: MailTemplate, user: UserId, state: State, attempts: u32| Mail {
            event: event.to_string(),
            template: template.to_string(),
            user: user.to_string(),
            state,
            attempts: attempts.into(),
            reason: None,
            changed: time(recorded),
            position: position(recorded),
        };
        match event {
            MailEvent::MailReserved(e) => {
                writes.put(&of(e.event, e.template, e.user, State::Reserved, e.attempt))
            }
            MailEvent::MailFailed(e) => {
                writes.put(&of(e.event, e.template, e.user, State::Failed, e.attempt))
            }
            MailEvent::MailGivenUp(e) => {
                let mail = of(e.event, e.template, e.user, State::GivenUp, e.attempts);
                writes.put(&Mail { reason: Some(e.reason.as_str().to_owned()), ..mail })
            }
            MailEvent::MailSent(e) => {
                let patch = Patch::default()
                    .set("state", State::Sent.as_str())
                    .set("changed", time(recorded))
                    .set("position", position(recorded));
                writes.patch::<Mail>(format!("{}.{}", e.event, e.template), patch);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use events::{MailFailed, MailGivenUp, MailGivenUpReason, MailReserved, MailSent, Personal};
    use serde_json::json;
    use uuid::Uuid;
    use views::mails::BY_STATE;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, Built, built};

    const RESET: MailTemplate = MailTemplate::PasswordReset;

    fn cause(n: u128) -> EventId {
        EventId::new(Uuid::from_u128(n))
    }

    fn reserved(event: u128, attempt: u32) -> Event {
        let recipient = "00000000000000000000000000000002".parse().unwrap();
        MailReserved { event: cause(event), template: RESET, user: ANN, recipient, attempt }.into()
    }

    fn failed(event: u128, attempt: u32) -> Event {
        let error = Personal::Open("slow down".to_owned());
        MailFailed { event: cause(event), template: RESET, user: ANN, attempt, error }.into()
    }

    fn given_up(event: u128, reason: MailGivenUpReason, attempts: u32) -> Event {
        let error = Personal::Open(String::new());
        MailGivenUp { event: cause(event), template: RESET, user: ANN, reason, attempts, error }.into()
    }

    async fn listed(built: &Built, state: State) -> Vec<Mail> {
        let query = Query::new(&VIEW, &BY_STATE, vec![json!(state)], 10);
        built.store.page_of::<Mail>(query).await.unwrap().documents
    }

    #[tokio::test]
    async fn mail_is_listed_under_its_latest_state() {
        let sent = MailSent { event: cause(1), template: RESET, user: ANN, message_id: "m".into() };
        let history = [
            reserved(1, 1),
            failed(1, 1),
            reserved(2, 1),
            failed(2, 1),
            reserved(1, 2),
            reserved(3, 1),
            sent.into(),
            given_up(3, MailGivenUpReason::Refused, 1),
            // Too late before the first attempt.
            given_up(4, MailGivenUpReason::TooLate, 0),
        ];
        let built = built(&Mails, history).await;
        let sent = listed(&built, State::Sent).await;
        assert_eq!(sent.iter().map(|mail| (mail.attempts, mail.position)).collect::<Vec<_>>(), [(2, 7)]);
        assert_eq!(sent[0].event, cause(1).to_string());
        let failed = listed(&built, State::Failed).await;
        assert_eq!(failed.iter().map(|mail| (mail.attempts, mail.position)).collect::<Vec<_>>(), [(1, 4)]);
        // Parked mails, newest first, with the reason.
        let parked = listed(&built, State::GivenUp).await;
        let parked: Vec<_> = parked.iter().map(|mail| (mail.reason.as_deref(), mail.attempts)).collect();
        assert_eq!(parked, [(Some("too_late"), 0), (Some("refused"), 1)]);
        assert_eq!(listed(&built, State::Reserved).await, []);
    }
}
