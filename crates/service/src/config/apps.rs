//! The origins of the web apps that existed before Chorus and keep their own routes.

use clap::Args;

use super::{PlaceSettings, Problems};

#[derive(Debug, Clone, Args)]
pub struct AppSettings {
    /// URL of the InstaMERN app: the only origin whose pages may call /instamern, and the base of the links in its
    /// mails
    #[arg(
        long,
        env = "CHORUS_INSTAMERN_URL",
        value_name = "URL",
        default_value = "https://instamern.netlify.app"
    )]
    pub instamern_url: String,

    /// URL of the SpotifyMERN app, likewise for /spotifymern
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

/// The published URLs of the two apps.
impl Default for AppSettings {
    fn default() -> Self {
        Self {
            instamern_url: "https://instamern.netlify.app".to_owned(),
            spotifymern_url: "https://spotifymern.vercel.app".to_owned(),
        }
    }
}

/// Checks a base URL of links; it may be empty.
pub(super) fn check_app_url(variable: &str, url: &str, place: &PlaceSettings, problems: &mut Problems) {
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        problems.add(format!("{variable}: `{url}` does not begin with http:// or https://"));
    } else if place.in_production() && url.starts_with("http://") {
        problems.add(format!(
            "{variable}: `{url}` is not https://: production does not send link tokens over plain HTTP"
        ));
    }
}
