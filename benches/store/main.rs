//! How the store's cost grows with what is kept: rebuild, start, hits and memory of the real program.
//!
//! `cargo bench --bench store -- [--in FOLDER] [COUNT]…` makes a data directory for each count, without
//! syncs, in FOLDER (default: the system's temporary folder), and removes it at the end. A million
//! takes 5 GB and a million inodes.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement fails by panicking, its helpers too"
)]

mod directory;
mod program;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use directory::Directory;
use program::Program;

/// How many generations are asked for, first once each and then often: as many whatever is kept, or what is
/// compared would be how many of them are at hand in memory.
const ASKED: u64 = 1_000;
/// How often each of them is asked for again.
const AGAIN: usize = 19;
/// How many others are asked for, where there are so many, before memory is looked at a last time.
const OTHERS: u64 = 20_000;
/// How many starts are measured.
const STARTS: usize = 5;

fn main() {
    let (folder, counts) = arguments();
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "kept",
        "rebuild",
        "start",
        "killed",
        "first µs",
        "p50 µs",
        "p99 µs",
        "MB start",
        "MB hits",
        "MB index"
    );
    for count in counts {
        measure(&folder, count);
    }
}

fn arguments() -> (PathBuf, Vec<u64>) {
    let mut folder = std::env::temp_dir();
    let mut counts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo hands to every bench.
            "--bench" => {}
            "--in" => folder = arguments.next().expect("--in names a folder").into(),
            count => counts.push(count.parse().expect("a count is a number")),
        }
    }
    if counts.is_empty() {
        counts = vec![1_000, 100_000];
    }
    (folder, counts)
}

fn measure(folder: &Path, count: u64) {
    let directory = Directory::fill(folder, count);
    // The first start finds no index.
    let since = Instant::now();
    let program = Program::start(directory.path());
    program.hit(0);
    let rebuild = since.elapsed();
    program.rest();
    program.stop();
    let (start, program) = starts(&directory, Program::stop);
    let (killed, program) = {
        program.stop();
        starts(&directory, Program::kill)
    };
    program.rest();
    let started = program.resident();
    let hit = |n| program.hit(n);
    let first: Vec<Duration> = spread(ASKED, count).map(hit).collect();
    let again = (0..AGAIN).flat_map(|_| spread(ASKED, count).map(hit));
    let again: Vec<Duration> = again.collect();
    for n in spread(OTHERS, count) {
        program.hit(n);
    }
    println!(
        "{count:>9} {:>8.2}s {:>8.3}s {:>8.3}s {:>9} {:>9} {:>9} {started:>9} {:>9} {:>9}",
        rebuild.as_secs_f64(),
        start.as_secs_f64(),
        killed.as_secs_f64(),
        percentile(first, 50),
        percentile(again.clone(), 50),
        percentile(again, 99),
        program.resident(),
        directory.index_megabytes(),
    );
    program.stop();
}

/// The median time to the first answer, and the last program that was started for it.
fn starts(directory: &Directory, end: fn(Program)) -> (Duration, Program) {
    let mut times = Vec::new();
    let mut last: Option<Program> = None;
    for n in 0..STARTS {
        if let Some(program) = last.take() {
            end(program);
        }
        let since = Instant::now();
        let program = Program::start(directory.path());
        program.hit(n as u64);
        times.push(since.elapsed());
        last = Some(program);
    }
    times.sort_unstable();
    (times[STARTS / 2], last.unwrap())
}

/// So many numbers below `count` in no order.
fn spread(many: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..many).map(move |n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count)
}

/// In microseconds: so many of a hundred took no longer.
fn percentile(mut times: Vec<Duration>, percent: usize) -> u128 {
    times.sort_unstable();
    times[times.len() * percent / 100].as_micros()
}
