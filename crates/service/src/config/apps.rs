//! Where the web apps live that came before Chorus and keep their own routes.

use clap::Args;

use super::{PlaceSettings, Problems};

#[derive(Debug, Clone, Args)]
pub struct AppSettings {
    /// Where the InstaMERN app lives: the one origin whose pages may call /instamern, and where the links in its mails lead
    #[arg(
        long,
        env = "CHORUS_INSTAMERN_URL",
        value_name = "URL",
        default_value = "https://instamern.netlify.app"
    )]
    pub instamern_url: String,

    /// The same for the SpotifyMERN app and /spotifymern
    #[arg(
        long,
        env = "CHORUS_SPOTIFYMERN_URL",
        value_name = "URL",
        default_value = "https://spotifymern.vercel.app"
    )]
    pub spotifymern_url: String,
}

impl AppSettings {
    pub(super) fn check(&self, place: &PlaceSettings, problems: &mut Problems) {
        check_app_url("CHORUS_INSTAMERN_URL", &self.instamern_url, place, problems);
        check_app_url("CHORUS_SPOTIFYMERN_URL", &self.spotifymern_url, place, problems);
    }
}

/// Where the two apps are published.
impl Default for AppSettings {
    fn default() -> Self {
        Self {
            instamern_url: "https://instamern.netlify.app".to_owned(),
            spotifymern_url: "https://spotifymern.vercel.app".to_owned(),
        }
    }
}

/// An address that links lead to; none may be given.
pub(super) fn check_app_url(variable: &str, url: &str, place: &PlaceSettings, problems: &mut Problems) {
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        problems.add(format!("{variable}: `{url}` does not begin with http:// or https://"));
    } else if place.in_production() && url.starts_with("http://") {
        problems.add(format!(
            "{variable}: `{url}` is not https://: in production what links carry does not go over plain HTTP"
        ));
    }
}
