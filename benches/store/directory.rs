//! A data directory with many generations in it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderMap;
use reprise::clock::Clock;
use reprise::generation::{Fingerprint, Kind, Request};
use reprise::store::{DiskStore, Entry, Payload, Record, Store};

/// The path of every request.
pub(crate) const PATH: &str = "/v1/images/generations";
/// About as long as an image's answer with its links, in bytes.
const ANSWER: usize = 1_024;

/// The directory; it goes when this is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes one that holds the answers to the first `count` [`request`]s.
    pub(crate) fn fill(folder: &Path, count: u64) -> Self {
        let directory = Self(folder.join(format!("reprise-bench-{count}-{}", std::process::id())));
        let (store, _) = DiskStore::open(&directory.0, Clock::system()).unwrap();
        let entry = answer(0);
        store.put(&entry).unwrap();
        let model = File::read(&directory.file_of(&entry.record.key), &entry.record.key);
        drop(store);
        std::fs::remove_dir_all(directory.0.join("index")).unwrap();
        std::thread::scope(|scope| {
            for part in 0..2 {
                let (directory, model) = (&directory, &model);
                scope.spawn(move || {
                    for n in (part..count).step_by(2) {
                        let key = key_of(n);
                        // Not synced: a machine that fills a directory so need not survive.
                        std::fs::write(directory.file_of(&key), model.with(&key)).unwrap();
                    }
                });
            }
        });
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The size of the index, in MB.
    pub(crate) fn index_megabytes(&self) -> u64 {
        let files = std::fs::read_dir(self.0.join("index")).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
        sizes.sum::<u64>() / 1_000_000
    }

    fn file_of(&self, key: &Fingerprint) -> PathBuf {
        let name = key.to_string();
        let shard = self.0.join("generations").join(&name[..2]);
        shard.join(format!("{name}.gen"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The body of a request, different for each `n`.
pub(crate) fn request(n: u64) -> String {
    format!("{{\"model\":\"gpt-image-2\",\"prompt\":\"a lighthouse, number {n}\"}}")
}

fn key_of(n: u64) -> Fingerprint {
    let request = Request {
        kind: Kind::Images,
        path: PATH,
        query: None,
        scope: None,
        take: 1,
        headers: &HeaderMap::new(),
        body: &Bytes::from(request(n)),
    };
    request.identify().fingerprint
}

fn answer(n: u64) -> Entry {
    Entry {
        record: Record {
            key: key_of(n),
            kind: Kind::Images,
            path: PATH.into(),
            model: Some("gpt-image-2".into()),
            client: "local".into(),
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            created_at: jiff::Timestamp::now(),
            elapsed_ms: 12_345,
            usd: Some(0.0368),
            run: None,
            extent: None,
            task: None,
            previous: None,
            passed_by: None,
            media: Vec::new(),
        },
        body: Payload::Bytes(Bytes::from(format!(
            "{{\"b64_json\":\"{}\"}}",
            "x".repeat(ANSWER)
        ))),
        polls: Vec::new(),
    }
}

/// A file of the store, from which others are made by another key and another checksum.
struct File {
    before_check: Vec<u8>,
    before_key: Vec<u8>,
    after_key: Vec<u8>,
}

impl File {
    fn read(path: &Path, key: &Fingerprint) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once("\"blake3\":\"").unwrap();
        let rest = rest.split_once('"').unwrap().1;
        let (before_key, after_key) = rest.split_once(&key.to_string()).unwrap();
        Self {
            before_check: format!("{before}\"blake3\":\"").into(),
            before_key: before_key.into(),
            after_key: after_key.into(),
        }
    }

    /// The checksum covers the record, without the end of its line, and the body behind the line.
    fn with(&self, key: &Fingerprint) -> Vec<u8> {
        let key = key.to_string();
        let rest = [&self.before_key, key.as_bytes(), &self.after_key].concat();
        let record = rest
            .windows(10)
            .position(|at| at == b",\"record\":")
            .unwrap()
            + 10;
        let line = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let mut check = blake3::Hasher::new();
        check.update(&rest[record..line - 1]);
        check.update(&rest[line + 1..]);
        let check = check.finalize().to_hex();
        [&self.before_check, check.as_bytes(), b"\"", &rest].concat()
    }
}
