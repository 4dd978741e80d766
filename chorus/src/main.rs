//! Entry point of the `chorus` binary.

use std::io::Write;
use std::process::ExitCode;

use chorus::{backup, demo, grant, media, openapi, serve};
use clap::{Parser, Subcommand};
use service::config::from_arguments;

/// Password hashing and image processing use tens of mebibytes each, and the system's allocator keeps that memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The open backend for social, photo and music apps
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all of Chorus in one process
    Serve(Box<serve::Settings>),
    /// Grant a role to a user, or revoke it; the server may be running
    Grant(Box<grant::Settings>),
    /// Copy log, keys and media into a new folder; the server may be running
    Backup(Box<backup::Settings>),
    /// Restore a backup into an empty data folder
    Restore(Box<backup::RestoreSettings>),
    /// Audit and clean the media store
    #[command(subcommand)]
    Media(media::Command),
    /// Fill a running server with a small realistic dataset
    Demo(demo::Settings),
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi,
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = audio::run_child() {
        return Ok(code);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = match from_arguments::<Arguments>().command {
        Command::Serve(settings) => runtime.block_on(serve::run(*settings)),
        Command::Grant(settings) => runtime.block_on(grant::run(*settings)),
        Command::Backup(settings) => runtime.block_on(backup::run(*settings)),
        Command::Restore(settings) => runtime.block_on(backup::restore(*settings)),
        Command::Media(command) => runtime.block_on(media::run(command)),
        Command::Demo(settings) => runtime.block_on(demo::run(settings)),
        Command::Openapi => Ok(std::io::stdout().write_all(openapi::text()?.as_bytes())?),
    };
    done.map(|()| ExitCode::SUCCESS)
}
