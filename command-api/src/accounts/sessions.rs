//! Log-in, log-out and revocation of sessions. Each session is a separate subject; its token names it.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SubsecRound, Utc};
use events::{
    AccountEvent, AccountsEvent, Client, Event, EventLog, Freshness, LogError, Personal, Position, Recorded,
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
use web::sessions::{ActiveSession, Session, SessionLookup, SessionRevocation, UsedSession};

use crate::Commands;
use crate::accounts::account::{Account, AccountStatus};
use crate::accounts::deactivation::DeactivationRejected;
use crate::accounts::passwords::{Comparison, Passwords};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};

/// Stored characters of a `User-Agent`: enough to recognise a device.
const DEVICE_LIMIT: usize = 200;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionRejected {
    /// The username or the password is wrong. Clients cannot distinguish these.
    WrongLogin,
    Suspended,
    NoSession,
    /// The request is a replay, and the session that it started has ended.
    Ended,
    /// The account is deactivated and cannot be reactivated.
    Reactivation(DeactivationRejected),
}

impl From<SessionRejected> for Problem {
    fn from(rejected: SessionRejected) -> Self {
        match rejected {
            SessionRejected::WrongLogin => {
                Self::unauthorized("wrong-login", "The username or the password is wrong")
            }
            SessionRejected::Suspended => Self::forbidden("This account is suspended"),
            SessionRejected::NoSession => Self::not_found("There is no such session"),
            SessionRejected::Ended => Self::unauthorized(
                "session-ended",
                "The session that this request started has ended: log in with a new Idempotency-Key",
            ),
            SessionRejected::Reactivation(rejected) => rejected.into(),
        }
    }
}

impl From<CommandError<DeactivationRejected>> for CommandError<SessionRejected> {
    fn from(error: CommandError<DeactivationRejected>) -> Self {
        error.map_rejection(SessionRejected::Reactivation)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SessionState {
    #[default]
    None,
    Active {
        since: Position,
    },
    Ended,
}

impl Fold for SessionState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Accounts(AccountsEvent::Session(event)) = &recorded.event else { return };
        *self = match event {
            SessionEvent::SessionStarted(_) => Self::Active { since: recorded.position },
            SessionEvent::SessionSeen(event) => Self::Active { since: event.since },
            SessionEvent::SessionEnded(_) => Self::Ended,
        };
    }
}

fn start(session: SessionState, event: &SessionStarted) -> Result<Option<Event>, SessionRejected> {
    match session {
        SessionState::None => Ok(Some(event.clone().into())),
        SessionState::Active { .. } => Ok(None),
        // Only a replay can name a session that existed before.
        SessionState::Ended => Err(SessionRejected::NoSession),
    }
}

fn end(session: SessionState, event: &SessionEnded) -> Result<Option<Event>, SessionRejected> {
    match session {
        SessionState::None => Err(SessionRejected::NoSession),
        SessionState::Active { .. } => Ok(Some(event.clone().into())),
        SessionState::Ended => Ok(None),
    }
}

fn mark_seen(session: SessionState, user: UserId, id: SessionId) -> Option<Event> {
    match session {
        SessionState::Active { since } => Some(SessionSeen { user, session: id, since }.into()),
        SessionState::None | SessionState::Ended => None,
    }
}

/// Whether a log-in succeeds.
fn accept_log_in(account: Option<&Account>, password_matches: bool) -> Result<(), SessionRejected> {
    match account.map(|account| account.status) {
        Some(AccountStatus::Suspended) if password_matches => Err(SessionRejected::Suspended),
        Some(AccountStatus::Active | AccountStatus::Deactivated) if password_matches => Ok(()),
        _ => Err(SessionRejected::WrongLogin),
    }
}

// ----------------------------------------------------------------- commands

/// Device and address of a log-in, for the user's list of sessions.
#[derive(Debug, Clone)]
pub struct ClientNote {
    device: String,
    address: String,
}

impl ClientNote {
    pub fn of(headers: &HeaderMap, from: ClientAddress) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        Self { device: agent.chars().take(DEVICE_LIMIT).collect(), address: from.to_string() }
    }
}

