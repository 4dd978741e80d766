//! The send ledger of one mail, from the request to its outcome. Its subject in the log holds a reservation before
//! the send and the outcome after it. A reservation without an outcome means that the mail may have been sent: a mail
//! with a link is sent again, since a duplicate is better than none; a notice is given up.

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

use super::circuit_breaker::Permit;
use super::requests::{Addressee, MailRequest, addressee};
use super::templates::{RenderedMail, TemplateInput};
use super::{Mails, NAME};
use crate::engine::checkpoint::{Pause, backoff_delay};
use crate::mail::{Failure, Mail, MailError};
use crate::reactions::mailboxes::takes_no_mail;

/// Timeout of one send; shorter than the shutdown timeout of a process.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// A reservation older than this is abandoned: its worker has stopped. It exceeds [`SEND_TIMEOUT`] by the tolerated
/// clock difference between machines.
const UNSETTLED_AFTER: TimeDelta = TimeDelta::seconds(60);
/// How often to check whether another worker has settled a reserved mail.
const RECHECK_INTERVAL: TimeDelta = TimeDelta::seconds(5);
/// Backoff between attempts, from the first to the longest: at most 35 attempts per day.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));

/// The result of a request in this process.
pub(super) enum Settled {
    /// It was sent or given up, or was not due.
    Done,
    /// The process is shutting down, or another worker has taken over.
    Halted,
    /// It cannot be settled, with the reason.
    Parked(String),
}

/// Why a mail cannot be settled now.
pub(super) enum SettleError {
    /// Temporary.
    Outage(Box<dyn std::error::Error + Send + Sync>),
    Permanent(String),
}

impl From<LogError> for SettleError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(_) => Self::Outage(error.into()),
            LogError::Corrupt { .. } => Self::Permanent(with_causes(&error)),
        }
    }
}

impl From<StoreError> for SettleError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Outage(error.into()),
            StoreError::Corrupt(_) => Self::Permanent(with_causes(&error)),
        }
    }
}

/// What to do after one step.
enum Next {
    Settled(Settled),
    Retry,
}

const DONE: Next = Next::Settled(Settled::Done);
const HALTED: Next = Next::Settled(Settled::Halted);

/// The ledger's state of a mail to send.
#[derive(Clone, Copy)]
struct Entry {
    expected: Position,
    attempts: u32,
}

impl Mails {
    /// Brings one mail to its outcome, however long it takes.
    pub(super) async fn settle(&self, request: &MailRequest, halt: &CancellationToken) -> Settled {
        let mut pause = Pause::default();
        loop {
            match self.step(request, halt).await {
                Ok(Next::Settled(settled)) => return settled,
                Ok(Next::Retry) => pause = Pause::default(),
                Err(SettleError::Outage(error)) => {
                    let waited = halt.run_until_cancelled(pause.wait_out(NAME, &*error)).await;
                    if waited.is_none() {
                        return Settled::Halted;
                    }
                }
                Err(SettleError::Permanent(problem)) => return Settled::Parked(problem),
            }
        }
    }

