//! One mail, from the wish to its outcome. Its subject in the log is the ledger: reserved before it is handed over,
//! settled after. Where a reservation has no outcome, nobody knows whether the mail was sent: one with a link is sent
//! again, since twice is better than not at all; one that only tells something is given up.

use std::time::Duration;

use chrono::TimeDelta;
use events::{
    AccountEvent, AccountsEvent, AppendError, Draft, Event, EventId, Freshness, LogError, MailEvent,
    MailFailed, MailGivenUp, MailGivenUpReason, MailReserved, MailSent, MailsEvent, Personal, Position,
    ProfileEvent, Recorded, Subject, time_ordered_id,
};
use service::telemetry::with_causes;
use tokio_util::sync::CancellationToken;
use views::StoreError;

use super::due::{Addressee, Wish, addressee};
use super::gate::Turn;
use super::letters::{Letter, Written};
use super::{Mails, NAME};
use crate::engine::checkpoint::{Pause, growing};
use crate::mail::{Failure, Mail, MailError};
use crate::reactions::mailboxes::takes_no_mail;

/// How long the mail service may take for one mail; less than a process has for its end.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(15);
/// A reservation older than this has no outcome any more: its worker is gone. Longer than the limit above by what the
/// clocks of two machines may differ.
const UNSETTLED_AFTER: TimeDelta = TimeDelta::seconds(60);
/// How often to look whether the worker that has reserved a mail has settled it.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(5);
/// Pause between attempts at one mail, growing from the first to the second: a day holds 35 attempts at most.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));

/// What became of a wish in this process.
pub(super) enum Settled {
    /// It was sent or given up, or was not due.
    Done,
    /// The process ends, or another worker has taken over.
    Halted,
    /// It cannot be settled; why.
    Parked(String),
}

/// What keeps from settling a mail now.
pub(super) enum Trouble {
    /// It passes.
    Outage(Box<dyn std::error::Error + Send + Sync>),
    Lasting(String),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(_) => Self::Outage(error.into()),
            LogError::Corrupt { .. } => Self::Lasting(with_causes(&error)),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Outage(error.into()),
            StoreError::Corrupt(_) => Self::Lasting(with_causes(&error)),
        }
    }
}

/// What comes after one look at the ledger.
enum Next {
    Settled(Settled),
    LookAgain,
}

const DONE: Next = Next::Settled(Settled::Done);
const HALTED: Next = Next::Settled(Settled::Halted);

/// Where the ledger stands for a mail that is to be sent.
#[derive(Clone, Copy)]
struct Entry {
    expected: Position,
    attempts: u32,
}

impl Mails {
    /// Brings one mail to its outcome, however long it takes.
    pub(super) async fn settle(&self, wish: &Wish, halt: &CancellationToken) -> Settled {
        let mut pause = Pause::default();
        loop {
            match self.look(wish, halt).await {
                Ok(Next::Settled(settled)) => return settled,
                Ok(Next::LookAgain) => pause = Pause::default(),
                Err(Trouble::Outage(error)) => {
                    let waited = halt.run_until_cancelled(pause.wait_out(NAME, &*error)).await;
                    if waited.is_none() {
                        return Settled::Halted;
                    }
                }
                Err(Trouble::Lasting(problem)) => return Settled::Parked(problem),
            }
        }
    }

