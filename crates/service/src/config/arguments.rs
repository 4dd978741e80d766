//! The command line. It is visible to all users of the machine (`ps`), so it must not contain secrets.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Parser};

use super::without_password;

/// Parses the settings of this process from command line and environment; exits on errors.
pub fn from_arguments<T: Parser>() -> T {
    let mut command = T::command();
    let matches = command.get_matches_mut();
    let checked = refuse_secrets(&mut command, &matches);
    let settings = checked.and_then(|()| T::from_arg_matches(&matches).map_err(|e| e.format(&mut command)));
    settings.unwrap_or_else(|error| error.exit())
}

/// Settings that may contain a secret are marked with `hide_env_values`: as flags, URLs are accepted without a
/// password, other values not at all.
fn refuse_secrets(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let mut refused = None;
    for argument in command.get_arguments().filter(|argument| argument.is_hide_env_values_set()) {
        let id = argument.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy());
        let is_url = argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "URL"));
        let is_secret = |value: &str| !is_url || without_password(value) != value;
        if values.into_iter().any(|value| is_secret(&value)) {
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            refused = Some((id.to_owned(), variable.unwrap_or_default()));
        }
    }
    if let Some((id, variable)) = refused {
        let problem =
            format!("--{id}: a password on the command line is readable by everybody here: set {variable}");
        return Err(command.error(ErrorKind::ArgumentConflict, problem));
    }
    match matches.subcommand() {
        Some((name, matches)) => match command.find_subcommand_mut(name) {
            Some(command) => refuse_secrets(command, matches),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Outer {
        #[command(subcommand)]
        inner: Inner,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Inner {
        Serve {
            #[arg(long, env = "CHORUS_TEST_VIEWS", value_name = "URL", hide_env_values = true)]
            views: Option<String>,
            #[arg(long, env = "CHORUS_TEST_PASSWORD", hide_env_values = true)]
            password: Option<String>,
            #[arg(long)]
            name: Option<String>,
        },
    }

    fn outcome(arguments: &[&str]) -> Result<(), String> {
        let mut command = <Outer as clap::CommandFactory>::command();
        let matches = command.try_get_matches_from_mut([&["chorus", "serve"], arguments].concat()).unwrap();
        refuse_secrets(&mut command, &matches).map_err(|error| error.to_string())
    }

    #[test]
    fn password_in_a_flag_is_rejected_and_not_quoted() {
        for secret in [["--views", "mongodb://ann:s3cret@host/db"], ["--password", "s3cret"]] {
            let problem = outcome(&secret).unwrap_err();
            assert!(problem.contains("CHORUS_TEST_") && !problem.contains("s3cret"), "{problem}");
        }
        for harmless in [
            ["--views", "mongodb://host/db?replicaSet=a"],
            ["--views", "sqlite:data/views.db"],
            ["--name", "s3cret"],
        ] {
            assert_eq!(outcome(&harmless), Ok(()), "{harmless:?}");
        }
        assert_eq!(outcome(&[]), Ok(()));
    }
}
