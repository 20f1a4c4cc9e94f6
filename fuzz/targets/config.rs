//! proxy.toml: every text is a configuration or a list of problems that say where they are.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

use libfuzzer_sys::fuzz_target;
use reprise::config::{self, Config, Problems, Sources};

/// Stands for a key that somebody pasted into the wrong line.
const SECRET: &str = "sk-nobody-may-see-this";

fuzz_target!(|text: &str| {
    let problems = match load(text) {
        Ok(config) => {
            let again = load(&format!("{text}\n# the end"));
            assert_eq!(again.ok(), Some(config), "a comment changes nothing");
            return;
        }
        Err(problems) => problems,
    };
    let lines: Vec<&str> = text.split('\n').collect();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| {
            let (line, column, rule) = place(&problem.to_string());
            let length = lines.get(line - 1).map(|line| line.chars().count());
            assert!(
                length.is_some_and(|length| column <= length + 1),
                "{problem}"
            );
            (line, column, rule)
        })
        .collect();
    assert!(!places.is_empty());
    if text.matches(SECRET).count() == text.matches(&format!("= \"{SECRET}\"\n")).count() {
        assert!(!problems.to_string().contains(SECRET), "{problems}");
    }
    // One line more above: every problem one line further down. The toml crate does not say where a
    // text is nested more deeply than it reads.
    if !text.starts_with('\u{feff}') && !problems.to_string().contains("recursion limit") {
        let moved = load(&format!("# above\n{text}")).err().map(|problems| {
            let places = problems.iter().map(|problem| place(&problem.to_string()));
            places
                .map(|(line, column, rule)| (line - 1, column, rule))
                .collect()
        });
        let deep = |places: &Vec<(usize, usize, String)>| {
            places.iter().any(|place| place.2 == "recursion limit")
        };
        assert!(moved.as_ref().is_some_and(deep) || moved == Some(places));
    }
});

/// The line, the column and the rule of `proxy.toml:3:14: …`.
fn place(problem: &str) -> (usize, usize, String) {
    let found = problem.strip_prefix("proxy.toml:").and_then(|rest| {
        let (line, rest) = rest.split_once(':')?;
        let (column, rule) = rest.split_once(": ")?;
        let place = (line.parse().ok()?, column.parse().ok()?, rule.to_owned());
        (place.0 > 0 && place.1 > 0 && !rule.is_empty() && !rule.contains('\n')).then_some(place)
    });
    found.unwrap_or_else(|| panic!("no place: {problem:?}"))
}

fn load(text: &str) -> Result<Config, Problems> {
    let folder = folder();
    if let Err(error) = fs::write(folder.join("proxy.toml"), text) {
        panic!("cannot write below {}: {error}", folder.display());
    }
    let home = ("HOME".to_owned(), folder.display().to_string());
    let sources = Sources {
        env: [home].into(),
        cwd: folder.to_path_buf(),
        ..Sources::default()
    };
    config::load(&sources).map(|loaded| loaded.config)
}

/// A folder of this process; `fuzz/run` sees to it that it is in memory, and goes.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = env::temp_dir().join(format!("reprise-fuzz-{}", process::id()));
        if let Err(error) = fs::create_dir_all(&folder) {
            panic!("cannot make {}: {error}", folder.display());
        }
        folder
    })
}
