//! The documents of views for operators: which projection writes them, how two differ, and how they are shown.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use events::SealedLog;
use indicatif::{ProgressBar, ProgressStyle};
use projector::fold::{Family, FoldOptions, FoldProgress};
use projector::{Projection, projections};
use serde_json::{Map, Value};
use service::config::{FeedSettings, ViewSettings};
use views::{SqliteViews, StoredDocument, View, ViewStore, Views};

use super::{LogAccess, open_views};

/// Stands for a personal value that is not revealed.
pub(super) const PERSONAL_MARK: &str = "▒ personal";
/// Between two lines of progress where no terminal shows a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Page cache of the scratch file of a single family.
pub(super) const CACHE: usize = 64 << 20;

/// The fields of a document that count: engines may store the key as a field, and omit empty fields.
pub(super) type Fields = Map<String, Value>;

pub(super) fn fields(document: &StoredDocument) -> Result<Fields> {
    let mut fields: Fields = document.read()?;
    fields.retain(|name, value| name != "_id" && !value.is_null());
    Ok(fields)
}

/// The names of the fields that are not the same.
pub(super) fn changed(before: Option<&Fields>, after: Option<&Fields>) -> Vec<String> {
    let names: BTreeSet<&String> = before.into_iter().chain(after).flat_map(Map::keys).collect();
    let value = |fields: Option<&'_ Fields>, name: &str| fields.and_then(|fields| fields.get(name)).cloned();
    let apart = names.into_iter().filter(|name| value(before, name) != value(after, name));
    apart.cloned().collect()
}

/// How much of the machine a fold of the log may take.
#[derive(Debug, Clone, Args)]
pub(super) struct FoldShare {
    /// Threads that build views; one more reads the log [default: half of the cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Memory for page caches, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    cache: u32,
}

impl FoldShare {
    pub(super) fn options(&self) -> FoldOptions {
        let options = FoldOptions::default();
        FoldOptions { workers: self.workers.map_or(options.workers, usize::from), ..options }
    }

    /// In bytes, of all families together.
    pub(super) fn cache(&self) -> usize {
        self.cache as usize * (1 << 20)
    }
}

/// Settings of verbs that fold the log and compare with the views.
#[derive(Debug, Clone, Args)]
pub(super) struct FoldAccess {
    #[command(flatten)]
    pub log: LogAccess,
    #[command(flatten)]
    views: ViewSettings,
    #[command(flatten)]
    feeds: FeedSettings,

    /// Folder for temporary files, which may become as large as the views [default: the system's]
    #[arg(long, env = "CHORUS_SCRATCH", value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

impl FoldAccess {
    /// Opens log and views to be read only.
    pub(super) async fn open(&self) -> Result<(SealedLog, Arc<dyn ViewStore>)> {
        let (log, views) = self.open_views().await?;
        Ok((log, Arc::new(views)))
    }

    /// Opens log and views, with all generations, to be read only.
    pub(super) async fn open_views(&self) -> Result<(SealedLog, Views)> {
        let log = self.log.open_sealed().await?;
        Ok((log, open_views(&self.views.url(&self.log.place)).await?))
    }

    /// All projections, with the settings of the server.
    pub(super) fn projections(&self) -> Vec<Arc<dyn Projection>> {
        projections(&self.feeds)
    }

    /// The projection that writes a view.
    pub(super) fn projection_of(&self, view: &str) -> Result<(Arc<dyn Projection>, &'static View)> {
        let projection = self.projections().into_iter().find(|one| one.views().contains(&view));
        let known = views::all().iter().find(|known| known.name == view);
        match (projection, known) {
            (Some(projection), Some(view)) => Ok((projection, view)),
            _ => bail!("there is no view `{view}`: `chorus views` lists all"),
        }
    }

    /// A folder that is deleted when it is dropped.
    pub(super) fn scratch_folder(&self) -> Result<tempfile::TempDir> {
        let folder = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("chorus-scratch-").tempdir_in(&folder);
        made.with_context(|| format!("creating a temporary folder in {} (--scratch)", folder.display()))
    }
}

/// A projection with a new scratch file.
pub(super) async fn scratch_family(
    projection: Arc<dyn Projection>,
    folder: &Path,
    cache: usize,
) -> Result<Family> {
    let path = folder.join(format!("{}.db", projection.name()));
    let store = SqliteViews::create_scratch(&path, views_of(&*projection), cache).await;
    let store = store.with_context(|| format!("creating {}", path.display()))?;
    Ok(Family { projection, store: Arc::new(store) })
}

/// The views that a projection writes.
pub(super) fn views_of(projection: &dyn Projection) -> Vec<&'static View> {
    let names = projection.views();
    views::all().iter().copied().filter(|view| names.contains(&view.name)).collect()
}

/// A bar on the error output that follows a fold.
pub(super) fn fold_bar(what: &'static str) -> Result<ProgressBar> {
    let style = "{msg} {bar:30} {human_pos} of {human_len} events ({per_sec}, {eta} left)";
    Ok(ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?).with_message(what))
}

/// Moves a bar. Where no terminal shows it, writes a line from time to time.
pub(super) fn follow_fold(bar: &ProgressBar) -> impl Fn(FoldProgress) + Send + Sync + '_ {
    let last_line = Mutex::new(Instant::now());
    move |progress| {
        let FoldProgress { position, target, events_per_second, left } = progress;
        bar.set_length(target.0);
        bar.set_position(position.0);
        let mut last_line = last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.is_hidden() && last_line.elapsed() >= LINE_INTERVAL {
            *last_line = Instant::now();
            let left = left.map_or_else(String::new, |left| format!(", {} s left", left.as_secs()));
            // Nobody reads it if it cannot be written.
            let _ = writeln!(
                std::io::stderr(),
                "{position} of {target} events, {events_per_second:.0} a second{left}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_differ_are_named() {
        let fields = |value: Value| value.as_object().cloned().unwrap();
        let (one, other) =
            (fields(json!({ "a": 1, "b": 2, "c": 3 })), fields(json!({ "a": 1, "b": 3, "d": 4 })));
        assert_eq!(changed(Some(&one), Some(&other)), ["b", "c", "d"]);
        assert_eq!(changed(None, Some(&one)), ["a", "b", "c"]);
        assert_eq!(changed(Some(&one), Some(&one)), [""; 0]);
    }
}
