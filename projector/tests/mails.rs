//! The mail reaction on a real log and view store, with the outbox, SES and SMTP adapters: each mail is sent once
//! despite failures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    App, ClaimHash, Client, Draft, EmailVerified, Erased, Event, EventId, Freshness, MailBounced, MailEvent,
    MailGivenUpReason, MailReserved, MailTemplate, MailboxEvent, MailedRequestId, MailsEvent, MasterKeys,
    NewPerson, PasswordChangeReason, PasswordChanged, PasswordResetRequested, Personal, Position,
    ProgressTracker, Recorded, SealedLog, SessionId, SessionStarted, SignedUp, Subject, UserId, open_sealed,
};
use projector::Projector;
use projector::accounts::Sessions;
use projector::mail::MailTransport;
use projector::reactions::{mailboxes, mails};
use service::clock::{self, Clock};
use service::config::Secret;
use service::shutdown::Tasks;
use tests::fault_proxy::FaultProxy;
use tests::inbox::{ReceivedMail, outbox, taken_by_ses, taken_by_smtp};
use tests::servers::{MotoServer, SENDER, SmtpEncryption, SmtpServer, free_port};
use tests::waiting::found;
use uuid::Uuid;
use views::{SqliteViews, ViewStore};

/// Timeout of waiting for a state: longer than the timeout of a send.
const LIMIT: Duration = Duration::from_mins(1);

const ANN: UserId = user(0xa);

const fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

fn now() -> DateTime<Utc> {
    clock::SystemClock.now()
}

fn any_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

struct World {
    log: SealedLog,
    folder: tempfile::TempDir,
    views: &'static str,
}

/// A process that sends mail.
struct Worker {
    tasks: Tasks,
    store: Arc<dyn ViewStore>,
    status: mails::MailStatus,
}

impl Worker {
    async fn stop(self) {
        assert!(self.tasks.stop().await, "a task did not end");
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        Self { log: open_sealed(&setting, None, &keys).await.unwrap(), folder, views: "views.db" }
    }

