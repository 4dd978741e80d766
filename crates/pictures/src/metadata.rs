//! Tests with pictures that carry metadata in every way that cameras and programs use: the stored files contain no metadata
//! and are upright.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, Frame, ImageEncoder, ImageFormat, Rgb, RgbImage};
use media::ImageVariant;
use moxcms::ColorProfile;

use crate::{ProcessedImage, process};

/// Metadata that must not be in any stored file.
const SECRET: &[u8] = b"48.8584N 2.2945E at home with Ann";
const SIDES: (u32, u32) = (64, 32);

/// Left half red, right half blue; the upper left quarter bright.
fn picture() -> RgbImage {
    let (width, height) = SIDES;
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb([255, 120, 120]),
        (true, false) => Rgb([200, 0, 0]),
        (false, _) => Rgb([0, 0, 200]),
    })
}

/// An EXIF block in either byte order: an orientation, a description, and a location.
fn exif(orientation: u16, big_endian: bool) -> Vec<u8> {
    let short = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let long = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let length = u32::try_from(SECRET.len()).unwrap();
    let entry = |tag, kind, count: u32, value: [u8; 4]| {
        [&short(tag)[..], &short(kind), &long(count), &value].concat()
    };
    let [first, second] = short(orientation);
    let (directory, gps) = (8_u32, 8 + 2 + 3 * 12 + 4);
    let words = gps + 2 + 12 + 4;
    [
        if big_endian { &b"MM"[..] } else { b"II" },
        &short(42),
        &long(directory),
        &short(3),
        &entry(0x010e, 2, length, long(words)),
        &entry(0x0112, 3, 1, [first, second, 0, 0]),
        &entry(0x8825, 4, 1, long(gps)),
        &long(0),
        // The GPS directory: the location, as text.
        &short(1),
        &entry(0x001b, 7, length, long(words)),
        &long(0),
        SECRET,
    ]
    .concat()
}

fn icc() -> Vec<u8> {
    ColorProfile::new_display_p3().encode().unwrap()
}

fn encode(picture: &RgbImage, mut encoder: impl ImageEncoder, orientation: u16) {
    encoder.set_icc_profile(icc()).unwrap();
    encoder.set_exif_metadata(exif(orientation, orientation.is_multiple_of(2))).unwrap();
    encoder.write_image(picture, picture.width(), picture.height(), ExtendedColorType::Rgb8).unwrap();
}

/// A JPEG with EXIF, ICC, XMP, Photoshop's block, and comments.
fn jpeg(orientation: u16) -> Vec<u8> {
    let mut plain = Vec::new();
    encode(&picture(), JpegEncoder::new_with_quality(&mut plain, 95), orientation);
    let segment = |marker: u8, begin: &[u8]| {
        let length = u16::try_from(2 + begin.len() + SECRET.len()).unwrap().to_be_bytes();
        [&[0xff, marker], &length[..], begin, SECRET].concat()
    };
    let xmp = segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>");
    let photoshop = segment(0xed, b"Photoshop 3.0\08BIM");
    // Data may also follow the picture: some cameras append a film.
    [&plain[..2], &xmp, &photoshop, &segment(0xfe, b""), &plain[2..], SECRET].concat()
}

fn chunk(name: &[u8], content: &[u8]) -> Vec<u8> {
    let body = [name, content].concat();
    let crc = super::tests::crc32(&body).to_be_bytes();
    [&u32::try_from(content.len()).unwrap().to_be_bytes()[..], &body, &crc].concat()
}

/// The chunks of a PNG, each with its name.
fn chunks_of(png: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let (mut rest, mut chunks) = (&png[8..], Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        chunks.push((rest[4..8].try_into().unwrap(), rest[8..8 + length].to_vec()));
        rest = &rest[12 + length..];
    }
    chunks
}

