//! How fast all views are rebuilt: by the runner as before, by the fast fold, and what the engine itself needs for the
//! same documents.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use events::{Position, SealedLog};
use mongodb::bson::{self, RawDocumentBuf};
use projector::Projection;
use projector::fold::{Family, FoldOptions, fold};
use rusqlite::Connection;
use serde_json::{Map, Value};
use service::config::FeedSettings;
use views::{MongoViews, SqliteViews, View, ViewStore};

use super::catch_up::project;
use super::{Findings, progress};
use crate::deployment::Engine;
use crate::table::{Bound, Ratio, rate};
use crate::world;

/// Page cache of each scratch file.
const CACHE: usize = 256 << 20;
/// Documents per page of a comparison or a bare insert.
const PAGE: usize = 5000;
/// The share of the log for the comparison of lengths.
const PART: u64 = 10;

/// Scratch files of all projections.
struct Scratch {
    families: Vec<(Family, Arc<SqliteViews>)>,
}

impl Scratch {
    async fn create(folder: &Path) -> Result<Self> {
        let mut families = Vec::new();
        for projection in projector::projections(&FeedSettings::default()) {
            let path = folder.join(format!("{}.db", projection.name()));
            let store = Arc::new(SqliteViews::create_scratch(&path, views_of(&*projection), CACHE).await?);
            families.push((Family { projection, store: store.clone() as Arc<dyn ViewStore> }, store));
        }
        Ok(Self { families })
    }

    async fn fold(&self, log: &SealedLog, to: Position) -> Result<Duration> {
        let families: Vec<Family> = self.families.iter().map(|(family, _)| family.clone()).collect();
        Ok(fold(log, &families, to, &FoldOptions::default(), &|_| {}).await?.taken)
    }

    async fn finish(&self) -> Result<Duration> {
        let started = Instant::now();
        for (_, store) in &self.families {
            store.finish().await?;
        }
        Ok(started.elapsed())
    }
}

fn views_of(projection: &dyn Projection) -> Vec<&'static View> {
    let names = projection.views();
    views::all().iter().copied().filter(|view| names.contains(&view.name)).collect()
}

pub(crate) async fn rebuild(engine: Engine, length: usize, findings: &mut Findings) -> Result<()> {
    let (chorus, name) = (engine.start().await?, engine.name());
    progress(&format!("{name}: appending {length} events"));
    let log = chorus.log().await?;
    world::append_history(&log, length).await?;
    // The deployment's own projector must be idle, and its mails in the log.
    chorus.settle().await?;
    let head = log.raw().head().await?;
    let folder = tempfile::tempdir_in(chorus.folder())?;
    let per_second = |events: u64, taken: Duration| {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let events = events as f64;
        events / taken.as_secs_f64()
    };

    progress(&format!("{name}: the runner"));
    let setting = match &chorus.mongo {
        None => format!("sqlite:{}", folder.path().join("views.db").display()),
        Some(mongo) => mongo.url("runner"),
    };
    let of_runner = Arc::clone(views::open(&setting).await?.base());
    let projections = projector::projections(&FeedSettings::default());
    let plain = project(&chorus, Arc::clone(&of_runner), projections, head.0).await?;

    progress(&format!("{name}: the fold"));
    let part = Position(head.0 / PART);
    let (small, whole) = (folder.path().join("small"), folder.path().join("whole"));
    std::fs::create_dir(&small)?;
    std::fs::create_dir(&whole)?;
    let of_part = Scratch::create(&small).await?.fold(&log, part).await?;
    let scratch = Scratch::create(&whole).await?;
    let folded = scratch.fold(&log, head).await?;
    for (family, store) in &scratch.families {
        for view in views_of(&*family.projection) {
            compare(&**store, &*of_runner, view).await?;
        }
    }

    progress(&format!("{name}: the documents alone"));
    let (finished, bare, loaded_by) = match &chorus.mongo {
        None => {
            let finished = scratch.finish().await?;
            (finished, copy_into_sqlite(&whole, folder.path())?, "SQLite, sorted, indexes last")
        }
        Some(mongo) => {
            let bare = insert_into_mongo(&scratch, &mongo.url("bare")).await?;
            let mut loaded = Duration::ZERO;
            for (family, store) in &scratch.families {
                // Views of one family, as a rebuild has them; they last as long as the program.
                let written: &'static [&'static View] = views_of(&*family.projection).leak();
                let target = MongoViews::open(&mongo.url("loaded"), written).await?;
                let started = Instant::now();
                target.load(&**store, family.projection.name(), written, &|_| {}).await?;
                loaded += started.elapsed();
            }
            (loaded, bare, "MongoDB, unordered inserts")
        }
    };
    progress(&format!("{name}: verify"));
    let started = Instant::now();
    // The posts of the generated world have no files.
    chorus.run_cli(&["verify", "--without-media"]).context("chorus verify")?;
    let verified = started.elapsed();

    let rebuilt = folded + finished;
    let (today, now) = (per_second(head.0, plain), per_second(head.0, rebuilt));
    let mut ratio = |what: String, chorus: f64, baseline: f64, bound| {
        let value = chorus / baseline;
        let (chorus, baseline) = (rate(chorus), rate(baseline));
        findings.ratios.push(Ratio { what, engine: name, chorus, baseline, value, bound, goal: None });
    };
    ratio(
        format!("rebuild of all views over {length} events, beside the runner from zero"),
        now,
        today,
        Bound::AtLeast(2.0),
    );
    ratio(
        format!("the same beside a bare load of the documents ({loaded_by})"),
        now,
        per_second(head.0, bare),
        Bound::None,
    );
    ratio(
        format!("the fold of {length} events, beside that of a tenth"),
        per_second(head.0, folded),
        per_second(part.0, of_part),
        Bound::AtLeast(0.5),
    );
    ratio(
        "`chorus verify` of all views, beside their rebuild".to_owned(),
        per_second(head.0, verified),
        now,
        Bound::None,
    );
    Ok(())
}

