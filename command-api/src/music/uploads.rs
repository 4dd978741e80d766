//! Uploads in parts: created, appended to at an offset, checked, then published as a song. They are not in the log.

use audio::Probed;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SubsecRound, Utc};
use events::UploadId;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::http::UPLOAD_OFFSET;
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::music::publishing::may_publish;
use crate::music::spool::{Spool, UPLOAD_LIMIT, Upload};
use crate::pipeline::context::Context;
use crate::pipeline::errors::log_problem;
use crate::pipeline::receipt::CommandHeaders;

/// Hexadecimal digits of a checksum.
const CHECKSUM_DIGITS: usize = 64;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(list_uploads, create_upload))
        .routes(routes!(get_upload, append_to_upload, delete_upload))
        .routes(routes!(finish_upload))
}

impl Commands {
    pub(crate) fn spool(&self) -> Result<&Spool, Problem> {
        self.uploads
            .as_ref()
            .ok_or_else(|| Problem::unavailable("The upload service", "no folder for uploads"))
    }
}

/// A file to upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUpload {
    /// Bytes of the whole file.
    #[schema(minimum = 1, maximum = 524_288_000)]
    size: u64,
    /// SHA-256 of the whole file, if it is known already.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: Option<String>,
}

/// An upload in progress.
#[derive(Debug, Serialize, ToSchema)]
struct UploadState {
    id: String,
    /// Bytes that have arrived: the next part begins there.
    offset: u64,
    /// Bytes of the whole file.
    size: u64,
    /// True after it was finished: it takes no more bytes, and a song can be published from it.
    finished: bool,
    /// The upload is deleted then, unless more bytes arrive.
    expires_at: DateTime<Utc>,
}

impl UploadState {
    fn new(upload: &Upload, offset: u64) -> Self {
        Self {
            id: upload.id.to_string(),
            offset,
            size: upload.size,
            finished: upload.is_finished(),
            // As all times of the API.
            expires_at: upload.expires_at.trunc_subsecs(3),
        }
    }

    fn answer(status: StatusCode, upload: &Upload, offset: u64) -> Response {
        let headers = [(UPLOAD_OFFSET, offset.into()), (header::CACHE_CONTROL, NO_STORE)];
        (status, headers, axum::Json(Self::new(upload, offset))).into_response()
    }
}

/// The caller's uploads in progress, at most 20.
#[derive(Debug, Serialize, ToSchema)]
struct UploadList {
    items: Vec<UploadState>,
}

/// The checksum of the whole file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Checksum {
    /// SHA-256, in lower-case hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
}

/// What was found in an uploaded file: the defaults of a song that is published from it.
#[derive(Debug, Serialize, ToSchema)]
struct CheckedUpload {
    id: String,
    #[schema(example = "flac")]
    format: &'static str,
    /// Milliseconds.
    duration_ms: u64,
    /// Bits per second, on average.
    bit_rate: u32,
    /// Hertz.
    sample_rate: u32,
    channels: u8,
    /// False if the format cannot be decoded here: then only its container was checked.
    decoded: bool,
    title: Option<String>,
    artists: Vec<String>,
    album: Option<String>,
    track: Option<u32>,
    disc: Option<u32>,
    year: Option<i32>,
    genres: Vec<String>,
}

impl CheckedUpload {
    fn of(id: UploadId, probed: Probed) -> Self {
        let Probed { format, duration, bit_rate, sample_rate, channels, decoded, tags, .. } = probed;
        Self {
            id: id.to_string(),
            format: format.extension(),
            duration_ms: duration,
            bit_rate,
            sample_rate,
            channels,
            decoded,
            title: tags.title,
            artists: tags.artists,
            album: tags.album,
            track: tags.track,
            disc: tags.disc,
            year: tags.year,
            genres: tags.genres,
        }
    }
}

fn check_digits(sha256: &str) -> Result<(), Problem> {
    let is_good =
        sha256.len() == CHECKSUM_DIGITS && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let message = "must be 64 lower-case hexadecimal digits";
    if is_good { Ok(()) } else { Err(Problem::malformed("sha256", FieldCode::InvalidFormat, message)) }
}

/// List uploads in progress
///
/// The caller's own, at most 20. Clients that have lost an id can resume the upload or delete it.
#[utoipa::path(
    get, path = "/v1/uploads", tag = "uploads", security(("token" = [])),
    responses((status = 200, body = UploadList), Problems)
)]
async fn list_uploads(State(commands): State<Commands>, session: Session) -> Result<Response, Problem> {
    let listed = commands.spool()?.list(session.user, commands.clock.now()).await?;
    let items = listed.iter().map(|(upload, offset)| UploadState::new(upload, *offset)).collect();
    Ok(([(header::CACHE_CONTROL, NO_STORE)], axum::Json(UploadList { items })).into_response())
}