/// A PNG with EXIF, ICC, XMP and texts; an animated one has a second frame.
fn png(orientation: u16, animated: bool) -> Vec<u8> {
    let mut plain = Vec::new();
    encode(&picture(), PngEncoder::new(&mut plain), orientation);
    let mut made = plain[..8].to_vec();
    let (mut sequence, mut second) = (0_u32, Vec::new());
    let frame = |sequence: &mut u32| {
        let (width, height) = SIDES;
        let place = [width, height, 0, 0].map(u32::to_be_bytes).concat();
        let content = [&sequence.to_be_bytes()[..], &place, &[0, 1, 0, 10, 0, 0]].concat();
        *sequence += 1;
        chunk(b"fcTL", &content)
    };
    for (name, content) in chunks_of(&plain) {
        if &name == b"IDAT" && second.is_empty() {
            made.extend(chunk(b"tEXt", &[b"Comment\0", SECRET].concat()));
            made.extend(chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()));
            if animated {
                made.extend(chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]));
                made.extend(frame(&mut sequence));
            }
        }
        if &name == b"IDAT" {
            second.extend(&content);
        }
        if &name == b"IEND" && animated {
            made.extend(frame(&mut sequence));
            made.extend(chunk(b"fdAT", &[&sequence.to_be_bytes()[..], &second].concat()));
        }
        made.extend(chunk(&name, &content));
    }
    made
}

fn gif() -> Vec<u8> {
    let mut made = Vec::new();
    let frames = (0..3).map(|_| Frame::new(DynamicImage::from(picture()).to_rgba8()));
    GifEncoder::new(&mut made).encode_frames(frames).unwrap();
    // A comment before the end.
    assert_eq!(made.pop(), Some(0x3b));
    let length = u8::try_from(SECRET.len()).unwrap();
    made.extend([&[0x21, 0xfe, length], SECRET, &[0, 0x3b]].concat());
    made
}

fn riff(name: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    let padding = if content.len() % 2 == 1 { &[0][..] } else { &[] };
    [name, &length[..], content, padding].concat()
}

fn webp(orientation: u16) -> Vec<u8> {
    let mut made = Vec::new();
    encode(&picture(), WebPEncoder::new_lossless(&mut made), orientation);
    made
}

fn animated_webp() -> Vec<u8> {
    let mut plain = Vec::new();
    let (width, height) = SIDES;
    let encoder = WebPEncoder::new_lossless(&mut plain);
    encoder.write_image(&picture(), width, height, ExtendedColorType::Rgb8).unwrap();
    let bits = |n: u32| n.to_le_bytes()[..3].to_vec();
    let size = [bits(width - 1), bits(height - 1)].concat();
    // The picture follows `RIFF`, its length and `WEBP`.
    let frame = [&[0; 6], &size[..], &bits(100), &[0], &plain[12..]].concat();
    // It has an animation, EXIF and XMP.
    let content = [
        b"WEBP".to_vec(),
        riff(b"VP8X", &[&[0x02 | 0x08 | 0x04, 0, 0, 0], &size[..]].concat()),
        riff(b"ANIM", &[0; 6]),
        riff(b"ANMF", &frame),
        riff(b"ANMF", &frame),
        riff(b"EXIF", &exif(1, false)),
        riff(b"XMP ", SECRET),
    ]
    .concat();
    riff(b"RIFF", &content)
}

/// Asserts that the file contains nothing but its pixels.
fn assert_only_pixels(file: &[u8]) {
    assert!(!file.windows(SECRET.len()).any(|window| window == SECRET));
    if file.starts_with(b"\x89PNG") {
        for (name, _) in chunks_of(file) {
            assert!([b"IHDR", b"IDAT", b"IEND"].contains(&&name), "{}", String::from_utf8_lossy(&name));
        }
        return;
    }
    let mut place = 2;
    loop {
        assert_eq!(file[place], 0xff, "no marker at {place}");
        let marker = file[place + 1];
        // JFIF, tables, the frame, the scan.
        assert!(matches!(marker, 0xe0 | 0xdb | 0xc4 | 0xc0 | 0xda), "a segment {marker:x}");
        let length = usize::from(u16::from_be_bytes([file[place + 2], file[place + 3]]));
        assert!(marker != 0xe0 || (file[place + 4..].starts_with(b"JFIF\0") && length == 16));
        place += 2 + length;
        if marker == 0xda {
            break;
        }
    }
    let end = file[place..].windows(2).position(|two| two == [0xff, 0xd9]).unwrap();
    assert_eq!(place + end + 2, file.len(), "something follows the picture");
}

fn every_variant() -> Vec<ImageVariant> {
    [ImageVariant::OF_POST, ImageVariant::OF_STORY, ImageVariant::OF_PHOTO].concat()
}

