//! Profiles: name, bio and photo.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use events::{
    AccountEvent, AccountsEvent, Event, Image, LogError, MediaId, Personal, PhotoChanged, PhotoRemoved,
    ProfileDetails, ProfileEdited, ProfileEvent, Recorded, Subject, UserId,
};
use media::ImageVariant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::problem::{Problem, Problems, Refused};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, no_account};
use crate::images::ImageRejected;
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};
use crate::social::posts::IMAGE_LIMIT;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileRejected {
    NoAccount,
}

impl From<ProfileRejected> for Problem {
    fn from(rejected: ProfileRejected) -> Self {
        match rejected {
            ProfileRejected::NoAccount => no_account(),
        }
    }
}

/// Why a photo was not changed.
#[derive(Debug)]
pub enum PhotoRejected {
    Profile(ProfileRejected),
    Image(ImageRejected),
}

impl From<PhotoRejected> for Problem {
    fn from(rejected: PhotoRejected) -> Self {
        match rejected {
            PhotoRejected::Profile(rejected) => rejected.into(),
            PhotoRejected::Image(rejected) => rejected.into(),
        }
    }
}

impl From<CommandError<ProfileRejected>> for CommandError<PhotoRejected> {
    fn from(error: CommandError<ProfileRejected>) -> Self {
        error.map_rejection(PhotoRejected::Profile)
    }
}

impl From<CommandError<ImageRejected>> for CommandError<PhotoRejected> {
    fn from(error: CommandError<ImageRejected>) -> Self {
        error.map_rejection(PhotoRejected::Image)
    }
}

/// The state of a profile.
#[derive(Default, Clone, PartialEq)]
struct Profile {
    exists: bool,
    details: ProfileDetails,
    photo: Option<Image>,
}

impl Fold for Profile {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Account(AccountEvent::SignedUp(event))) => {
                self.exists = true;
                // An edit that was applied before is newer than the sign-up.
                if let Some(person) =
                    event.person.open().filter(|_| self.details == ProfileDetails::default())
                {
                    self.details.firstname.clone_from(&person.firstname);
                    self.details.lastname.clone_from(&person.lastname);
                }
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(_))) => self.exists = false,
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) => {
                self.details = event.details.open().cloned().unwrap_or_default();
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                self.photo = Some(event.photo);
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoRemoved(_))) => self.photo = None,
            Event::Accounts(
                AccountsEvent::Profile(ProfileEvent::PrivacyChanged(_))
                | AccountsEvent::Account(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

/// The fields to change.
#[derive(Clone, Default)]
pub struct Edit {
    pub firstname: Option<String>,
    pub lastname: Option<String>,
    pub bio: Option<String>,
}

fn edit(profile: &Profile, user: UserId, command: &Edit) -> Result<Option<Event>, ProfileRejected> {
    if !profile.exists {
        return Err(ProfileRejected::NoAccount);
    }
    let now = &profile.details;
    let edited = ProfileDetails {
        firstname: command.firstname.clone().unwrap_or_else(|| now.firstname.clone()),
        lastname: command.lastname.clone().unwrap_or_else(|| now.lastname.clone()),
        bio: command.bio.clone().unwrap_or_else(|| now.bio.clone()),
    };
    Ok((edited != *now).then(|| ProfileEdited { user, details: Personal::Open(edited) }.into()))
}

fn change_photo(profile: &Profile, user: UserId, photo: Image) -> Result<Option<Event>, ProfileRejected> {
    if !profile.exists {
        return Err(ProfileRejected::NoAccount);
    }
    Ok((profile.photo != Some(photo)).then(|| PhotoChanged { user, photo }.into()))
}

fn remove_photo(profile: &Profile, user: UserId) -> Option<Event> {
    profile.photo.map(|_| PhotoRemoved { user }.into())
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    let photo = OpenApiRouter::new()
        .routes(routes!(set_photo, delete_photo))
        .layer(DefaultBodyLimit::max(IMAGE_LIMIT));
    OpenApiRouter::new().routes(routes!(edit_profile)).merge(photo)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfileChange {
    #[schema(max_length = 50, example = "Ann")]
    firstname: Option<String>,
    #[schema(max_length = 50, example = "Lee")]
    lastname: Option<String>,
    #[schema(max_length = 500, example = "Light and water.")]
    bio: Option<String>,
}

/// Edit the profile
///
/// Fields that are not sent keep their values.
#[utoipa::path(
    patch, path = "/v1/me/profile", tag = "profiles", request_body = ProfileChange, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 200, body = ProfileReceipt), (status = 202, body = ProfileReceipt), Problems)
)]
async fn edit_profile(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(change): Json<ProfileChange>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let mut checked =
        |field, value: Option<String>, check: fn(&str, usize) -> Result<String, Refused>, limit| {
            value.map(|value| fields.take(field, check(&value, limit)))
        };
    let command = Edit {
        firstname: checked("firstname", change.firstname, text::line, text::NAME_LIMIT),
        lastname: checked("lastname", change.lastname, text::line, text::NAME_LIMIT),
        bio: checked("bio", change.bio, text::free, text::BIO_LIMIT),
    };
    fields.finish()?;
    let user = session.user;
    let payload = [&command.firstname, &command.lastname, &command.bio]
        .map(|part| part.as_deref().unwrap_or("\0").as_bytes());
    let context = context.with_actor(user).with_payload(payload);
    let outcome = commands.edit_profile(&context, user, &command).await?;
    let (ProfileDetails { firstname, lastname, bio }, _) =
        commands.profile(user).await.map_err(log_problem)?;
    let body = |receipt| ProfileReceipt { receipt, firstname, lastname, bio };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

#[derive(Debug, Serialize, ToSchema)]
struct ProfileReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    firstname: String,
    lastname: String,
    bio: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct PhotoReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the picture.
    id: String,
    /// URL of the photo, a square of 320 × 320 pixels.
    photo: String,
}

