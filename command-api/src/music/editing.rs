//! Who may change the catalogue, and the fields that several changes have.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use events::{ArtistCredit, ArtistId, CreditRole, LogError, Role, Subject, UserId};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use web::problem::{FieldCode, FieldProblem, Problem, Refused};

use crate::Commands;
use crate::accounts::roles::Authority;
use crate::music::artists::Managed;
use crate::pipeline::errors::log_problem;

/// Longest title or name, in characters.
pub(crate) const NAME_LIMIT: usize = 300;
pub(crate) const LYRICS_LIMIT: usize = 20_000;
/// Artists of one song or album, and genres of one song.
pub(crate) const VALUES_LIMIT: usize = 20;
const NUMBER_LIMIT: u32 = 9999;
/// Years of recordings, and of the music that they play.
const YEARS: RangeInclusive<i32> = 1000..=2999;

/// An account that changes the catalogue, and which of the artists in question it manages.
#[derive(Debug, Clone)]
pub(crate) struct Editor {
    pub(crate) user: UserId,
    pub(crate) by: Authority,
    managed: HashSet<ArtistId>,
}

impl Editor {
    /// Admins manage every artist.
    pub(crate) fn manages(&self, artist: ArtistId) -> bool {
        self.by.has(Role::Admin) || self.managed.contains(&artist)
    }

    pub(crate) fn manages_main_of(&self, credits: &[ArtistCredit]) -> bool {
        self.by.has(Role::Admin) || main_artists(credits).any(|artist| self.manages(artist))
    }
}

pub(crate) fn main_artists(credits: &[ArtistCredit]) -> impl Iterator<Item = ArtistId> {
    credits.iter().filter(|credit| credit.role == CreditRole::Main).map(|credit| credit.artist)
}

/// An artist of the catalogue by id.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredit {
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    id: ArtistId,
    #[serde(default = "main_role")]
    role: resources::CreditRole,
}

const fn main_role() -> resources::CreditRole {
    resources::CreditRole::Main
}

/// Artists that exist, with their names as one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Credits {
    pub(crate) artists: Vec<ArtistCredit>,
    pub(crate) display: String,
}

impl Commands {
    /// The user with current roles. Of these artists it manages those that are linked to it; a merged artist is the one that it
    /// was merged into.
    pub(crate) async fn editor(
        &self,
        user: UserId,
        artists: impl IntoIterator<Item = ArtistId>,
    ) -> Result<Editor, LogError> {
        let by = self.authority(user).await?;
        let mut managed = HashSet::new();
        // The links of an account without the role have no effect.
        if by.has(Role::Artist) && !by.has(Role::Admin) {
            for artist in artists {
                let (found, _) = self.find_artist(artist).await?;
                let link: Managed = self.read_state(Subject::ArtistLink(found, user)).await?;
                if link.linked {
                    managed.insert(artist);
                }
            }
        }
        Ok(Editor { user, by, managed })
    }

    /// Checks that the artists exist. A merged artist is credited as the one that it was merged into.
    ///
    /// # Errors
    /// 422 if there is no artist, no main artist, or too many.
    pub(crate) async fn credits_of(&self, given: &[NewCredit]) -> Result<Credits, Problem> {
        let refused = |field: String, code, message: &str| {
            Problem::invalid(vec![FieldProblem::new(field, code, message)])
        };
        if given.len() > VALUES_LIMIT {
            let message = format!("must have at most {VALUES_LIMIT} artists");
            return Err(refused("artists".to_owned(), FieldCode::TooMany, &message));
        }
        let mut artists: Vec<ArtistCredit> = Vec::with_capacity(given.len());
        let mut names = Vec::with_capacity(given.len());
        for (n, NewCredit { id, role }) in given.iter().enumerate() {
            let (artist, state) = self.find_artist(*id).await.map_err(log_problem)?;
            let Some(name) = state.name().filter(|_| state.exists()) else {
                return Err(refused(
                    format!("artists[{n}].id"),
                    FieldCode::Unknown,
                    "must be an artist's id",
                ));
            };
            if artists.iter().any(|credit| credit.artist == artist) {
                return Err(refused(format!("artists[{n}].id"), FieldCode::Duplicate, "may be given once"));
            }
            artists.push(ArtistCredit { artist, role: credit_role(*role) });
            names.push(name.to_owned());
        }
        if main_artists(&artists).next().is_none() {
            return Err(refused("artists".to_owned(), FieldCode::Required, "must have a main artist"));
        }
        Ok(Credits { artists, display: names.join(", ") })
    }
}

const fn credit_role(given: resources::CreditRole) -> CreditRole {
    match given {
        resources::CreditRole::Main => CreditRole::Main,
        resources::CreditRole::Featured => CreditRole::Featured,
        resources::CreditRole::Composer => CreditRole::Composer,
        resources::CreditRole::Lyricist => CreditRole::Lyricist,
        resources::CreditRole::Conductor => CreditRole::Conductor,
        resources::CreditRole::Performer => CreditRole::Performer,
        resources::CreditRole::Producer => CreditRole::Producer,
        resources::CreditRole::Remixer => CreditRole::Remixer,
    }
}

/// The number of a disc or a track.
pub(crate) fn number(number: u32) -> Result<u32, Refused> {
    if (1..=NUMBER_LIMIT).contains(&number) {
        Ok(number)
    } else {
        Err(Refused::new(FieldCode::OutOfRange, format!("must be 1 to {NUMBER_LIMIT}")))
    }
}

pub(crate) fn year(year: i32) -> Result<i32, Refused> {
    if YEARS.contains(&year) {
        Ok(year)
    } else {
        let message = format!("must be {} to {}", YEARS.start(), YEARS.end());
        Err(Refused::new(FieldCode::OutOfRange, message))
    }
}

/// A field of a change that can be cleared: none if it is not sent, and `Some(None)` for null.
pub(crate) type Clearable<T> = Option<Option<T>>;

/// Reads a field that was sent; one that was not needs `#[serde(default)]`.
pub(crate) fn clearable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Clearable<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    impl Editor {
        /// An editor for tests of decisions.
        pub(crate) fn of(user: UserId, roles: &[Role], managed: &[ArtistId]) -> Self {
            let by = Authority::Person { user, roles: roles.iter().copied().collect() };
            Self { user, by, managed: managed.iter().copied().collect() }
        }
    }
}
