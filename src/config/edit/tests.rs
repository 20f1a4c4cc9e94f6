use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;

use super::*;
use crate::config::load;

/// What went and what came between two texts that are equal before and behind.
fn spliced<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let pairs = old.char_indices().zip(new.chars());
    let same = pairs.take_while(|((_, a), b)| a == b);
    let head = same.last().map_or(0, |((at, a), _)| at + a.len_utf8());
    let (old, new) = (&old[head..], &new[head..]);
    let tail: usize = old
        .chars()
        .rev()
        .zip(new.chars().rev())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    (&old[..old.len() - tail], &new[..new.len() - tail])
}

fn draft(text: &str) -> Draft {
    Draft::of(text, "proxy.toml").unwrap()
}

/// Every form of TOML in which a client can be written, with what it is after each operation: a key
/// set anew, a key added, a client added, the client removed.
#[test]
fn every_form_stays_what_it_is() {
    let table = [
        (
            "[clients.a]\nk = 'x' # why\n",
            "[clients.a]\nk = \"y\" # why\n",
            "[clients.a]\nk = 'x' # why\nn = 3\n",
            "[clients.a]\nk = 'x' # why\n\n[clients.b]\nk = \"z\"\n",
            "",
        ),
        (
            "[clients]\na.k = 'x'\n[log]\n",
            "[clients]\na.k = \"y\"\n[log]\n",
            "[clients]\na.k = 'x'\na.n = 3\n[log]\n",
            "[clients]\na.k = 'x'\n\n[clients.b]\nk = \"z\"\n[log]\n",
            "[clients]\n[log]\n",
        ),
        (
            "clients.a.k = 'x'\n\n# log\n[log]\n",
            "clients.a.k = \"y\"\n\n# log\n[log]\n",
            "clients.a.k = 'x'\nclients.a.n = 3\n\n# log\n[log]\n",
            "clients.a.k = 'x'\n\n# log\n[log]\n\n[clients.b]\nk = \"z\"\n",
            "\n# log\n[log]\n",
        ),
        (
            "clients = { a = { k = 'x' }, c.k = 1 }",
            "clients = { a = { k = \"y\" }, c.k = 1 }",
            "clients = { a = { k = 'x', n = 3 }, c.k = 1 }",
            "clients = { a = { k = 'x' }, c.k = 1, b = { k = \"z\" } }",
            "clients = { c.k = 1 }",
        ),
        (
            "clients = { c = { k = 1 }, a.k = 'x' }",
            "clients = { c = { k = 1 }, a.k = \"y\" }",
            "clients = { c = { k = 1 }, a.k = 'x', a.n = 3 }",
            "clients = { c = { k = 1 }, a.k = 'x', b = { k = \"z\" } }",
            "clients = { c = { k = 1 } }",
        ),
        (
            "[clients]\r\n  a = { k = 'x' } # a\r\n# end",
            "[clients]\r\n  a = { k = \"y\" } # a\r\n# end",
            "[clients]\r\n  a = { k = 'x', n = 3 } # a\r\n# end",
            "[clients]\r\n  a = { k = 'x' } # a\r\n# end\r\n\r\n[clients.b]\r\nk = \"z\"\r\n",
            "[clients]\r\n# end",
        ),
        (
            "[clients.\"a\"]\n\tk='x'\n# of a\n\n[clients.c]\nk = 1\n# of the log\n[log]\n",
            "[clients.\"a\"]\n\tk=\"y\"\n# of a\n\n[clients.c]\nk = 1\n# of the log\n[log]\n",
            "[clients.\"a\"]\n\tk='x'\n\tn = 3\n# of a\n\n[clients.c]\nk = 1\n# of the log\n[log]\n",
            "[clients.\"a\"]\n\tk='x'\n# of a\n\n[clients.c]\nk = 1\n\n[clients.b]\nk = \"z\"\n# of the log\n[log]\n",
            "\n[clients.c]\nk = 1\n# of the log\n[log]\n",
        ),
        (
            "\u{feff}clients.\"a\".k = 'x'",
            "\u{feff}clients.\"a\".k = \"y\"",
            "\u{feff}clients.\"a\".k = 'x'\nclients.\"a\".n = 3\n",
            "\u{feff}clients.\"a\".k = 'x'\n\n[clients.b]\nk = \"z\"\n",
            "\u{feff}",
        ),
    ];
    for (text, set, more, added, removed) in table {
        let done = |change: &dyn Fn(&mut Draft)| {
            let mut draft = draft(text);
            change(&mut draft);
            draft.text().to_owned()
        };
        assert_eq!(done(&|d| d.set("clients", "a", "k", "y").unwrap()), set);
        assert_eq!(done(&|d| d.set("clients", "a", "n", 3).unwrap()), more);
        assert_eq!(done(&|d| d.set("clients", "b", "k", "z").unwrap()), added);
        assert_eq!(
            done(&|d| assert!(d.remove("clients", "a").unwrap())),
            removed
        );
        // And back again.
        let back = done(&|d| {
            d.set("clients", "a", "n", 3).unwrap();
            assert!(d.unset("clients", "a", "n").unwrap());
        });
        assert_eq!(back.trim_end(), text.trim_end());
        let none = done(&|d| {
            assert!(!d.remove("clients", "nobody").unwrap());
            assert!(!d.unset("clients", "a", "nothing").unwrap());
        });
        assert_eq!(none, text);
    }
}

