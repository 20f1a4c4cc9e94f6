//! The whole way: files, variables and flags in, a configuration or every problem out.

mod changes;
mod documented;
mod problems;
mod serving;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::generation::Kind;

/// A folder to load a configuration in: it is the current folder and the home folder.
struct Scene {
    folder: TempDir,
    sources: Sources,
}

impl Scene {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let sources = Sources {
            env: BTreeMap::from([("HOME".to_owned(), home)]),
            cwd: folder.path().to_owned(),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn with(toml: &str) -> Self {
        Self::empty().file("proxy.toml", toml)
    }

    fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.loaded().config
    }

    #[track_caller]
    fn loaded(&self) -> Loaded {
        match load(&self.sources) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// The problems, one a line; empty if there are none.
    fn problems(&self) -> String {
        load(&self.sources)
            .err()
            .map(|problems| problems.to_string())
            .unwrap_or_default()
    }
}

fn hash(key: &str) -> String {
    format!("blake3:{}", blake3::hash(key.as_bytes()).to_hex())
}

#[test]
fn every_kind_has_its_own_policy() {
    let place = Scene::with(
        "[cache]\nvideo.ttl = '1h'\nimages.ttl = '2h'\naudio.ttl = '3h'\nembeddings.ttl = '4h'\n\
         chat.ttl = '5h'\nchat.mode = 'deterministic'",
    );
    let cache = place.config().cache;
    for (hours, kind) in (1..).zip(Kind::ALL) {
        let ttl = Ttl::For(Duration::from_hours(hours));
        assert_eq!(cache.policy(kind).ttl, ttl, "{kind:?}");
    }
    assert_eq!(cache.policy(Kind::Chat).mode, Mode::Deterministic);
}

#[test]
fn own_limits_go_before_common_ones() {
    let common = Limits {
        requests_per_minute: 60,
        usd_per_day: 5.0,
        ..Limits::default()
    };
    let own = OwnLimits {
        usd_per_day: Some(0.0),
        usd_per_month: Some(9.0),
        ..OwnLimits::default()
    };
    let expected = Limits {
        usd_per_day: 0.0,
        usd_per_month: 9.0,
        ..common
    };
    assert_eq!(own.over(&common), expected);
}

#[test]
fn debug_shows_no_secret() {
    let place = Scene::empty().var("RELAYDANCE_API_KEY", "sk-canary");
    let shown = format!("{:?} {:?}", place.sources, place.loaded());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("127.0.0.1:8787"), "{shown}");
}
