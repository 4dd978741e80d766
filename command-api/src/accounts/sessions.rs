//! Logging in and out, and ending sessions elsewhere. A session is a subject of its own; its token names it.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SubsecRound, Utc};
use events::{
    AccountEvent, AccountsEvent, Client, Event, EventLog, Freshness, Personal, Position, Recorded,
    SessionEndReason, SessionEnded, SessionEvent, SessionId, SessionSeen, SessionStarted, SessionsEnded,
    Subject, UserId,
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{Problem, Problems};
use web::sessions::{Running, Session, SessionLookup, Sweep, UsedSession};

use crate::Commands;
use crate::accounts::account::{Account, Standing};
use crate::accounts::passwords::{Comparison, Passwords};
use crate::pipeline::context::Context;
use crate::pipeline::execute::{Done, Fold};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::rejections::log_problem;

/// Characters of a `User-Agent` that are kept: enough to know a device by.
const DEVICE_LIMIT: usize = 200;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionRejected {
    /// Whether the account exists is not told.
    WrongLogin,
    Suspended,
    NoSession,
    /// A repeated request began a session that does not run any more.
    Ended,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Run {
    #[default]
    None,
    Running {
        since: Position,
    },
    Ended,
}

impl Fold for Run {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Accounts(AccountsEvent::Session(event)) = &recorded.event else { return };
        *self = match event {
            SessionEvent::SessionStarted(_) => Self::Running { since: recorded.position },
            SessionEvent::SessionSeen(event) => Self::Running { since: event.since },
            SessionEvent::SessionEnded(_) => Self::Ended,
        };
    }
}

fn start(session: Run, wish: &SessionStarted) -> Result<Option<Event>, SessionRejected> {
    match session {
        Run::None => Ok(Some(wish.clone().into())),
        Run::Running { .. } => Ok(None),
        // Only a repeated request can name a session that was there before.
        Run::Ended => Err(SessionRejected::NoSession),
    }
}

fn end(session: Run, wish: &SessionEnded) -> Result<Option<Event>, SessionRejected> {
    match session {
        Run::None => Err(SessionRejected::NoSession),
        Run::Running { .. } => Ok(Some(wish.clone().into())),
        Run::Ended => Ok(None),
    }
}

fn see(session: Run, user: UserId, id: SessionId) -> Option<Event> {
    match session {
        Run::Running { since } => Some(SessionSeen { user, session: id, since }.into()),
        Run::None | Run::Ended => None,
    }
}

/// Whether somebody who knows the password, or does not, is let in.
fn let_in(account: Option<&Account>, password_matches: bool) -> Result<(), SessionRejected> {
    match account.map(|account| account.standing) {
        Some(Standing::Suspended) if password_matches => Err(SessionRejected::Suspended),
        Some(Standing::Active | Standing::Deactivated) if password_matches => Ok(()),
        _ => Err(SessionRejected::WrongLogin),
    }
}

// ----------------------------------------------------------------- commands

/// What a log-in came with, for its owner's list of sessions.
#[derive(Debug, Clone)]
pub(crate) struct ClientNote {
    device: String,
    address: String,
}

impl ClientNote {
    pub(crate) fn of(headers: &HeaderMap, from: ClientAddress) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        Self { device: agent.chars().take(DEVICE_LIMIT).collect(), address: from.to_string() }
    }
}