/// A comment goes with the section that it stands under, and stays where it leads to another.
#[test]
fn comments_that_belong_elsewhere_stay() {
    for (text, left) in [
        ("[clients.a]\nk = 1\n# of a\n\n[log]\n", "\n[log]\n"),
        ("[clients.a]\nk = 1\n# of a\n", ""),
        ("[clients.a]\nk = 1\n\n# alone\n", "\n# alone\n"),
        (
            "[clients.a]\nk = 1\n\n# alone\n\n[log]\n",
            "\n# alone\n\n[log]\n",
        ),
        (
            "[clients.a]\nk = 1\n# of the log\n[log]\n",
            "# of the log\n[log]\n",
        ),
        (
            "[clients.a]\nk = 1\n# n = 2\n# [clients.b]\n# k = 3\n\n[log]\n",
            "# [clients.b]\n# k = 3\n\n[log]\n",
        ),
        (
            "[clients.a]\nk = 1\n#[clients.\"b c\"] # away\n#k = 3\n",
            "#[clients.\"b c\"] # away\n#k = 3\n",
        ),
        // No header: a word in brackets.
        ("[clients.a]\nk = 1\n# [sic] said a\n\n[log]\n", "\n[log]\n"),
    ] {
        let mut draft = draft(text);
        assert!(draft.remove("clients", "a").unwrap());
        assert_eq!(draft.text(), left, "{text}");
    }
}

#[test]
fn names_with_dots_are_quoted() {
    let mut draft = draft("");
    draft.set("prices", "grok-4.3", "per_request", 0.5).unwrap();
    draft.set("prices", "a\"\n\\b", "per_image", 1.25).unwrap();
    assert_eq!(
        draft.text(),
        "[prices.\"grok-4.3\"]\nper_request = 0.5\n\n[prices.\"\"\"a\"\n\\\\b\"\"\"]\nper_image = 1.25\n"
            .replace("\"\"\"a\"\n\\\\b\"\"\"", "\"a\\\"\\n\\\\b\"")
    );
    assert_eq!(draft.keys("prices", "grok-4.3").unwrap(), ["per_request"]);
    assert_eq!(draft.keys("prices", "none"), None);
}

#[test]
fn what_is_no_section_is_left_to_a_hand() {
    for text in [
        "clients = 3\n",
        "[clients]\na = 3\n",
        "[[clients.a]]\nk = 1\n",
    ] {
        let mut draft = draft(text);
        let error = draft.set("clients", "a", "k", "x").unwrap_err();
        assert!(
            error.to_string().starts_with("proxy.toml has `clients"),
            "{error}"
        );
        assert_eq!(draft.text(), text);
    }
    assert!(Draft::of("a = = 1", "proxy.toml").is_err());
}