#[test]
fn stored_files_contain_only_pixels() {
    let sent = [
        ("jpeg", jpeg(1)),
        ("png", png(1, false)),
        ("animated png", png(1, true)),
        ("animated gif", gif()),
        ("webp", webp(1)),
        ("animated webp", animated_webp()),
    ];
    for (kind, sent) in sent {
        assert!(sent.windows(SECRET.len()).any(|window| window == SECRET), "{kind} has no metadata");
        let ProcessedImage { width, height, files, .. } = process(&sent, &every_variant()).unwrap();
        assert_eq!((width, height), SIDES, "{kind}");
        for (_, file) in files {
            assert_only_pixels(&file);
        }
    }
}

/// Checks the bright corner and the size of the picture for each orientation.
#[test]
fn picture_is_upright_for_every_orientation() {
    // (left, top) of the bright quarter: as EXIF numbers the orientations, from 1.
    let corners = [
        (true, true),
        (false, true),
        (false, false),
        (true, false),
        (true, true),
        (false, true),
        (false, false),
        (true, false),
    ];
    for (orientation, corner) in (1_u16..).zip(corners) {
        for (kind, sent) in
            [("jpeg", jpeg(orientation)), ("png", png(orientation, false)), ("webp", webp(orientation))]
        {
            let files = process(&sent, &[ImageVariant::LARGE]).unwrap().files;
            let made = image::load_from_memory(&files[0].1).unwrap().to_rgb8();
            let (width, height) = if orientation >= 5 { (SIDES.1, SIDES.0) } else { SIDES };
            assert_eq!(made.dimensions(), (width, height), "{kind} {orientation}");
            // Only the bright quarter has any green.
            let green = |left: bool, top: bool| {
                let x = if left { width / 4 } else { width - width / 4 };
                let y = if top { height / 4 } else { height - height / 4 };
                made.get_pixel(x, y)[1] > 60
            };
            let bright: Vec<_> = [(true, true), (false, true), (false, false), (true, false)]
                .into_iter()
                .filter(|&(left, top)| green(left, top))
                .collect();
            assert_eq!(bright, [corner], "{kind} {orientation}");
        }
    }
}

/// Some programs write the prefix of the JPEG segment into the WebP chunk.
#[test]
fn webp_with_the_exif_prefix_of_jpeg_is_upright() {
    let mut sent = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut sent);
    encoder.set_exif_metadata([b"Exif\0\0".to_vec(), exif(6, true)].concat()).unwrap();
    encoder.write_image(&picture(), SIDES.0, SIDES.1, ExtendedColorType::Rgb8).unwrap();
    let ProcessedImage { width, height, .. } = process(&sent, &[ImageVariant::LARGE]).unwrap();
    assert_eq!((width, height), (SIDES.1, SIDES.0));
}

/// The colours of wide-gamut phones are kept although the profile is left out.
#[test]
fn colours_are_converted_by_the_profile() {
    // The red of sRGB, as Display P3 writes it.
    let red = RgbImage::from_pixel(16, 16, Rgb([234, 51, 35]));
    let mut sent = Vec::new();
    let mut encoder = PngEncoder::new(&mut sent);
    encoder.set_icc_profile(icc()).unwrap();
    encoder.write_image(&red, 16, 16, ExtendedColorType::Rgb8).unwrap();
    let shown = |sent: &[u8]| {
        let files = process(sent, ImageVariant::OF_PHOTO).unwrap().files;
        image::load_from_memory(&files[0].1).unwrap().to_rgb8().get_pixel(8, 8).0
    };
    let [r, g, b] = shown(&sent);
    assert!(r >= 252 && g <= 6 && b <= 6, "{r} {g} {b}");
    // A profile that cannot be read, or is for other colours, is ignored.
    for useless in [b"no profile".to_vec(), ColorProfile::new_gray_with_gamma(2.2).encode().unwrap()] {
        let mut sent = Cursor::new(Vec::new());
        let mut encoder = PngEncoder::new(&mut sent);
        encoder.set_icc_profile(useless).unwrap();
        encoder.write_image(&red, 16, 16, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(shown(sent.get_ref()), [234, 51, 35]);
    }
    let mut plain = Cursor::new(Vec::new());
    red.write_to(&mut plain, ImageFormat::Png).unwrap();
    assert_eq!(shown(plain.get_ref()), [234, 51, 35]);
}
