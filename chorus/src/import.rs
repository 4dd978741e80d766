//! `chorus import`: the operator publishes the songs of a music folder. Running it again publishes what is new, and leaves
//! everything else as it is. It never removes a song: a folder that is not mounted looks like an empty one.

mod albums;
mod files;
mod pictures;
mod record;
mod samplers;
mod years;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use albums::{Content, Read, Waiting};
use anyhow::{Context, Result, bail, ensure};
use audio::Probed;
use clap::{Args, ValueEnum};
use command_api::music::importing::{AlbumChoice, ImportError, Importer, KnownSong, Sampler};
use events::{AudioHash, SongVisibility};
use files::{Folder, Found, Refused, Version, refused};
use futures::{FutureExt, Stream, StreamExt, stream};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use pictures::Pictures;
use record::{Imported, Record};
use samplers::Track;
use serde::Serialize;
use service::config::{LogSettings, MediaSettings, PlaceSettings};
use service::shutdown::asked_to_end;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::commands;

/// Files in progress at the same time. Most wait for a disk; as many as there are cores are being read. An account may have as
/// many pictures in work, which are the covers here.
const AT_ONCE: usize = 8;
/// Between two lines of progress where no terminal shows a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Takes the same settings as the server whose log it writes to, which may be running.
#[derive(Debug, Args)]
pub struct Settings {
    /// Folder with audio files, also in folders below it
    folder: PathBuf,

    /// Username or email address of the account that publishes the songs: an admin, or an artist
    #[arg(long = "as", value_name = "USERNAME")]
    publisher: String,

    /// Who can see and play new songs
    #[arg(long, value_enum, default_value_t)]
    visibility: Visibility,

    /// Read and check the files, and publish nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    media: MediaSettings,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Visibility {
    /// Everybody
    #[default]
    Public,
    /// Everybody who knows the song's id
    Unlisted,
    /// Only the account that publishes it
    Private,
}

impl From<Visibility> for SongVisibility {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self::Public,
            Visibility::Unlisted => Self::Unlisted,
            Visibility::Private => Self::Private,
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    New,
    /// The catalogue has the song already.
    Same,
    /// Its tags were edited since the last import.
    Retagged,
    /// It was under another path at the last import.
    Moved,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    /// False if the import was stopped before it had read every file.
    complete: bool,
    /// Audio files in the folder.
    files: u64,
    /// Their bytes.
    bytes: u64,
    new: u64,
    same: u64,
    retagged: u64,
    moved: u64,
    /// Files that are no audio.
    others: u64,
    seconds: f64,
    refused: Vec<Refused>,
    /// Files and folders that could not be read.
    unreadable: Vec<Refused>,
}

/// # Errors
/// If the folder cannot be read, the account may not publish, or the import is stopped.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { folder, publisher, visibility, dry_run, json, place, log, media } = settings;
    let root = root_of(&folder)?;
    let commands = commands::open(&place, &log, &media).await?;
    let importer = Importer::new(commands, &publisher, visibility.into()).await;
    let importer = importer.map_err(|problem| anyhow::anyhow!("{publisher}: {}", problem.detail))?;
    let Some(importer) = importer else { bail!("no user has the username or address `{publisher}`") };
    let record = Mutex::new(Record::open(&place.data)?);
    let Folder { audio, unreadable, others, pictures } = files::list(&root);
    let report = Report { dry_run, others, unreadable, ..Report::default() };
    let import = Import { importer, record, pictures, dry_run, turns: Semaphore::new(AT_ONCE) };
    let (report, ended) = import.all(audio, report).await?;
    print(&report, json)?;
    ended
}

/// The folder to import. A single file is refused: its album depends on the other files of its folder.
fn root_of(folder: &Path) -> Result<PathBuf> {
    let root = folder.canonicalize().with_context(|| format!("opening {}", folder.display()))?;
    ensure!(
        root.is_dir(),
        "{} is not a folder: the files of a folder decide together which album they are on, so name the folder \
         of the file",
        folder.display()
    );
    Ok(root)
}