impl Commands {
    /// Answers a log-in with the session, for browsers in a cookie too. One that the browser had before ends: its cookie
    /// is overwritten.
    pub(crate) async fn signed_in(
        &self,
        context: Context,
        prefer: Prefer,
        headers: &HeaderMap,
        signed_in: SignedIn,
        all_done: &[Done],
    ) -> Result<Response, Problem> {
        let browsers = self.authenticator.browsers();
        let cookie = browsers.cookie(&signed_in.token, self.clock.now(), signed_in.expires)?;
        let before = self.authenticator.of_cookie(headers).await;
        if let Some(before) = before.filter(|before| before.session.to_string() != signed_in.session) {
            let (user, id) = (before.user, before.session);
            let context = context.unrepeatable().by(user);
            if let Err(problem) = self.end_session(&context, user, id, SessionEndReason::LoggedOut).await {
                tracing::debug!(%problem, "a session that a browser has lost goes on until it expires");
            }
        }
        let settled = self.settle(prefer, all_done).await;
        let mut response = settled.answer(StatusCode::CREATED, axum::Json(signed_in));
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    /// The session that this very request has begun before, if it is a repeated one. It is answered again only while it
    /// runs: a token of a session that has ended is of no use, and a new session is not what the key stands for.
    async fn session_before(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Option<(SignedIn, Done)>, Problem> {
        let session = SessionId::new(context.new_id(self.log.keys(), "session"));
        let before = self.event_before::<SessionRejected>(context, Subject::Session(user, session)).await?;
        let Some((Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(started))), done)) =
            before
        else {
            return Ok(None);
        };
        let lookup = LogSessions::new(Arc::clone(self.log.raw()));
        let runs = started.expires > context.now && lookup.running(user, session).await?.is_some();
        if !runs {
            return Err(SessionRejected::Ended.into());
        }
        Ok(Some((self.token_for(context, user, session, started.expires)?, done)))
    }

    fn token_for(
        &self,
        context: &Context,
        user: UserId,
        session: SessionId,
        expires: DateTime<Utc>,
    ) -> Result<SignedIn, Problem> {
        let token = self.signing.sign(user, session, context.now, expires).map_err(Problem::internal)?;
        Ok(SignedIn { user: user.to_string(), session: session.to_string(), token, expires })
    }

    pub(crate) async fn start_session(
        &self,
        context: &Context,
        user: UserId,
        note: ClientNote,
    ) -> Result<(SignedIn, Done), Problem> {
        if let Some(before) = self.session_before(context, user).await? {
            return Ok(before);
        }
        let session = SessionId::new(context.new_id(self.log.keys(), "session"));
        // A token counts in whole seconds.
        let expires = (context.now + self.session_length).trunc_subsecs(0);
        let client = Personal::Open(Client { device: note.device, address: note.address });
        let event = SessionStarted { user, session, expires, client };
        let done =
            self.begin(context, Subject::Session(user, session), &[], |state| start(*state, &event)).await?;
        Ok((self.token_for(context, user, session, expires)?, done))
    }

    /// Lets somebody in who knows the password; an account that its owner had put to rest is active again.
    pub(crate) async fn log_in_as(
        &self,
        context: &Context,
        owner: Option<(UserId, Account)>,
        password: String,
        note: ClientNote,
    ) -> Result<(SignedIn, Vec<Done>), Problem> {
        let hashed = owner.as_ref().and_then(|(_, account)| account.password_hash.clone());
        // Checked also where there is no account, so that the time it takes tells nothing.
        let compared = self.passwords.compare(&password, hashed.clone()).await?;
        let matches = compared != Comparison::Wrong;
        let_in(owner.as_ref().map(|(_, account)| account), matches)?;
        let (user, account) = owner.ok_or(SessionRejected::WrongLogin)?;
        let context = context.clone().by(user);
        let is_outdated =
            |hashed: &String| compared == Comparison::RightInOldForm || Passwords::is_weak(hashed);
        if let Some(hashed) = hashed.filter(is_outdated) {
            self.strengthen(&context, user, &hashed, password).await;
        }
        let mut all_done = Vec::new();
        if account.standing == Standing::Deactivated {
            // A request from before the deactivation does not undo it.
            if let Some((signed_in, done)) = self.session_before(&context, user).await? {
                return Ok((signed_in, vec![done]));
            }
            all_done.push(self.reactivate(&context, user).await?);
        }
        let (signed_in, done) = self.start_session(&context, user, note).await?;
        all_done.push(done);
        Ok((signed_in, all_done))
    }

