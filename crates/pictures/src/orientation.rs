//! The orientation of a picture, from its metadata.

use image::metadata::Orientation;

/// The tag of the orientation (EXIF 2.32, section 4.6.4).
const TAG: u64 = 0x0112;
/// Searched bytes of an XMP packet: the properties of the picture itself are at the beginning.
const XMP_SEARCHED: usize = 256 * 1024;

/// The orientation in EXIF, or else in XMP. Unreadable metadata leaves the picture as it is.
pub(crate) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let found = exif.and_then(of_exif).or_else(|| xmp.and_then(of_xmp));
    found.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The orientation of a TIFF structure, with or without `Exif\0\0` before it, in any integer type.
fn of_exif(block: &[u8]) -> Option<u8> {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let big_endian = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    // An integer of this many bytes.
    let integer = |place: usize, bytes: usize| {
        let part = tiff.get(place..place.checked_add(bytes)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if big_endian { part.iter().fold(0, fold) } else { part.iter().rev().fold(0, fold) })
    };
    let directory = usize::try_from(integer(4, 4)?).ok()?;
    let count = usize::try_from(integer(directory, 2)?).ok()?;
    let mut entries = (0..count).map_while(|n| directory.checked_add(2 + 12 * n));
    let entry = entries.find(|entry| integer(*entry, 2) == Some(TAG))?;
    // BYTE, SHORT, LONG, and their signed kinds.
    let bytes = match integer(entry + 2, 2)? {
        1 | 6 => 1,
        3 | 8 => 2,
        4 | 9 => 4,
        _ => return None,
    };
    u8::try_from(integer(entry + 8, bytes)?).ok().filter(|value| (1..=8).contains(value))
}

/// `tiff:Orientation="6"`, or as an element.
fn of_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let searched = &packet[..packet.len().min(XMP_SEARCHED)];
    let place = searched.windows(NAME.len()).position(|window| window == NAME)?;
    match searched.get(place + NAME.len()..)? {
        [b'=', b'"' | b'\'', digit @ b'1'..=b'8', ..] | [b'>', digit @ b'1'..=b'8', ..] => Some(digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A directory with one other entry before the orientation.
    fn exif(kind: u16, value: [u8; 4], big_endian: bool) -> Vec<u8> {
        let short = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let long = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let begin = if big_endian { b"MM" } else { b"II" };
        let entry =
            |tag: u16, kind: u16, value: [u8; 4]| [&short(tag)[..], &short(kind), &long(1), &value].concat();
        let entries = [entry(0x010f, 2, [0; 4]), entry(0x0112, kind, value)].concat();
        [&begin[..], &short(42), &long(8), &short(2), &entries, &long(0)].concat()
    }

    #[test]
    fn orientation_is_read_in_every_integer_type_and_byte_order() {
        for kind in [1, 6] {
            assert_eq!(of_exif(&exif(kind, [6, 0, 0, 0], false)), Some(6), "{kind}");
            assert_eq!(of_exif(&exif(kind, [6, 0, 0, 0], true)), Some(6), "{kind}");
        }
        for (kind, big) in [(3, [0, 6, 0, 0]), (8, [0, 6, 0, 0]), (4, [0, 0, 0, 6]), (9, [0, 0, 0, 6])] {
            assert_eq!(of_exif(&exif(kind, [6, 0, 0, 0], false)), Some(6), "{kind}");
            assert_eq!(of_exif(&exif(kind, big, true)), Some(6), "{kind}");
        }
        let prefixed = [b"Exif\0\0".to_vec(), exif(3, [8, 0, 0, 0], false)].concat();
        assert_eq!(of_exif(&prefixed), Some(8));
    }

    #[test]
    fn unreadable_orientation_is_none() {
        for value in [0, 9, 255] {
            assert_eq!(of_exif(&exif(3, [value, 0, 0, 0], false)), None, "{value}");
        }
        // A rational, a text, a number too large.
        for (kind, value) in [(5, [6, 0, 0, 0]), (2, *b"6\0\0\0"), (4, [6, 1, 0, 0])] {
            assert_eq!(of_exif(&exif(kind, value, false)), None, "{kind}");
        }
        let whole = exif(3, [6, 0, 0, 0], false);
        for end in 0..whole.len() - 6 {
            assert_eq!(of_exif(&whole[..end]), None, "{end}");
        }
        assert_eq!(orientation(Some(b"Exif\0\0"), None), Orientation::NoTransforms);
    }

    #[test]
    fn xmp_has_the_orientation_if_exif_has_none() {
        for xmp in [&b"<x tiff:Orientation=\"6\"/>"[..], b"<tiff:Orientation>6</tiff:Orientation>"] {
            assert_eq!(orientation(None, Some(xmp)), Orientation::Rotate90);
            assert_eq!(orientation(Some(&exif(3, [3, 0, 0, 0], false)), Some(xmp)), Orientation::Rotate180);
        }
        assert_eq!(orientation(None, Some(b"tiff:Orientation=\"9\"")), Orientation::NoTransforms);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_orientation_or_none(
            bytes in prop::collection::vec(any::<u8>(), 0..60), begin in prop::sample::select(vec![&b""[..], b"II*\0", b"MM\0*"]),
        ) {
            let block = [begin, &bytes].concat();
            let _ = orientation(Some(&block), Some(&bytes));
        }
    }
}
