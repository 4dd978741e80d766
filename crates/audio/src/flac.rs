//! The audio of a FLAC file without its tags, cue sheets and pictures: symphonia refuses a file if it cannot read one of them.

use std::fs::File;
use std::io::{Chain, Cursor, Read, Seek, SeekFrom};

const MARKER: &[u8; 4] = b"fLaC";
const ID3_HEADER: usize = 10;
const ID3_FOOTER: i64 = 10;
/// In the flags of an ID3 tag.
const HAS_FOOTER: u8 = 0x10;
/// Bytes by which the header of an ID3 tag is longer than the marker.
const BEYOND_MARKER: i64 = 6;
const BLOCK_HEADER: usize = 4;
/// The first block with its header.
const FIRST_BLOCK: usize = 38;
/// The first block without its header.
const STREAM_INFO: i64 = 34;
/// In the first byte of a block: no block follows.
const LAST: u8 = 0x80;
/// Blocks and ID3 tags before the audio; files have some ten.
const PARTS_LIMIT: usize = 1000;

/// A FLAC stream whose only block is the first, which describes the audio. None if the file is not of this form.
pub(crate) fn without_tags(mut file: File) -> std::io::Result<Option<Chain<Cursor<Vec<u8>>, File>>> {
    let mut start = [0; ID3_HEADER];
    for _ in 0..PARTS_LIMIT {
        file.read_exact(&mut start)?;
        if !start.starts_with(b"ID3") {
            break;
        }
        let size = start[6..].iter().fold(0_i64, |size, byte| (size << 7) | i64::from(byte & 0x7f));
        let footer = if start[5] & HAS_FOOTER != 0 { ID3_FOOTER } else { 0 };
        file.seek_relative(size + footer)?;
    }
    if !start.starts_with(MARKER) {
        return Ok(None);
    }
    file.seek_relative(-BEYOND_MARKER)?;
    let mut stream = [MARKER.to_vec(), vec![0; FIRST_BLOCK]].concat();
    file.read_exact(&mut stream[MARKER.len()..])?;
    let [kind, size @ ..] = [stream[4], stream[5], stream[6], stream[7]];
    if kind & !LAST != 0 || size_of(size) != STREAM_INFO {
        return Ok(None);
    }
    stream[4] |= LAST;
    let mut is_last = kind & LAST != 0;
    for _ in 0..PARTS_LIMIT {
        if is_last {
            return Ok(Some(Cursor::new(stream).chain(file)));
        }
        let mut header = [0; BLOCK_HEADER];
        file.read_exact(&mut header)?;
        let [kind, size @ ..] = header;
        file.seek(SeekFrom::Current(size_of(size)))?;
        is_last = kind & LAST != 0;
    }
    Ok(None)
}

fn size_of(bytes: [u8; 3]) -> i64 {
    bytes.iter().fold(0, |size, byte| (size << 8) | i64::from(*byte))
}