    /// Whether the password of a sign-up that is sent again still lets its owner in.
    pub(crate) async fn check_sign_up_again(&self, user: UserId, password: &str) -> Result<(), Problem> {
        let account = self.account(user).await?;
        let compared = self.passwords.compare(password, account.password_hash.clone()).await?;
        Ok(let_in(Some(&account), compared != Comparison::Wrong)?)
    }

    /// Ends all sessions of somebody, but one if it is to be kept.
    pub(crate) async fn end_sessions(
        &self,
        context: &Context,
        user: UserId,
        kept: Option<SessionId>,
    ) -> Result<Done, Problem> {
        let event = SessionsEnded { user, kept };
        let decide = |account: &Account| {
            let exists = account.exists();
            exists.then(|| Some(event.clone().into())).ok_or(SessionRejected::NoSession)
        };
        Ok(self.execute(context, Subject::Account(user), &[], decide).await?)
    }

    /// Writes down that sessions are in use, as the authenticator notes it.
    pub(crate) async fn keep_notes_of_use(&self, mut notes: mpsc::Receiver<UsedSession>) {
        while let Some(UsedSession { user, session }) = notes.recv().await {
            let context = Context::unasked(self.clock.now()).by(user);
            let decide = |run: &Run| Ok::<_, std::convert::Infallible>(see(*run, user, session));
            if let Err(failure) = self.execute(&context, Subject::Session(user, session), &[], decide).await {
                tracing::debug!(?failure, "that a session is in use is noted another time");
            }
        }
    }

    pub(crate) async fn end_session(
        &self,
        context: &Context,
        user: UserId,
        session: SessionId,
        reason: SessionEndReason,
    ) -> Result<Done, Problem> {
        let event = SessionEnded { user, session, reason };
        let done =
            self.execute(context, Subject::Session(user, session), &[], |state| end(*state, &event)).await?;
        // The log tells every process; this one knows already.
        self.authenticator.end(session);
        Ok(done)
    }
}

/// Which sessions are good, by the log.
#[derive(Debug)]
pub(crate) struct LogSessions {
    log: Arc<dyn EventLog>,
}

impl LogSessions {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

/// Which sessions an event on the account ends, if any.
pub(crate) fn sweep(event: &AccountEvent, position: Position) -> Option<Sweep> {
    let kept = event.ends_sessions_but()?;
    Some(Sweep { position: position.0, kept })
}

#[async_trait]
impl SessionLookup for LogSessions {
    async fn running(&self, user: UserId, session: SessionId) -> Result<Option<Running>, Problem> {
        let subject = Subject::Session(user, session);
        let last = self.log.last(&[subject], Freshness::Latest).await.map_err(log_problem)?.pop().flatten();
        let Some(last) = last else { return Ok(None) };
        let last = Recorded::sealed(last).map_err(log_problem)?;
        let mut run = Run::None;
        run.apply(&last);
        let Run::Running { since: Position(began) } = run else { return Ok(None) };
        for stored in self.log.read(Subject::Account(user), Position::START).await.map_err(log_problem)? {
            let Recorded { position, event, .. } = Recorded::sealed(stored).map_err(log_problem)?;
            let Event::Accounts(AccountsEvent::Account(event)) = event else { continue };
            if sweep(&event, position).is_some_and(|sweep| sweep.ends(session, began)) {
                return Ok(None);
            }
        }
        Ok(Some(Running { began, seen: last.envelope.time }))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(post_session, delete_other_sessions))
        .routes(routes!(delete_current_session))
        .routes(routes!(delete_session))
}

/// A session that has begun, and the token that speaks for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// Id of the user.
    user: String,
    /// Id of the session.
    session: String,
    /// To be sent with every request: `Authorization: Bearer <token>`.
    pub(crate) token: String,
    pub(crate) expires: DateTime<Utc>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// Username or email address.
    #[schema(max_length = 254, example = "ann.lee")]
    login: String,
    #[schema(format = "password", max_length = 128, example = "correct horse battery")]
    password: String,
}