/// Whether a view is the same in both stores.
async fn compare(one: &dyn ViewStore, other: &dyn ViewStore, view: &View) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let (ours, theirs) =
            (one.scan(view, after.as_deref(), PAGE).await?, other.scan(view, after.as_deref(), PAGE).await?);
        ensure!(
            ours.len() == theirs.len(),
            "{} has {} and {} documents",
            view.name,
            ours.len(),
            theirs.len()
        );
        for (one, other) in ours.iter().zip(&theirs) {
            let fields = |document: &views::StoredDocument| -> Result<Map<String, Value>> {
                let mut fields: Map<String, Value> = document.read()?;
                fields.retain(|name, value| name != "_id" && !value.is_null());
                Ok(fields)
            };
            ensure!(
                one.key == other.key && fields(one)? == fields(other)?,
                "{} differs at {}",
                view.name,
                one.key
            );
        }
        let Some(last) = ours.last() else { return Ok(()) };
        after = Some(last.key.clone());
    }
}

/// Copies finished scratch files into new ones, in the order of keys, and then makes the indexes.
fn copy_into_sqlite(from: &Path, folder: &Path) -> Result<Duration> {
    let mut taken = Duration::ZERO;
    for projection in projector::projections(&FeedSettings::default()) {
        let name = projection.name();
        let source = from.join(format!("{name}.db"));
        let target = Connection::open(folder.join(format!("bare-{name}.db")))?;
        let cache = format!("PRAGMA cache_size = -{}", CACHE / 1024);
        target.execute_batch(&format!("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {cache}"))?;
        target.execute("ATTACH ?1 AS source", [source.to_str().context("a path")?])?;
        let made: Vec<(String, String)> = target
            .prepare("SELECT name, sql FROM source.sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let started = Instant::now();
        let tables = made.iter().filter(|(_, sql)| sql.starts_with("CREATE TABLE"));
        target.execute_batch("BEGIN")?;
        for (table, sql) in tables.filter(|(table, _)| table.starts_with("view_")) {
            let copy = format!("{sql}; INSERT INTO main.{table} SELECT * FROM source.{table} ORDER BY key");
            target.execute_batch(&copy)?;
        }
        for (_, sql) in made.iter().filter(|(_, sql)| sql.starts_with("CREATE INDEX")) {
            target.execute_batch(sql)?;
        }
        target.execute_batch("COMMIT")?;
        taken += started.elapsed();
    }
    Ok(taken)
}

/// Inserts the documents, which are in memory already, into new collections, and then makes one index for each of those
/// that the views declare.
async fn insert_into_mongo(scratch: &Scratch, url: &str) -> Result<Duration> {
    let database = mongodb::Client::with_uri_str(url).await?.default_database().context("a database")?;
    let mut taken = Duration::ZERO;
    for (family, store) in &scratch.families {
        for view in views_of(&*family.projection) {
            let collection = database.collection::<RawDocumentBuf>(view.name);
            let mut after: Option<String> = None;
            loop {
                let page = store.scan(view, after.as_deref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                let mut documents = Vec::with_capacity(page.len());
                for document in &page {
                    let mut fields: Map<String, Value> = document.read()?;
                    fields.retain(|_, value| !value.is_null());
                    fields.insert("_id".to_owned(), document.key.clone().into());
                    documents.push(bson::serialize_to_raw_document_buf(&fields)?);
                }
                let started = Instant::now();
                collection.insert_many(&documents).ordered(false).await?;
                taken += started.elapsed();
            }
            let started = Instant::now();
            for index in view.indexes {
                let fields = index.equals.iter().chain([&index.order]);
                let keys: bson::Document = fields.map(|field| ((*field).to_owned(), 1.into())).collect();
                collection.create_index(mongodb::IndexModel::builder().keys(keys).build()).await?;
            }
            taken += started.elapsed();
        }
    }
    Ok(taken)
}
