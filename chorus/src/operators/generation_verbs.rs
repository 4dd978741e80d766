//! `chorus rebuild`, `prepare`, `rollback` and `generations`: views are built anew beside those that serve, and switched
//! without a failed request.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use events::{
    Event, GenerationDropped, GenerationRolledBack, GenerationSwitched, OperationId, OperatorNote, Personal,
    Position, RebuildStarted, SealedLog,
};
use projector::fold::FoldOptions;
use projector::{BuildSettings, Built, Projection, build, claim, drop_generation, projections};
use serde_json::json;
use service::clock::{Clock, SystemClock};
use service::config::{FeedSettings, ViewSettings, without_password};
use views::generations::{GenerationState, Generations};
use views::{Family, ViewStore, Views};

use super::documents::{fold_bar, follow_fold};
use super::{LogAccess, open_views, reveal, unless_reader_left};

/// How long a verb waits for a projector to feed a new generation before it says that none does.
const ADOPTION_LIMIT: Duration = Duration::from_secs(15);
/// How long it waits for a switch after that; a generation that is far behind is caught up first.
const SWITCH_LIMIT: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(100);

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

    /// Threads that build views; one more reads the log [default: half of the cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Memory for page caches, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    cache: u32,

    /// Folder for temporary files of a rebuild on MongoDB; they take about as much space as the views
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

