//! Sign-up and log-in, which the apps share but for their fields and texts.

use command_api::accounts::claims::ClaimKind;
use command_api::accounts::sessions::{ClientNote, SignedIn};
use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::context::Context;
use command_api::pipeline::errors::log_problem;
use command_api::pipeline::execute::Outcome;
use events::UserId;
use http::{HeaderMap, StatusCode};
use web::compat::{Fields, Refusal};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{FieldProblem, Problem};

use crate::Apps;
use crate::session::UserSession;

const TAKEN: (StatusCode, StatusCode, &str) =
    (StatusCode::CONFLICT, StatusCode::CONFLICT, "This user already exists.");

/// The client of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestClient<'a> {
    pub(crate) from: ClientAddress,
    pub(crate) headers: &'a HeaderMap,
}

impl RequestClient<'_> {
    fn note(&self) -> ClientNote {
        ClientNote::of(self.headers, self.from)
    }
}

/// The texts of an app's log-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogInTexts {
    pub(crate) incomplete: &'static str,
    pub(crate) unknown_user: &'static str,
    pub(crate) wrong_password: &'static str,
}

/// The refusal of a username or an address that another account uses or that is reserved. `label` is the app's name of the
/// field.
pub(crate) fn taken<E: Into<Problem>>(label: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| {
        let problem = error.into();
        if problem.status == StatusCode::UNPROCESSABLE_ENTITY
            && let Some(FieldProblem { field, message, .. }) = problem.fields.first()
            && field == "username"
        {
            return Refusal::forbidden(format!("{label} {message}."));
        }
        Refusal::rename(problem, &[TAKEN])
    }
}

fn new_session(user: UserId, signed_in: SignedIn) -> UserSession {
    UserSession { user, token: signed_in.token, expires: signed_in.expires, renewed: false }
}

impl Apps {
    /// Signs a user up and logs them in.
    pub(crate) async fn sign_up(
        &self,
        context: Context,
        client: RequestClient<'_>,
        command: SignUp,
        username_label: &'static str,
    ) -> Result<(UserSession, [Outcome; 2]), Refusal> {
        self.commands.limits().check(Attempt::SignUp { from: client.from })?;
        let context = context.without_idempotency_key();
        let signed_up = self.commands.sign_up(&context, command).await;
        let (user, signed_up) = signed_up.map_err(taken(username_label))?;
        let context = context.with_actor(user);
        let (signed_in, started) = self.commands.start_session(&context, user, client.note()).await?;
        Ok((new_session(user, signed_in), [signed_up, started]))
    }

    /// Logs a user in by username, and returns it.
    pub(crate) async fn log_in(
        &self,
        context: Context,
        client: RequestClient<'_>,
        fields: &Fields,
        texts: LogInTexts,
    ) -> Result<(UserSession, String, Vec<Outcome>), Refusal> {
        let given = fields.filled("username").zip(fields.filled("password"));
        let (username, password) = given.ok_or_else(|| Refusal::forbidden(texts.incomplete))?;
        let found = self.commands.find(ClaimKind::Username, &username).await.map_err(log_problem)?;
        self.commands.limits().check(Attempt::LogIn { account: found.budget(), from: client.from })?;
        let owner = self.commands.owner(found).await.map_err(log_problem)?;
        // Only in exactly this spelling.
        let owner = owner.filter(|(_, account)| account.username() == username.trim());
        let (user, account) = owner.ok_or_else(|| Refusal::not_found(texts.unknown_user))?;
        let username = account.username().to_owned();
        let context = context.without_idempotency_key();
        let logged_in =
            self.commands.log_in_as(&context, Some((user, account)), password, client.note()).await;
        let wrong = (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED, texts.wrong_password);
        let (signed_in, outcomes) = logged_in.map_err(|error| Refusal::rename(error.into(), &[wrong]))?;
        Ok((new_session(user, signed_in), username, outcomes))
    }
}