/// A file of comments, blank lines, other sections and clients, in either line ending.
fn files() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        Just("# a comment, about = [nothing]\n".to_owned()),
        Just("\n".to_owned()),
        Just("   \n".to_owned()),
        (0..3_u8).prop_map(|n| format!("\n# who\n[clients.c{n}]  # one\nkey_hash = 'h{n}'\n")),
        (3..6_u8)
            .prop_map(|n| format!("[clients.c{n}]\nkey_hash = \"h\"\n\n  usd = 1.50\n# usd = 2\n")),
        (0..3_u8).prop_map(|n| format!("[prices.\"m.{n}\"]\nper_image=0.1 # $\n")),
        Just("[log]\nlevel = \"\"\"\n[clients.c1]\n\"\"\"\n".to_owned()),
        Just("[clients]\nd.key_hash = 'd'\ne = { key_hash = 'e' } # e\nd.usd = 3\n".to_owned()),
    ];
    let blocks = prop::collection::vec(block, 0..12);
    (blocks, any::<bool>(), any::<bool>()).prop_filter_map("TOML", |(blocks, crlf, whole)| {
        let mut blocks = blocks;
        let mut seen = std::collections::BTreeSet::new();
        blocks.retain(|block| match block.find('[') {
            Some(at) if !block.starts_with('#') => {
                seen.insert(block[at..].lines().next().map(str::to_owned))
            }
            _ => true,
        });
        let mut text = format!("listen = '127.0.0.1:1'\n{}", blocks.concat());
        if !whole {
            text.pop();
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        text.parse::<toml::Table>().ok().map(|_| text)
    })
}

proptest! {
    #[test]
    fn a_new_section_is_an_insertion(text in files(), name in "[a-z]{3,6}|c[0-9]x|d\\.e") {
        let mut draft = draft(&text);
        draft.set("clients", &name, "key_hash", "new").unwrap();
        let (gone, come) = spliced(&text, draft.text());
        prop_assert_eq!(gone, "");
        let full = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(str::to_owned).collect()
        };
        let mut lines = full(draft.text());
        let title = format!("[clients.{}]", crate::config::keys::written(&name));
        let at = lines.iter().position(|line| *line == title).unwrap();
        prop_assert_eq!(&lines[at + 1], "key_hash = \"new\"");
        lines.drain(at..at + 2);
        prop_assert_eq!(lines, full(&text), "{:?}", come);
        prop_assert_eq!(draft.text().contains("\r\n"), text.contains("\r\n"));
        // Taken out again, it leaves nothing behind but a last newline.
        prop_assert!(draft.remove("clients", &name).unwrap());
        let (gone, come) = spliced(&text, draft.text());
        prop_assert!(gone.trim().is_empty() && come.trim().is_empty(), "{:?} {:?}", gone, come);
    }

    #[test]
    fn a_new_value_stands_where_the_old_one_stood(text in files()) {
        for name in ["c0", "c1", "c3", "d", "e"] {
            let mut draft = draft(&text);
            let there = draft.keys("clients", name).is_some();
            draft.set("clients", name, "key_hash", "x").unwrap();
            if there {
                let count = |text: &str| text.lines().count();
                prop_assert_eq!(count(draft.text()), count(&text));
                let changed = text.lines().zip(draft.text().lines()).filter(|(a, b)| a != b);
                prop_assert_eq!(changed.count(), 1);
            }
        }
    }

    #[test]
    fn what_is_removed_is_one_section_alone(text in files()) {
        let before: toml::Table = text.parse().unwrap();
        let clients = before.get("clients").and_then(toml::Value::as_table);
        for name in clients.into_iter().flat_map(toml::Table::keys) {
            let mut draft = draft(&text);
            prop_assert!(draft.remove("clients", name).unwrap());
            let (gone, come) = spliced(&text, draft.text());
            // What stands between two keys of dotted form is kept, so it counts as come again.
            prop_assert!(come.is_empty() || name == "d", "{:?}", come);
            for other in ["level", "m.0", "listen", "# who"] {
                prop_assert!(!gone.contains(other) || come.contains(other), "{:?}", gone);
            }
            let after: toml::Table = draft.text().parse().unwrap();
            let left = after.get("clients").and_then(toml::Value::as_table);
            prop_assert!(left.is_none_or(|left| !left.contains_key(name)));
        }
    }
}

