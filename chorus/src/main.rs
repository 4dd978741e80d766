//! Entry point of the `chorus` binary.

use std::io::Write;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use chorus::operators::{
    event_verbs, generation_verbs, interruptible, parked_verbs, verify, view_verbs, why,
};
use chorus::{backup, demo, grant, import, media, openapi, serve};
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
    /// Publish the songs of a music folder; the server may be running
    Import(Box<import::Settings>),
    /// Copy log, keys and media into a new folder; the server may be running
    Backup(Box<backup::Settings>),
    /// Restore a backup into an empty data folder
    Restore(Box<backup::RestoreSettings>),
    /// Audit and clean the media store
    #[command(subcommand)]
    Media(media::Command),
    /// Look at the event log; changes nothing
    #[command(subcommand)]
    Events(event_verbs::Command),
    /// Show how far each view is, and why it does not move; changes nothing
    Views(Box<view_verbs::Settings>),
    /// Build views anew beside those that serve, then switch; the servers may be running
    Rebuild(Box<generation_verbs::RebuildSettings>),
    /// Build what this version needs ahead of an upgrade, beside the running servers of the old version
    Prepare(Box<generation_verbs::PrepareSettings>),
    /// Let the generation of a family serve again that served before; the servers may be running
    Rollback(Box<generation_verbs::SwitchSettings>),
    /// List the generations of all families, or drop one
    Generations(Box<generation_verbs::GenerationSettings>),
    /// Compare every document of the views with the log; changes nothing
    Verify(Box<verify::Settings>),
    /// Compare what this program makes of the log with the views of another version; changes nothing
    Shadow(Box<verify::ShadowSettings>),
    /// Show the events that made a document, and the document after each; changes nothing
    Why(Box<why::Settings>),
    /// Show what changed in a document between two positions or times; changes nothing
    Diff(Box<why::DiffSettings>),
    /// Look at the events that could not be processed; changes nothing
    #[command(subcommand)]
    Parked(parked_verbs::Command),
    /// Fill a running server with a small realistic dataset
    Demo(Box<demo::Settings>),
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi,
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = audio::run_child() {
        return Ok(code);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // It ends with the process: dropping it first would end the tasks of MongoDB's driver in any order, and some panic then.
    let runtime = ManuallyDrop::new(runtime);
    let done = match from_arguments::<Arguments>().command {
        Command::Serve(settings) => runtime.block_on(serve::run(*settings)),
        Command::Grant(settings) => runtime.block_on(grant::run(*settings)),
        Command::Import(settings) => runtime.block_on(import::run(*settings)),
        Command::Backup(settings) => runtime.block_on(backup::run(*settings)),
        Command::Restore(settings) => runtime.block_on(backup::restore(*settings)),
        Command::Media(command) => runtime.block_on(media::run(command)),
        Command::Events(command) => runtime.block_on(event_verbs::run(command)),
        Command::Views(settings) => runtime.block_on(view_verbs::run(*settings)),
        Command::Rebuild(settings) => runtime.block_on(generation_verbs::rebuild(*settings)),
        Command::Prepare(settings) => runtime.block_on(generation_verbs::prepare(*settings)),
        Command::Rollback(settings) => runtime.block_on(generation_verbs::rollback(*settings)),
        Command::Generations(settings) => runtime.block_on(generation_verbs::generations(*settings)),
        Command::Verify(settings) => return runtime.block_on(interruptible(verify::run(*settings))),
        Command::Shadow(settings) => return runtime.block_on(interruptible(verify::shadow(*settings))),
        Command::Why(settings) => runtime.block_on(interruptible(why::run(*settings))),
        Command::Diff(settings) => runtime.block_on(interruptible(why::diff(*settings))),
        Command::Parked(command) => runtime.block_on(parked_verbs::run(command)),
        Command::Demo(settings) => runtime.block_on(demo::run(*settings)),
        Command::Openapi => Ok(std::io::stdout().write_all(openapi::text()?.as_bytes())?),
    };
    done.map(|()| ExitCode::SUCCESS)
}
