//! Compares the pictures of another project's test set with the output of its own decoders, upright and in sRGB.

use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use resample::Cut;

use crate::header::{self, Format};
use crate::scale::resize;
use crate::{MEGAPIXELS, Refusal, decode, memory_of};

/// Largest mean difference, of 255 steps.
const MEAN_LIMIT: f64 = 2.0;
/// The same for JPEGs that are decoded at a reduced size, where decoders may differ more.
const REDUCED_LIMIT: f64 = 4.0;

/// Pictures with different results, each with the reason why this is right or accepted.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "app13.jpg",
        "4 x 4 pixels: libjpeg repeats colour samples of so small a picture, here they are interpolated",
    ),
    ("hopper_bad_exif.jpg", "superfluous bytes before its restart markers: refused"),
    ("i_trns.png", "a transparent colour of 16 bits: the reference compares it with eight of them"),
    ("no_palette.gif", "colours without a table of colours: refused"),
];

fn list() -> (PathBuf, String) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = workspace.join("target/servers");
    let fetched =
        Command::new(workspace.join("tests/servers/fetch")).arg(&folder).arg("pictures").output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let folder = folder.join("pictures");
    let list = std::fs::read_to_string(folder.join("list.tsv")).unwrap();
    (folder, list)
}

fn shown(file: &[u8], scale: f64) -> Result<RgbImage, Refusal> {
    memory_of(file, &[])?;
    let header = header::read(file)?;
    let pixels = decode::decode(file, &header, scale)?;
    let size = media::scaled((header.width, header.height), scale);
    pixels.resized(size)?.into_srgb(header.orientation, header.profile.as_deref())
}

fn mean_difference(one: &RgbImage, other: &RgbImage) -> f64 {
    if one.dimensions() != other.dimensions() {
        return f64::INFINITY;
    }
    let sum: u64 = one.iter().zip(other.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mean = sum as f64 / one.len() as f64;
    mean
}

/// The difference of a picture from the reference.
///
/// # Errors
/// The problem, if the picture was refused or differs too much.
fn compared(file: &[u8], reference: &RgbImage) -> Result<f64, String> {
    let whole = shown(file, 1.0).map_err(|refused| format!("refused: {refused:?}"))?;
    let difference = mean_difference(&whole, reference);
    if difference > MEAN_LIMIT {
        return Err(format!(
            "differs by {difference:.1}: {:?} {:?}",
            whole.dimensions(),
            reference.dimensions()
        ));
    }
    let is_jpeg = header::read(file).is_ok_and(|header| matches!(header.format, Format::Jpeg(_)));
    if is_jpeg && reference.width().min(reference.height()) >= 32 {
        let reduced = shown(file, 0.5).map_err(|refused| format!("refused at half its size: {refused:?}"))?;
        let expected = resize(reference, reduced.dimensions(), Cut::Nothing).unwrap();
        let difference = mean_difference(&reduced, &expected);
        if difference > REDUCED_LIMIT {
            return Err(format!("differs by {difference:.1} at half its size"));
        }
    }
    Ok(difference)
}

#[test]
fn pictures_of_another_test_set_match_its_own_decoders() {
    let (folder, list) = list();
    let (mut equal, mut worst, mut wrong) = (0, 0.0_f64, Vec::new());
    let (mut not_taken, mut refused_by_both, mut only_taken_here) = (0, 0, 0);
    for line in list.lines() {
        let [path, format, number] = line.splitn(3, '\t').collect::<Vec<_>>().try_into().unwrap();
        if format == "other" {
            not_taken += 1;
            continue;
        }
        let file = std::fs::read(path).unwrap();
        let name = path.rsplit_once("/images/").map_or(path, |(_, name)| name);
        if number == "refused" {
            match shown(&file, 1.0) {
                Ok(_) => only_taken_here += 1,
                Err(_) => refused_by_both += 1,
            }
            continue;
        }
        let reference = image::open(folder.join(format!("{number}.png"))).unwrap().into_rgb8();
        match compared(&file, &reference) {
            Ok(difference) => {
                equal += 1;
                worst = worst.max(difference);
            }
            Err(_) if EXCEPTIONS.iter().any(|(exception, _)| *exception == name) => {}
            Err(what) => wrong.push(format!("{name}: {what}")),
        }
    }
    eprintln!(
        "{equal} pictures compared, the worst differs by {worst:.2}; {not_taken} of unsupported formats, \
         {refused_by_both} refused by both, {only_taken_here} only by the other"
    );
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal >= 300, "only {equal} pictures were compared, of at most {MEGAPIXELS} megapixels");
}