    /// Looks at the ledger and takes the next step.
    async fn look(&self, wish: &Wish, halt: &CancellationToken) -> Result<Next, Trouble> {
        // Most log-ins come from a device that is known, and are through with this.
        if let Some(session) = wish.session
            && self.parts.clock.now() < wish.deadline()
        {
            let Some(is_new) = halt.run_until_cancelled(self.is_new(wish, session)).await else {
                return Ok(HALTED);
            };
            if !is_new? {
                return Ok(DONE);
            }
        }
        let last = self.parts.log.last(&[wish.subject()], Freshness::Latest).await?.pop().flatten();
        let (entry, not_before, unknown) = match &last {
            None => (Entry { expected: Position::START, attempts: 0 }, None, false),
            Some(Recorded { position, envelope, event: Event::Mail(MailsEvent::Mail(event)) }) => {
                let entry = |attempts| Entry { expected: *position, attempts };
                match event {
                    MailEvent::MailSent(_) | MailEvent::MailGivenUp(_) => return Ok(DONE),
                    MailEvent::MailReserved(e) => {
                        (entry(e.attempt), Some(envelope.time + UNSETTLED_AFTER), true)
                    }
                    MailEvent::MailFailed(e) => {
                        let pause = TimeDelta::from_std(growing(RETRY_PAUSE, e.attempt)).unwrap_or_default();
                        (entry(e.attempt), Some(envelope.time + pause), false)
                    }
                }
            }
            Some(other) => {
                return Err(Trouble::Lasting(format!("{} stands in the ledger", other.envelope.event_type)));
            }
        };
        let history = self.parts.log.read(Subject::Account(wish.user), Position::START).await?;
        let Some(addressee) = addressee(&history, wish) else { return Ok(DONE) };
        let now = self.parts.clock.now();
        if let Some(not_before) = not_before.filter(|time| *time > now) {
            // Whoever has reserved it settles it meanwhile, or a link expires.
            let wait = if unknown {
                (not_before - now).min(LOOK_AGAIN)
            } else {
                not_before.min(wish.deadline()) - now
            };
            let wait = wait.to_std().unwrap_or_default();
            return Ok(match halt.run_until_cancelled(tokio::time::sleep(wait)).await {
                Some(()) => Next::LookAgain,
                None => HALTED,
            });
        }
        if unknown && wish.template.link_lifetime().is_none() {
            return self.give_up(wish, entry, MailGivenUpReason::Unknown, "").await;
        }
        let mut device = None;
        if let Some(session) = wish.session {
            // Nobody looks through a log of years for devices that were new then.
            if now >= wish.deadline() && entry.attempts == 0 {
                return Ok(DONE);
            }
            device = self.device(wish, session).await?;
            if device.is_none() {
                return Ok(DONE);
            }
        }
        if now >= wish.deadline() {
            return self.give_up(wish, entry, MailGivenUpReason::TooLate, "").await;
        }
        let Written { subject, html, text } = self.write(wish, &addressee, device.as_deref()).await?;
        let mail = Mail {
            event: wish.event,
            template: wish.template,
            to: addressee.address,
            subject,
            text,
            html,
            date: now,
        };
        self.hand_over(wish, entry, mail, halt).await
    }

