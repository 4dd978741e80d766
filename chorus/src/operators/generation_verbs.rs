//! `chorus rebuild`, `prepare`, `rollback` and `generations`: views are built anew beside those that serve, and switched
//! without a failed request.
//!
//! A refused verb changes no byte: both stores are opened to be read only and looked at, before one is opened to be
//! changed.

mod requests;
mod switches;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Subcommand};
use events::{Event, GenerationDropped, OperationId, OperatorNote, Personal, RebuildStarted, SealedLog};
use projector::fold::{FoldError, Stop};
use projector::{BuildError, BuildSettings, Built, Projection, build, claim, drop_generation, projections};
use serde_json::json;
use service::clock::{Clock, SystemClock};
use service::config::{FeedSettings, ViewSettings, without_password};
use views::generations::Generations;
use views::{Family, Views};

use self::requests::{Request, Serve};
use self::switches::{Act, Switch, interrupts, wait_for};
use super::documents::{FoldShare, fold_bar, follow_fold};
use super::{LogAccess, open_views, reveal, unless_reader_left};

/// How long a verb waits for the answer of a projector before it says that none runs: each reads the records every quarter of a
/// second.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// A verb that waits for longer says what it waits for.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);

const SWITCH_NOTES: &str = "A switch is asked for in the record of the family, and a projector (or `chorus serve`) makes \
    it. If none runs, the request stays there, and the next one that starts makes the switch. Ctrl-C ends the waiting for \
    a switch, not the request.\n\nAn event with your name and the reason is appended to the log when the switch is made, \
    or when the verb ends before that and the request stays.";

/// Takes the same settings as the servers, which may be running.
#[derive(Debug, Args)]
struct Access {
    #[command(flatten)]
    log: LogAccess,
    #[command(flatten)]
    views: ViewSettings,
}

/// How much of the machine a rebuild may take.
#[derive(Debug, Args)]
struct BuildArguments {
    #[command(flatten)]
    feeds: FeedSettings,

    #[command(flatten)]
    share: FoldShare,

    /// Folder for temporary files of a rebuild on MongoDB; they take about as much space as the views
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

impl BuildArguments {
    fn settings(&self, switch: bool) -> BuildSettings {
        BuildSettings {
            folder: self.scratch.clone().unwrap_or_else(std::env::temp_dir),
            cache: self.share.cache(),
            fold: self.share.options(),
            switch,
        }
    }
}

/// What the event that each of these acts leaves in the log says about it.
#[derive(Debug, Args)]
struct NoteArguments {
    /// Why you do it, for the record in the log, where it is sealed
    #[arg(long, value_name = "TEXT", default_value = "not given")]
    reason: String,

    /// Your name for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    operator: String,
}

impl NoteArguments {
    fn checked(&self) -> Result<OperatorNote> {
        reveal::note(&self.operator, &self.reason)
    }
}

/// Appends events about acts to the log.
struct Recorder {
    log: SealedLog,
    note: OperatorNote,
}

impl Recorder {
    async fn open(access: &Access, note: OperatorNote) -> Result<Self> {
        Ok(Self { log: access.log.open_to_append().await?, note })
    }

    async fn record<E: Into<Event>>(
        &self,
        act: impl FnOnce(OperationId, Personal<OperatorNote>) -> E,
    ) -> Result<()> {
        let recorded = self.log.record_operation(&self.note, SystemClock.now(), act).await;
        recorded.map(drop).context("recording it in the log")
    }
}

#[derive(Debug, Args)]
#[command(after_help = SWITCH_NOTES)]
pub struct RebuildSettings {
    /// Families of views, such as `posts`: `chorus views` lists them in the column PROJECTION
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    families: Vec<String>,

    /// Rebuild all families, from one reading of the log
    #[arg(long)]
    all: bool,

    /// Build the new generation, but let the old one serve on; `chorus rollback` is the way to switch then
    #[arg(long)]
    no_switch: bool,

