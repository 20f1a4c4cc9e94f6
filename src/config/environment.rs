//! Environment variables → settings.
//!
//! Every key of `proxy.toml` is `REPRISE_` + its path in capitals, with `__` between levels:
//! `cache.video.ttl` is `REPRISE_CACHE__VIDEO__TTL`. A client's name is taken in lower case
//! (`REPRISE_CLIENTS__ALICE__KEY_HASH` is `clients.alice.key_hash`), a model's likewise. A variable
//! cannot hold a dash or a dot, so the price of a model that has one in its name can only be set
//! in the file. Lists are written as in TOML (`["a", "b"]`) or with commas (`a,b`). A variable that
//! is empty counts as not set, so that compose files can pass on what may not be there.

use std::collections::BTreeMap;

use super::keys::{self, KEYS, Key};
use super::problem::{Place, Problem};
use super::settings::{Setting, Settings, Value};

/// What every variable of ours begins with.
const OURS: &str = "REPRISE_";

/// The variable that names the configuration file.
pub(super) const CONFIG: &str = "REPRISE_CONFIG";

/// The short form of `upstream.base_url`.
const UPSTREAM: &str = "REPRISE_UPSTREAM";

/// Variables that hold secrets or the way to the file, and are no keys.
const APART: [&str; 3] = [CONFIG, "REPRISE_CALLBACK_SECRET", "REPRISE_ADMIN_TOKEN"];

/// Variables of the crash tests; a release build knows none of them.
const OF_TESTS: [&str; 3] = ["REPRISE_FAULT", "REPRISE_LONG", "REPRISE_SEED"];

/// Takes in every variable of ours.
pub(super) fn read(env: &BTreeMap<String, String>, settings: &mut Settings) {
    for (variable, value) in env {
        let Some(path) = variable.strip_prefix(OURS) else {
            continue;
        };
        let tests = cfg!(debug_assertions) && OF_TESTS.contains(&variable.as_str());
        if APART.contains(&variable.as_str()) || tests || is_service_link(path) {
            continue;
        }
        let place = Place::Variable(variable.clone());
        match key_of(variable, path) {
            Some(_) if value.is_empty() => {}
            Some((key, name)) => {
                let value = Value::Plain(value.clone());
                settings.put(key, &name, Setting { value, place });
            }
            None => {
                let problem = Problem::at(&place, unknown(variable));
                settings.strangers.push((variable.clone(), problem));
            }
        }
    }
    both_forms(env, settings);
}

/// The key that a variable sets, and the name in place of its `*`.
fn key_of(variable: &str, path: &str) -> Option<(&'static Key, String)> {
    if variable == UPSTREAM {
        return Some((keys::find("upstream.base_url")?, String::new()));
    }
    if path.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let levels: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    KEYS.iter()
        .find_map(|key| fits(key, &levels).map(|name| (key, name)))
}

/// Whether `levels` spell `key`: the name in place of its `*`, empty where it has none.
fn fits(key: &Key, levels: &[String]) -> Option<String> {
    if key.levels().count() != levels.len() {
        return None;
    }
    let mut name = String::new();
    for (level, written) in key.levels().zip(levels) {
        match level {
            "*" if !written.is_empty() => name.clone_from(written),
            _ if level == written => {}
            _ => return None,
        }
    }
    Some(name)
}

/// Whether this is a variable that container platforms set for a service called `reprise`
/// (`REPRISE_SERVICE_HOST`, `REPRISE_PORT_8787_TCP`, …), which nobody wrote.
fn is_service_link(path: &str) -> bool {
    path == "PORT" || path.starts_with("PORT_") || path.starts_with("SERVICE_")
}

/// What to say about a variable that sets nothing.
fn unknown(variable: &str) -> String {
    let names: Vec<String> = KEYS
        .iter()
        .map(Key::variable)
        .chain([UPSTREAM.to_owned()])
        .collect();
    match keys::nearest(variable, names.iter().map(String::as_str)) {
        Some(near) => format!("unknown variable; did you mean `{near}`?"),
        None => "unknown variable; a key of proxy.toml is REPRISE_ and its path in capitals, \
                 with __ between levels (REPRISE_CACHE__VIDEO__TTL)"
            .to_owned(),
    }
}

/// The long and the short form of the upstream must not disagree: one of them is a leftover, and
/// it would decide who is paid.
fn both_forms(env: &BTreeMap<String, String>, settings: &mut Settings) {
    let long = "REPRISE_UPSTREAM__BASE_URL";
    let value = |name| env.get(name).filter(|value| !value.is_empty());
    if let (Some(a), Some(b)) = (value(long), value(UPSTREAM))
        && a != b
    {
        let rule = format!("differs from {UPSTREAM}, which means the same: set one of them");
        settings
            .problems
            .push(Problem::at(&Place::Variable(long.to_owned()), rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_variable() {
        for key in KEYS {
            let variable = key.variable();
            let path = variable.strip_prefix(OURS).unwrap();
            let (found, name) = key_of(&variable, path).expect(&variable);
            assert_eq!(found.path, key.path);
            assert_eq!(name, if key.path.contains('*') { "name" } else { "" });
            assert!(!is_service_link(path), "{variable}");
        }
    }

    #[test]
    fn other_variables_set_nothing() {
        for path in [
            "listen",
            "LISTENN",
            "CACHE_VIDEO_TTL",
            "CLIENTS____KEY_HASH",
            "CLIENTS__A",
            "",
        ] {
            assert!(key_of(&format!("{OURS}{path}"), path).is_none(), "{path}");
        }
    }
}
