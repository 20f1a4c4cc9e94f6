//! The store as a whole: what it promises, and what it must survive.

mod aside;
mod carrying;
mod codec;
mod concurrency;
mod crash;
mod dying;
mod evicting;
mod figures;
mod glance;
mod golden;
mod index;
mod intents;
mod keeping;
mod late;
mod open_work;
mod opening;
mod purging;
mod room;
mod round_trip;
mod surveying;
mod visits;
mod warm;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::clock::Clock;
use crate::generation::Kind;

fn open(dir: &Path) -> (DiskStore, OpenReport) {
    DiskStore::open(dir, Clock::system()).unwrap()
}

/// A key whose first byte (its folder) and last byte (its writers' group) are `n`.
fn key(n: u8) -> Fingerprint {
    Fingerprint::from_bytes([n; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_790_000_000 + seconds, 123_456_789).unwrap()
}

fn headers() -> Vec<(String, HeaderBytes)> {
    vec![
        ("content-type".into(), "application/json".into()),
        ("x-twice".into(), "a".into()),
        ("x-twice".into(), "b".into()),
        ("x-latin".into(), HeaderBytes::from(&b"caf\xe9 \xff"[..])),
        ("x-empty".into(), "".into()),
    ]
}

/// A small answer without a job.
fn image(n: u8) -> Entry {
    Entry {
        record: Record {
            key: key(n),
            kind: Kind::Images,
            path: "/v1/images/generations".into(),
            model: Some("gpt-image-2".into()),
            client: "alice".into(),
            status: 200,
            headers: headers(),
            created_at: at(i64::from(n)),
            elapsed_ms: 1_234,
            usd: Some(0.0368),
            run: None,
            extent: None,
            previous: None,
            media: Vec::new(),
            passed_by: None,
            task: None,
        },
        body: Payload::Bytes(Bytes::from(format!("{{\"n\":{n}}}\nand a line more"))),
        polls: Vec::new(),
    }
}

/// A job that has succeeded, with two poll paths.
fn video(n: u8, task_id: &str) -> Entry {
    let poll = |path: &str| PollRecord {
        path: format!("{path}/{task_id}"),
        status: 200,
        headers: headers(),
        at: at(60),
    };
    let mut entry = image(n);
    entry.record.kind = Kind::Video;
    entry.record.path = "/v1/video/generations".into();
    entry.record.task = Some(Task {
        id: task_id.into(),
        state: TaskState::Succeeded,
        started_at: at(0),
        ended_at: Some(at(60)),
        total_tokens: Some(108_900),
        polls: vec![poll("/v1/video/generations"), poll("/v1/videos")],
    });
    entry.polls = vec![
        Payload::Bytes(Bytes::from_static(b"{\"code\":\"success\"}")),
        Payload::Bytes(Bytes::from_static(b"{\"status\":\"completed\"}")),
    ];
    entry
}

fn large(n: u8, len: usize) -> Entry {
    let mut entry = image(n);
    entry.body = Payload::Bytes(Bytes::from(vec![n; len]));
    entry
}

fn gen_path(dir: &Path, key: &Fingerprint) -> PathBuf {
    let name = key.to_string();
    dir.join("generations")
        .join(&name[..2])
        .join(format!("{name}.gen"))
}

/// The one file of the index that is never missing: sled's log.
fn log_path(dir: &Path) -> PathBuf {
    dir.join("index/db")
}

/// Copies a folder with everything in it.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file under `dir` with its content, in order of paths.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push((path.clone(), Vec::new()));
            files.extend(snapshot(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}
