//! The songs of the demo: short pieces that `songs/make` has made, with titles, artists and albums in their tags. A label
//! publishes them, and people like and play them.

use std::io::ErrorKind;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use command_api::Commands;
use events::{AudioHash, Role};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;
use service::config::{LogSettings, MediaSettings, PlaceSettings};
use sha2::{Digest, Sha256};
use web::problem::Problem;

use super::world::{Listener, Person};
use super::{Login, Server, accepted, each};
use crate::commands;

/// In several formats. Each is longer than 30 seconds, so that a play counts.
pub(super) const SONGS: [&[u8]; 8] = [
    include_bytes!("songs/low-water.mp3"),
    include_bytes!("songs/slack-tide.mp3"),
    include_bytes!("songs/high-water.m4a"),
    include_bytes!("songs/vals-i-april.ogg"),
    include_bytes!("songs/post-road.opus"),
    include_bytes!("songs/kettle.m4a"),
    include_bytes!("songs/pilot-light.opus"),
    include_bytes!("songs/fridge-hum.flac"),
];

/// Time from the start of one song to the start of the next.
const PLAY: TimeDelta = TimeDelta::seconds(31);

/// Grants the label its role, as the operator of the server does it.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) place: PlaceSettings,
    pub(super) log: LogSettings,
    pub(super) media: MediaSettings,
}

impl Operator {
    /// None if the log is not here: then the server runs elsewhere.
    pub(super) async fn commands(self) -> Result<Option<Commands>> {
        let Self { place, log, media } = self;
        if log.place.log.is_none() {
            match tokio::fs::metadata(place.data.join("events.db")).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).context("looking for the event log"),
            }
        }
        commands::open(&place, &log, &media).await.map(Some)
    }
}

impl Server {
    /// Publishes the songs and returns their ids; none if the label is not an artist on this server, because another log was
    /// opened.
    pub(super) async fn publish_songs(
        &self,
        operator: &Commands,
        bar: &ProgressBar,
    ) -> Result<Option<Vec<String>>> {
        let label = Person::label();
        // Without a key: the grant ends the session that the answer names, and a repeated answer cannot name it again.
        self.create_account("", &label).await?;
        let granted = operator.set_role_as_operator(&label.username, Role::Artist, true).await;
        let granted = granted.map_err(|error| anyhow!("granting a role: {}", Problem::from(error)))?;
        if granted.is_none() {
            return Ok(None);
        }
        // The sessions from before the grant have ended.
        let login = self.log_in(&label, "label log-in").await?;
        let publish = async |number, song: &&'static [u8]| self.publish_song(number, &login, song).await;
        each(&SONGS, bar, publish).await.map(Some)
    }

    async fn publish_song(&self, number: usize, label: &Login, audio: &'static [u8]) -> Result<String> {
        let key = format!("song {number}");
        let body = json!({ "size": audio.len() });
        let created = self
            .send(Method::POST, "/v1/uploads", &key, |request| {
                Ok(request.bearer_auth(&label.token).json(&body))
            })
            .await?;
        let upload = accepted(created, "creating an upload").await?;
        let id = upload["id"].as_str().context("an upload without an id")?;
        let path = format!("/v1/uploads/{id}");
        let offset = upload["offset"].as_u64().context("an upload without an offset")?;
        // An earlier run of the demo may have sent it.
        let rest = audio.get(usize::try_from(offset)?..).context("an upload beyond its end")?;
        if !rest.is_empty() {
            let appended = self
                .send(Method::PATCH, &path, "", |request| {
                    let request = request.bearer_auth(&label.token).header("Upload-Offset", offset);
                    Ok(request.header("Content-Type", "application/octet-stream").body(rest))
                })
                .await?;
            accepted(appended, "uploading a song").await?;
        }
        let checksum = json!({ "sha256": AudioHash::new(Sha256::digest(audio).into()).to_string() });
        let finished = self
            .send(Method::POST, &format!("{path}/finish"), "", |request| {
                Ok(request.bearer_auth(&label.token).json(&checksum))
            })
            .await?;
        accepted(finished, "checking a song").await?;
        let song = json!({ "upload": id });
        let published = self
            .send(Method::POST, "/v1/songs", &key, |request| {
                Ok(request.bearer_auth(&label.token).json(&song))
            })
            .await?;
        let published = accepted(published, "publishing a song").await?;
        published["id"].as_str().map(str::to_owned).context("a published song without an id")
    }

    /// Likes songs, and reports plays of the evening before `midnight`. On the same day they are the same plays.
    pub(super) async fn listen(
        &self,
        listener: &Listener,
        user: &Login,
        songs: &[String],
        midnight: DateTime<Utc>,
    ) -> Result<()> {
        for &song in &listener.liked {
            let path = format!("/v1/songs/{}/like", songs[song]);
            let liked =
                self.send(Method::PUT, &path, "", |request| Ok(request.bearer_auth(&user.token))).await?;
            accepted(liked, "liking a song").await?;
        }
        let mut started = midnight - PLAY * i32::try_from(listener.played.len())?;
        let mut plays = Vec::new();
        for &song in &listener.played {
            plays.push(json!({
                "song": songs[song], "started_at": started, "listened_ms": PLAY.num_milliseconds(),
            }));
            started += PLAY;
        }
        let body = json!({ "plays": plays });
        let reported = self
            .send(Method::POST, "/v1/me/plays", "", |request| {
                Ok(request.bearer_auth(&user.token).json(&body))
            })
            .await?;
        accepted(reported, "reporting plays").await.map(drop)
    }
}
