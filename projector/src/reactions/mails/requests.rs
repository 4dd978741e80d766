//! Maps events to the mails they cause and to the addressees: pure functions of events.

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AccountEvent, AccountsEvent, App, Event, EventId, LinkPurpose, MailTemplate, MailsEvent,
    PasswordChangeReason, Position, Recorded, SessionEvent, SessionId, Subject, UserId,
};
use service::mailbox;
use uuid::Uuid;

/// How long a mail without a link is useful, counted from its event.
const NOTICE_LIFETIME: TimeDelta = TimeDelta::days(1);

/// A mail that an event may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MailRequest {
    pub(super) event: EventId,
    pub(super) position: Position,
    pub(super) time: DateTime<Utc>,
    pub(super) correlation: Uuid,
    pub(super) user: UserId,
    pub(super) template: MailTemplate,
    /// Set if the event is about a session.
    pub(super) session: Option<SessionId>,
}

impl MailRequest {
    /// Its entry in the ledger.
    pub(super) const fn subject(&self) -> Subject {
        Subject::Mail(self.event, self.template)
    }

    /// When the mail becomes useless.
    pub(super) fn deadline(&self) -> DateTime<Utc> {
        self.time + self.template.link_lifetime().unwrap_or(NOTICE_LIFETIME)
    }
}

/// The mails that an event may cause; some are dropped later because of the account's history.
pub(super) fn mails_for_event(recorded: &Recorded) -> Vec<MailRequest> {
    use MailTemplate as T;
    let (user, session, templates): (_, _, &[T]) = match &recorded.event {
        Event::Accounts(AccountsEvent::Account(event)) => (
            event.user(),
            None,
            match event {
                // These apps have no page to verify an address.
                AccountEvent::SignedUp(event) if event.app != App::Chorus => &[T::Welcome],
                AccountEvent::SignedUp(_) | AccountEvent::EmailVerificationRequested(_) => {
                    &[T::EmailVerification]
                }
                AccountEvent::EmailVerified(_) => &[T::Welcome],
                AccountEvent::PasswordChanged(event) if event.reason == PasswordChangeReason::Rehashed => &[],
                AccountEvent::PasswordChanged(_) => &[T::PasswordChanged],
                AccountEvent::PasswordResetRequested(_) => &[T::PasswordReset],
                AccountEvent::EmailChangeRequested(_) => &[T::EmailChangeConfirmation, T::EmailChangeNotice],
                AccountEvent::EmailChanged(event) if event.verified => &[T::EmailChanged],
                AccountEvent::EmailChanged(_) => &[T::EmailChanged, T::EmailVerification],
                AccountEvent::UsernameChanged(_)
                | AccountEvent::SessionsEnded(_)
                | AccountEvent::RoleGranted(_)
                | AccountEvent::RoleRevoked(_)
                | AccountEvent::Deactivated(_)
                | AccountEvent::Reactivated(_)
                | AccountEvent::Suspended(_)
                | AccountEvent::Reinstated(_)
                | AccountEvent::ClaimAbandoned(_)
                | AccountEvent::Erased(_) => &[],
            },
        ),
        Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) => {
            (event.user, Some(event.session), &[T::NewDevice])
        }
        Event::Accounts(
            AccountsEvent::Session(SessionEvent::SessionSeen(_) | SessionEvent::SessionEnded(_)) | _,
        )
        | Event::Music(_)
        | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_))
        | Event::Operations(_)
        | Event::Social(_) => return Vec::new(),
    };
    let request = |&template: &T| MailRequest {
        event: recorded.envelope.id,
        position: recorded.position,
        time: recorded.envelope.time,
        correlation: recorded.envelope.correlation,
        user,
        template,
        session,
    };
    templates.iter().map(request).collect()
}

/// The recipient of a mail, and data for its content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Addressee {
    pub(super) address: String,
    /// Whether the recipient had confirmed the address at the time of the event.
    pub(super) is_confirmed: bool,
    pub(super) firstname: String,
    pub(super) app: App,
    /// The purpose and the request id of the token in its link.
    pub(super) link: Option<(LinkPurpose, Uuid)>,
}

