//! Uploaded pictures: processed in a bounded pool, apart from the threads that answer requests, and stored. A picture is
//! stored before the event that claims it is appended; a reaction collects unclaimed pictures.

mod pool;

use std::time::Duration;

use bytes::Bytes;
use events::{Image, MediaId, UserId, time_ordered_id};
use futures::future::try_join_all;
use http::StatusCode;
use media::ImageVariant;
use pictures::{MEGAPIXELS, MEMORY, PROFILE_LIMIT, ProcessedImage, Refusal, SIDE_LIMIT, memory_of, process};
use thiserror::Error;
use tokio::task::spawn_blocking;
use web::problem::{FieldCode, FieldProblem, Problem};

use crate::Commands;
use crate::cpu::CpuPermits;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
pub(crate) use pool::UploadSlot;
use pool::{Limits, Pool};

/// Bytes of buffered files: of all accounts, and of one account, which is twice its largest upload.
const BUFFERED: u64 = 768 * 1024 * 1024;
const BUFFERED_BY_ACCOUNT: u64 = 128 * 1024 * 1024;
/// Concurrent uploads of one account: slightly more than the connections of a browser.
const UPLOADS: usize = 8;
/// Time after which an account with too many concurrent uploads may retry.
const UPLOAD_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub enum ImageRejected {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("too many images are being processed")]
    Busy,
    #[error("too many uploads of one account")]
    TooManyUploads,
}

impl From<ImageRejected> for Problem {
    fn from(rejected: ImageRejected) -> Self {
        match &rejected {
            ImageRejected::Refused(Refusal::NoImage(_)) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not-an-image",
                "This file is not a readable image: JPEG, PNG, WebP and GIF are supported",
            ),
            ImageRejected::Refused(Refusal::TooManyPixels) => image_too_large(format!(
                "This image has too many pixels: at most {MEGAPIXELS} megapixels are allowed"
            )),
            ImageRejected::Refused(Refusal::SideTooLong) => image_too_large(format!(
                "A side of this image is too long: at most {SIDE_LIMIT} pixels are allowed"
            )),
            ImageRejected::Refused(Refusal::TooMuchMemory) => image_too_large(format!(
                "This image needs too much memory to be decoded: at most {} MB are allowed",
                MEMORY >> 20
            )),
            ImageRejected::Refused(Refusal::ProfileTooLarge) => image_too_large(format!(
                "The colour profile of this image is too large: at most {} MB are allowed",
                PROFILE_LIMIT >> 20
            )),
            ImageRejected::TooManyUploads => {
                Self::too_many("You have too many concurrent uploads: wait for one to end", UPLOAD_WAIT)
            }
            ImageRejected::Busy => {
                let detail = "Image processing is overloaded at the moment: try again a little later";
                return Self::overloaded(detail, rejected);
            }
            ImageRejected::Refused(Refusal::Failed(_)) => return Self::internal(rejected),
        }
        .because(rejected)
    }
}

impl ImageRejected {
    /// The problem of an image in a form. It names the field if the client can correct it.
    pub(crate) fn into_field_problem(self, field: impl Into<String>) -> Problem {
        let problem = Problem::from(self);
        let is_too_large = problem.code == "image-too-large";
        let code = if is_too_large { FieldCode::TooLarge } else { FieldCode::InvalidFormat };
        if problem.status != StatusCode::UNPROCESSABLE_ENTITY {
            return problem;
        }
        let field = FieldProblem::new(field, code, problem.detail.clone());
        Problem { fields: vec![field], ..problem }
    }
}

fn image_too_large(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "image-too-large", detail)
}

/// A stored picture, for the event that claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) image: Image,
    /// Its `BlurHash`.
    pub(crate) placeholder: String,
}

/// Processes pictures in a pool that is shared fairly by all accounts.
#[derive(Debug)]
pub(crate) struct ImageProcessor {
    pool: Pool,
    cpu: CpuPermits,
}

impl ImageProcessor {
    /// Uses all permits but one, if there are several: a log-in takes 20 ms of a processor and does not wait for a
    /// picture, which takes up to a second.
    pub(crate) fn new(cpu: CpuPermits) -> Self {
        let pool = Pool::new(Limits {
            places: cpu.processors().saturating_sub(1).max(1),
            // For several ordinary pictures, or one of the most costly.
            memory: MEMORY,
            buffered: BUFFERED,
            buffered_by_account: BUFFERED_BY_ACCOUNT,
            uploads: UPLOADS,
        });
        Self { pool, cpu }
    }

    /// Makes the variants of a picture. Nothing is stored yet.
    pub(crate) async fn process(
        &self,
        account: UserId,
        original: Bytes,
        variants: &'static [ImageVariant],
    ) -> Result<ProcessedImage, ImageRejected> {
        let buffered = self.pool.buffer_file(account, original.len() as u64)?;
        let header = original.clone();
        let memory = finished(spawn_blocking(move || memory_of(&header, variants)).await)?;
        let permit = self.pool.enter(account, memory).await?;
        let processed = self.cpu.run(move || {
            let processed = process(&original, variants);
            // Kept until the work is done, even if the client has disconnected.
            drop((permit, buffered));
            processed
        });
        Ok(finished(processed.await)?)
    }
}

/// A panic of a decoder counts as an unreadable file.
fn finished<T>(outcome: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<T, Refusal> {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => {
            tracing::error!("a decoder panicked on an image");
            Err(Refusal::no_image(error))
        }
        Err(error) => Err(Refusal::failed(error)),
    }
}

impl Commands {
    /// Counts an upload before its body is read. An account may have several at the same time.
    pub fn begin_upload(&self, account: UserId) -> Result<UploadSlot, ImageRejected> {
        self.images.pool.begin_upload(account)
    }

    /// Makes the variants of an image and stores them under a new id.
    pub(crate) async fn store_picture(
        &self,
        context: &Context,
        account: UserId,
        original: Bytes,
        variants: &'static [ImageVariant],
    ) -> Result<Picture, CommandError<ImageRejected>> {
        let processed =
            self.images.process(account, original, variants).await.map_err(CommandError::Rejected)?;
        self.keep_picture(context, processed).await
    }

    /// Stores an image under a new id. The id is never reused, not even by a replay: the content of a key never changes, and
    /// old unclaimed content is never claimed later.
    pub(crate) async fn keep_picture<R>(
        &self,
        context: &Context,
        processed: ProcessedImage,
    ) -> Result<Picture, CommandError<R>> {
        let ProcessedImage { width, height, placeholder, files } = processed;
        let media = MediaId::new(time_ordered_id(context.now));
        let stored = files.into_iter().map(async |(variant, content)| {
            let key = variant.key(&media.to_string());
            let key =
                key.ok_or_else(|| CommandError::<R>::defect("a media id is no key of the media store"))?;
            self.media.put(&key, content).await.map_err(CommandError::<R>::from)
        });
        try_join_all(stored).await?;
        Ok(Picture { image: Image { media, width, height }, placeholder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_by_a_limit_names_the_limit() {
        for (refusal, limit) in [
            (Refusal::TooManyPixels, "50 megapixels"),
            (Refusal::SideTooLong, "20000 pixels"),
            (Refusal::TooMuchMemory, "640 MB"),
            (Refusal::ProfileTooLarge, "4 MB"),
        ] {
            let problem = Problem::from(ImageRejected::from(refusal));
            assert!(problem.detail.contains(limit), "{}", problem.detail);
        }
    }
}