/// Change the profile photo
///
/// The body is the image file itself. The image is cropped to a square.
#[utoipa::path(
    put, path = "/v1/me/photo", tag = "profiles", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(CommandHeaders),
    responses((status = 200, body = PhotoReceipt), (status = 202, body = PhotoReceipt), Problems)
)]
async fn set_photo(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    let user = session.user;
    let _slot = commands.begin_upload(user)?;
    let picture = web::extract::body(request, &()).await?;
    let context = context.with_actor(user).with_payload([picture.as_ref()]);
    let (media, outcome) = commands.change_photo(&context, user, picture).await?;
    let (id, public_url) = (media.to_string(), &commands.public_url);
    let photo = ImageVariant::PHOTO.url(public_url, &id);
    let body = |receipt| PhotoReceipt { receipt, id, photo };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

impl Commands {
    pub async fn edit_profile(
        &self,
        context: &Context,
        user: UserId,
        command: &Edit,
    ) -> Result<Outcome, CommandError<ProfileRejected>> {
        let decide = |profile: &Profile| edit(profile, user, command);
        self.execute(context, Subject::Profile(user), &[Subject::Account(user)], decide).await
    }

    pub async fn remove_photo(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Outcome, CommandError<ProfileRejected>> {
        let decide = |profile: &Profile| Ok(remove_photo(profile, user));
        self.execute(context, Subject::Profile(user), &[], decide).await
    }

    /// The profile of a user, read from the cache or the log.
    pub async fn profile(&self, user: UserId) -> Result<(ProfileDetails, Option<Image>), LogError> {
        let (account, profile): (Profile, Profile) = (
            self.read_cached_state(Subject::Account(user)).await?,
            self.read_cached_state(Subject::Profile(user)).await?,
        );
        let edited = profile.details != ProfileDetails::default();
        Ok((if edited { profile.details } else { account.details }, profile.photo))
    }

    /// A user as the author of their content, read from the cache or the log.
    pub(crate) async fn person(&self, user: UserId) -> Result<resources::Person, LogError> {
        let account: Account = self.read_cached_state(Subject::Account(user)).await?;
        let (details, photo) = self.profile(user).await?;
        let photo = photo.map(|photo| ImageVariant::PHOTO.url(&self.public_url, &photo.media.to_string()));
        let ProfileDetails { firstname, lastname, .. } = details;
        let username = account.username().to_owned();
        Ok(resources::Person { id: user.to_string(), username, firstname, lastname, photo })
    }

    /// Stores and sets a photo. A replay returns the photo that the first request stored.
    pub async fn change_photo(
        &self,
        context: &Context,
        user: UserId,
        picture: Bytes,
    ) -> Result<(MediaId, Outcome), CommandError<PhotoRejected>> {
        if let Some(before) = self.photo_before(context, user).await? {
            return Ok(before);
        }
        let photo = self.store_picture(context, user, picture, ImageVariant::OF_PHOTO).await?.image;
        let decide = |profile: &Profile| change_photo(profile, user, photo);
        let outcome =
            self.execute(context, Subject::Profile(user), &[Subject::Account(user)], decide).await?;
        // A concurrent copy of the request was faster: its photo is the user's.
        if outcome.replayed
            && let Some(before) = self.photo_before(context, user).await?
        {
            return Ok(before);
        }
        Ok((photo.media, outcome))
    }

    async fn photo_before(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Option<(MediaId, Outcome)>, CommandError<ProfileRejected>> {
        let before = self.replayed_event(context, Subject::Profile(user)).await?;
        Ok(before.and_then(|(event, outcome)| match event {
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                Some((event.photo.media, outcome))
            }
            _ => None,
        }))
    }
}

/// Remove the profile photo
#[utoipa::path(
    delete, path = "/v1/me/photo", tag = "profiles", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_photo(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let outcome = commands.remove_photo(&context.with_actor(user), user).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

    fn ann() -> Profile {
        let details = ProfileDetails { firstname: "Ann".into(), lastname: "Lee".into(), bio: String::new() };
        Profile { exists: true, details, photo: None }
    }

    fn photo(n: u128) -> Image {
        Image { media: MediaId::new(Uuid::from_u128(n)), width: 320, height: 320 }
    }

    #[test]
    fn edit_records_the_whole_profile() {
        let command = Edit { bio: Some("Light".into()), ..Edit::default() };
        let details = ProfileDetails { bio: "Light".into(), ..ann().details };
        let edited = ProfileEdited { user: ANN, details: Personal::Open(details) };
        assert_eq!(edit(&ann(), ANN, &command), Ok(Some(edited.into())));
    }

    #[test]
    fn edit_without_a_change_has_no_effect_and_needs_an_account() {
        let same = Edit { firstname: Some("Ann".into()), ..Edit::default() };
        assert_eq!(edit(&ann(), ANN, &same), Ok(None));
        assert_eq!(edit(&ann(), ANN, &Edit::default()), Ok(None));
        assert_eq!(edit(&Profile::default(), ANN, &same), Err(ProfileRejected::NoAccount));
    }

    #[test]
    fn photo_is_changed_and_removed() {
        let changed = PhotoChanged { user: ANN, photo: photo(1) };
        assert_eq!(change_photo(&ann(), ANN, photo(1)), Ok(Some(changed.into())));
        let with_photo = Profile { photo: Some(photo(1)), ..ann() };
        assert_eq!(change_photo(&with_photo, ANN, photo(1)), Ok(None));
        assert_eq!(remove_photo(&with_photo, ANN), Some(PhotoRemoved { user: ANN }.into()));
        assert_eq!(remove_photo(&ann(), ANN), None);
    }
}