/// Derives the addressee from the account's history; none if the mail is not due or the user is erased. The address
/// is the one at the time of the event: the notice of a change goes to the former address.
pub(super) fn addressee(history: &[Recorded], request: &MailRequest) -> Option<Addressee> {
    let (mut address, mut former, mut app) = (None, None, App::Chorus);
    let (mut firstname, mut verified_before) = (String::new(), false);
    let (mut is_confirmed, mut former_is_confirmed) = (false, false);
    let mut found = None;
    for recorded in history {
        let Event::Accounts(AccountsEvent::Account(event)) = &recorded.event else { continue };
        let until_then = recorded.position <= request.position;
        match event {
            AccountEvent::Erased(_) => return None,
            AccountEvent::SignedUp(event) => {
                let person = event.person.open()?;
                firstname.clone_from(&person.firstname);
                (address, app) = (Some(person.email.clone()), event.app);
            }
            AccountEvent::EmailChanged(event) if until_then => {
                former = address.replace(event.address.open()?.clone());
                (former_is_confirmed, is_confirmed) = (is_confirmed, event.verified);
            }
            AccountEvent::EmailVerified(_) => {
                is_confirmed |= until_then;
                verified_before |= recorded.position < request.position;
            }
            AccountEvent::EmailChanged(_)
            | AccountEvent::UsernameChanged(_)
            | AccountEvent::EmailVerificationRequested(_)
            | AccountEvent::PasswordChanged(_)
            | AccountEvent::PasswordResetRequested(_)
            | AccountEvent::EmailChangeRequested(_)
            | AccountEvent::SessionsEnded(_)
            | AccountEvent::RoleGranted(_)
            | AccountEvent::RoleRevoked(_)
            | AccountEvent::Deactivated(_)
            | AccountEvent::Reactivated(_)
            | AccountEvent::Suspended(_)
            | AccountEvent::Reinstated(_)
            | AccountEvent::ClaimAbandoned(_) => {}
        }
        if recorded.envelope.id == request.event {
            found = Some(event);
        }
    }
    let mut link = None;
    match (request.template, found) {
        (MailTemplate::EmailVerification, Some(AccountEvent::EmailVerificationRequested(event))) => {
            link = Some((LinkPurpose::VerifyEmail, event.request.uuid()));
            app = event.app;
        }
        (MailTemplate::EmailVerification, _) => link = Some((LinkPurpose::VerifyEmail, request.event.uuid())),
        (MailTemplate::PasswordReset, Some(AccountEvent::PasswordResetRequested(event))) => {
            link = Some((LinkPurpose::ResetPassword, event.request.uuid()));
            app = event.app;
        }
        (MailTemplate::EmailChangeConfirmation, Some(AccountEvent::EmailChangeRequested(event))) => {
            link = Some((LinkPurpose::ChangeEmail, event.request.uuid()));
            (address, app) = (Some(event.address.open()?.clone()), event.app);
            is_confirmed = false;
        }
        (MailTemplate::EmailChangeNotice, Some(AccountEvent::EmailChangeRequested(event))) => app = event.app,
        (MailTemplate::EmailChanged, Some(AccountEvent::EmailChanged(event))) => {
            (address, app) = (former, event.app);
            is_confirmed = former_is_confirmed;
        }
        (MailTemplate::Welcome, Some(AccountEvent::EmailVerified(_)))
            if verified_before || app != App::Chorus =>
        {
            return None;
        }
        (
            MailTemplate::Welcome
            | MailTemplate::PasswordReset
            | MailTemplate::PasswordChanged
            | MailTemplate::EmailChangeConfirmation
            | MailTemplate::EmailChangeNotice
            | MailTemplate::EmailChanged
            | MailTemplate::NewDevice,
            _,
        ) => {}
    }
    let stored = address?;
    // Earlier versions stored internationalised domains as entered.
    let address = mailbox::ascii_form(&stored).unwrap_or(stored);
    Some(Addressee { address, is_confirmed, firstname, app, link })
}

#[cfg(test)]
mod tests {
    use events::{
        EmailChangeRequested, EmailChanged, EmailVerified, Erased, MailedRequestId, PasswordChanged,
        PasswordResetRequested, Personal,
    };

    use super::*;
    use crate::testing::{ANN, recorded, signed_up};

    const NEW: &str = "new@example.org";

    fn history(events: Vec<Event>) -> Vec<Recorded> {
        events.into_iter().zip(1..).map(|(event, position)| recorded(event, position)).collect()
    }

    /// The mails that a history causes: position of the event, template, address.
    fn mails(history: &[Recorded]) -> Vec<(u64, MailTemplate, String)> {
        let requests = history.iter().flat_map(mails_for_event);
        let due = requests.filter_map(|request| {
            Some((request.position.0, request.template, addressee(history, &request)?.address))
        });
        due.collect()
    }

    fn signed_up_through(app: App) -> Event {
        let Event::Accounts(AccountsEvent::Account(AccountEvent::SignedUp(event))) = signed_up(ANN, "ann")
        else {
            unreachable!()
        };
        events::SignedUp { app, ..event }.into()
    }

    fn verified() -> Event {
        EmailVerified { user: ANN, email: "00000000000000000000000000000002".parse().unwrap() }.into()
    }

    fn request(n: u128) -> MailedRequestId {
        MailedRequestId::new(Uuid::from_u128(n))
    }

    fn email_changed(address: &str, verified: bool) -> Event {
        let email = "00000000000000000000000000000003".parse().unwrap();
        let address = Personal::Open(address.to_owned());
        EmailChanged { user: ANN, email, address, verified, kept: None, app: App::Chorus }.into()
    }

    fn password_changed(reason: PasswordChangeReason) -> Event {
        PasswordChanged { user: ANN, password_hash: Personal::Open("$".into()), reason, kept: None }.into()
    }