impl BuildArguments {
    fn settings(&self, switch: bool) -> BuildSettings {
        let mut fold = FoldOptions::default();
        if let Some(workers) = self.workers {
            fold.workers = workers.into();
        }
        BuildSettings {
            folder: self.scratch.clone().unwrap_or_else(std::env::temp_dir),
            cache: self.cache as usize * (1 << 20),
            fold,
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

/// Appends events about acts to the log.
struct Recorder {
    log: SealedLog,
    note: OperatorNote,
}

impl Recorder {
    async fn open(access: &Access, arguments: &NoteArguments) -> Result<Self> {
        let note = reveal::note(&arguments.operator, &arguments.reason)?;
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
pub struct SwitchSettings {
    /// The family of views
    family: String,

    /// The generation that shall serve [default: the one that served before]
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
    /// Delete a generation that does not serve
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

    /// The version of the family, to delete what an older program has left [default: this program's]
    #[arg(long)]
    version: Option<u32>,

    #[command(flatten)]
    note: NoteArguments,
    #[command(flatten)]
    access: Access,
}

impl Access {
    async fn open_views(&self) -> Result<Views> {
        let url = self.views.url(&self.log.place);
        views::open_generations(&url).await.with_context(|| {
            format!(
                "opening {}: are CHORUS_DATA and CHORUS_VIEWS set as for the server, and has it been started once?",
                without_password(&url)
            )
        })
    }

    async fn open(&self) -> Result<(SealedLog, Views)> {
        Ok((self.log.open_sealed().await?, self.open_views().await?))
    }
}

/// # Errors
/// If a family cannot be built, or no projector takes it over.
pub async fn rebuild(settings: RebuildSettings) -> Result<()> {
    let RebuildSettings { families, all, no_switch, note, build, access } = settings;
    let known = projections(&build.feeds);
    let chosen = if all { known } else { named(known, &families)? };
    let (log, views) = access.open().await?;
    let recorder = Recorder::open(&access, &note).await?;
    let claimed = claim(&views, &chosen).await?;
    let before = |built: &Built| views.record(built.family).and_then(|record| record.serving);
    let from: Vec<Option<u64>> = claimed.iter().map(before).collect();
    let settings = build.settings(!no_switch);
    let built = build_generations(&recorder, &log, &views, &chosen, claimed, &settings).await?;
    for Built { family, number } in &built {
        say(&format!("{}: generation {number} is built", family.name))?;
    }
    if no_switch {
        return say("they serve after `chorus rollback <family> --generation <number>`");
    }
    for (Built { family, number }, from) in built.into_iter().zip(from) {
        if !wait_until_serving(&views, family, number).await? {
            continue;
        }
        let position = Position(views.checkpoint(family.name).await?);
        let switched = |operation, note| GenerationSwitched {
            operation,
            family: family.name.to_owned(),
            version: family.version.into(),
            from,
            to: number,
            position,
            note,
        };
        recorder.record(switched).await?;
    }
    Ok(())
}

/// # Errors
/// If a family cannot be built.
pub async fn prepare(settings: PrepareSettings) -> Result<()> {
    let PrepareSettings { note, build, access } = settings;
    let (log, views) = access.open().await?;
    let has_none = |projection: &Arc<dyn Projection>| {
        let record = views.family(projection.name()).ok().and_then(|family| views.record(family));
        record.is_none_or(|record| record.serving.is_none() && record.fed().next().is_none())
    };
    let missing: Vec<_> = projections(&build.feeds).into_iter().filter(has_none).collect();
    if missing.is_empty() {
        return say("all views of this version are there: nothing to prepare");
    }
    let recorder = Recorder::open(&access, &note).await?;
    let claimed = claim(&views, &missing).await?;
    let settings = build.settings(true);
    let built = build_generations(&recorder, &log, &views, &missing, claimed, &settings).await?;
    for Built { family, number } in built {
        say(&format!(
            "{} version {}: generation {number} is built; it serves when a server of this version starts",
            family.name, family.version
        ))?;
    }
    Ok(())
}

/// # Errors
/// If there is no such generation, or no projector makes the switch.
pub async fn rollback(settings: SwitchSettings) -> Result<()> {
    let SwitchSettings { family, generation, note, access } = settings;
    let recorder = Recorder::open(&access, &note).await?;
    let views = access.open_views().await?;
    let family = views.family(&family)?;
    let mut problem = None;
    let (mut wanted, mut before) = (0, None);
    let ask = |record: Option<&Generations>| {
        let record = record?;
        let Some(number) = generation.or(record.previous) else {
            problem = Some(format!("{} has no generation that served before", family.name));
            return None;
        };
        (wanted, before) = (number, record.serving);
        if record.fed().all(|fed| fed.number != number) {
            problem = Some(format!("{} has no generation {number} that could serve", family.name));
            return None;
        }
        Some(Generations { wanted: Some(number), gate: false, ..record.clone() })
    };
    let (record, _) = views.change(family, ask).await?;
    ensure!(record.is_some(), "no server has started with version {} of {}", family.version, family.name);
    if let Some(problem) = problem {
        bail!("{problem}; `chorus generations` lists what there is");
    }
    if !wait_until_serving(&views, family, wanted).await? {
        return Ok(());
    }
    let position = Position(views.checkpoint(family.name).await?);
    let Some(from) = before.filter(|before| *before != wanted) else { return Ok(()) };
    let rolled_back = |operation, note| GenerationRolledBack {
        operation,
        family: family.name.to_owned(),
        version: family.version.into(),
        from,
        to: wanted,
        position,
        note,
    };
    recorder.record(rolled_back).await
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
    let DropSettings { family, generation, version, note, access } = settings;
    let recorder = Recorder::open(&access, &note).await?;
    let views = access.open_views().await?;
    let own = views.family(&family)?;
    let version = version.unwrap_or(own.version);
    let is_own = version == own.version;
    let of_version: &'static Family =
        if is_own { own } else { Box::leak(Box::new(Family { version, ..*own })) };
    let mut problem = None;
    let mut number = 0;
    let mark = |record: Option<&Generations>| {
        let mut record = record?.clone();
        let Some(chosen) = generation.or(record.previous) else {
            problem = Some(format!("{family} has no generation that served before"));
            return None;
        };
        number = chosen;
        // What an older program has left serves nobody any more, if that program does not run.
        if is_own && (record.serving == Some(chosen) || record.wanted == Some(chosen)) {
            problem = Some(format!("generation {chosen} of {family} serves"));
            return None;
        }
        match record.get_mut(chosen) {
            None => {
                problem = Some(format!("{family} version {version} has no generation {chosen}"));
                None
            }
            Some(found) => {
                found.state = GenerationState::Dropping;
                record.previous = record.previous.filter(|previous| *previous != chosen);
                record.serving = record.serving.filter(|serving| *serving != chosen);
                Some(record)
            }
        }
    };
    let (record, marked) = views.change(of_version, mark).await?;
    ensure!(record.is_some(), "no server has ever started with version {version} of {family}");
    if let Some(problem) = problem {
        bail!("{problem}; `chorus generations` lists what there is");
    }
    debug_assert!(marked, "a problem is named otherwise");
    // A projector that feeds it lets go first, and deletes it.
    let since = Instant::now();
    let is_listed = |record: Option<Generations>| record.is_some_and(|record| record.get(number).is_some());
    while is_own && since.elapsed() < ADOPTION_LIMIT {
        views.refresh().await?;
        if !is_listed(views.record(of_version)) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    if is_listed(views.record(of_version)) {
        ensure!(!of_version.is_in_base(number), "no projector runs: generation 0 is dropped when one starts");
        drop_generation(&views, of_version, number).await?;
    }
    let dropped = |operation, note| GenerationDropped {
        operation,
        family: of_version.name.to_owned(),
        version: version.into(),
        generation: number,
        note,
    };
    recorder.record(dropped).await?;
    say(&format!("dropped generation {number} of {family} version {version}"))
}

fn named(known: Vec<Arc<dyn Projection>>, names: &[String]) -> Result<Vec<Arc<dyn Projection>>> {
    for name in names {
        if known.iter().all(|projection| projection.name() != name) {
            let all: Vec<&str> = known.iter().map(|projection| projection.name()).collect();
            bail!("there is no family `{name}`; there are {}", all.join(", "));
        }
    }
    Ok(known.into_iter().filter(|projection| names.iter().any(|name| projection.name() == name)).collect())
}

/// Builds with progress on stderr. What an interrupted builder has left, the next one deletes.
async fn build_generations(
    recorder: &Recorder,
    log: &SealedLog,
    views: &Views,
    chosen: &[Arc<dyn Projection>],
    claimed: Vec<Built>,
    settings: &BuildSettings,
) -> Result<Vec<Built>> {
    let bar = fold_bar("fold")?;
    let work = async {
        let built = build(log, views, chosen, &claimed, settings, &follow_fold(&bar)).await;
        bar.finish_and_clear();
        Ok(built?)
    };
    // Beside the work, which must begin at once.
    let record = async {
        for Built { family, number } in &claimed {
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
    Ok(claimed)
}

/// False if no projector runs that could make the generation serve.
async fn wait_until_serving(views: &Views, family: &'static Family, number: u64) -> Result<bool> {
    let since = Instant::now();
    loop {
        views.refresh().await?;
        let record = views.record(family).context("its record is gone")?;
        let generation = record.get(number);
        if record.serving == Some(number) && record.wanted.is_none() {
            let kept = record.previous.map_or_else(String::new, |previous| {
                format!("; generation {previous} is kept for `chorus rollback {}`", family.name)
            });
            say(&format!("{}: generation {number} serves now{kept}", family.name))?;
            return Ok(true);
        }
        let Some(generation) = generation else { bail!("{}: generation {number} was dropped", family.name) };
        ensure!(
            record.wanted == Some(number) || record.serving.is_none(),
            "{}: another switch was asked for meanwhile",
            family.name
        );
        if generation.state == GenerationState::Ready && since.elapsed() > ADOPTION_LIMIT {
            say(&format!(
                "{}: no projector runs, so generation {number} serves when one starts",
                family.name
            ))?;
            return Ok(false);
        }
        ensure!(
            since.elapsed() < SWITCH_LIMIT,
            "{}: generation {number} does not catch up; `chorus views` and the projector's log say why",
            family.name
        );
        tokio::time::sleep(POLL).await;
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