    /// Reads the ledger and takes the next step.
    async fn step(&self, request: &MailRequest, halt: &CancellationToken) -> Result<Next, SettleError> {
        // Shortcut for log-ins with a known device, the most frequent case.
        if let Some(session) = request.session
            && self.parts.clock.now() < request.deadline()
        {
            let Some(is_new) = halt.run_until_cancelled(self.is_new(request, session)).await else {
                return Ok(HALTED);
            };
            if !is_new? {
                return Ok(DONE);
            }
        }
        let last = self.parts.log.last(&[request.subject()], Freshness::Latest).await?.pop().flatten();
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
                        let pause = backoff_delay(RETRY_PAUSE, e.attempt);
                        let pause = TimeDelta::from_std(pause).unwrap_or_default();
                        (entry(e.attempt), Some(envelope.time + pause), false)
                    }
                }
            }
            Some(other) => {
                let problem = format!("unexpected {} in the ledger", other.envelope.event_type);
                return Err(SettleError::Permanent(problem));
            }
        };
        let history = self.parts.log.read(Subject::Account(request.user), Position::START).await?;
        let Some(addressee) = addressee(&history, request) else { return Ok(DONE) };
        let now = self.parts.clock.now();
        if let Some(not_before) = not_before.filter(|time| *time > now) {
            // Meanwhile the worker that reserved it settles it, or the link expires.
            let wait = if unknown {
                (not_before - now).min(RECHECK_INTERVAL)
            } else {
                not_before.min(request.deadline()) - now
            };
            let wait = wait.to_std().unwrap_or_default();
            return Ok(match halt.run_until_cancelled(tokio::time::sleep(wait)).await {
                Some(()) => Next::Retry,
                None => HALTED,
            });
        }
        if unknown && request.template.link_lifetime().is_none() {
            return self.give_up(request, entry, MailGivenUpReason::Unknown, "").await;
        }
        let mut device = None;
        if let Some(session) = request.session {
            // Do not look for new devices among old log-ins.
            if now >= request.deadline() && entry.attempts == 0 {
                return Ok(DONE);
            }
            device = self.device(request, session).await?;
            if device.is_none() {
                return Ok(DONE);
            }
        }
        if now >= request.deadline() {
            return self.give_up(request, entry, MailGivenUpReason::TooLate, "").await;
        }
        let RenderedMail { subject, html, text } =
            self.render(request, &addressee, device.as_deref()).await?;
        let mail = Mail {
            event: request.event,
            template: request.template,
            to: addressee.address,
            subject,
            text,
            html,
            date: now,
        };
        self.send(request, entry, mail, halt).await
    }

    async fn render(
        &self,
        request: &MailRequest,
        to: &Addressee,
        device: Option<&str>,
    ) -> Result<RenderedMail, SettleError> {
        let profile = self.parts.log.read(Subject::Profile(request.user), Position::START).await?;
        let edited = profile.iter().rev().find_map(|recorded| {
            let Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) = &recorded.event
            else {
                return None;
            };
            event.details.open()
        });
        let keys = self.parts.log.keys();
        let input = TemplateInput {
            template: request.template,
            app: to.app,
            is_confirmed: to.is_confirmed,
            firstname: edited.map_or(&to.firstname, |details| &details.firstname),
            token: to.link.map(|(purpose, id)| keys.mailed_token(purpose, request.user, id).reveal()),
            happened: request.time,
            device,
        };
        input.render(&self.parts.urls).map_err(|error| SettleError::Permanent(error.to_string()))
    }

    /// Reserves the mail and sends it as soon as the circuit breaker and the send slots allow.
    async fn send(
        &self,
        request: &MailRequest,
        entry: Entry,
        mail: Mail,
        halt: &CancellationToken,
    ) -> Result<Next, SettleError> {
        let recipient = self.parts.log.keys().claim_hash(&mail.to);
        let left = (request.deadline() - self.parts.clock.now()).to_std().unwrap_or_default();
        let permit = async {
            let room = self.send_slots.acquire().await;
            (room, self.breaker.acquire(SEND_TIMEOUT * 2).await)
        };
        let (_room, permit) = tokio::select! {
            () = halt.cancelled() => return Ok(HALTED),
            () = tokio::time::sleep(left) => return Ok(Next::Retry),
            permit = permit => permit,
        };
        // Bounces and erasures may have been recorded while it waited.
        let subjects = [Subject::Mailbox(recipient), Subject::Account(request.user)];
        let last = self.parts.log.last(&subjects, Freshness::Latest).await?;
        if last.iter().flatten().any(|last| {
            matches!(last.event, Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(_))))
        }) {
            return Ok(DONE);
        }
        if last.iter().flatten().any(|last| takes_no_mail(&last.event)) {
            let said = "it has bounced or complained";
            return self.give_up(request, entry, MailGivenUpReason::Suppressed, said).await;
        }
        let asked = tokio::time::timeout(SEND_TIMEOUT, self.parts.mailer.is_suppressed(&mail.to));
        match halt.run_until_cancelled(asked).await {
            None => return Ok(HALTED),
            Some(Ok(Ok(true))) => {
                permit.record_success();
                let said = "the mail service sends nothing there";
                return self.give_up(request, entry, MailGivenUpReason::Suppressed, said).await;
            }
            Some(Ok(Ok(false))) => {}
            // The mail service checks its suppression list again when it sends.
            Some(Ok(Err(MailError { code, .. }))) => {
                tracing::debug!(code, "the suppression list is unavailable");
            }
            Some(Err(_)) => tracing::debug!("the suppression list did not answer in time"),
        }
        let attempt = entry.attempts + 1;
        let (event, template, user) = (request.event, request.template, request.user);
        let reserved = MailReserved { event, template, user, recipient, attempt };
        let Some(reserved) = self.append(request, reserved.into(), entry.expected).await? else {
            // Another worker was faster.
            return Ok(Next::Retry);
        };
        let entry = Entry { expected: reserved, attempts: attempt };
        let no_answer = || MailError::new(Failure::Unknown, "no answer in time", "");
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.parts.mailer.send(&mail)).await;
        self.outcome(request, entry, permit, sent.unwrap_or_else(|_| Err(no_answer()))).await
    }

    async fn outcome(
        &self,
        request: &MailRequest,
        entry: Entry,
        permit: Permit<'_>,
        outcome: Result<String, MailError>,
    ) -> Result<Next, SettleError> {
        let (event, template, user) = (request.event, request.template, request.user);
        let count =
            |what: &'static str| metrics::counter!(what, "template" => template.as_str()).increment(1);
        match outcome {
            Ok(message_id) => {
                permit.record_success();
                count("chorus_mails_sent_total");
                let sent = MailSent { event, template, user, message_id };
                self.record(request, sent.into(), entry.expected).await
            }
            Err(MailError { failure: Failure::Refused, code, detail }) => {
                permit.record_success();
                tracing::warn!(%event, %template, code, "a mail was refused and is parked");
                self.give_up(request, entry, MailGivenUpReason::Refused, &detail).await
            }
            Err(MailError { failure: failure @ (Failure::Unavailable | Failure::Unknown), code, detail }) => {
                count("chorus_mails_failed_total");
                tracing::warn!(
                    outage = "mail", %event, %template, code, ?failure, attempt = entry.attempts, "a mail failed"
                );
                permit.record_failure(code);
                // A mail that may have been sent is sent again only if the user depends on it.
                if failure == Failure::Unknown && template.link_lifetime().is_none() {
                    return self.give_up(request, entry, MailGivenUpReason::Unknown, &detail).await;
                }
                let error = Personal::Open(detail);
                let failed = MailFailed { event, template, user, attempt: entry.attempts, error };
                self.record(request, failed.into(), entry.expected).await.map(|_| Next::Retry)
            }
        }
    }

    async fn give_up(
        &self,
        request: &MailRequest,
        entry: Entry,
        reason: MailGivenUpReason,
        said: &str,
    ) -> Result<Next, SettleError> {
        let (event, template, user) = (request.event, request.template, request.user);
        metrics::counter!(
            "chorus_mails_given_up_total", "template" => template.as_str(), "reason" => reason.as_str()
        )
        .increment(1);
        tracing::info!(%event, %template, ?reason, "a mail is given up");
        let error = Personal::Open(said.to_owned());
        let given_up = MailGivenUp { event, template, user, reason, attempts: entry.attempts, error };
        self.record(request, given_up.into(), entry.expected).await
    }

    /// Appends an outcome and retries until it is recorded: without it, the mail counts as unsettled.
    async fn record(
        &self,
        request: &MailRequest,
        outcome: Event,
        expected: Position,
    ) -> Result<Next, SettleError> {
        let mut pause = Pause::default();
        loop {
            match self.append(request, outcome.clone(), expected).await {
                Ok(Some(_)) => return Ok(DONE),
                Ok(None) => return Ok(Next::Retry),
                Err(LogError::Unavailable(cause)) => {
                    pause.wait_out(NAME, &LogError::Unavailable(cause)).await;
                }
                Err(error) => {
                    // A user who was erased meanwhile gets no mail, and no event about them can be appended.
                    let history =
                        self.parts.log.read(Subject::Account(request.user), Position::START).await?;
                    return match addressee(&history, request) {
                        None => Ok(DONE),
                        Some(_) => Err(error.into()),
                    };
                }
            }
        }
    }

    /// None if the ledger has changed.
    async fn append(
        &self,
        request: &MailRequest,
        event: Event,
        expected: Position,
    ) -> Result<Option<Position>, LogError> {
        let now = self.parts.clock.now();
        let draft = Draft {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: request.correlation,
            causation: Some(request.event),
            traceparent: None,
            event,
        };
        match self.parts.log.append(draft, expected).await {
            Ok(position) => Ok(Some(position)),
            Err(AppendError::Conflict) => Ok(None),
            // The next read of the ledger shows the result.
            Err(AppendError::OutcomeUnknown(cause)) => Err(LogError::Unavailable(cause)),
            Err(AppendError::Log(error)) => Err(error),
        }
    }
}
