//! Projections of music.

use std::sync::Arc;

use crate::Projection;

pub(crate) fn projections() -> Vec<Arc<dyn Projection>> {
    Vec::new()
}
