//! Generated images: layered landscapes for posts, block patterns for profile photos.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "coordinates and colours in a small picture"
)]

use std::io::Cursor;

use anyhow::Result;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, Rgb, RgbImage};
use rand::RngExt;
use rand::rngs::StdRng;

type Colour = [f32; 3];

/// A JPEG of a sky, a sun, and ridges; nearer ridges are darker.
pub(super) fn landscape(rng: &mut StdRng) -> Result<Vec<u8>> {
    let (width, height) = (1080_u32, rng.random_range(810..=1350_u32));
    let palette = PALETTES[rng.random_range(0..PALETTES.len())];
    let horizon = rng.random_range(0.45..0.65_f32);
    let sun = (
        rng.random_range(0.15..0.85_f32),
        horizon * rng.random_range(0.45..0.95),
        rng.random_range(0.03..0.08_f32),
    );
    let ridges: Vec<Ridge> = (0..rng.random_range(3..=6)).map(|_| Ridge::generate(rng)).collect();
    let layers = ridges.len() as f32;
    let aspect = width as f32 / height as f32;
    // Computed once per column: it is the slowest part of a pixel.
    let outlines: Vec<Vec<f32>> = (0..width)
        .map(|x| ridges.iter().map(|ridge| ridge.height(x as f32 / width as f32)).collect())
        .collect();
    let shades: Vec<(f32, Colour)> = (1..=ridges.len())
        .map(|place| place as f32 / layers)
        .map(|near| (near, mix(palette.haze, palette.ground, near.powf(0.8))))
        .collect();
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let outline = &outlines[x as usize];
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        let mut colour = mix(palette.sky, palette.haze, (y / horizon).min(1.0));
        let distance = (((x - sun.0) * aspect).powi(2) + (y - sun.1).powi(2)).sqrt();
        let glow = (1.0 - (distance - sun.2) / 0.35).clamp(0.0, 1.0).powi(2) * 0.5;
        colour = mix(colour, palette.sun, if distance < sun.2 { 1.0 } else { glow });
        for (&(near, shade), height) in shades.iter().zip(outline) {
            if y > horizon + (near - 0.5) * 0.5 * (1.0 - horizon) - height * (0.4 + near) {
                colour = shade;
            }
        }
        Rgb(colour.map(|part| (part * 255.0).clamp(0.0, 255.0) as u8))
    });
    let mut jpeg = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 88))?;
    Ok(jpeg)
}

/// A PNG of a symmetric pattern of five by five blocks.
pub(super) fn portrait(rng: &mut StdRng) -> Result<Vec<u8>> {
    const SIDE: u32 = 400;
    let palette = PALETTES[rng.random_range(0..PALETTES.len())];
    let blocks: [[bool; 3]; 5] = std::array::from_fn(|_| std::array::from_fn(|_| rng.random_bool(0.5)));
    let margin = SIDE / 10;
    let block = (SIDE - 2 * margin) / 5;
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let inside = |v: u32| (v >= margin).then(|| ((v - margin) / block) as usize).filter(|&v| v < 5);
        let filled = inside(x).zip(inside(y)).is_some_and(|(x, y)| blocks[y][x.min(4 - x)]);
        let colour = if filled { palette.ground } else { palette.haze };
        Rgb(colour.map(|part| (part * 255.0) as u8))
    });
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[derive(Clone, Copy)]
struct Palette {
    sky: Colour,
    haze: Colour,
    sun: Colour,
    ground: Colour,
}

const PALETTES: [Palette; 6] = [
    Palette {
        sky: [0.16, 0.24, 0.47],
        haze: [0.97, 0.72, 0.55],
        sun: [1.0, 0.93, 0.78],
        ground: [0.12, 0.12, 0.22],
    },
    Palette {
        sky: [0.36, 0.62, 0.86],
        haze: [0.87, 0.94, 0.97],
        sun: [1.0, 1.0, 0.92],
        ground: [0.13, 0.33, 0.27],
    },
    Palette {
        sky: [0.22, 0.13, 0.32],
        haze: [0.93, 0.42, 0.43],
        sun: [1.0, 0.81, 0.55],
        ground: [0.13, 0.06, 0.15],
    },
    Palette {
        sky: [0.69, 0.74, 0.78],
        haze: [0.93, 0.93, 0.90],
        sun: [0.99, 0.98, 0.93],
        ground: [0.25, 0.29, 0.31],
    },
    Palette {
        sky: [0.03, 0.06, 0.16],
        haze: [0.20, 0.36, 0.52],
        sun: [0.94, 0.95, 0.99],
        ground: [0.02, 0.03, 0.07],
    },
    Palette {
        sky: [0.93, 0.65, 0.32],
        haze: [0.99, 0.87, 0.64],
        sun: [1.0, 0.98, 0.88],
        ground: [0.38, 0.20, 0.12],
    },
];

/// The outline of a ridge: a sum of a few waves.
struct Ridge([(f32, f32, f32); 4]);

impl Ridge {
    fn generate(rng: &mut StdRng) -> Self {
        let mut size = rng.random_range(0.04..0.10_f32);
        let mut frequency = rng.random_range(2.0..5.0_f32);
        Self(std::array::from_fn(|_| {
            let wave = (frequency, rng.random_range(0.0..std::f32::consts::TAU), size);
            frequency *= rng.random_range(1.7..2.6);
            size *= 0.45;
            wave
        }))
    }

    fn height(&self, x: f32) -> f32 {
        self.0.iter().map(|(frequency, phase, size)| (x * frequency + phase).sin() * size).sum()
    }
}

fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|part| from[part] + (to[part] - from[part]) * share)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn generated_images_are_valid_and_differ() {
        let generate = |seed| landscape(&mut StdRng::seed_from_u64(seed)).unwrap();
        let picture = image::load_from_memory(&generate(1)).unwrap();
        assert_eq!(picture.width(), 1080);
        assert_eq!(generate(1), generate(1));
        assert_ne!(generate(1), generate(2));
        let portrait = image::load_from_memory(&portrait(&mut StdRng::seed_from_u64(1)).unwrap()).unwrap();
        assert_eq!((portrait.width(), portrait.height()), (400, 400));
    }
}
