//! `proxy.toml` at the root of the repository: the default in words.

use std::path::Path;
use std::time::Duration;

use super::super::keys::KEYS;
use super::super::reader::Reader;
use super::super::settings::Settings;
use super::super::{Ttl, UnknownOutcome, file, resolve};
use super::Scene;
use crate::generation::Kind;

const DOCUMENTED: &str = include_str!("../../../proxy.toml");

#[test]
fn the_documented_file_is_the_default() {
    let place = Scene::empty();
    let default = place.loaded();
    assert_eq!(default.file, None);
    let place = place.file("proxy.toml", DOCUMENTED);
    let documented = place.loaded();
    assert_eq!(documented.file, Some(place.path("proxy.toml")));
    assert_eq!(documented.config, default.config);
}

#[test]
fn the_documented_file_shows_every_key() {
    let shown = |line: &&str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let key = line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        key || (line.starts_with('[') && line.ends_with(']'))
    };
    let lines = DOCUMENTED.lines().filter(shown);
    let all: Vec<&str> = lines
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    let mut settings = Settings::default();
    file::read(&all.join("\n"), "proxy.toml", &mut settings);
    assert_eq!(settings.problems, []);
    for key in KEYS {
        let names = match key.named_section() {
            Some(section) => settings
                .names(section)
                .iter()
                .map(|(name, _)| *name)
                .collect(),
            None => vec![""],
        };
        assert!(
            names
                .iter()
                .any(|name| !settings.get(key.path, name).is_empty()),
            "{}",
            key.path
        );
    }
    // The examples keep their own rules; what is left are features to come.
    let mut reader = Reader::of(&settings, Path::new("/"), Path::new("/"));
    resolve::resolve(&mut reader, None);
    for problem in &reader.problems {
        assert!(
            problem.to_string().contains("not yet supported"),
            "{problem}"
        );
    }
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    let mut asked: Vec<&str> = reader.asked.iter().copied().collect();
    asked.sort_by_key(|path| known.iter().position(|known| known == path));
    assert_eq!(
        asked, known,
        "the resolver reads the keys of the list, all of them and no other"
    );
}

#[test]
fn defaults_are_those_of_the_contract() {
    let place = Scene::empty();
    let config = place.config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.data_dir, place.path(".local/share/reprise"));
    assert_eq!(
        config.upstream.base_url.to_string(),
        "https://relaydance.com/v1"
    );
    assert_eq!(config.upstream.api_key_env, "RELAYDANCE_API_KEY");
    assert_eq!(config.cache.max_request_body, 67_108_864);
    assert_eq!(
        config.cache.policy(Kind::Video).unknown_outcome,
        UnknownOutcome::Ask
    );
    assert_eq!(
        config.cache.policy(Kind::Audio).unknown_outcome,
        UnknownOutcome::Ask
    );
    assert_eq!(
        config.cache.policy(Kind::Embeddings).unknown_outcome,
        UnknownOutcome::Rerun
    );
    assert_eq!(config.cache.policy(Kind::Images).ttl, Ttl::Forever);
    assert_eq!(
        config.cache.policy(Kind::Chat).ttl,
        Ttl::For(Duration::from_hours(7 * 24))
    );
    assert!(config.clients.is_empty() && config.tls.is_none() && config.public_url.is_none());
}