    async fn write(&self, wish: &Wish, to: &Addressee, device: Option<&str>) -> Result<Written, Trouble> {
        let profile = self.parts.log.read(Subject::Profile(wish.user), Position::START).await?;
        let edited = profile.iter().rev().find_map(|recorded| {
            let Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) = &recorded.event
            else {
                return None;
            };
            event.details.open()
        });
        let keys = self.parts.log.keys();
        let letter = Letter {
            template: wish.template,
            app: to.app,
            is_confirmed: to.is_confirmed,
            firstname: edited.map_or(&to.firstname, |details| &details.firstname),
            token: to.link.map(|(purpose, request)| keys.mailed_token(purpose, wish.user, request).reveal()),
            happened: wish.time,
            device,
        };
        letter.write(&self.parts.urls).map_err(|error| Trouble::Lasting(error.to_string()))
    }

    /// Reserves the mail and hands it over, once the mail service takes mail and has room.
    async fn hand_over(
        &self,
        wish: &Wish,
        entry: Entry,
        mail: Mail,
        halt: &CancellationToken,
    ) -> Result<Next, Trouble> {
        let recipient = self.parts.log.keys().claim_hash(&mail.to);
        let left = (wish.deadline() - self.parts.clock.now()).to_std().unwrap_or_default();
        let turn = async {
            let room = self.handing_over.acquire().await;
            (room, self.gate.pass(HAND_OVER_LIMIT * 2).await)
        };
        let (_room, turn) = tokio::select! {
            () = halt.cancelled() => return Ok(HALTED),
            () = tokio::time::sleep(left) => return Ok(Next::LookAgain),
            turn = turn => turn,
        };
        // All this may have come while it waited.
        let subjects = [Subject::Mailbox(recipient), Subject::Account(wish.user)];
        let last = self.parts.log.last(&subjects, Freshness::Latest).await?;
        if last.iter().flatten().any(|last| {
            matches!(last.event, Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(_))))
        }) {
            return Ok(DONE);
        }
        if last.iter().flatten().any(|last| takes_no_mail(&last.event)) {
            let said = "it has bounced or complained";
            return self.give_up(wish, entry, MailGivenUpReason::Suppressed, said).await;
        }
        let asked = tokio::time::timeout(HAND_OVER_LIMIT, self.parts.mailer.is_suppressed(&mail.to));
        match halt.run_until_cancelled(asked).await {
            None => return Ok(HALTED),
            Some(Ok(Ok(true))) => {
                turn.open();
                let said = "the mail service sends nothing there";
                return self.give_up(wish, entry, MailGivenUpReason::Suppressed, said).await;
            }
            Some(Ok(Ok(false))) => {}
            // The mail service looks at its list by itself before it sends.
            Some(Ok(Err(MailError { code, .. }))) => {
                tracing::debug!(code, "the list of suppressed addresses was not told");
            }
            Some(Err(_)) => tracing::debug!("the list of suppressed addresses was not told in time"),
        }
        let attempt = entry.attempts + 1;
        let (event, template, user) = (wish.event, wish.template, wish.user);
        let reserved = MailReserved { event, template, user, recipient, attempt };
        let Some(reserved) = self.append(wish, reserved.into(), entry.expected).await? else {
            // Somebody else is faster.
            return Ok(Next::LookAgain);
        };
        let entry = Entry { expected: reserved, attempts: attempt };
        let no_answer = || MailError::new(Failure::Unknown, "no answer in time", "");
        let sent = tokio::time::timeout(HAND_OVER_LIMIT, self.parts.mailer.send(&mail)).await;
        self.outcome(wish, entry, turn, sent.unwrap_or_else(|_| Err(no_answer()))).await
    }

    async fn outcome(
        &self,
        wish: &Wish,
        entry: Entry,
        turn: Turn<'_>,
        outcome: Result<String, MailError>,
    ) -> Result<Next, Trouble> {
        let (event, template, user) = (wish.event, wish.template, wish.user);
        let count =
            |what: &'static str| metrics::counter!(what, "template" => template.as_str()).increment(1);
        match outcome {
            Ok(message_id) => {
                turn.open();
                count("chorus_mails_sent_total");
                let sent = MailSent { event, template, user, message_id };
                self.record(wish, sent.into(), entry.expected).await
            }
            Err(MailError { failure: Failure::Refused, code, detail }) => {
                turn.open();
                tracing::warn!(%event, %template, code, "a mail was refused and is parked");
                self.give_up(wish, entry, MailGivenUpReason::Refused, &detail).await
            }
            Err(MailError { failure: failure @ (Failure::Unavailable | Failure::Unknown), code, detail }) => {
                count("chorus_mails_failed_total");
                tracing::warn!(
                    outage = "mail", %event, %template, code, ?failure, attempt = entry.attempts, "a mail failed"
                );
                turn.shut(code);
                // One that may have been sent is sent again only if whoever gets none can go no further.
                if failure == Failure::Unknown && template.link_lifetime().is_none() {
                    return self.give_up(wish, entry, MailGivenUpReason::Unknown, &detail).await;
                }
                let error = Personal::Open(detail);
                let failed = MailFailed { event, template, user, attempt: entry.attempts, error };
                self.record(wish, failed.into(), entry.expected).await.map(|_| Next::LookAgain)
            }
        }
    }

    async fn give_up(
        &self,
        wish: &Wish,
        entry: Entry,
        reason: MailGivenUpReason,
        said: &str,
    ) -> Result<Next, Trouble> {
        let (event, template, user) = (wish.event, wish.template, wish.user);
        metrics::counter!(
            "chorus_mails_given_up_total", "template" => template.as_str(), "reason" => reason.as_str()
        )
        .increment(1);
        tracing::info!(%event, %template, ?reason, "a mail is given up");
        let error = Personal::Open(said.to_owned());
        let given_up = MailGivenUp { event, template, user, reason, attempts: entry.attempts, error };
        self.record(wish, given_up.into(), entry.expected).await
    }

    /// Appends an outcome, and does not let go before it stands: without it, the mail counts as half-way.
    async fn record(&self, wish: &Wish, outcome: Event, expected: Position) -> Result<Next, Trouble> {
        let mut pause = Pause::default();
        loop {
            match self.append(wish, outcome.clone(), expected).await {
                Ok(Some(_)) => return Ok(DONE),
                Ok(None) => return Ok(Next::LookAgain),
                Err(LogError::Unavailable(cause)) => {
                    pause.wait_out(NAME, &LogError::Unavailable(cause)).await;
                }
                Err(error) => {
                    // Who has been erased meanwhile gets no more mail, and nothing of theirs can be written.
                    let history = self.parts.log.read(Subject::Account(wish.user), Position::START).await?;
                    return match addressee(&history, wish) {
                        None => Ok(DONE),
                        Some(_) => Err(error.into()),
                    };
                }
            }
        }
    }

    /// None where the ledger has moved.
    async fn append(
        &self,
        wish: &Wish,
        event: Event,
        expected: Position,
    ) -> Result<Option<Position>, LogError> {
        let now = self.parts.clock.now();
        let draft = Draft {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: wish.correlation,
            causation: Some(wish.event),
            traceparent: None,
            event,
        };
        match self.parts.log.append(draft, expected).await {
            Ok(position) => Ok(Some(position)),
            Err(AppendError::Conflict) => Ok(None),
            // The next look at the ledger tells.
            Err(AppendError::OutcomeUnknown(cause)) => Err(LogError::Unavailable(cause)),
            Err(AppendError::Log(error)) => Err(error),
        }
    }
}
