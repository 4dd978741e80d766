//! The import of a folder of files.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::client::{User, tagged_wav};

use crate::benchmarks::{Findings, progress};
use crate::deployment::Deployment;
use crate::table::rate;

const IMPORTED: usize = 10_000;
const FOLDERS: usize = 100;

pub(super) fn import(deployment: &Deployment, artist: &User, findings: &mut Findings) -> Result<()> {
    let name = deployment.engine.name();
    progress(&format!("{name}: importing {IMPORTED} files"));
    let folder = tempfile::tempdir()?;
    for number in 0..IMPORTED {
        let album = folder.path().join(format!("album {}", number % FOLDERS));
        std::fs::create_dir_all(&album)?;
        let title = format!("Imported {number}");
        let file = tagged_wav(&title, 1, &title, "Importer", &format!("Album {}", number % FOLDERS));
        std::fs::write(album.join(format!("{number}.wav")), file)?;
    }
    let path = folder.path().display().to_string();
    let (started, before) = (Instant::now(), deployment.chorus.processor_time(deployment.engine.writer())?);
    let printed = tokio::task::block_in_place(|| {
        deployment.chorus.run_cli(&["import", &path, "--as", &artist.username, "--json"])
    })?;
    let taken = started.elapsed();
    let by_server = deployment.chorus.processor_time(deployment.engine.writer())?.saturating_sub(before);
    let report: Value = serde_json::from_str(printed.lines().last().context("a report")?)
        .or_else(|_| serde_json::from_str(&printed))
        .context("the report")?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = IMPORTED as f64 / taken.as_secs_f64();
    let published = report.to_string().chars().take(200).collect::<String>();
    findings.figures.push((
        format!("`chorus import` of {IMPORTED} small files (wanted ≥ 300/s)"),
        name,
        format!(
            "{}, the server meanwhile {} s of processor time; {published}",
            rate(per_second),
            by_server.as_secs()
        ),
    ));
    Ok(())
}