    fn outbox_folder(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    async fn worker(&self) -> Worker {
        self.worker_by(&format!("outbox:{}", self.outbox_folder().display())).await
    }

    async fn worker_by_smtp(&self, server: &SmtpServer) -> Worker {
        let password = server.password().map(Secret::new);
        self.worker_on(MailTransport::parse(&server.mail_url(), SENDER, password.as_ref()).unwrap()).await
    }

    async fn worker_by(&self, mail: &str) -> Worker {
        self.worker_on(MailTransport::parse(mail, SENDER, None).unwrap()).await
    }

    /// With its own stores, like another process.
    async fn worker_on(&self, transport: MailTransport) -> Worker {
        let views = self.folder.path().join(self.views);
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&views, views::all()).await.unwrap());
        let tasks = Tasks::default();
        let (tracker, update_tracker) = ProgressTracker::follow(&**self.log.raw());
        tasks.spawn_until_stopping("tracker", update_tracker);
        let opened = transport.open().await.unwrap();
        let projector = Projector { log: self.log.clone(), store: store.clone() };
        projector::run(&projector, vec![Arc::new(Sessions)], &tasks);
        if let Some(queue) = opened.feedback {
            mailboxes::run(self.log.clone(), clock::system(), queue, &tasks);
        }
        let urls = mails::AppUrls {
            chorus: "https://chorus.example".into(),
            instamern: "https://instamern.example".into(),
            spotifymern: "https://spotifymern.example".into(),
        };
        let parts = mails::Parts {
            log: self.log.clone(),
            store: store.clone(),
            tracker,
            mailer: opened.mailer,
            clock: clock::system(),
            urls,
        };
        let status = mails::run(parts, &tasks);
        Worker { tasks, store, status }
    }

    /// Appends an event with a time in the past.
    async fn append_of(&self, ago: TimeDelta, event: impl Into<Event>) -> Recorded {
        let event = event.into();
        let subject = event.subject();
        let last = self.log.last(&[subject], Freshness::Latest).await.unwrap().pop().flatten();
        let expected = last.map(|last| last.position).unwrap_or_default();
        let draft = Draft {
            id: EventId::new(any_id()),
            time: now() - ago,
            actor: None,
            correlation: any_id(),
            causation: None,
            traceparent: None,
            event,
        };
        self.log.append(draft, expected).await.unwrap();
        self.log.last(&[subject], Freshness::Latest).await.unwrap().pop().flatten().unwrap()
    }

    async fn append(&self, event: impl Into<Event>) -> Recorded {
        self.append_of(TimeDelta::zero(), event).await
    }

    async fn sign_up(&self, user: UserId, email: &str) -> Recorded {
        self.append(signed_up(user, email, self.log.keys().claim_hash(email))).await
    }

    async fn ledger(&self, cause: &Recorded, template: MailTemplate) -> Vec<MailEvent> {
        let subject = Subject::Mail(cause.envelope.id, template);
        let entries = self.log.read(subject, Position::START).await.unwrap().into_iter();
        entries
            .map(|entry| match entry.event {
                Event::Mail(MailsEvent::Mail(event)) => event,
                other => panic!("{}", other.wire_name()),
            })
            .collect()
    }

    /// The ledger of a mail after its outcome.
    async fn settled(&self, cause: &Recorded, template: MailTemplate) -> Vec<MailEvent> {
        found(LIMIT, &format!("{template} is settled"), async || {
            let ledger = self.ledger(cause, template).await;
            let end = matches!(ledger.last(), Some(MailEvent::MailSent(_) | MailEvent::MailGivenUp(_)));
            end.then_some(ledger)
        })
        .await
    }

    async fn sent(&self, cause: &Recorded, template: MailTemplate) {
        let ledger = self.settled(cause, template).await;
        assert!(matches!(ledger.last(), Some(MailEvent::MailSent(_))), "{ledger:?}");
    }

    async fn given_up(&self, cause: &Recorded, template: MailTemplate) -> MailGivenUpReason {
        match self.settled(cause, template).await.pop() {
            Some(MailEvent::MailGivenUp(given_up)) => given_up.reason,
            other => panic!("{other:?}"),
        }
    }

    fn outbox(&self) -> Vec<ReceivedMail> {
        outbox(&self.outbox_folder()).unwrap()
    }
}

fn signed_up(user: UserId, email: &str, claim: ClaimHash) -> SignedUp {
    let person = NewPerson {
        username: format!("u{user}"),
        email: email.into(),
        password_hash: String::new(),
        firstname: "Ann\r\nBcc: eve@example.org".into(),
        lastname: "Lee".into(),
    };
    SignedUp { user, username: claim, email: claim, app: App::Chorus, person: Personal::Open(person) }
}

fn reset_requested() -> PasswordResetRequested {
    PasswordResetRequested { user: ANN, request: MailedRequestId::new(any_id()), app: App::Instamern }
}

fn password_changed() -> PasswordChanged {
    let password_hash = Personal::Open("$".to_owned());
    PasswordChanged { user: ANN, password_hash, reason: PasswordChangeReason::Chosen, kept: None }
}

fn session(n: u128, device: &str) -> SessionStarted {
    let client = Client { device: device.into(), address: "192.0.2.7".into() };
    SessionStarted {
        user: ANN,
        session: SessionId::new(Uuid::from_u128(n)),
        expires: now() + TimeDelta::days(1),
        client: Personal::Open(client),
    }
}