    #[test]
    fn sign_up_causes_one_verification_and_one_welcome() {
        let due = mails(&history(vec![signed_up(ANN, "ann"), verified(), verified()]));
        let ann = "ann@example.org".to_owned();
        assert_eq!(
            due,
            [(1, MailTemplate::EmailVerification, ann.clone()), (2, MailTemplate::Welcome, ann.clone())]
        );
        // The other apps welcome at once, and have no page for verification.
        for app in [App::Instamern, App::Spotifymern] {
            let due = mails(&history(vec![signed_up_through(app), verified()]));
            assert_eq!(due, [(1, MailTemplate::Welcome, ann.clone())]);
        }
    }

    #[test]
    fn address_change_notifies_the_former_address() {
        let email = "00000000000000000000000000000003".parse().unwrap();
        let requested = EmailChangeRequested {
            user: ANN,
            request: request(7),
            email,
            address: Personal::Open(NEW.to_owned()),
            session: None,
            app: App::Chorus,
        };
        let events = vec![
            signed_up(ANN, "ann"),
            requested.into(),
            email_changed(NEW, true),
            email_changed("third@example.org", false),
            password_changed(PasswordChangeReason::Chosen),
        ];
        let due = mails(&history(events));
        let due: Vec<_> =
            due.iter().map(|(at, template, to)| (*at, *template, to.as_str())).skip(1).collect();
        assert_eq!(
            due,
            [
                (2, MailTemplate::EmailChangeConfirmation, NEW),
                (2, MailTemplate::EmailChangeNotice, "ann@example.org"),
                (3, MailTemplate::EmailChanged, "ann@example.org"),
                (4, MailTemplate::EmailChanged, NEW),
                (4, MailTemplate::EmailVerification, "third@example.org"),
                (5, MailTemplate::PasswordChanged, "third@example.org"),
            ]
        );
    }

    #[test]
    fn address_is_confirmed_from_its_verification_on() {
        let requested = EmailChangeRequested {
            user: ANN,
            request: request(7),
            email: "00000000000000000000000000000003".parse().unwrap(),
            address: Personal::Open(NEW.to_owned()),
            session: None,
            app: App::Chorus,
        };
        let events = vec![
            signed_up(ANN, "ann"),
            password_changed(PasswordChangeReason::Chosen),
            verified(),
            password_changed(PasswordChangeReason::Chosen),
            requested.into(),
            email_changed(NEW, true),
            email_changed("third@example.org", false),
            password_changed(PasswordChangeReason::Chosen),
        ];
        let history = history(events);
        let requests: Vec<MailRequest> = history.iter().flat_map(mails_for_event).collect();
        let confirmed: Vec<_> = requests
            .iter()
            .filter_map(|request| {
                Some((request.position.0, request.template, addressee(&history, request)?.is_confirmed))
            })
            .collect();
        assert_eq!(
            confirmed,
            [
                (1, MailTemplate::EmailVerification, false),
                (2, MailTemplate::PasswordChanged, false),
                (3, MailTemplate::Welcome, true),
                (4, MailTemplate::PasswordChanged, true),
                (5, MailTemplate::EmailChangeConfirmation, false),
                (5, MailTemplate::EmailChangeNotice, true),
                (6, MailTemplate::EmailChanged, true),
                (7, MailTemplate::EmailChanged, true),
                (7, MailTemplate::EmailVerification, false),
                (8, MailTemplate::PasswordChanged, false),
            ]
        );
    }

    #[test]
    fn link_uses_purpose_and_request_of_its_event() {
        let reset = PasswordResetRequested { user: ANN, request: request(9), app: App::Instamern };
        let history = history(vec![signed_up(ANN, "ann"), reset.into(), email_changed(NEW, false)]);
        let requests = history.iter().flat_map(mails_for_event);
        let links: Vec<_> = requests.filter_map(|request| addressee(&history, &request)?.link).collect();
        let id = |n| Uuid::from_u128(n);
        assert_eq!(
            links,
            [
                (LinkPurpose::VerifyEmail, id(1)),
                (LinkPurpose::ResetPassword, id(9)),
                (LinkPurpose::VerifyEmail, id(3))
            ]
        );
        let reset = addressee(&history, &mails_for_event(&history[1])[0]).unwrap();
        assert_eq!((reset.app, reset.address.as_str()), (App::Instamern, "ann@example.org"));
    }

    #[test]
    fn rehashed_password_and_erased_user_cause_no_mail() {
        let events = vec![signed_up(ANN, "ann"), password_changed(PasswordChangeReason::Rehashed)];
        assert_eq!(mails(&history(events)).len(), 1);
        let events = vec![signed_up(ANN, "ann"), verified(), Erased { user: ANN }.into()];
        assert_eq!(mails(&history(events)), []);
    }

    #[test]
    fn mail_deadline_is_its_link_lifetime_or_a_day() {
        let history = history(vec![
            signed_up(ANN, "ann"),
            PasswordResetRequested { user: ANN, request: request(9), app: App::Chorus }.into(),
            password_changed(PasswordChangeReason::Reset),
        ]);
        let requests = history.iter().flat_map(mails_for_event);
        let lifetimes: Vec<_> =
            requests.map(|request| (request.deadline() - request.time).num_minutes()).collect();
        assert_eq!(lifetimes, [24 * 60, 10, 24 * 60]);
    }
}
