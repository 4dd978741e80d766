//! The state of mails, for admins.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::account::{self, Account};
use views::mails::{self, BY_STATE, VIEW};
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_mails))
}

/// A delivery state.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum MailState {
    /// Being sent. If this state lasts, the mail may have been sent.
    Reserved,
    Sent,
    /// Waiting for a retry.
    Failed,
    /// No further attempts.
    GivenUp,
}

impl From<MailState> for mails::State {
    fn from(state: MailState) -> Self {
        match state {
            MailState::Reserved => Self::Reserved,
            MailState::Sent => Self::Sent,
            MailState::Failed => Self::Failed,
            MailState::GivenUp => Self::GivenUp,
        }
    }
}

/// The delivery state of a mail.
#[derive(Debug, Serialize, ToSchema)]
struct Mail {
    /// Id of the event that caused the mail.
    event: String,
    template: String,
    /// Id of the recipient; null once they are erased.
    user: Option<String>,
    attempts: i64,
    /// The reason why the mail was given up; null in other states.
    reason: Option<String>,
    /// Time of the last change of state.
    changed: DateTime<Utc>,
}

/// List the mails in one state, latest change first
///
/// For admins. Mails in the state `given_up` are parked: they are not retried.
#[utoipa::path(
    get, path = "/v1/mails/{state}", tag = "mails", security(("token" = [])),
    params(
        ("state" = inline(MailState), Path),
        PageParams,
        QueryHeaders
    ),
    responses((status = 200, body = PageOf<Mail>), (status = 304), Problems)
)]
async fn list_mails(
    State(queries): State<Queries>,
    session: Session,
    Path(state): Path<MailState>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[account::VIEW.name, VIEW.name]).await;
    let user = session.user.to_string();
    let account = queries.store.get::<Account>(&user).await.map_err(store_problem)?;
    if !account.is_some_and(|account| account.admin) {
        return Err(Problem::forbidden("Your roles do not allow this"));
    }
    let query = Query::new(&VIEW, &BY_STATE, vec![json!(mails::State::from(state))], paging.limit);
    let found = queries.page_of::<mails::Mail>(query, &paging).await?;
    let recipients: Vec<String> = found.documents.iter().map(|mail| mail.user.clone()).collect();
    let accounts = queries.store.get_all::<Account>(&recipients).await.map_err(store_problem)?;
    let items = found
        .documents
        .into_iter()
        .zip(accounts)
        .map(|(mails::Mail { event, template, user, attempts, reason, changed, .. }, account)| Mail {
            event,
            template,
            user: account.map(|_| user),
            attempts,
            reason,
            changed: DateTime::from_timestamp_millis(changed).unwrap_or_default(),
        })
        .collect();
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &BY_STATE))
}