struct Import {
    importer: Importer,
    record: Mutex<Record>,
    pictures: Pictures,
    dry_run: bool,
    /// Files in progress, of all folders.
    turns: Semaphore,
}

/// What is known of a file after the first look.
enum Look {
    Done(Outcome),
    Waits(Option<Track>, Content),
}

type Done = (Result<Outcome, ImportError>, Found);

impl Import {
    /// Imports all files. The second result is an error if it ended before the last one.
    async fn all(&self, files: Vec<Found>, mut report: Report) -> Result<(Report, Result<()>)> {
        report.files = files.len() as u64;
        report.bytes = files.iter().map(|file| file.version.size).sum();
        let mut progress = Progress::start(&report)?;
        let stopped = async {
            if let Err(error) = asked_to_end().await {
                // Without a handler, the signal ends the process at once, as usual.
                tracing::warn!(%error, "signals cannot be handled");
                std::future::pending::<()>().await;
            }
        };
        let stopped = stopped.boxed().shared();
        let mut folders: BTreeMap<PathBuf, Vec<Found>> = BTreeMap::new();
        for file in files {
            let folder = file.path.parent().map(Path::to_owned).unwrap_or_default();
            folders.entry(folder).or_default().push(file);
        }
        let folders =
            stream::iter(folders.into_values()).map(|files| self.folder(files, stopped.clone()).boxed());
        let mut done = folders.flatten_unordered(AT_ONCE);
        let mut ended = Ok(());
        while let Some((outcome, file)) = done.next().await {
            match outcome {
                Ok(Outcome::New) => report.new += 1,
                Ok(Outcome::Same) => report.same += 1,
                Ok(Outcome::Retagged) => report.retagged += 1,
                Ok(Outcome::Moved) => report.moved += 1,
                Err(ImportError::Refused(reason)) => report.refused.push(refused(&file.path, reason)),
                Err(ImportError::Failed(problem)) => {
                    let text = format!(
                        "the import was stopped at {}, run it again to continue: {problem}",
                        file.name
                    );
                    ended = Err(match problem.cause {
                        Some(cause) => anyhow::Error::from_boxed(cause).context(text),
                        None => anyhow::anyhow!(text),
                    });
                    break;
                }
            }
            progress.advance(&file);
        }
        drop(done);
        report.seconds = progress.finish();
        report.refused.sort_by(|one, other| one.file.cmp(&other.file));
        report.complete = progress.files == report.files;
        if !report.complete && ended.is_ok() {
            ended = Err(anyhow::anyhow!("the import was interrupted: run it again to continue"));
        }
        Ok((report, ended))
    }

    /// Imports the files of one folder; those whose album depends on others after all have been looked at.
    fn folder(
        &self,
        files: Vec<Found>,
        stopped: impl Future<Output = ()> + Clone + Send,
    ) -> impl Stream<Item = Done> + Send {
        let waiting = Arc::new(Mutex::new(Vec::new()));
        let later = Arc::clone(&waiting);
        let first = stream::iter(files)
            .take_until(stopped.clone())
            .map(async |file| (self.look(&file).await, file))
            .buffer_unordered(AT_ONCE)
            .filter_map(move |(look, file)| {
                let done = match look {
                    Ok(Look::Done(outcome)) => Some((Ok(outcome), file)),
                    Ok(Look::Waits(track, content)) => {
                        let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
                        later.push(Waiting { file, track, content });
                        None
                    }
                    Err(error) => Some((Err(error), file)),
                };
                std::future::ready(done)
            });
        let second = stream::once(async move {
            let waiting = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let choices = self.choices(&waiting).await;
            let (decided, failed): (Vec<_>, Option<Done>) = match choices {
                Ok(choices) => (waiting.into_iter().zip(choices).collect(), None),
                // The log cannot be read: that ends the import, so one file stands for all.
                Err(error) => (Vec::new(), waiting.into_iter().next().map(|one| (Err(error), one.file))),
            };
            let decided = stream::iter(decided)
                .take_until(stopped)
                .map(async |(Waiting { file, track, content }, choice)| {
                    (self.decided(&file, track, content, choice).await, file)
                })
                .buffer_unordered(AT_ONCE);
            stream::iter(failed).chain(decided)
        });
        first.chain(second.flatten())
    }