struct Place {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let sources = Sources {
            env: [("HOME".to_owned(), home)].into(),
            cwd: folder.path().to_owned(),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn with(text: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.path("proxy.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn add(&self, name: &str) -> Result<Edited<()>, EditError> {
        edit(&self.sources, |_, draft| {
            let hash = format!("blake3:{}", blake3::hash(name.as_bytes()).to_hex());
            Ok(draft.set("clients", name, "key_hash", hash)?)
        })
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// No file is left beside those that belong there.
    fn assert_tidy(&self, expected: usize) {
        let left = std::fs::read_dir(self.folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), expected, "{left:?}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_new_file_is_where_every_folder_finds_it_and_for_its_owner_alone() {
    let place = Place::new();
    let edited = place.add("alice").unwrap();
    let file = place.path(".config/reprise/proxy.toml");
    assert_eq!(edited.path, file);
    assert!(edited.created && edited.changed);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(edited.loaded.config.clients.len(), 1);
    assert_eq!(load(&place.sources).unwrap().config.clients.len(), 1);
    let again = place.add("alice").unwrap();
    assert!(!again.created && !again.changed);

    let mut named = Place::new();
    named.sources.flag_config = Some("sub/own.toml".into());
    named.add("alice").unwrap();
    assert_eq!(mode(&named.path("sub/own.toml")), 0o600);
}

#[test]
fn the_mode_is_kept_and_a_link_is_followed() {
    for wanted in [0o600, 0o640, 0o644, 0o400] {
        let place = Place::with("# mine\n");
        let file = place.path("proxy.toml");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(wanted)).unwrap();
        place.add("alice").unwrap();
        assert_eq!(mode(&file), wanted);
        assert!(place.text("proxy.toml").starts_with("# mine\n"));
        place.assert_tidy(1);
    }
    let place = Place::new();
    std::fs::create_dir(place.path("etc")).unwrap();
    std::fs::write(place.path("etc/real.toml"), "# real\n").unwrap();
    symlink("etc/real.toml", place.path("proxy.toml")).unwrap();
    place.add("alice").unwrap();
    assert!(place.path("proxy.toml").is_symlink());
    assert!(place.text("etc/real.toml").contains("[clients.alice]"));
    place.assert_tidy(2);
}

#[test]
fn a_file_that_breaks_rules_before_or_after_is_left_alone() {
    let place = Place::with("listenn = 3\n[cache]\nscope = 'x'\n");
    let error = place.add("alice").unwrap_err().to_string();
    assert!(
        error.contains("proxy.toml:1:1") && error.contains("proxy.toml:3:9"),
        "{error}"
    );

    let place = Place::with("# sound\n");
    let error = edit::<_, EditError>(&place.sources, |_, draft| {
        Ok(draft.set("clients", "alice", "key_hash", "sk-secret")?)
    })
    .unwrap_err();
    assert!(matches!(error, EditError::Problems(_)), "{error}");
    assert!(!error.to_string().contains("sk-secret"));
    assert_eq!(place.text("proxy.toml"), "# sound\n");
    place.assert_tidy(1);
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_not_lost() {
    let place = Place::with("# mine\n");
    let error = edit::<_, EditError>(&place.sources, |_, draft| {
        std::fs::write(place.path("proxy.toml"), "# theirs\n").unwrap();
        let hash = format!("blake3:{}", "0".repeat(64));
        Ok(draft.set("clients", "alice", "key_hash", hash)?)
    })
    .unwrap_err();
    assert!(error.to_string().contains("at the same time"), "{error}");
    assert_eq!(place.text("proxy.toml"), "# theirs\n");
    place.assert_tidy(1);
}

#[test]
fn of_many_edits_at_once_none_is_lost() {
    for place in [Place::with("# mine\r\n"), Place::new()] {
        std::thread::scope(|scope| {
            for nth in 0..12 {
                let place = &place;
                scope.spawn(move || place.add(&format!("c{nth}")).unwrap());
            }
        });
        assert_eq!(load(&place.sources).unwrap().config.clients.len(), 12);
    }
}

#[test]
fn a_file_that_no_start_reads_is_not_written() {
    let full = format!("#{}\n", "x".repeat((1 << 20) - 50));
    let place = Place::with(&full);
    load(&place.sources).unwrap();
    let error = place.add("alice").unwrap_err().to_string();
    assert!(error.contains("larger than 1 MiB"), "{error}");
    assert!(place.text("proxy.toml") == full);
    place.assert_tidy(1);
}

#[test]
fn what_cannot_be_written_is_said_in_a_line() {
    let place = Place::new();
    symlink("nowhere.toml", place.path("gone.toml")).unwrap();
    std::fs::create_dir(place.path("folder.toml")).unwrap();
    for name in ["gone.toml", "folder.toml", "folder.toml/../gone.toml"] {
        let sources = Sources {
            flag_config: Some(name.into()),
            ..place.sources.clone()
        };
        let error = edit(&sources, |_, _| Ok::<_, EditError>(()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(".toml") && error.lines().count() == 1,
            "{error}"
        );
    }
}