impl Commands {
    /// Answers a log-in with the session and its cookie. A session that the browser had before ends, since its cookie is
    /// overwritten.
    pub(crate) async fn signed_in(
        &self,
        context: Context,
        prefer: Prefer,
        headers: &HeaderMap,
        signed_in: SignedIn,
        outcomes: &[Outcome],
    ) -> Result<Response, Problem> {
        let session_cookies = self.authenticator.session_cookies();
        let cookie = session_cookies.set(&signed_in.token, self.clock.now(), signed_in.expires)?;
        let before = self.authenticator.of_cookie(headers).await;
        if let Some(before) = before.filter(|before| before.session.to_string() != signed_in.session) {
            let (user, id) = (before.user, before.session);
            let context = context.without_idempotency_key().with_actor(user);
            if let Err(error) = self.end_session(&context, user, id, SessionEndReason::LoggedOut).await {
                tracing::debug!(?error, "the session of an overwritten cookie stays active until it expires");
            }
        }
        let settled = self.settle(prefer, outcomes).await;
        let mut response = settled.answer(StatusCode::CREATED, axum::Json(signed_in));
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    /// The session that the first copy of this request started, if it is a replay. It is an error if that session has ended:
    /// its token is useless, and the key does not start a new session.
    async fn session_before(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Option<(SignedIn, Outcome)>, CommandError<SessionRejected>> {
        let session = SessionId::new(context.new_id(self.log.keys(), "session"));
        let before = self.replayed_event::<SessionRejected>(context, Subject::Session(user, session)).await?;
        let Some((Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(started))), outcome)) =
            before
        else {
            return Ok(None);
        };
        let lookup = LogSessions::new(Arc::clone(self.log.raw()));
        let is_active = started.expires > context.now && lookup.find(user, session).await?.is_some();
        if !is_active {
            return Err(CommandError::Rejected(SessionRejected::Ended));
        }
        Ok(Some((self.token_for(user, session, started.expires)?, outcome)))
    }

    /// The same text each time: a replay is answered with the token of the first request.
    fn token_for(
        &self,
        user: UserId,
        session: SessionId,
        expires: DateTime<Utc>,
    ) -> Result<SignedIn, CommandError<SessionRejected>> {
        let issued = expires - self.session_length;
        let token = self
            .signing
            .sign(user, session, issued, expires)
            .map_err(CommandError::<SessionRejected>::defect)?;
        Ok(SignedIn { user: user.to_string(), session: session.to_string(), token, expires })
    }

    pub async fn start_session(
        &self,
        context: &Context,
        user: UserId,
        note: ClientNote,
    ) -> Result<(SignedIn, Outcome), CommandError<SessionRejected>> {
        if let Some(before) = self.session_before(context, user).await? {
            return Ok(before);
        }
        let session = SessionId::new(context.new_id(self.log.keys(), "session"));
        // Tokens have whole seconds.
        let expires = (context.now + self.session_length).trunc_subsecs(0);
        let client = Personal::Open(Client { device: note.device, address: note.address });
        let event = SessionStarted { user, session, expires, client };
        let outcome = self
            .execute_new(context, Subject::Session(user, session), &[], |state| start(*state, &event))
            .await?;
        // A concurrent copy of the request was faster: its session ends when the stored event says.
        if outcome.replayed
            && let Some(before) = self.session_before(context, user).await?
        {
            return Ok(before);
        }
        Ok((self.token_for(user, session, expires)?, outcome))
    }

    /// Logs a user in by password, and reactivates a deactivated account.
    pub async fn log_in_as(
        &self,
        context: &Context,
        owner: Option<(UserId, Account)>,
        password: String,
        note: ClientNote,
    ) -> Result<(SignedIn, Vec<Outcome>), CommandError<SessionRejected>> {
        let hashed = owner.as_ref().and_then(|(_, account)| account.password_hash.clone());
        // Compared even without an account, so that the time reveals nothing.
        let compared = self.passwords.compare(&password, hashed.clone()).await?;
        let matches = compared != Comparison::Wrong;
        accept_log_in(owner.as_ref().map(|(_, account)| account), matches).map_err(CommandError::Rejected)?;
        let (user, account) = owner.ok_or(CommandError::Rejected(SessionRejected::WrongLogin))?;
        let context = context.clone().with_actor(user);
        let is_outdated =
            |hashed: &String| compared == Comparison::RightInOldForm || Passwords::is_weak(hashed);
        if let Some(hashed) = hashed.filter(is_outdated) {
            self.strengthen(&context, user, &hashed, password).await;
        }
        let mut outcomes = Vec::new();
        if account.status == AccountStatus::Deactivated {
            // A replay of a request from before the deactivation does not undo it.
            if let Some((signed_in, outcome)) = self.session_before(&context, user).await? {
                return Ok((signed_in, vec![outcome]));
            }
            outcomes.push(self.reactivate(&context, user).await?);
        }
        let (signed_in, outcome) = self.start_session(&context, user, note).await?;
        outcomes.push(outcome);
        Ok((signed_in, outcomes))
    }

