//! The read side as the web apps know it that came before Chorus: their paths and shapes, over the same views as `/v1`.

mod instamern;

use axum::Router;

use crate::Queries;

pub(crate) fn routes() -> Router<Queries> {
    instamern::routes()
}
