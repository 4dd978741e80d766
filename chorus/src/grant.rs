//! `chorus grant`: the operator grants and revokes roles, such as the role of the first admin.

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use events::Role;
use service::config::{LogSettings, MediaSettings, PlaceSettings};
use web::problem::Problem;

use crate::commands;

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
    let commands = commands::open(&place, &log, &media).await?;
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
