//! Songs by id and by the beginning of their titles, from the engine's own index.

use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use futures::TryStreamExt;
use mongodb::bson::{doc, serialize_to_document};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::distributed::{Distributed, index};
use super::standalone::{Standalone, VIEWS, connect};
use super::{Failed, Photos};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS songs (song TEXT PRIMARY KEY, title TEXT NOT NULL, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS songs_by_title ON songs (title);
";
const INSERTED_AT_ONCE: usize = 10_000;

/// A song with about as many bytes as that of Chorus.
#[expect(clippy::struct_field_names, reason = "the names of the documents of Chorus")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Song {
    #[serde(rename = "_id")]
    pub(crate) song: String,
    pub(crate) title: String,
    pub(crate) singer: String,
    pub(crate) categories: Vec<String>,
    pub(crate) duration: u64,
    pub(crate) published: i64,
    pub(crate) media: String,
    pub(crate) hash: String,
    pub(crate) plays: u64,
}

/// Reads on either engine.
#[async_trait]
pub(crate) trait Songs: Photos {
    /// In any order.
    async fn songs(&self, ids: Vec<String>) -> Result<Vec<Song>>;

    /// By title.
    async fn songs_from(&self, beginning: &str, limit: i64) -> Result<Vec<Song>>;
}

pub(super) fn router(baseline: Arc<dyn Songs>) -> Router {
    Router::new()
        .route("/songs/{ids}", get(some))
        .route("/songs/from/{beginning}/{limit}", get(from))
        .with_state(baseline)
}

async fn some(
    State(baseline): State<Arc<dyn Songs>>,
    Path(ids): Path<String>,
) -> Result<Json<Vec<Song>>, Failed> {
    Ok(Json(baseline.songs(ids.split(',').map(str::to_owned).collect()).await?))
}

async fn from(
    State(baseline): State<Arc<dyn Songs>>,
    Path((beginning, limit)): Path<(String, i64)>,
) -> Result<Json<Vec<Song>>, Failed> {
    Ok(Json(baseline.songs_from(&beginning, limit).await?))
}

impl Standalone {
    pub(crate) fn seed_songs(folder: &FilePath, songs: &[Song]) -> Result<()> {
        let mut connection = connect(&folder.join("baseline-views.db"), "NORMAL", VIEWS)?;
        connection.execute_batch(TABLE)?;
        let transaction = connection.transaction()?;
        for song in songs {
            let doc = serde_json::to_string(song)?;
            transaction
                .prepare_cached("INSERT INTO songs VALUES (?1, ?2, ?3)")?
                .execute(params![song.song, song.title, doc])?;
        }
        Ok(transaction.commit()?)
    }

    fn read_songs(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Song>> {
        let docs: Vec<String> = self.read_views(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(parameters, |row| row.get(0))?.collect()
        })?;
        docs.iter().map(|doc| Ok(serde_json::from_str(doc)?)).collect()
    }
}

#[async_trait]
impl Songs for Standalone {
    async fn songs(&self, ids: Vec<String>) -> Result<Vec<Song>> {
        let ids = serde_json::to_string(&ids)?;
        self.read_songs("SELECT doc FROM songs WHERE song IN (SELECT value FROM json_each(?1))", &[&ids])
    }

    async fn songs_from(&self, beginning: &str, limit: i64) -> Result<Vec<Song>> {
        self.read_songs(
            "SELECT doc FROM songs WHERE title >= ?1 ORDER BY title LIMIT ?2",
            &[&beginning, &limit],
        )
    }
}

impl Distributed {
    pub(crate) async fn seed_songs(&self, songs: &[Song]) -> Result<()> {
        index(&self.database, &[("songs", doc! { "title": 1 })]).await?;
        for songs in songs.chunks(INSERTED_AT_ONCE) {
            let documents: Vec<_> = songs.iter().map(serialize_to_document).collect::<Result<_, _>>()?;
            self.collection("songs").insert_many(documents).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Songs for Distributed {
    async fn songs(&self, ids: Vec<String>) -> Result<Vec<Song>> {
        let found = self.collection::<Song>("songs").find(doc! { "_id": { "$in": ids } }).await?;
        Ok(found.try_collect().await?)
    }

    async fn songs_from(&self, beginning: &str, limit: i64) -> Result<Vec<Song>> {
        let songs = self.collection::<Song>("songs");
        let found = songs.find(doc! { "title": { "$gte": beginning } });
        Ok(found.sort(doc! { "title": 1 }).limit(limit).await?.try_collect().await?)
    }
}
