//! Measures the loudness, the peak and the waveform of published songs, one at a time. The outcome is an event, so a song is
//! analysed once, also if the view store is rebuilt.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use audio::{Analyser, ProbeError};
use events::{
    AudioAnalysis, AudioFile, Draft, Event, EventId, Kind, LogError, MusicEvent, Position, Recorded,
    SealedLog, SongAnalysed, SongEvent, SongId, Subject, time_ordered_id,
};
use futures::StreamExt;
use media::{MediaKey, MediaStore};
use service::clock::Clock;
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use views::ViewStore;

use super::idempotent::{self, IdempotentReaction};
use crate::Statuses;
use crate::engine::checkpoint::Pause;
use crate::engine::log::append_at;

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "analyses-reaction";
/// Attempts to read and decode a file while the media store is reachable. Most failures repeat; a busy machine does not.
const ATTEMPTS: u32 = 3;

/// The dependencies of the reaction.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub media: Arc<dyn MediaStore>,
    pub clock: Arc<dyn Clock>,
    /// Where the file that is being analysed is kept.
    pub folder: PathBuf,
    pub analyser: Analyser,
}

struct Analyses {
    log: SealedLog,
    media: Arc<dyn MediaStore>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    analyser: Analyser,
    /// Held while a song is analysed, so that decoding never takes more than one core.
    turn: Mutex<()>,
}

/// Why a song is not analysed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the media store has no file {0}")]
    Missing(String),
    #[error("the file could not be read from the media store")]
    Media(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the file could not be kept in the data folder")]
    Disk(#[source] std::io::Error),
    #[error("the file could not be analysed")]
    Probe(#[source] ProbeError),
}

/// Starts the reaction.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let Parts { log, store, media, clock, folder, analyser } = parts;
    let raw = Arc::clone(log.raw());
    let turn = Mutex::default();
    idempotent::run(Analyses { log, media, clock, folder, analyser, turn }, raw, store, tasks)
}

#[async_trait]
impl IdempotentReaction for Analyses {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Song]
    }

    async fn effect(&self, recorded: &Recorded) -> Result<(), String> {
        let Event::Music(MusicEvent::Song(SongEvent::SongPublished(published))) = &recorded.event else {
            return Ok(());
        };
        let _turn = self.turn.lock().await;
        let last = self.unanalysed(published.song).await.map_err(|error| with_causes(&error))?;
        let Some(last) = last else { return Ok(()) };
        let analysis = self.analyse(&published.file).await.map_err(|error| with_causes(&error))?;
        self.record(recorded, published.song, analysis, last).await.map_err(|error| with_causes(&error))
    }
}

impl Analyses {
    /// The position of the last event of a song that is not analysed. Retries during outages.
    async fn unanalysed(&self, song: SongId) -> Result<Option<Position>, LogError> {
        let read = || self.log.raw().read(Subject::Song(song), Position::START);
        let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
        let stored = retry_until_available("the event log", read, is_outage).await?;
        let mut last = Position::START;
        for event in stored {
            let recorded = Recorded::sealed(event)?;
            if matches!(recorded.event, Event::Music(MusicEvent::Song(SongEvent::SongAnalysed(_)))) {
                return Ok(None);
            }
            last = recorded.position;
        }
        Ok(Some(last))
    }

    /// Retries during outages of the media store, and a few times otherwise. A file that cannot be decoded has an outcome, too.
    async fn analyse(&self, file: &AudioFile) -> Result<AudioAnalysis, Failed> {
        let mut pause = Pause::default();
        let mut attempts = 0;
        loop {
            let error = match self.try_analyse(file).await {
                Ok(analysis) => return Ok(analysis),
                Err(error) => error,
            };
            // Do not count attempts while the whole store is unreachable.
            if self.media.check().await.is_ok() {
                attempts += 1;
            }
            if attempts < ATTEMPTS {
                pause.wait_out(NAME, &error).await;
                continue;
            }
            return match &error {
                Failed::Probe(ProbeError::Refused(refusal)) => {
                    tracing::warn!(media = %file.media, %refusal, "a song is given up: its file cannot be analysed");
                    metrics::counter!("chorus_analyses_given_up_total").increment(1);
                    Ok(AudioAnalysis::Unsupported)
                }
                Failed::Missing(_)
                | Failed::Media(_)
                | Failed::Disk(_)
                | Failed::Probe(ProbeError::Failed(_)) => Err(error),
            };
        }
    }

    async fn try_analyse(&self, file: &AudioFile) -> Result<AudioAnalysis, Failed> {
        let key = file.key();
        let missing = || Failed::Missing(key.clone());
        let parsed = MediaKey::parse(&key).ok_or_else(missing)?;
        let object = self.media.get(&parsed, None).await.map_err(|error| Failed::Media(error.into()))?;
        let mut body = object.ok_or_else(missing)?.body;
        // Without a name: a crash leaves nothing behind.
        let kept = tempfile::tempfile_in(&self.folder).map_err(Failed::Disk)?;
        let mut kept = tokio::fs::File::from_std(kept);
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| Failed::Media(error.into()))?;
            kept.write_all(&part).await.map_err(Failed::Disk)?;
        }
        kept.flush().await.map_err(Failed::Disk)?;
        let measured = self.analyser.analyse(kept.into_std().await).await.map_err(Failed::Probe)?;
        Ok(measured.map_or(AudioAnalysis::Unsupported, |measured| AudioAnalysis::Measured {
            loudness: measured.loudness,
            peak: measured.peak,
            waveform: measured.waveform,
        }))
    }

    /// Appends the outcome unless another worker has done so.
    async fn record(
        &self,
        published: &Recorded,
        song: SongId,
        analysis: AudioAnalysis,
        mut last: Position,
    ) -> Result<(), LogError> {
        let now = self.clock.now();
        let draft = Draft {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: published.envelope.correlation,
            causation: Some(published.envelope.id),
            traceparent: None,
            event: SongAnalysed { song, analysis }.into(),
        };
        while !append_at(&self.log, NAME, &draft, last).await? {
            // The song was edited or removed meanwhile.
            match self.unanalysed(song).await? {
                Some(position) => last = position,
                None => return Ok(()),
            }
        }
        metrics::counter!("chorus_songs_analysed_total").increment(1);
        Ok(())
    }
}