#[tokio::test]
async fn mail_is_sent_once_even_with_an_empty_view_store() {
    let world = World::new().await;
    let joined = world.sign_up(ANN, "ann@example.org").await;
    let worker = world.worker().await;
    world.sent(&joined, MailTemplate::EmailVerification).await;
    let mail = &world.outbox()[0];
    assert_eq!((mail.to.as_str(), mail.from.as_str()), ("ann@example.org", SENDER));
    assert!(
        mail.text.contains("Hello 👋") && !mail.text.contains("Ann"),
        "the address is not confirmed: {}",
        mail.text
    );
    let link = mail.link().unwrap().strip_prefix("https://chorus.example/verify-email/").unwrap();
    let right =
        world.log.keys().mailed_token(events::LinkPurpose::VerifyEmail, ANN, joined.envelope.id.uuid());
    assert_eq!(link, right.reveal());
    worker.stop().await;

    let world = World { views: "empty.db", ..world };
    let worker = world.worker().await;
    let changed = world.append(password_changed()).await;
    world.sent(&changed, MailTemplate::PasswordChanged).await;
    // A worker that starts from the beginning has passed the sign-up.
    let position = changed.position.0;
    found(LIMIT, "the checkpoint passes", async || {
        (worker.store.checkpoint(mails::NAME).await.unwrap() >= position).then_some(())
    })
    .await;
    let subjects: Vec<_> = world.outbox().into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects, ["Confirm your email address", "Your password has changed"]);
    assert_eq!(world.ledger(&joined, MailTemplate::EmailVerification).await.len(), 2);
    worker.status.ready().unwrap();
    worker.stop().await;
}

/// A reservation without an outcome: a mail with a link is sent again, a notice is not.
#[tokio::test]
async fn crash_resends_links_and_gives_up_notices() {
    let world = World::new().await;
    world
        .append_of(TimeDelta::days(3), signed_up(ANN, "ann@example.org", world.log.keys().claim_hash("a")))
        .await;
    let ago = TimeDelta::minutes(2);
    let (reset, changed) =
        (world.append_of(ago, reset_requested()).await, world.append_of(ago, password_changed()).await);
    for (cause, template) in
        [(&reset, MailTemplate::PasswordReset), (&changed, MailTemplate::PasswordChanged)]
    {
        let recipient = world.log.keys().claim_hash("ann@example.org");
        let reserved = MailReserved { event: cause.envelope.id, template, user: ANN, recipient, attempt: 1 };
        world.append_of(ago, reserved).await;
    }
    let worker = world.worker().await;
    world.sent(&reset, MailTemplate::PasswordReset).await;
    assert_eq!(world.given_up(&changed, MailTemplate::PasswordChanged).await, MailGivenUpReason::Unknown);
    let mails = world.outbox();
    assert_eq!(mails.len(), 1, "{mails:?}");
    let (base, token) = mails[0].link().unwrap().rsplit_once('/').unwrap();
    assert_eq!((base, token.len()), ("https://instamern.example/reset-password", 64));
    worker.stop().await;
}

#[tokio::test]
async fn late_mail_is_given_up_and_erased_users_get_none() {
    let world = World::new().await;
    let claim = world.log.keys().claim_hash("a");
    let joined = world.append_of(TimeDelta::days(2), signed_up(ANN, "ann@example.org", claim)).await;
    let reset = world.append_of(TimeDelta::minutes(11), reset_requested()).await;
    let bob = user(0xb);
    let gone = world.append(signed_up(bob, "bob@example.org", claim)).await;
    let erased = world.append(Erased { user: bob }).await;
    let worker = world.worker().await;
    for (cause, template) in
        [(&joined, MailTemplate::EmailVerification), (&reset, MailTemplate::PasswordReset)]
    {
        assert_eq!(world.given_up(cause, template).await, MailGivenUpReason::TooLate);
    }
    found(LIMIT, "the erasure is passed", async || {
        (worker.store.checkpoint(mails::NAME).await.unwrap() >= erased.position.0).then_some(())
    })
    .await;
    assert_eq!(world.ledger(&gone, MailTemplate::EmailVerification).await, []);
    assert_eq!(world.outbox(), []);
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_send_each_mail_once() {
    let world = World::new().await;
    let (first, second) = (world.worker().await, world.worker().await);
    let mut joined = Vec::new();
    for n in 1..=40 {
        joined.push(world.sign_up(user(n), &format!("u{n}@example.org")).await);
    }
    for joined in &joined {
        world.sent(joined, MailTemplate::EmailVerification).await;
    }
    let mut addresses: Vec<_> = world.outbox().into_iter().map(|mail| mail.to).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), world.outbox().len()), (40, 40));
    // One worker continues when the other stops.
    first.stop().await;
    let late = world.sign_up(user(0xff), "late@example.org").await;
    world.sent(&late, MailTemplate::EmailVerification).await;
    assert_eq!(world.outbox().len(), 41);
    second.stop().await;
}

