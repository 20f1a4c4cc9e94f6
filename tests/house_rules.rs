//! The rules of the house that no compiler knows: who may use whom, how long a file may get, and
//! where nothing may panic.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No file is longer, its tests apart.
const LONGEST: usize = 400;

/// Uses that go up or sideways in the table of `src/lib.rs`, and why they stand.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "config",
        "generation",
        "the file has one section for each kind, and says it in the kind's own words",
    ),
    (
        "sandbox",
        "clock",
        "it stands beside the house, and needs nothing of it but the time",
    ),
];

/// One source file of `src/`.
struct Source {
    /// Relative to `src/`.
    path: String,
    /// Its code: without test modules, and without lines that are comments.
    code: String,
    /// Its lines, test modules apart.
    lines: usize,
}

impl Source {
    /// The room it belongs to: the folder or file right below `src/`.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "src/ was not found: {found:?}");
    found
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| source(&root, path))
        .collect()
}

/// Whether a whole file is a test module.
fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn source(root: &Path, path: &PathBuf) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let own: Vec<&str> = match text.find("#[cfg(test)]\nmod ") {
        // A test module in a file of its own is one line, and the code goes on behind it.
        Some(at) if !text[at..].lines().nth(1).unwrap_or_default().ends_with(';') => {
            text[..at].lines().collect()
        }
        Some(_) | None => text.lines().collect(),
    };
    let code = own
        .iter()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let path = path.strip_prefix(root).unwrap();
    Source {
        path: path.to_string_lossy().into_owned(),
        code,
        lines: own.len(),
    }
}

/// The rows of the table in `src/lib.rs`, from the top; rooms of one row stand beside each other.
fn rooms() -> BTreeMap<String, usize> {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | ["));
    let mut rooms = BTreeMap::new();
    for (rank, row) in rows.enumerate() {
        let names = row.split('|').next().unwrap_or_default();
        for name in names.split('`').skip(1).step_by(2) {
            rooms.insert(name.to_owned(), rank);
        }
    }
    rooms
}

/// Every room that stands behind a `crate::` of this code.
fn used(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .collect()
    };
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        let rest = &code[at + word.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let mut depth = 0_i32;
        let mut item = String::new();
        for letter in group.chars() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => found.push(name(std::mem::take(&mut item).trim())),
                other if depth == 0 => item.push(other),
                _ => {}
            }
        }
        found.push(name(item.trim()));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn a_group_of_uses_is_read_like_single_ones() {
    let code =
        "use crate::a::B;\nuse crate::{\n    b::{x, y},\n    c,\n};\nlet d = crate::d::e();\n";
    assert_eq!(used(code), ["a", "b", "c", "d"]);
}

#[test]
fn every_room_is_in_the_table_and_every_row_is_a_room() {
    let rooms = rooms();
    let mut standing: Vec<String> = sources()
        .iter()
        .map(|source| source.room().to_owned())
        .filter(|room| room != "lib" && room != "main")
        .collect();
    standing.dedup();
    standing.sort();
    standing.dedup();
    let listed: Vec<String> = rooms.keys().cloned().collect();
    assert_eq!(standing, listed);
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    let mut needed = [false; EXCEPTIONS.len()];
    for source in sources() {
        let user = source.room();
        if user == "main" || user == "lib" {
            continue;
        }
        for room in used(&source.code) {
            if room == user {
                continue;
            }
            let exception = EXCEPTIONS
                .iter()
                .position(|(from, to, _)| *from == user && *to == room);
            if let Some(at) = exception {
                needed[at] = true;
                continue;
            }
            let (from, to) = (rooms.get(user), rooms.get(&room));
            if from.zip(to).is_none_or(|(from, to)| from >= to) {
                wrong.push(format!("{}: {user} uses {room}", source.path));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that do not point down:\n{}",
        wrong.join("\n")
    );
    for (needed, (from, to, _)) in needed.iter().zip(EXCEPTIONS) {
        assert!(needed, "{from} no longer uses {to}: take the exception out");
    }
}

#[test]
fn the_simulated_upstream_is_no_part_of_the_proxy() {
    let users: Vec<String> = sources()
        .iter()
        .filter(|source| source.room() != "sandbox" && source.room() != "cli")
        .filter(|source| used(&source.code).iter().any(|room| room == "sandbox"))
        .map(|source| source.path.clone())
        .collect();
    assert!(users.is_empty(), "{users:?}");
}

#[test]
fn main_knows_the_commands_and_nothing_else() {
    let sources = sources();
    let main = sources
        .iter()
        .find(|source| source.path == "main.rs")
        .unwrap();
    let names: Vec<&str> = main
        .code
        .split("reprise::")
        .skip(1)
        .filter_map(|rest| rest.split(':').next())
        .collect();
    assert_eq!(names, ["cli"]);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > LONGEST)
        .map(|source| format!("{}: {}", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "cut at {LONGEST} lines: {long:?}");
}

/// A panic that a request can reach is somebody's lost answer.
#[test]
fn nothing_unwraps_outside_tests() {
    let words = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "todo!(",
        "unimplemented!(",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        for line in source.code.lines() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
