//! Records bounces and complaints of the mail service as events, so that no more mail is sent to these addresses.

use std::sync::Arc;

use events::{
    AppendError, Draft, Event, EventId, Freshness, LogError, MailBounced, MailComplained, MailboxEvent,
    MailsEvent, SealedLog, Subject, time_ordered_id,
};
use service::clock::Clock;
use service::shutdown::Tasks;
use service::telemetry::with_causes;

use crate::engine::checkpoint::Pause;
use crate::mail::{Feedback, FeedbackSource, Verdict};

/// Processes the queue until the process shuts down. Any number of processes can do so concurrently.
pub fn run(log: SealedLog, clock: Arc<dyn Clock>, queue: Arc<dyn FeedbackSource>, tasks: &Tasks) {
    tasks.spawn_until_stopping("mailboxes", async move {
        let mut pause = Pause::default();
        loop {
            match process_notices(&log, &*clock, &*queue).await {
                Ok(()) => pause = Pause::default(),
                Err(problem) => {
                    tracing::warn!(
                        outage = "the queue of bounces and complaints",
                        problem,
                        "bounces and complaints cannot be processed now; retrying"
                    );
                    tokio::time::sleep(pause.next()).await;
                }
            }
        }
    });
}

/// Processes the next notices of the queue (long polling).
async fn process_notices(
    log: &SealedLog,
    clock: &dyn Clock,
    queue: &dyn FeedbackSource,
) -> Result<(), String> {
    for notice in queue.receive().await? {
        match Feedback::read(&notice.body) {
            Ok(feedback) => {
                for feedback in &feedback {
                    record(log, clock, feedback).await.map_err(|error| with_causes(&error))?;
                }
                queue.delete(notice).await?;
            }
            // The notice stays in the queue; the queue's dead-letter policy decides.
            Err(problem) => {
                metrics::counter!("chorus_mail_notices_unreadable_total").increment(1);
                tracing::error!(problem, "a notice in the queue of bounces and complaints cannot be read");
            }
        }
    }
    Ok(())
}

/// Appends the feedback as an event unless the log already has it: notices can be delivered more than once.
async fn record(log: &SealedLog, clock: &dyn Clock, feedback: &Feedback) -> Result<(), LogError> {
    let email = log.keys().claim_hash(&feedback.address);
    let message_id = feedback.message_id.clone();
    let event: Event = match feedback.verdict {
        Verdict::Bounced { permanent } => MailBounced { email, permanent, message_id }.into(),
        Verdict::Complained => MailComplained { email, message_id }.into(),
    };
    let id = time_ordered_id(clock.now());
    loop {
        let last = log.last(&[Subject::Mailbox(email)], Freshness::Latest).await?.pop().flatten();
        let expected = last.as_ref().map(|last| last.position).unwrap_or_default();
        if last.is_some_and(|last| takes_no_mail(&last.event) || last.event == event) {
            return Ok(());
        }
        let draft = Draft {
            id: EventId::new(id),
            time: clock.now(),
            actor: None,
            correlation: id,
            causation: None,
            traceparent: None,
            event: event.clone(),
        };
        match log.append(draft, expected).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict) => {}
            Err(AppendError::OutcomeUnknown(cause)) => return Err(LogError::Unavailable(cause)),
            Err(AppendError::Log(error)) => return Err(error),
        }
    }
}

/// Whether the last event about a mailbox suppresses further mail.
pub(super) fn takes_no_mail(last: &Event) -> bool {
    match last {
        Event::Mail(MailsEvent::Mailbox(MailboxEvent::MailBounced(bounced))) => bounced.permanent,
        Event::Mail(MailsEvent::Mailbox(MailboxEvent::MailComplained(_))) => true,
        Event::Mail(MailsEvent::Mail(_))
        | Event::Accounts(_)
        | Event::Social(_)
        | Event::Music(_)
        | Event::Operations(_) => false,
    }
}