#[tokio::test]
async fn only_a_new_device_causes_a_mail() {
    let world = World::new().await;
    // In the form that earlier versions stored.
    let address = "ann@exämple.org";
    world.sign_up(ANN, address).await;
    world.append(EmailVerified { user: ANN, email: world.log.keys().claim_hash(address) }).await;
    let worker = world.worker().await;
    let mut causes = Vec::new();
    let firefox = |version| format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Firefox/{version}");
    for (n, device) in [(1, firefox("128.0")), (2, firefox("129.1")), (3, "<b>Chromium</b>".into())] {
        causes.push(world.append(session(n, &device)).await);
    }
    world.sent(&causes[2], MailTemplate::NewDevice).await;
    found(LIMIT, "the last session is passed", async || {
        (worker.store.checkpoint(mails::NAME).await.unwrap() >= causes[2].position.0).then_some(())
    })
    .await;
    for cause in &causes[..2] {
        assert_eq!(world.ledger(cause, MailTemplate::NewDevice).await, []);
    }
    let mails = world.outbox();
    let mail = mails.iter().find(|mail| mail.subject.contains("new device")).unwrap();
    assert_eq!(mail.to, "ann@xn--exmple-cua.org");
    assert!(
        mail.text.contains("<b>Chromium</b>") && mail.html.contains("&#60;b&#62;Chromium"),
        "{}",
        mail.html
    );
    worker.stop().await;
}

#[tokio::test]
async fn outage_of_the_mail_service_delays_only_mail() {
    let world = World::new().await;
    let moto = MotoServer::start().await.unwrap();
    moto.verify_sender().await.unwrap();
    // Nothing listens there yet.
    let port = free_port().unwrap();
    let worker = world.worker_by(&moto.mail_url_at(&format!("http://127.0.0.1:{port}"))).await;
    let first = world.sign_up(ANN, "ann@example.org").await;
    found(LIMIT, "it is tried", async || {
        let ledger = world.ledger(&first, MailTemplate::EmailVerification).await;
        ledger.iter().any(|entry| matches!(entry, MailEvent::MailFailed(_))).then_some(())
    })
    .await;
    let second = world.sign_up(user(2), "bob@example.org").await;
    // It is past its deadline, so no attempt is made.
    let reset = world.append_of(TimeDelta::minutes(11), reset_requested()).await;
    assert_eq!(world.given_up(&reset, MailTemplate::PasswordReset).await, MailGivenUpReason::TooLate);
    worker.status.ready().unwrap();

    let _proxy = FaultProxy::at(port, moto.port()).await.unwrap();
    world.sent(&first, MailTemplate::EmailVerification).await;
    world.sent(&second, MailTemplate::EmailVerification).await;
    let mut to: Vec<_> =
        taken_by_ses(&moto.mails().await.unwrap()).unwrap().into_iter().map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["ann@example.org", "bob@example.org"]);
    // The second mail was not reserved repeatedly during the outage.
    assert!(world.ledger(&second, MailTemplate::EmailVerification).await.len() <= 4);
    worker.stop().await;
}

