//! The cost of publishing an image: the processor time of the whole upload, compared with that of libvips for the same
//! variants of the same files (`sharp.js`), if Node finds sharp.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::multipart::{Form, Part};
use tests::chorus::Chorus;

use super::{Findings, progress};
use crate::deployment::Engine;

/// Sizes of the published images in pixels: 1, 12 and 48 megapixels.
const SIZES: [(u32, u32); 3] = [(1152, 864), (4000, 3000), (8000, 6000)];
const TIMES: u32 = 5;

pub(crate) async fn uploads(chorus: &Chorus, engine: Engine, findings: &mut Findings) -> Result<()> {
    let api = chorus.api();
    let user = api.sign_up("photographer").await;
    for (width, height) in SIZES {
        progress(&format!("{}: pictures of {width} x {height}", engine.name()));
        let picture = photo(width, height)?;
        let (mut answered, before) = (Duration::MAX, chorus.processor_time(engine.writer())?);
        for _ in 0..TIMES {
            let image = Part::bytes(picture.clone()).file_name("a.jpg").mime_str("image/jpeg")?;
            let start = Instant::now();
            api.publish_form(&user, Form::new().part("image", image)).await.expect(201);
            answered = answered.min(start.elapsed());
        }
        let taken = chorus.processor_time(engine.writer())?.saturating_sub(before) / TIMES;
        let megapixels = f64::from(width) * f64::from(height) / 1e6;
        let taken = taken.as_secs_f64() * 1e3;
        let beside = match by_libvips(&picture)? {
            Some(libvips) => format!("libvips {libvips:.0} ms, ratio {:.2}", taken / libvips),
            None => "no sharp to compare with".to_owned(),
        };
        findings.figures.push((
            format!("picture of {megapixels:.0} megapixels published, processor time"),
            engine.name(),
            format!(
                "{taken:.0} ms, {:.1} ms for each megapixel, answered after {} ms; {beside}",
                taken / megapixels,
                answered.as_millis()
            ),
        ));
    }
    Ok(())
}

/// The processor time of libvips for the variants in milliseconds; none without Node or sharp.
fn by_libvips(picture: &[u8]) -> Result<Option<f64>> {
    let loads = Command::new("node").args(["--eval", "require('sharp')"]).output();
    if !loads.is_ok_and(|loaded| loaded.status.success()) {
        return Ok(None);
    }
    let mut file = tempfile::NamedTempFile::with_suffix(".jpg")?;
    file.write_all(picture)?;
    let mut script = tempfile::NamedTempFile::with_suffix(".js")?;
    script.write_all(include_bytes!("sharp.js"))?;
    let output = Command::new("node").arg(script.path()).arg(file.path()).arg(TIMES.to_string()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let time = printed.split_whitespace().next().context("sharp printed nothing")?;
    Ok(Some(time.parse()?))
}

/// A synthetic photograph: structure of all sizes, with sensor noise.
fn photo(width: u32, height: u32) -> Result<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut coarse = RgbImage::new(width.div_ceil(16), height.div_ceil(16));
    coarse.pixels_mut().for_each(|pixel| *pixel = Rgb([0; 3].map(|_: u8| rng.random_range(60..200))));
    let mut picture = image::imageops::resize(&coarse, width, height, FilterType::CatmullRom);
    for channel in picture.iter_mut() {
        *channel = channel.saturating_add(rng.random_range(0..12));
    }
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 90).encode_image(&picture)?;
    Ok(file)
}