    /// Imports a file unless its album depends on other files of its folder.
    async fn look(&self, file: &Found) -> Result<Look, ImportError> {
        let _turn = self.turn().await?;
        if let Some(earlier) = self.unchanged(file)
            && self.is_known(&earlier).await?
        {
            return Ok(Look::Waits(earlier.track.clone(), Content::Unchanged(Box::new(earlier))));
        }
        let probed = self.probe(file).await?;
        let (track, album) = (Track::of(&probed.tags), self.importer.album_of_tags(&probed).await?);
        if track.is_none() && album.is_none() {
            return Ok(Look::Done(self.one(file, &probed, None, AlbumChoice::Tagged).await?));
        }
        Ok(Look::Waits(track, Content::Read(Box::new(Read { probed, album }))))
    }

    /// Imports a file whose album is known now. It may be another one than at the last import, if the folder has changed.
    async fn decided(
        &self,
        file: &Found,
        track: Option<Track>,
        content: Content,
        choice: AlbumChoice,
    ) -> Result<Outcome, ImportError> {
        let _turn = self.turn().await?;
        let probed = match content {
            Content::Read(read) => read.probed,
            Content::Unchanged(earlier) if earlier.sampler == choice.sampler() => return Ok(Outcome::Same),
            Content::Unchanged(_) => self.probe(file).await?,
        };
        self.one(file, &probed, track, choice).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, ImportError> {
        self.turns.acquire().await.map_err(|error| failed(error.into()))
    }

    /// The last import of a file that was not written to since.
    fn unchanged(&self, file: &Found) -> Option<Imported> {
        self.record().of_file(&file.name).filter(|earlier| earlier.version == file.version).cloned()
    }

    async fn probe(&self, file: &Found) -> Result<Probed, ImportError> {
        let probed = self.importer.probe(&file.path).await?;
        // It may be written to at this moment.
        if Version::of(&file.path).ok() != Some(file.version) {
            return Err(ImportError::Refused("the file has changed: run the import again".into()));
        }
        Ok(probed)
    }

    async fn one(
        &self,
        file: &Found,
        probed: &Probed,
        track: Option<Track>,
        choice: AlbumChoice,
    ) -> Result<Outcome, ImportError> {
        let sampler = choice.sampler();
        // Without the year that was chosen: files whose tags are as before keep their album.
        let (audio, tags) = (probed.hash, hash_of_tags(probed, sampler)?);
        let earlier = self.take_earlier(file, audio);
        let moved_from = earlier.as_ref().map(|earlier| earlier.file.clone());
        let moved_from = moved_from.filter(|earlier| *earlier != file.name);
        let (outcome, song) = match earlier {
            Some(earlier) if self.is_known(&earlier).await? => {
                (self.again(file, probed, (tags, choice), &earlier).await?, earlier.song)
            }
            _ if self.dry_run => return Ok(Outcome::New),
            _ => {
                let beside = self.pictures.beside(&file.path);
                let (song, is_new) = self.importer.publish(&file.path, probed, choice, &beside).await?;
                (if is_new { Outcome::New } else { Outcome::Same }, song)
            }
        };
        if !self.dry_run {
            let (name, version) = (file.name.clone(), file.version);
            let imported = Imported { file: name, version, audio, tags, song, track, sampler };
            self.record().add(imported, moved_from).map_err(failed)?;
        }
        Ok(outcome)
    }

    /// A file whose audio is known: it keeps its song, whatever its tags say now.
    async fn again(
        &self,
        file: &Found,
        probed: &Probed,
        (tags, choice): (AudioHash, AlbumChoice),
        earlier: &Imported,
    ) -> Result<Outcome, ImportError> {
        if tags == earlier.tags {
            return Ok(if earlier.file == file.name { Outcome::Same } else { Outcome::Moved });
        }
        if !self.dry_run {
            self.importer.retag(earlier.song, probed, choice).await?;
        }
        Ok(Outcome::Retagged)
    }

    /// Whether the song of an earlier import is still there.
    async fn is_known(&self, earlier: &Imported) -> Result<bool, ImportError> {
        match self.importer.known(earlier.song).await? {
            KnownSong::Present => Ok(true),
            KnownSong::Removed => Err(ImportError::Refused(format!(
                "its song {} was removed: restore it instead",
                earlier.song
            ))),
            KnownSong::Absent => Ok(false),
        }
    }

    /// An earlier import of the same audio, under this path or one that is gone. No other file can take its song over.
    fn take_earlier(&self, file: &Found, audio: AudioHash) -> Option<Imported> {
        let mut record = self.record();
        let earlier = record.earlier(&file.name, audio)?;
        record.forget(&earlier.file);
        Some(earlier)
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: anyhow::Error) -> ImportError {
    ImportError::Failed(web::problem::Problem::internal(error))
}

/// Of what decides the details of a song.
fn hash_of_tags(probed: &Probed, sampler: Option<Sampler>) -> Result<AudioHash, ImportError> {
    let tags = match sampler {
        Some(sampler) => serde_json::to_vec(&(&probed.tags, sampler)),
        None => serde_json::to_vec(&probed.tags),
    };
    let tags = tags.map_err(|error| failed(error.into()))?;
    Ok(AudioHash::new(Sha256::digest(tags).into()))
}

/// Files, bytes, rate and time left, on standard error: a bar in a terminal, else a line from time to time.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    files: u64,
    all_files: u64,
    last_line: Option<Instant>,
}

impl Progress {
    fn start(report: &Report) -> Result<Self> {
        let style = "{bar:30} {msg}  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let bar = ProgressBar::new(report.bytes).with_style(ProgressStyle::with_template(style)?);
        let started = Instant::now();
        let last_line = (!std::io::stderr().is_terminal()).then_some(started);
        Ok(Self { bar, started, files: 0, all_files: report.files, last_line })
    }