/// Without credentials nothing was sent, so neither a notice nor a link is given up.
#[tokio::test]
async fn missing_credentials_are_an_outage() {
    let world = World::new().await;
    world
        .append_of(TimeDelta::days(3), signed_up(ANN, "ann@example.org", world.log.keys().claim_hash("a")))
        .await;
    let changed = world.append(password_changed()).await;
    let missing = world.folder.path().join("credentials");
    let url = format!("ses://us-east-1?endpoint=http://127.0.0.1:1&credentials_file={}", missing.display());
    let worker = world.worker_by(&url).await;
    let failed = found(LIMIT, "it has failed", async || {
        let ledger = world.ledger(&changed, MailTemplate::PasswordChanged).await;
        (ledger.len() >= 2).then_some(ledger)
    })
    .await;
    assert!(matches!(failed[1], MailEvent::MailFailed(_)), "{failed:?}");
    // The checkpoint does not pass an unsettled mail, and the process still shuts down.
    assert!(worker.store.checkpoint(mails::NAME).await.unwrap() < changed.position.0);
    worker.stop().await;
}

#[tokio::test]
async fn lost_answer_resends_links_only() {
    let world = World::new().await;
    let moto = MotoServer::start().await.unwrap();
    moto.verify_sender().await.unwrap();
    let proxy = FaultProxy::to(moto.port()).await.unwrap();
    let joined = world.sign_up(ANN, "ann@example.org").await;
    let worker = world.worker_by(&moto.mail_url_at(&format!("http://127.0.0.1:{}", proxy.port()))).await;
    world.sent(&joined, MailTemplate::EmailVerification).await;
    proxy.drop_responses();
    let changed = world.append(password_changed()).await;
    assert_eq!(world.given_up(&changed, MailTemplate::PasswordChanged).await, MailGivenUpReason::Unknown);
    let reset = world.append(reset_requested()).await;
    found(LIMIT, "it is tried", async || {
        let ledger = world.ledger(&reset, MailTemplate::PasswordReset).await;
        ledger.iter().any(|entry| matches!(entry, MailEvent::MailFailed(_))).then_some(())
    })
    .await;
    proxy.restore();
    world.sent(&reset, MailTemplate::PasswordReset).await;
    let mails = taken_by_ses(&moto.mails().await.unwrap()).unwrap();
    let times = |subject: &str| mails.iter().filter(|mail| mail.subject == subject).count();
    assert_eq!((times("Your password has changed"), times("Confirm your email address")), (1, 1));
    assert!((2..=3).contains(&times("Reset your password")), "{}", times("Reset your password"));
    worker.stop().await;
}

#[tokio::test]
async fn refused_or_suppressed_mail_is_parked() {
    let world = World::new().await;
    let moto = MotoServer::start().await.unwrap();
    moto.suppress("bounced@example.org").await.unwrap();
    let worker = world.worker_by(&moto.mail_url()).await;
    let verification = MailTemplate::EmailVerification;
    // The sender is not verified yet.
    let refused = world.sign_up(user(1), "ann@example.org").await;
    assert_eq!(world.given_up(&refused, verification).await, MailGivenUpReason::Refused);
    match world.ledger(&refused, verification).await.pop() {
        Some(MailEvent::MailGivenUp(given_up)) => {
            assert!(given_up.error.open().unwrap().contains("authority"), "the error is kept sealed");
        }
        other => panic!("{other:?}"),
    }
    moto.verify_sender().await.unwrap();
    let suppressed = world.sign_up(user(2), "bounced@example.org").await;
    let no_address = world.sign_up(user(3), "nobody").await;
    let complained = world.log.keys().claim_hash("complained@example.org");
    world.append(MailBounced { email: complained, permanent: true, message_id: "m".into() }).await;
    let bounced = world.sign_up(user(4), "Complained@example.org").await;
    let full = world.log.keys().claim_hash("full@example.org");
    world.append(MailBounced { email: full, permanent: false, message_id: "m".into() }).await;
    let taken = world.sign_up(user(5), "full@example.org").await;
    assert_eq!(world.given_up(&suppressed, verification).await, MailGivenUpReason::Suppressed);
    assert_eq!(world.given_up(&no_address, verification).await, MailGivenUpReason::Refused);
    assert_eq!(world.given_up(&bounced, verification).await, MailGivenUpReason::Suppressed);
    world.sent(&taken, verification).await;
    let mails = taken_by_ses(&moto.mails().await.unwrap()).unwrap();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["full@example.org"]);
    worker.stop().await;
}