    /// Checks that the password of a replayed sign-up still logs its user in.
    pub(crate) async fn check_sign_up_again(
        &self,
        user: UserId,
        password: &str,
    ) -> Result<(), CommandError<SessionRejected>> {
        let account = self.account(user).await?;
        let compared = self.passwords.compare(password, account.password_hash.clone()).await?;
        accept_log_in(Some(&account), compared != Comparison::Wrong).map_err(CommandError::Rejected)
    }

    /// Ends all sessions of a user except `kept`.
    pub(crate) async fn end_sessions(
        &self,
        context: &Context,
        user: UserId,
        kept: Option<SessionId>,
    ) -> Result<Outcome, CommandError<SessionRejected>> {
        let event = SessionsEnded { user, kept };
        let decide = |account: &Account| {
            let exists = account.exists();
            exists.then(|| Some(event.clone().into())).ok_or(SessionRejected::NoSession)
        };
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Records the last use of sessions that the authenticator reports.
    pub(crate) async fn record_last_seen(&self, mut used: mpsc::Receiver<UsedSession>) {
        while let Some(UsedSession { user, session }) = used.recv().await {
            let context = Context::system(self.clock.now()).with_actor(user);
            let decide =
                |state: &SessionState| Ok::<_, std::convert::Infallible>(mark_seen(*state, user, session));
            if let Err(failure) = self.execute(&context, Subject::Session(user, session), &[], decide).await {
                tracing::debug!(?failure, "the last use of a session could not be recorded");
            }
        }
    }

    pub async fn end_session(
        &self,
        context: &Context,
        user: UserId,
        session: SessionId,
        reason: SessionEndReason,
    ) -> Result<Outcome, CommandError<SessionRejected>> {
        let event = SessionEnded { user, session, reason };
        let outcome =
            self.execute(context, Subject::Session(user, session), &[], |state| end(*state, &event)).await?;
        // Other processes follow the log; this one does not wait for it.
        self.authenticator.end(session);
        Ok(outcome)
    }
}

/// Looks sessions up in the log.
#[derive(Debug)]
pub(crate) struct LogSessions {
    log: Arc<dyn EventLog>,
}

impl LogSessions {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// The session, if it has started and not ended.
    async fn find(&self, user: UserId, session: SessionId) -> Result<Option<ActiveSession>, LogError> {
        let subject = Subject::Session(user, session);
        let last = self.log.last(&[subject], Freshness::Latest).await?.pop().flatten();
        let Some(last) = last else { return Ok(None) };
        let last = Recorded::sealed(last)?;
        let mut state = SessionState::None;
        state.apply(&last);
        let SessionState::Active { since: Position(began) } = state else { return Ok(None) };
        for stored in self.log.read(Subject::Account(user), Position::START).await? {
            let Recorded { position, event, .. } = Recorded::sealed(stored)?;
            let Event::Accounts(AccountsEvent::Account(event)) = event else { continue };
            if revocation(&event, position).is_some_and(|revocation| revocation.ends(session, began)) {
                return Ok(None);
            }
        }
        Ok(Some(ActiveSession { began, seen: last.envelope.time }))
    }
}

/// The sessions that an event of the account ends.
pub(crate) fn revocation(event: &AccountEvent, position: Position) -> Option<SessionRevocation> {
    let kept = event.ends_sessions_but()?;
    Some(SessionRevocation { position: position.0, kept })
}

#[async_trait]
impl SessionLookup for LogSessions {
    async fn active(&self, user: UserId, session: SessionId) -> Result<Option<ActiveSession>, Problem> {
        self.find(user, session).await.map_err(log_problem)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(log_in, end_other_sessions))
        .routes(routes!(log_out))
        .routes(routes!(delete_session))
}

/// A session and its token.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// Id of the user.
    user: String,
    /// Id of the session.
    session: String,
    /// Send it with every request: `Authorization: Bearer <token>`.
    pub token: String,
    pub expires: DateTime<Utc>,
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
///
/// Starts a session: returns its token and sets the session cookie. A log-in to a deactivated account reactivates it.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", request_body = Login,
    params(CommandHeaders),
    responses((status = 201, body = SignedIn), (status = 202, body = SignedIn), Problems)
)]
async fn log_in(
    State(commands): State<Commands>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    headers: HeaderMap,
    Json(Login { login, password }): Json<Login>,
) -> Result<Response, Problem> {
    commands.authenticator.session_cookies().check_log_in(&headers)?;
    let found = commands.find_login(&login).await.map_err(log_problem)?;
    commands.limits.check(Attempt::LogIn { account: found.budget(), from })?;
    let owner = commands.owner(found).await.map_err(log_problem)?;
    let context = context.with_payload([login.as_bytes(), password.as_bytes()]);
    let note = ClientNote::of(&headers, from);
    let (signed_in, outcomes) = commands.log_in_as(&context, owner, password, note).await?;
    commands.signed_in(context, prefer, &headers, signed_in, &outcomes).await
}

