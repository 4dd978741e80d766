//! Parsers that hang, crash and take too much: the file is refused, and the next one is probed.

use std::ffi::OsStr;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use audio::{Failure, Probed, Refusal, Tags};
use events::{AudioFormat, AudioHash};
use libtest_mimic::Trial;

use crate::{TIME_LIMIT, batches, outcome, prober, trial};

const MEBIBYTE: usize = 1024 * 1024;

fn probed() -> Probed {
    Probed {
        format: AudioFormat::Mp3,
        hash: AudioHash::new([1; 32]),
        duration: 31_000,
        bit_rate: 128_000,
        sample_rate: 44_100,
        channels: 2,
        size: 500_000,
        decoded: true,
        tags: Tags::default(),
    }
}

pub(crate) fn parser(file: &Path) -> Result<Probed, Failure> {
    match file.file_name().and_then(OsStr::to_str) {
        Some("takes all memory") => loop {
            allocate(16 * MEBIBYTE);
        },
        Some("leaks") => allocate(150 * MEBIBYTE),
        Some("computes for ever") => loop {
            black_box(0);
        },
        Some("hangs") => loop {
            std::thread::park();
        },
        Some("panics") => panic!("a defect of a parser"),
        Some("recurses for ever") => recurse(0),
        Some("writes a file") => std::fs::write(std::env::temp_dir().join("chorus-probe"), "x").unwrap(),
        Some("answers without end") => {
            let tags = Tags { title: Some("x".repeat(2 * MEBIBYTE)), ..Tags::default() };
            return Ok(Probed { tags, ..probed() });
        }
        Some("good") => {}
        _ => return audio::probe(file),
    }
    Ok(probed())
}

fn allocate(bytes: usize) {
    std::mem::forget(black_box(vec![1_u8; bytes]));
}

#[expect(unconditional_recursion, reason = "it overflows the stack")]
fn recurse(depth: usize) {
    black_box(depth);
    recurse(depth + 1);
    black_box(depth);
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("parser_that_exceeds_a_limit_or_crashes_refuses_one_file", each_refuses_one_file),
        trial("parser_that_hangs_or_answers_without_end_is_stopped", hanging_is_stopped),
        trial("memory_of_earlier_files_refuses_no_file", leaks_refuse_no_file),
    ]
}

async fn each_refuses_one_file() {
    let (alone, batches) = (prober(TIME_LIMIT), batches());
    for (file, refusal) in [
        ("takes all memory", Refusal::TooMuchMemory),
        ("computes for ever", Refusal::TooLong),
        ("panics", Refusal::Crashed),
        // The runtime of Rust aborts when it finds the overflow, as when memory is used up.
        ("recurses for ever", Refusal::TooMuchMemory),
        ("writes a file", Refusal::Crashed),
    ] {
        for prober in [&alone, &batches] {
            assert_eq!(outcome(prober, Path::new("good")).await, Ok(probed()));
            assert_eq!(outcome(prober, Path::new(file)).await, Err(refusal), "{file}");
            assert_eq!(outcome(prober, Path::new("good")).await, Ok(probed()), "after {file}");
        }
    }
}

async fn hanging_is_stopped() {
    let prober = prober(Duration::from_millis(500)).with_files_per_child(10);
    for file in ["hangs", "answers without end"] {
        assert_eq!(outcome(&prober, Path::new(file)).await, Err(Refusal::TooLong), "{file}");
        assert_eq!(outcome(&prober, Path::new("good")).await, Ok(probed()), "after {file}");
    }
}

async fn leaks_refuse_no_file() {
    let prober = batches();
    for _ in 0..4 {
        assert_eq!(outcome(&prober, Path::new("leaks")).await, Ok(probed()));
    }
}