#[tokio::test]
async fn bounces_and_complaints_are_recorded_as_events() {
    let world = World::new().await;
    let moto = MotoServer::start().await.unwrap();
    moto.verify_sender().await.unwrap();
    let queue = moto.queue("feedback").await.unwrap();
    let worker = world.worker_by(&format!("{}&feedback_queue={queue}", moto.mail_url())).await;
    let bounce = |address: &str, kind: &str| {
        let said = serde_json::json!({
            "notificationType": "Bounce",
            "mail": { "messageId": "0100" },
            "bounce": { "bounceType": kind, "bouncedRecipients": [{ "emailAddress": address }] },
        });
        serde_json::json!({ "Type": "Notification", "Message": said.to_string() }).to_string()
    };
    moto.put_on_queue(&queue, "no notice at all").await.unwrap();
    for _ in 0..2 {
        moto.put_on_queue(&queue, &bounce("Gone@example.org", "Permanent")).await.unwrap();
        moto.put_on_queue(&queue, &bounce("full@example.org", "Transient")).await.unwrap();
    }
    // Unreadable notices stay in the queue.
    found(LIMIT, "the notices are taken off", async || {
        (moto.length_of_queue(&queue).await.unwrap() == 1).then_some(())
    })
    .await;
    for (address, permanent) in [("gone@example.org", true), ("full@example.org", false)] {
        let subject = Subject::Mailbox(world.log.keys().claim_hash(address));
        let said = world.log.read(subject, Position::START).await.unwrap();
        let [Recorded { event: Event::Mail(MailsEvent::Mailbox(MailboxEvent::MailBounced(bounced))), .. }] =
            said.as_slice()
        else {
            panic!("{said:?}")
        };
        assert_eq!((bounced.permanent, bounced.message_id.as_str()), (permanent, "0100"));
    }
    let joined = world.sign_up(ANN, "gone@example.org").await;
    assert_eq!(world.given_up(&joined, MailTemplate::EmailVerification).await, MailGivenUpReason::Suppressed);
    assert_eq!(moto.mails().await.unwrap().len(), 0);
    worker.stop().await;
}

/// The ledger of a mail after a failed attempt.
async fn failed(world: &World, cause: &Recorded, template: MailTemplate) -> Vec<MailEvent> {
    found(LIMIT, &format!("{template} has failed"), async || {
        let ledger = world.ledger(cause, template).await;
        ledger.iter().any(|entry| matches!(entry, MailEvent::MailFailed(_))).then_some(ledger)
    })
    .await
}

