//! The music app: reads of songs, search, streaming beside nginx, uploads, edits of playlists, and imports of folders.

mod catalogue;
mod imports;
mod playlists;
mod streaming;
mod uploads;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method};

use self::catalogue::{Catalogue, MANY_SONGS, SONGS};
use self::imports::import;
use self::playlists::{edit_playlists, first_edit};
use self::streaming::stream_songs;
use self::uploads::uploads;
use super::{Findings, progress};
use crate::deployment::{Deployment, Engine};
use crate::load::LoadRequest;

pub(crate) async fn music(
    deployment: &mut Deployment,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let name = deployment.engine.name();
    let artist = deployment.chorus.artist("singer").await;
    progress(&format!("{name}: {SONGS} songs"));
    let mut catalogue = Catalogue::new();
    catalogue.grow(deployment, SONGS).await?;
    catalogue.read(deployment, time, findings).await?;
    progress(&format!("{name}: {MANY_SONGS} songs"));
    catalogue.grow(deployment, MANY_SONGS).await?;
    catalogue.search(deployment, time, findings).await?;
    if deployment.engine == Engine::Standalone {
        stream_songs(deployment, &artist, time, findings).await?;
        uploads(deployment, findings).await?;
    }
    edit_playlists(deployment, &artist, time, findings).await?;
    first_edit(deployment, &artist, findings).await?;
    import(deployment, &artist, findings)
}

fn get(path: String) -> LoadRequest {
    LoadRequest { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() }
}