/// Log in
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", request_body = Login,
    params(CommandHeaders),
    responses((status = 201, body = SignedIn), (status = 202, body = SignedIn), Problems)
)]
async fn post_session(
    State(commands): State<Commands>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    headers: HeaderMap,
    Json(Login { login, password }): Json<Login>,
) -> Result<Response, Problem> {
    commands.authenticator.browsers().check_log_in(&headers)?;
    let found = commands.find_login(&login).await?;
    commands.limits.check(Attempt::LogIn { account: found.budget(), from })?;
    let owner = commands.owner(found).await?;
    let context = context.saying([login.as_bytes(), password.as_bytes()]);
    let note = ClientNote::of(&headers, from);
    let (signed_in, all_done) = commands.log_in_as(&context, owner, password, note).await?;
    commands.signed_in(context, prefer, &headers, signed_in, &all_done).await
}

/// Log out
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "sessions", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_current_session(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let (user, id) = (session.user, session.session);
    let done = commands.end_session(&context.by(user), user, id, SessionEndReason::LoggedOut).await?;
    let mut response = commands.receipt(prefer, done, StatusCode::OK, None).await;
    response.headers_mut().insert(header::SET_COOKIE, commands.authenticator.browsers().no_cookie()?);
    Ok(response)
}

/// End one of my sessions
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", tag = "sessions", security(("token" = [])),
    params(("session" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_session(
    State(commands): State<Commands>,
    session: Session,
    Path(id): Path<SessionId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let done = commands.end_session(&context.by(user), user, id, SessionEndReason::Revoked).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

/// End all my other sessions
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "sessions", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_other_sessions(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let (user, kept) = (session.user, session.session);
    let done = commands.end_sessions(&context.by(user), user, Some(kept)).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const SESSION: SessionId = SessionId::new(Uuid::from_u128(5));

    #[test]
    fn a_session_starts_once_and_ends_once() {
        let started = SessionStarted {
            user: ANN,
            session: SESSION,
            expires: DateTime::UNIX_EPOCH,
            client: Personal::Erased,
        };
        assert_eq!(start(Run::None, &started), Ok(Some(started.clone().into())));
        let running = Run::Running { since: Position(1) };
        assert_eq!(start(running, &started), Ok(None));
        assert_eq!(start(Run::Ended, &started), Err(SessionRejected::NoSession));
        let ended = SessionEnded { user: ANN, session: SESSION, reason: SessionEndReason::LoggedOut };
        assert_eq!(end(running, &ended), Ok(Some(ended.clone().into())));
        assert_eq!(end(Run::Ended, &ended), Ok(None));
        assert_eq!(end(Run::None, &ended), Err(SessionRejected::NoSession));
    }

    #[test]
    fn only_a_running_session_is_seen_and_it_keeps_its_beginning() {
        let seen = SessionSeen { user: ANN, session: SESSION, since: Position(4) };
        assert_eq!(see(Run::Running { since: Position(4) }, ANN, SESSION), Some(seen.into()));
        assert_eq!(see(Run::Ended, ANN, SESSION), None);
        assert_eq!(see(Run::None, ANN, SESSION), None);
    }

    #[test]
    fn who_is_let_in() {
        let account = |standing| Account { standing, ..Account::default() };
        assert_eq!(let_in(Some(&account(Standing::Active)), true), Ok(()));
        assert_eq!(let_in(Some(&account(Standing::Deactivated)), true), Ok(()));
        assert_eq!(let_in(Some(&account(Standing::Suspended)), true), Err(SessionRejected::Suspended));
        // Whoever does not know the password learns nothing of the account.
        for standing in [Standing::Active, Standing::Deactivated, Standing::Suspended, Standing::Erased] {
            assert_eq!(let_in(Some(&account(standing)), false), Err(SessionRejected::WrongLogin));
        }
        assert_eq!(let_in(None, false), Err(SessionRejected::WrongLogin));
        assert_eq!(let_in(Some(&account(Standing::Erased)), true), Err(SessionRejected::WrongLogin));
    }
}