#[tokio::test]
async fn smtp_reuses_one_encrypted_connection() {
    for encryption in [SmtpEncryption::StartTls, SmtpEncryption::Implicit] {
        let world = World::new().await;
        let server = SmtpServer::start(encryption).await.unwrap();
        let worker = world.worker_by_smtp(&server).await;
        let mut joined = Vec::new();
        for n in 1..=3 {
            joined.push(world.sign_up(user(n), &format!("u{n}@example.org")).await);
            world.sent(&joined[joined.len() - 1], MailTemplate::EmailVerification).await;
        }
        let mails = server.mails().unwrap();
        assert!(mails.iter().all(|mail| mail.encrypted), "{mails:?}");
        assert!(mails.iter().all(|mail| mail.user.as_deref() == Some("chorus@example.org")), "{mails:?}");
        assert!(mails.iter().all(|mail| mail.connection == mails[0].connection), "{mails:?}");
        let received = taken_by_smtp(&mails).unwrap();
        let to: Vec<_> = received.iter().map(|mail| mail.to.as_str()).collect();
        assert_eq!(to, ["u1@example.org", "u2@example.org", "u3@example.org"]);
        assert!(received[0].link().unwrap().starts_with("https://chorus.example/verify-email/"));
        // The id in the ledger is the one that the mail server logs.
        let ledger = world.ledger(&joined[0], MailTemplate::EmailVerification).await;
        let Some(MailEvent::MailSent(sent)) = ledger.last() else { panic!("{ledger:?}") };
        assert_eq!(sent.message_id, format!("<{}>", received[0].id));
        assert!(received[0].id.contains(&joined[0].envelope.id.to_string()), "{}", received[0].id);
        worker.stop().await;
    }
}

#[tokio::test]
async fn refused_smtp_mail_is_parked() {
    let world = World::new().await;
    let mut server = SmtpServer::start(SmtpEncryption::None).await.unwrap();
    server.refuse("nobody@example.org", "550 5.1.1 no such user nobody@example.org").unwrap();
    server.refuse_text("picky@example.org", "554 5.7.1 this looks like spam").unwrap();
    let worker = world.worker_by_smtp(&server).await;
    for (n, address, said) in
        [(1, "nobody@example.org", "no such user"), (2, "picky@example.org", "looks like spam")]
    {
        let joined = world.sign_up(user(n), address).await;
        let ledger = world.settled(&joined, MailTemplate::EmailVerification).await;
        let Some(MailEvent::MailGivenUp(given_up)) = ledger.last() else { panic!("{ledger:?}") };
        assert_eq!((given_up.reason, given_up.attempts), (MailGivenUpReason::Refused, 1));
        assert!(given_up.error.open().unwrap().contains(said), "{:?}", given_up.error.open());
    }
    let joined = world.sign_up(ANN, "ann@example.org").await;
    world.sent(&joined, MailTemplate::EmailVerification).await;
    let mails = taken_by_smtp(&server.mails().unwrap()).unwrap();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["ann@example.org"]);
    assert_eq!(worker.status.details(), serde_json::Value::Null);
    worker.stop().await;
}

#[tokio::test]
async fn deferred_smtp_mail_is_sent_later() {
    let world = World::new().await;
    let mut server = SmtpServer::start(SmtpEncryption::None).await.unwrap();
    server.refuse("ann@example.org", "451 4.7.1 try again later").unwrap();
    let worker = world.worker_by_smtp(&server).await;
    let joined = world.sign_up(ANN, "ann@example.org").await;
    failed(&world, &joined, MailTemplate::EmailVerification).await;
    server.accept("ann@example.org").unwrap();
    world.sent(&joined, MailTemplate::EmailVerification).await;
    assert_eq!(server.mails().unwrap().len(), 1);
    worker.stop().await;
}

