//! Logging in and out. A session is a subject of its own; its token names it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use chrono::{DateTime, SubsecRound, Utc};
use events::{
    Client, Event, EventLog, Freshness, Personal, Position, Recorded, SessionEndReason, SessionEnded,
    SessionEvent, SessionId, SessionStarted, Subject, UserId,
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use service::extract::Json;
use service::problem::{Problem, Problems};
use service::sessions::{Session, SessionLookup, Sweep};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::Commands;
use crate::accounts::{Account, Standing};
use crate::context::Context;
use crate::execute::{Done, Fold};
use crate::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::rejections::log_problem;

/// Characters of a `User-Agent` that are kept: enough to know a device by.
const DEVICE_LIMIT: usize = 200;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionRejected {
    /// Whether the account exists is not told.
    WrongLogin,
    Suspended,
    NoSession,
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
        let Event::Session(event) = &recorded.event else { return };
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
    pub(crate) fn of(headers: &HeaderMap, address: SocketAddr) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        Self { device: agent.chars().take(DEVICE_LIMIT).collect(), address: address.ip().to_string() }
    }
}

impl Commands {
    pub(crate) async fn start_session(
        &self,
        context: &Context,
        user: UserId,
        note: ClientNote,
    ) -> Result<(SignedIn, Done), Problem> {
        let session = SessionId::new(context.new_id(self.log.keys(), "session"));
        // A token counts in whole seconds.
        let expires = (context.now + self.session_length).trunc_subsecs(0);
        let client = Personal::Open(Client { device: note.device, address: note.address });
        let event = SessionStarted { user, session, expires, client };
        let done = self
            .execute(context, Subject::Session(user, session), &[], |state| start(*state, &event))
            .await?;
        let token = self
            .signing
            .sign(user.uuid(), session.uuid(), context.now, expires)
            .map_err(Problem::internal)?;
        Ok((SignedIn { user: user.to_string(), session: session.to_string(), token, expires }, done))
    }

    async fn log_in(
        &self,
        context: &Context,
        login: &str,
        password: String,
        note: ClientNote,
    ) -> Result<(SignedIn, Done), Problem> {
        let owner = self.owner_of(login).await?;
        let hashed = owner.as_ref().and_then(|(_, account)| account.password_hash.clone());
        // Checked also where there is no account, so that the time it takes tells nothing.
        let matches = self.passwords.matches(password, hashed).await?;
        let_in(owner.as_ref().map(|(_, account)| account), matches)?;
        let (user, _) = owner.ok_or(SessionRejected::WrongLogin)?;
        self.start_session(&context.clone().by(user), user, note).await
    }

    async fn end_session(
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
        self.authenticator.end(session.uuid());
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

#[async_trait]
impl SessionLookup for LogSessions {
    async fn began(&self, user: Uuid, session: Uuid) -> Result<Option<u64>, Problem> {
        let (user, session) = (UserId::new(user), SessionId::new(session));
        let subject = Subject::Session(user, session);
        let last = self.log.last(&[subject], Freshness::Latest).await.map_err(log_problem)?.pop().flatten();
        let mut run = Run::None;
        if let Some(stored) = last {
            run.apply(&Recorded::sealed(stored).map_err(log_problem)?);
        }
        let Run::Running { since: Position(began) } = run else { return Ok(None) };
        for stored in self.log.read(Subject::Account(user), Position::START).await.map_err(log_problem)? {
            let Recorded { position, event, .. } = Recorded::sealed(stored).map_err(log_problem)?;
            let Event::Account(event) = event else { continue };
            let sweep = event
                .ends_sessions_but()
                .map(|kept| Sweep { position: position.0, kept: kept.map(SessionId::uuid) });
            if sweep.is_some_and(|sweep| sweep.ends(session.uuid(), began)) {
                return Ok(None);
            }
        }
        Ok(Some(began))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(post_session)).routes(routes!(delete_current_session))
}

/// A session that has begun, and the token that speaks for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// Id of the user.
    user: String,
    /// Id of the session.
    session: String,
    /// To be sent with every request: `Authorization: Bearer <token>`.
    token: String,
    expires: DateTime<Utc>,
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
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(Login { login, password }): Json<Login>,
) -> Result<Response, Problem> {
    let context = context.saying([login.as_bytes(), password.as_bytes()]);
    let note = ClientNote::of(&headers, address);
    let (signed_in, done) = commands.log_in(&context, &login, password, note).await?;
    Ok(commands.settle(prefer, &[done]).await.answer(StatusCode::CREATED, axum::Json(signed_in)))
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
    let (user, id) = (UserId::new(session.user), SessionId::new(session.session));
    let done = commands.end_session(&context.by(user), user, id, SessionEndReason::LoggedOut).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[cfg(test)]
mod tests {
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