/// Log out
///
/// Ends the session of this request and deletes the session cookie.
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "sessions", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn log_out(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let (user, id) = (session.user, session.session);
    let outcome =
        commands.end_session(&context.with_actor(user), user, id, SessionEndReason::LoggedOut).await?;
    let mut response = commands.receipt(prefer, outcome).await;
    response.headers_mut().insert(header::SET_COOKIE, commands.authenticator.session_cookies().remove()?);
    Ok(response)
}

/// End one of the user's sessions
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
    let outcome =
        commands.end_session(&context.with_actor(user), user, id, SessionEndReason::Revoked).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// End all other sessions of the user
///
/// The session of this request stays active.
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "sessions", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn end_other_sessions(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let (user, kept) = (session.user, session.session);
    let outcome = commands.end_sessions(&context.with_actor(user), user, Some(kept)).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const SESSION: SessionId = SessionId::new(Uuid::from_u128(5));

    #[test]
    fn session_starts_once_and_ends_once() {
        let started = SessionStarted {
            user: ANN,
            session: SESSION,
            expires: DateTime::UNIX_EPOCH,
            client: Personal::Erased,
        };
        assert_eq!(start(SessionState::None, &started), Ok(Some(started.clone().into())));
        let active = SessionState::Active { since: Position(1) };
        assert_eq!(start(active, &started), Ok(None));
        assert_eq!(start(SessionState::Ended, &started), Err(SessionRejected::NoSession));
        let ended = SessionEnded { user: ANN, session: SESSION, reason: SessionEndReason::LoggedOut };
        assert_eq!(end(active, &ended), Ok(Some(ended.clone().into())));
        assert_eq!(end(SessionState::Ended, &ended), Ok(None));
        assert_eq!(end(SessionState::None, &ended), Err(SessionRejected::NoSession));
    }

    #[test]
    fn only_an_active_session_is_seen_and_it_keeps_its_start() {
        let seen = SessionSeen { user: ANN, session: SESSION, since: Position(4) };
        assert_eq!(mark_seen(SessionState::Active { since: Position(4) }, ANN, SESSION), Some(seen.into()));
        assert_eq!(mark_seen(SessionState::Ended, ANN, SESSION), None);
        assert_eq!(mark_seen(SessionState::None, ANN, SESSION), None);
    }

    #[test]
    fn log_in_depends_on_status_and_password() {
        let account = |status| Account { status, ..Account::default() };
        assert_eq!(accept_log_in(Some(&account(AccountStatus::Active)), true), Ok(()));
        assert_eq!(accept_log_in(Some(&account(AccountStatus::Deactivated)), true), Ok(()));
        assert_eq!(
            accept_log_in(Some(&account(AccountStatus::Suspended)), true),
            Err(SessionRejected::Suspended)
        );
        // A wrong password reveals nothing of the account.
        for status in [
            AccountStatus::Active,
            AccountStatus::Deactivated,
            AccountStatus::Suspended,
            AccountStatus::Erased,
        ] {
            assert_eq!(accept_log_in(Some(&account(status)), false), Err(SessionRejected::WrongLogin));
        }
        assert_eq!(accept_log_in(None, false), Err(SessionRejected::WrongLogin));
        assert_eq!(
            accept_log_in(Some(&account(AccountStatus::Erased)), true),
            Err(SessionRejected::WrongLogin)
        );
    }
}