    fn advance(&mut self, file: &Found) {
        self.files += 1;
        self.bar.inc(file.version.size);
        let elapsed = self.started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.files as f64 / elapsed.max(f64::MIN_POSITIVE);
        let text = format!("{} of {} files, {rate:.0} a second", self.files, self.all_files);
        if self.last_line.is_some_and(|last| last.elapsed() >= LINE_INTERVAL) {
            self.last_line = Some(Instant::now());
            let bytes = HumanBytes(self.bar.position());
            // Nobody reads it if it cannot be written.
            let _ = writeln!(std::io::stderr(), "{text}, {bytes}, {} left", HumanDuration(self.bar.eta()));
        }
        self.bar.set_message(text);
    }

    /// The seconds it took.
    fn finish(&self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }
}

fn print(report: &Report, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
        return Ok(());
    }
    for (what, files) in [("unreadable", &report.unreadable), ("refused", &report.refused)] {
        for Refused { file, reason } in files {
            writeln!(out, "{what:10}  {file}: {reason}")?;
        }
    }
    let counts = [
        (report.new, "new"),
        (report.same, "already there"),
        (report.retagged, "with edited tags"),
        (report.moved, "moved"),
        (report.refused.len() as u64, "refused"),
        (report.unreadable.len() as u64, "unreadable"),
    ];
    let counts = counts.map(|(count, what)| format!("{count} {what}"));
    let (files, bytes) = (report.files, HumanBytes(report.bytes));
    let mode = if report.dry_run { " (nothing was published)" } else { "" };
    writeln!(out, "{files} audio files, {bytes}, in {:.0} s: {}{mode}", report.seconds, counts.join(", "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("song.flac");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(root_of(folder.path()).unwrap(), folder.path().canonicalize().unwrap());
        let refused = root_of(&file).unwrap_err().to_string();
        assert!(refused.contains("song.flac is not a folder"), "{refused}");
        assert!(root_of(&folder.path().join("missing")).is_err());
    }
}
