//! The position up to which a user has read their notifications.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Response;
use events::{
    Event, NotificationsEvent, NotificationsRead, Position, Recorded, SocialEvent, Subject, UserId,
};
use serde::Deserialize;
use serde_json::Number;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::log_problem;
use crate::pipeline::execute::Fold;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};

/// Largest integer that every JSON parser reads exactly; no log reaches it.
const POSITION_LIMIT: u64 = (1 << 53) - 1;

// ---------------------------------------------------------------- decisions

/// The position up to which a user has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reading {
    up_to: Position,
}

impl Fold for Reading {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Notifications(NotificationsEvent::NotificationsRead(event))) => {
                self.up_to = event.up_to;
            }
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

/// The position never goes back, and never beyond the end of the log: a larger one means everything up to the end.
fn read(state: &Reading, user: UserId, requested: Position, end: Position) -> Option<Event> {
    let up_to = requested.min(end);
    (up_to > state.up_to).then(|| NotificationsRead { user, up_to }.into())
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(mark_notifications_read))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReadUpTo {
    /// Position of the newest notification that the user has seen. It and all earlier ones become read.
    #[schema(value_type = i64, minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 4711)]
    up_to: Number,
}

/// Mark notifications as read
///
/// A position at or before the current read position has no effect.
#[utoipa::path(
    put, path = "/v1/me/notifications/read", tag = "notifications", request_body = ReadUpTo,
    security(("token" = [])), params(CommandHeaders), responses(ReceiptAnswers, Problems)
)]
async fn mark_notifications_read(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(ReadUpTo { up_to }): Json<ReadUpTo>,
) -> Result<Response, Problem> {
    let bad = || {
        Problem::malformed(
            "up_to",
            FieldCode::OutOfRange,
            format!("must be a whole number from 0 to {POSITION_LIMIT}"),
        )
    };
    let up_to = whole(&up_to).filter(|up_to| *up_to <= POSITION_LIMIT).ok_or_else(bad)?;
    let user = session.user;
    let context = context.with_actor(user).with_payload([&up_to.to_be_bytes()[..]]);
    let end = commands.log.raw().head().await.map_err(log_problem)?;
    let decide = |state: &Reading| Ok::<_, Infallible>(read(state, user, Position(up_to), end));
    let outcome = commands.execute(&context, Subject::Notifications(user), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// An integer. In JSON `7.0` is one as well.
fn whole(number: &Number) -> Option<u64> {
    let written_out =
        || number.as_f64().filter(|number| number.fract() == 0.0).map(|number| format!("{number:.0}"));
    number.as_u64().or_else(|| written_out()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const END: Position = Position(100);

    fn after(read_before: u64, requested: u64) -> Option<Event> {
        read(&Reading { up_to: Position(read_before) }, ANN, Position(requested), END)
    }

    fn up_to(position: u64) -> Event {
        NotificationsRead { user: ANN, up_to: Position(position) }.into()
    }

    #[test]
    fn integer_may_have_a_decimal_point() {
        let read = |value: serde_json::Value| value.as_number().and_then(whole);
        assert_eq!(read(json!(7)), Some(7));
        assert_eq!(read(json!(7.0)), Some(7));
        assert_eq!(read(json!(0.0)), Some(0));
        for other in [json!(7.5), json!(-1), json!(-1.0), json!(1e300), json!("7")] {
            assert_eq!(read(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn read_position_never_decreases() {
        assert_eq!(after(0, 7), Some(up_to(7)));
        assert_eq!(after(7, 8), Some(up_to(8)));
        for less in [0, 6, 7] {
            assert_eq!(after(7, less), None);
        }
    }

    #[test]
    fn read_position_never_exceeds_the_end_of_the_log() {
        assert_eq!(after(7, 101), Some(up_to(100)));
        assert_eq!(after(7, u64::MAX), Some(up_to(100)));
        assert_eq!(after(100, u64::MAX), None);
    }
}