    #[command(flatten)]
    note: NoteArguments,
    #[command(flatten)]
    build: BuildArguments,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub struct PrepareSettings {
    #[command(flatten)]
    note: NoteArguments,
    #[command(flatten)]
    build: BuildArguments,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
#[command(after_help = SWITCH_NOTES)]
pub struct SwitchSettings {
    /// The family of views
    family: String,

    /// The generation that shall serve; the one that serves now cancels a switch that is not made yet [default: the one
    /// that served before]
    #[arg(long)]
    generation: Option<u64>,

    #[command(flatten)]
    note: NoteArguments,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct GenerationSettings {
    #[command(subcommand)]
    command: Option<GenerationCommand>,
    #[command(flatten)]
    list: ListSettings,
}

#[derive(Debug, Subcommand)]
enum GenerationCommand {
    /// Delete a generation
    Drop(DropSettings),
}

#[derive(Debug, Args)]
struct ListSettings {
    /// One JSON object per line, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct DropSettings {
    /// The family of views
    family: String,

    /// Its number [default: that of the one that served before]
    #[arg(long)]
    generation: Option<u64>,

    /// The version of the family, to delete what a program of another version has left [default: this program's]
    #[arg(long)]
    version: Option<u32>,

    /// Delete it also if it serves. Running servers of its version then answer 503 for these views until another
    /// generation serves or is built; if no server of that version runs, nobody reads it
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    note: NoteArguments,
    #[command(flatten)]
    access: Access,
}

impl Access {
    /// Opens both stores to be read only, also to check a request before a store is opened to be changed.
    async fn look(&self) -> Result<(SealedLog, Views)> {
        let log = self.log.open_sealed().await?;
        Ok((log, open_views(&self.views.url(&self.log.place)).await?))
    }

    /// Opens the generations to change them.
    async fn open_generations(&self) -> Result<Views> {
        let url = self.views.url(&self.log.place);
        views::open_generations(&url).await.with_context(|| {
            format!(
                "opening {}: are CHORUS_DATA and CHORUS_VIEWS set as for the server, and has it been started once?",
                without_password(&url)
            )
        })
    }
}

/// Says once on the error output what a verb waits for, if that takes long.
struct Notice {
    text: &'static str,
    since: Instant,
    is_given: bool,
}

impl Notice {
    fn new(text: &'static str) -> Self {
        Self { text, since: Instant::now(), is_given: false }
    }

    fn give_if_due(&mut self) -> Result<()> {
        if !self.is_given && self.since.elapsed() > NOTICE_AFTER {
            self.is_given = true;
            writeln!(std::io::stderr(), "{}", self.text)?;
        }
        Ok(())
    }
}

/// # Errors
/// If a family cannot be built, or a switch is not made.
pub async fn rebuild(settings: RebuildSettings) -> Result<()> {
    let RebuildSettings { families, all, no_switch, note, build, access } = settings;
    let note = note.checked()?;
    let known = projections(&build.feeds);
    let chosen = if all { known } else { named(known, &families)? };
    let (log, _) = access.look().await?;
    let views = access.open_generations().await?;
    let recorder = Recorder::open(&access, note).await?;
    let settings = build.settings(!no_switch);
    let (built, left_out) = build_generations(&recorder, &log, &views, chosen, &settings).await?;
    let interrupts = interrupts()?;
    for NewGeneration { built: Built { family, number }, .. } in &built {
        say(&format!("{}: generation {number} is built", family.name))?;
    }
    if no_switch {
        say("they serve after `chorus rollback <family> --generation <number>`")?;
        return left_out.fail_if_any();
    }
    let switches = built.into_iter().map(|NewGeneration { built: Built { family, number }, from }| Switch {
        family,
        to: number,
        act: Act::Rebuild { from },
    });
    wait_for(&views, &recorder, switches.collect(), interrupts).await?;
    left_out.fail_if_any()
}

/// # Errors
/// If a family cannot be built.
pub async fn prepare(settings: PrepareSettings) -> Result<()> {
    let PrepareSettings { note, build, access } = settings;
    let note = note.checked()?;
    let (log, _) = access.look().await?;
    let views = access.open_generations().await?;
    let has_none = |projection: &Arc<dyn Projection>| {
        let record = views.family(projection.name()).ok().and_then(|family| views.record(family));
        record.is_none_or(|record| record.serving.is_none() && record.fed().next().is_none())
    };
    let missing: Vec<_> = projections(&build.feeds).into_iter().filter(has_none).collect();
    if missing.is_empty() {
        return say("all views of this version are there: nothing to prepare");
    }
    let recorder = Recorder::open(&access, note).await?;
    let settings = build.settings(true);
    let (built, left_out) = build_generations(&recorder, &log, &views, missing, &settings).await?;
    for NewGeneration { built: Built { family, number }, .. } in built {
        say(&format!(
            "{} version {}: generation {number} is built; it serves when a server of this version starts",
            family.name, family.version
        ))?;
    }
    left_out.fail_if_any()
}

/// # Errors
/// If there is no such generation, or the switch is not made.
pub async fn rollback(settings: SwitchSettings) -> Result<()> {
    let SwitchSettings { family, generation, note, access } = settings;
    let note = note.checked()?;
    let family = family_named(&family)?;
    let ask = |record: &Generations| requests::serve(family, record, generation);
    check(&access.look().await?.1, family, ask)?;
    let views = access.open_generations().await?;
    let recorder = Recorder::open(&access, note).await?;
    let interrupts = interrupts()?;
    match request(&views, family, &ask).await? {
        Serve::Already { number } => say(&format!("{}: generation {number} serves already", family.name)),
        Serve::Cancel { from, to } => {
            Switch { family, to, act: Act::Rollback { from } }.record(&views, &recorder).await?;
            say(&format!(
                "{}: generation {to} goes on serving; the switch to generation {from} is cancelled",
                family.name
            ))
        }
        Serve::Switch { from, to } => {
            let switch = Switch { family, to, act: Act::Rollback { from } };
            wait_for(&views, &recorder, vec![switch], interrupts).await
        }
    }
}

/// # Errors
/// If the records cannot be read, or the generation cannot be dropped.
pub async fn generations(settings: GenerationSettings) -> Result<()> {
    match settings.command {
        Some(GenerationCommand::Drop(settings)) => drop_one(settings).await,
        None => unless_reader_left(list(settings.list).await),
    }
}

async fn list(settings: ListSettings) -> Result<()> {
    let ListSettings { json, access } = settings;
    let url = access.views.url(&access.log.place);
    let views = open_views(&url).await?;
    let mut out = std::io::stdout();
    if !json {
        writeln!(
            out,
            "{:<18} {:>7} {:>10}  {:<9} {:<9} {:>10}  BUILT BY",
            "FAMILY", "VERSION", "GENERATION", "STATE", "ROLE", "POSITION"
        )?;
    }
    for (id, record) in views.records() {
        let Some((name, version)) = id.rsplit_once(".v") else { continue };
        for generation in &record.generations {
            let role = role(&record, generation.number);
            let builder = generation.builder.as_ref();
            if json {
                let line = json!({
                    "family": name,
                    "version": version.parse::<u32>().ok(),
                    "generation": generation.number,
                    "state": generation.state,
                    "role": role,
                    "builder": builder,
                });
                writeln!(out, "{line}")?;
                continue;
            }
            writeln!(
                out,
                "{name:<18} {version:>7} {:>10}  {:<9} {role:<9} {:>10}  {}",
                generation.number,
                generation.state.as_str(),
                builder.map_or_else(|| "-".to_owned(), |builder| builder.position.to_string()),
                builder.map_or("-", |builder| &builder.name),
            )?;
        }
        if record.serving.is_none() && !json {
            writeln!(out, "! {name} version {version} does not serve: {}", record.why_not_serving())?;
        }
    }
    if !json {
        writeln!(out, "\nPOSITION is how far its builder came; `chorus views` shows how far it is now.")?;
    }
    Ok(())
}

fn role(record: &Generations, number: u64) -> &'static str {
    match number {
        _ if record.serving == Some(number) => "serving",
        _ if record.wanted == Some(number) => "wanted",
        _ if record.previous == Some(number) => "previous",
        _ => "-",
    }
}

async fn drop_one(settings: DropSettings) -> Result<()> {
    let DropSettings { family, generation, version, force, note, access } = settings;
    let note = note.checked()?;
    let own = family_named(&family)?;
    let family: &'static Family = match version {
        Some(version) if version != own.version => Box::leak(Box::new(Family { version, ..*own })),
        _ => own,
    };
    let Family { name, version, .. } = *family;
    let looked = access.look().await?.1;
    let previous = looked.record(family).and_then(|record| record.previous);
    let generation = generation.or(previous);
    let ask = |record: &Generations| requests::delete(family, record, generation, force);
    check(&looked, family, ask)?;
    let views = access.open_generations().await?;
    let recorder = Recorder::open(&access, note).await?;
    if previous.is_some() && generation == previous {
        // Other processes may read it for a moment after a switch.
        tokio::time::sleep(views.generation_store().settles_after()).await;
    }
    let number = request(&views, family, &ask).await?;
    let is_deleted = delete(&views, family, number).await?;
    let dropped = |operation, note| GenerationDropped {
        operation,
        family: name.to_owned(),
        version: version.into(),
        generation: number,
        note,
    };
    recorder.record(dropped).await?;
    if is_deleted {
        return say(&format!("dropped generation {number} of {name} version {version}"));
    }
    say(&format!(
        "{name} version {version}: no projector of this version runs, so generation {number}, which is part of the \
         view store itself, is deleted when one starts"
    ))
}

/// Waits for a projector that feeds a generation to let it go and delete it; without one, deletes it. False if only a
/// projector can.
async fn delete(views: &Views, family: &'static Family, number: u64) -> Result<bool> {
    let since = Instant::now();
    let mut notice = Notice::new("waiting for a projector (or `chorus serve`) that may feed it");
    while since.elapsed() < ANSWER_LIMIT {
        views.refresh().await?;
        if views.record(family).is_none_or(|record| record.get(number).is_none()) {
            return Ok(true);
        }
        notice.give_if_due()?;
        tokio::time::sleep(POLL).await;
    }
    if family.is_in_base(number) {
        return Ok(false);
    }
    drop_generation(views, family, number).await?;
    Ok(true)
}

/// Whether a request is granted, by the record as it was last read.
fn check<T>(views: &Views, family: &Family, ask: impl Fn(&Generations) -> Request<T>) -> Result<()> {
    let record = views.record(family).ok_or_else(|| not_registered(family))?;
    ask(&record).map(drop).map_err(refused)
}

/// Makes a request in the record of a family.
async fn request<T: Send>(
    views: &Views,
    family: &Family,
    ask: impl Fn(&Generations) -> Request<T> + Send + Sync,
) -> Result<T> {
    let mut outcome = None;
    let change = |record: Option<&Generations>| {
        let before = record?;
        match ask(before) {
            Ok((after, asked)) => {
                outcome = Some(Ok(asked));
                (after != *before).then_some(after)
            }
            Err(problem) => {
                outcome = Some(Err(problem));
                None
            }
        }
    };
    views.change(family, change).await?;
    outcome.ok_or_else(|| not_registered(family))?.map_err(refused)
}

fn refused(problem: String) -> anyhow::Error {
    anyhow!("{problem}; `chorus generations` lists what there is")
}

fn not_registered(family: &Family) -> anyhow::Error {
    anyhow!("no server has started with version {} of {}", family.version, family.name)
}

/// # Errors
/// If there is none; then the families are listed.
pub(super) fn family_named(name: &str) -> Result<&'static Family> {
    views::families().iter().find(|family| family.name == name).ok_or_else(|| no_family(name))
}

/// The projections with these names.
fn named(known: Vec<Arc<dyn Projection>>, names: &[String]) -> Result<Vec<Arc<dyn Projection>>> {
    for name in names {
        family_named(name)?;
    }
    Ok(known.into_iter().filter(|projection| names.iter().any(|name| projection.name() == name)).collect())
}

fn no_family(name: &str) -> anyhow::Error {
    let has_view = |family: &&Family| family.views.iter().any(|view| view.name == name);
    if let Some(family) = views::families().iter().find(has_view) {
        return anyhow!("`{name}` is a view of the family `{}`: give its name", family.name);
    }
    let mut all: Vec<&str> = views::families().iter().map(|family| family.name).collect();
    all.sort_unstable();
    anyhow!("there is no family `{name}`; there are {}", all.join(", "))
}

/// A generation that this verb has built.
struct NewGeneration {
    built: Built,
    /// What served when its build started.
    from: Option<u64>,
}

/// The families that an event stopped, with the reasons.
#[derive(Default)]
struct LeftOut(Vec<String>);

impl LeftOut {
    /// # Errors
    /// If there are any.
    fn fail_if_any(self) -> Result<()> {
        ensure!(self.0.is_empty(), "not built: {}", self.0.join("; "));
        Ok(())
    }
}

/// Builds new generations of these projections. If events stop some of them, the others are built without them, from the
/// beginning.
async fn build_generations(
    recorder: &Recorder,
    log: &SealedLog,
    views: &Views,
    mut chosen: Vec<Arc<dyn Projection>>,
    settings: &BuildSettings,
) -> Result<(Vec<NewGeneration>, LeftOut)> {
    let mut left_out = LeftOut::default();
    loop {
        let claimed = claim(views, &chosen).await?;
        let serving = |built: &Built| views.record(built.family).and_then(|record| record.serving);
        let new: Vec<NewGeneration> =
            claimed.iter().map(|built| NewGeneration { built: *built, from: serving(built) }).collect();
        match build_claimed(recorder, log, views, &chosen, &claimed, settings).await {
            Ok(()) => return Ok((new, left_out)),
            Err(error) => match error.downcast_ref() {
                Some(BuildError::Fold(stopped @ FoldError::Stopped(stops))) => {
                    let names: Vec<&str> = stops.iter().map(|stop| stop.projection).collect();
                    left_out.0.extend(stops.iter().map(Stop::to_string));
                    chosen.retain(|one| !names.contains(&one.name()));
                    if chosen.is_empty() {
                        return Ok((Vec::new(), left_out));
                    }
                    let names = names.join(", ");
                    writeln!(std::io::stderr(), "{stopped}: the others are built without {names}")?;
                }
                _ => return Err(error),
            },
        }
    }
}

/// Builds with progress on the error output. What an interrupted builder has left, the next one deletes.
async fn build_claimed(
    recorder: &Recorder,
    log: &SealedLog,
    views: &Views,
    chosen: &[Arc<dyn Projection>],
    claimed: &[Built],
    settings: &BuildSettings,
) -> Result<()> {
    let bar = fold_bar("fold")?;
    let work = async {
        let built = build(log, views, chosen, claimed, settings, &follow_fold(&bar)).await;
        bar.finish_and_clear();
        Ok(built?)
    };
    // Beside the work, which must begin at once.
    let record = async {
        for Built { family, number } in claimed {
            let started = |operation, note| RebuildStarted {
                operation,
                family: family.name.to_owned(),
                version: family.version.into(),
                generation: *number,
                note,
            };
            recorder.record(started).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::try_join!(work, record)?;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