/// Nothing was sent, so a notice is not given up either.
#[tokio::test]
async fn outage_of_the_smtp_server_is_retried() {
    let world = World::new().await;
    let claim = world.log.keys().claim_hash("a");
    world.append_of(TimeDelta::days(3), signed_up(ANN, "ann@example.org", claim)).await;
    let mut server = SmtpServer::start(SmtpEncryption::None).await.unwrap();
    let worker = world.worker_by_smtp(&server).await;
    let first = world.append(password_changed()).await;
    world.sent(&first, MailTemplate::PasswordChanged).await;
    // The idle connection is closed now.
    server.kill().unwrap();
    let second = world.append(password_changed()).await;
    failed(&world, &second, MailTemplate::PasswordChanged).await;
    worker.status.ready().unwrap();
    let details = worker.status.details();
    assert_eq!(details["problem"], "no connection to the mail server", "{details}");
    server.start_again().await.unwrap();
    world.sent(&second, MailTemplate::PasswordChanged).await;
    assert_eq!(server.mails().unwrap().len(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn refused_smtp_log_in_is_an_outage_shown_in_the_status() {
    let world = World::new().await;
    let server = SmtpServer::start(SmtpEncryption::StartTls).await.unwrap();
    server.change_password("another").unwrap();
    let worker = world.worker_by_smtp(&server).await;
    let joined = world.sign_up(ANN, "ann@example.org").await;
    let ledger = failed(&world, &joined, MailTemplate::EmailVerification).await;
    assert!(!ledger.iter().any(|entry| matches!(entry, MailEvent::MailGivenUp(_))), "{ledger:?}");
    worker.status.ready().unwrap();
    let details = worker.status.details();
    assert_eq!(details["problem"], "the mail server refused the log-in: 535", "{details}");
    server.change_password(server.password().unwrap()).unwrap();
    world.sent(&joined, MailTemplate::EmailVerification).await;
    assert_eq!(worker.status.details(), serde_json::Value::Null);
    worker.stop().await;
}

/// A server with an untrusted certificate or without encryption gets neither password nor mail.
#[tokio::test]
async fn untrusted_smtp_server_gets_no_mail() {
    let encrypted = SmtpServer::start(SmtpEncryption::StartTls).await.unwrap();
    let plain = SmtpServer::start(SmtpEncryption::None).await.unwrap();
    let url = encrypted.mail_url();
    let without_ca = url.split("&ca_file").next().unwrap();
    let password = encrypted.password().map(Secret::new);
    let untrusted = MailTransport::parse(without_ca, SENDER, password.as_ref()).unwrap();
    let unencrypted =
        MailTransport::parse(&format!("{}?tls=required", plain.mail_url()), SENDER, None).unwrap();
    let mail = projector::mail::Mail {
        event: EventId::new(any_id()),
        template: MailTemplate::Welcome,
        to: "ann@example.org".into(),
        subject: "Hello".into(),
        text: "Hello".into(),
        html: "<p>Hello</p>".into(),
        date: now(),
    };
    for transport in [untrusted, unencrypted] {
        let error = transport.open().await.unwrap().mailer.send(&mail).await.unwrap_err();
        assert_eq!(error.failure, projector::mail::Failure::Unavailable, "{error:?} {}", error.detail);
    }
    assert_eq!((encrypted.mails().unwrap().len(), plain.mails().unwrap().len()), (0, 0));
}

/// A mail with a link is sent again after a lost reply, with the same Message-ID.
#[tokio::test]
async fn resent_smtp_mail_keeps_its_message_id() {
    let world = World::new().await;
    let mut server = SmtpServer::start(SmtpEncryption::None).await.unwrap();
    server.hang_up_after("ann@example.org").unwrap();
    let worker = world.worker_by_smtp(&server).await;
    let joined = world.sign_up(ANN, "ann@example.org").await;
    failed(&world, &joined, MailTemplate::EmailVerification).await;
    server.accept("ann@example.org").unwrap();
    world.sent(&joined, MailTemplate::EmailVerification).await;
    let mails = taken_by_smtp(&server.mails().unwrap()).unwrap();
    assert!(mails.len() >= 2, "{mails:?}");
    assert!(mails.iter().all(|mail| mail.id == mails[0].id && !mail.id.is_empty()), "{mails:?}");
    // A notice that may have arrived is not sent twice.
    server.hang_up_after("ann@example.org").unwrap();
    world.append(EmailVerified { user: ANN, email: world.log.keys().claim_hash("ann@example.org") }).await;
    let changed = world.append(password_changed()).await;
    assert_eq!(world.given_up(&changed, MailTemplate::PasswordChanged).await, MailGivenUpReason::Unknown);
    worker.stop().await;
}
