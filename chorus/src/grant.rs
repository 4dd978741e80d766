//! `chorus grant`: the operator grants and revokes roles, such as the role of the first admin.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use command_api::{Commands, ReservedUsernames};
use events::{MasterKeys, ProgressTracker, Role};
use service::clock;
use service::config::SameSite;
use service::config::{LogSettings, MediaSettings, PlaceSettings, Problems, Secret};
use service::shutdown::Tasks;
use web::limits::Limits;
use web::problem::Problem;
use web::session_cookies::SessionCookies;
use web::tokens::SigningKeys;

/// Takes the same settings as the server whose log it writes to, which may be running.
#[derive(Debug, Args)]
pub struct Settings {
    /// Username or email address
    login: String,

    /// Role to grant or revoke
    #[arg(value_enum)]
    role: RoleName,

    /// Revoke the role instead
    #[arg(long)]
    revoke: bool,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    media: MediaSettings,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    /// Publishes songs
    Artist,
    /// Suspends accounts
    Moderator,
    /// Grants roles
    Admin,
}

/// # Errors
/// If no user has that name, or the log cannot be written to.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { login, role, revoke, place, log, media } = settings;
    let mut problems = Problems::default();
    let make = || Secret::new(MasterKeys::generate().as_str());
    let parse = |text: &Secret| MasterKeys::parse(text.reveal());
    place.prepare().with_context(|| format!("creating the folder {}", place.data.display()))?;
    let master = log.master_keys().read(&place, make, parse, &mut problems);
    problems.none_or()?;
    let master = master.context("the master key is missing")?;
    let credentials = log.place.nats_credentials_file.clone();
    let log = events::open_sealed(&log.place.url(&place), credentials, &master)
        .await
        .context("opening the event log")?;
    let media = media::open(&media.url(&place))
        .await
        .map_err(anyhow::Error::msg)
        .context("opening the media store")?;
    let (tracker, _) = ProgressTracker::follow(&**log.raw());
    let commands = Commands::new(command_api::Parts {
        log,
        tracker,
        media,
        // Unused: this process serves no log-ins.
        signing: Arc::new(SigningKeys::parse(&SigningKeys::generate())?),
        clock: clock::system(),
        session_length: chrono::TimeDelta::zero(),
        session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
        reserved_usernames: ReservedUsernames::with([]),
        limits: Limits::none(),
        public_url: String::new(),
        uploads: None,
        tasks: Tasks::default(),
    })?;
    let name = role.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let role = match role {
        RoleName::Artist => Role::Artist,
        RoleName::Moderator => Role::Moderator,
        RoleName::Admin => Role::Admin,
    };
    let changed = commands.set_role_as_operator(&login, role, !revoke).await;
    let changed = changed.map_err(|error| anyhow::anyhow!("{}", Problem::from(error)))?;
    let outcome = match (changed, revoke) {
        (None, _) => bail!("no user has the username or address `{login}`"),
        (Some(true), false) => {
            format!("{login} is {name} now, from the next log-in on; their sessions have ended")
        }
        (Some(true), true) => format!("{login} is no longer {name}; their sessions have ended"),
        (Some(false), false) => format!("{login} is already {name}"),
        (Some(false), true) => format!("{login} is not {name}"),
    };
    writeln!(std::io::stdout(), "{outcome}")?;
    Ok(())
}
