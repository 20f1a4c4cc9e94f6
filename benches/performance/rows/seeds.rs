//! A data directory with very many generations in it, written faster than they could be paid for.
//!
//! One real generation is kept first, and its file is the pattern of all others: its record with another
//! key, the same body. So the files are what the program writes, whatever that is.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reprise::generation::{Fingerprint, Kind, Request};

use crate::asking::{Asking, CHAT, Serial, chat};
use crate::parts::Sort;
use crate::systems::System;
use crate::systems::reprise::Proxy;
use crate::world::World;

/// The parts of a kept file: its record's text around the key, and what follows the line.
struct Pattern {
    key: String,
    record: String,
    rest: Vec<u8>,
}

/// A home whose store holds the chats with the serial numbers below `many`.
pub(super) async fn sow(world: &World, many: u64) -> PathBuf {
    let home = world.folder();
    let proxy = Proxy::new(world).at_home(home.clone()).start().await;
    let asking = Asking::post(CHAT, Sort::Small, Serial::Same);
    drop(System::checked("the pattern", proxy, asking).await);
    let generations = home.join("data/generations");
    let pattern = Pattern::read(&generations, &fingerprint(0));
    for number in 1..many {
        pattern.write(&generations, &fingerprint(number));
    }
    // The index learns of them as it would of a restored backup.
    fs::remove_dir_all(home.join("data/index")).unwrap();
    home
}

/// The key of the chat with this serial number.
fn fingerprint(number: u64) -> Fingerprint {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = Request {
        kind: Kind::Chat,
        path: CHAT,
        query: None,
        scope: None,
        take: 1,
        headers: &headers,
        body: &Bytes::from(chat(number)),
    };
    request.identify().fingerprint
}

fn file(generations: &Path, key: &str) -> PathBuf {
    generations.join(&key[..2]).join(format!("{key}.gen"))
}

impl Pattern {
    fn read(generations: &Path, key: &Fingerprint) -> Self {
        let key = key.to_string();
        let whole = fs::read(file(generations, &key)).unwrap();
        let end = memchr::memchr(b'\n', &whole).unwrap();
        let line = std::str::from_utf8(&whole[..end]).unwrap();
        let (_, record) = line.split_once(",\"record\":").unwrap();
        let record = record.strip_suffix('}').unwrap().to_owned();
        assert!(record.contains(&key), "{record}");
        Self {
            key,
            record,
            rest: whole[end + 1..].to_vec(),
        }
    }

    fn write(&self, generations: &Path, key: &Fingerprint) {
        let key = key.to_string();
        let record = self.record.replace(&self.key, &key);
        let mut hasher = blake3::Hasher::new();
        let check = hasher
            .update(record.as_bytes())
            .update(&self.rest)
            .finalize();
        let mut whole =
            format!("{{\"format\":2,\"blake3\":\"{check}\",\"record\":{record}}}\n").into_bytes();
        whole.extend_from_slice(&self.rest);
        fs::write(file(generations, &key), whole).unwrap();
    }
}