/// Create an upload
///
/// For artists and admins, and audio files of up to 500 MB. Send the file in parts of any size, then finish the upload and publish it as a song. An
/// upload without new bytes is deleted after a day.
#[utoipa::path(
    post, path = "/v1/uploads", tag = "uploads", request_body = NewUpload, security(("token" = [])),
    params(CommandHeaders), responses((status = 201, body = UploadState), Problems)
)]
async fn create_upload(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    Json(new): Json<NewUpload>,
) -> Result<Response, Problem> {
    if !(1..=UPLOAD_LIMIT).contains(&new.size) {
        let message = format!("must be 1 to {UPLOAD_LIMIT} bytes");
        return Err(Problem::malformed("size", FieldCode::OutOfRange, message));
    }
    new.sha256.as_deref().map_or(Ok(()), check_digits)?;
    may_publish(&commands.account(session.user).await.map_err(log_problem)?)?;
    let context = context.with_actor(session.user);
    let id = UploadId::new(context.new_id(commands.log.keys(), "upload"));
    let spool = commands.spool()?;
    let (upload, offset) = spool.create(id, session.user, new.size, new.sha256, context.now).await?;
    let mut response = UploadState::answer(StatusCode::CREATED, &upload, offset);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/uploads/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Get the offset of an upload
///
/// Also in the header `Upload-Offset`, for HEAD. Continue there after a broken connection.
#[utoipa::path(
    get, path = "/v1/uploads/{upload}", tag = "uploads", security(("token" = [])),
    params(("upload" = String, Path, pattern = "^[0-9a-f]{32}$")),
    responses((status = 200, body = UploadState), Problems)
)]
async fn get_upload(
    State(commands): State<Commands>,
    session: Session,
    Path(upload): Path<UploadId>,
) -> Result<Response, Problem> {
    let (upload, offset) = commands.spool()?.find(upload, session.user).await?;
    Ok(UploadState::answer(StatusCode::OK, &upload, offset))
}

/// Append to an upload
///
/// The body is the next part of the file. Answers 409 with the present offset in `Upload-Offset` if the part does not begin
/// there. Of two requests at the same time one is refused. What arrives before a connection breaks is kept.
#[utoipa::path(
    patch, path = "/v1/uploads/{upload}", tag = "uploads", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(
        ("upload" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("Upload-Offset" = u64, Header, description = "Where the part begins in the file."),
    ),
    responses((status = 200, body = UploadState), Problems)
)]
async fn append_to_upload(
    State(commands): State<Commands>,
    session: Session,
    Path(id): Path<UploadId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
    let message = "must be the number of bytes before this part";
    let offset =
        offset.ok_or_else(|| Problem::malformed("Upload-Offset", FieldCode::InvalidFormat, message))?;
    let now = commands.clock.now();
    let (upload, offset) = commands.spool()?.append(id, session.user, offset, body, now).await?;
    Ok(UploadState::answer(StatusCode::OK, &upload, offset))
}

/// Finish an upload
///
/// Compares the checksum, and reads the file: its format, tags and length, and whether it can be decoded. A check that takes
/// long is answered with 409 `upload-busy`: repeat the request to get its outcome. After a wrong checksum send the right one.
/// An upload whose file is refused (422 `audio-refused`) is deleted.
#[utoipa::path(
    post, path = "/v1/uploads/{upload}/finish", tag = "uploads", request_body = Checksum, security(("token" = [])),
    params(("upload" = String, Path, pattern = "^[0-9a-f]{32}$")),
    responses((status = 200, body = CheckedUpload), Problems)
)]
async fn finish_upload(
    State(commands): State<Commands>,
    session: Session,
    Path(id): Path<UploadId>,
    Json(Checksum { sha256 }): Json<Checksum>,
) -> Result<Response, Problem> {
    check_digits(&sha256)?;
    let probed = commands.spool()?.finish(id, session.user, sha256).await?;
    Ok(axum::Json(CheckedUpload::of(id, probed)).into_response())
}

/// Delete an upload
///
/// Has no effect on a song that was published from it.
#[utoipa::path(
    delete, path = "/v1/uploads/{upload}", tag = "uploads", security(("token" = [])),
    params(("upload" = String, Path, pattern = "^[0-9a-f]{32}$")),
    responses((status = 204), Problems)
)]
async fn delete_upload(
    State(commands): State<Commands>,
    session: Session,
    Path(id): Path<UploadId>,
) -> Result<StatusCode, Problem> {
    commands.spool()?.delete(id, session.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use events::UserId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn expiry_is_shown_in_whole_milliseconds() {
        let upload = Upload {
            id: UploadId::new(Uuid::nil()),
            user: UserId::new(Uuid::nil()),
            size: 5,
            sha256: None,
            actual_sha256: None,
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::nanoseconds(1_234_567_891),
            checked: None,
            published: false,
        };
        let shown = serde_json::to_value(UploadState::new(&upload, 3)).unwrap();
        let expected = serde_json::json!({
            "id": "0".repeat(32), "offset": 3, "size": 5, "finished": false,
            "expires_at": "1970-01-01T00:00:01.234Z",
        });
        assert_eq!(shown, expected);
    }
}
