//! What differs is told by its key, and what a reload may not do.

use super::super::keys::KEYS;
use super::super::reading::Reading;
use super::super::{Running, load_again, stamp};
use super::{Scene, hash};

/// For every key, one of these is a sound value that is not its default.
const VALUES: [&str; 15] = [
    "127.0.0.1:1",
    "7",
    "7s",
    "9MiB",
    "/elsewhere",
    "off",
    "client",
    "rerun",
    "ask",
    "upstream",
    "false",
    "10.0.0.0/8",
    "json",
    "ANOTHER_NAME",
    "http://a.example",
];

#[test]
fn every_key_is_told_when_it_changes() {
    let scene = Scene::empty();
    let default = scene.config();
    assert_eq!(default.changes_since(&default), [""; 0]);
    for key in KEYS {
        if key.named_section().is_some() || key.path.starts_with("tls.") {
            continue;
        }
        let other = VALUES.iter().find_map(|value| {
            let mut sources = scene.sources.clone();
            sources.env.insert(key.variable(), (*value).to_owned());
            let config = Reading::of(&sources).loaded.config;
            (config != default).then_some(config)
        });
        let other = other.expect(key.path);
        let changes = other.changes_since(&default);
        let [change] = changes.as_slice() else {
            panic!("{}: {changes:?}", key.path);
        };
        let of_section = format!("{change}.");
        assert!(
            change == key.path || key.path.starts_with(&of_section),
            "{}: {change}",
            key.path
        );
    }
}

#[test]
fn sections_are_told_by_their_names_and_no_value_is() {
    let client = |name: &str, key: &str| format!("[clients.{name}]\nkey_hash = '{}'\n", hash(key));
    let price = "[prices.'a.b']\nper_image = 1\n";
    let before = Scene::with(&[client("anna", "1"), client("ben", "2")].concat()).config();
    let now = [client("anna", "3"), client("carl", "4"), price.to_owned()].concat();
    let now = Scene::with(&now).config();
    assert_eq!(
        now.changes_since(&before),
        [
            "data_dir",
            "clients.anna",
            "clients.ben (gone)",
            "clients.carl (new)",
            "prices.\"a.b\" (new)"
        ]
    );
}

#[test]
fn what_needs_a_restart_stays_and_is_told() {
    let scene = Scene::empty();
    let running = scene.config();
    let scene = scene.file(
        "proxy.toml",
        "listen = '127.0.0.1:1'\nshutdown_grace = '1s'\n[tls]\ncert_file = 'c'\nkey_file = 'k'\n",
    );
    let scene = scene.var("REPRISE_DATA_DIR", "/elsewhere");
    let mut next = scene.config();
    assert_eq!(
        next.keep_until_restart(&running),
        ["listen", "data_dir", "tls"]
    );
    assert_eq!(next.changes_since(&running), ["shutdown_grace"]);
}

#[test]
fn the_last_key_may_go_where_keys_were_asked_for_and_the_file_may_not() {
    let scene = Scene::with("listen = '0.0.0.0:1'").var("RELAYDANCE_API_KEY", "sk-canary");
    let running = |asks_for_keys| Running {
        file: Some(scene.path("proxy.toml")),
        only_clients: false,
        asks_for_keys,
        listen: "0.0.0.0:1".parse().unwrap(),
    };
    assert!(load_again(&scene.sources, &running(true)).is_ok());
    let refused = load_again(&scene.sources, &running(false)).unwrap_err();
    assert!(refused.to_string().contains("no client key"), "{refused}");
    std::fs::remove_file(scene.path("proxy.toml")).unwrap();
    let refused = load_again(&scene.sources, &running(true)).unwrap_err();
    assert!(refused.to_string().contains("is gone"), "{refused}");
    let never = Running {
        file: None,
        ..running(false)
    };
    assert!(load_again(&scene.sources, &never).is_ok());
}

#[test]
fn a_file_that_says_nothing_any_more_allows_nothing() {
    let scene = Scene::with("").var("RELAYDANCE_API_KEY", "sk-canary");
    let running = |file| Running {
        file,
        only_clients: false,
        asks_for_keys: true,
        listen: "127.0.0.1:8787".parse().unwrap(),
    };
    let said = running(Some(scene.path("proxy.toml")));
    for text in ["", " \r\n\t\n", "\u{feff}# limits\n  # keys"] {
        std::fs::write(scene.path("proxy.toml"), text).unwrap();
        assert!(scene.loaded().says_nothing, "{text:?}");
        let refused = load_again(&scene.sources, &said).unwrap_err().to_string();
        assert!(refused.contains("is empty"), "{text:?}: {refused}");
        assert!(load_again(&scene.sources, &running(None)).is_ok());
        let only_clients = Running {
            only_clients: true,
            ..said.clone()
        };
        assert!(load_again(&scene.sources, &only_clients).is_ok());
    }
    for text in ["[clients]\n", "# one\nlog.level = 'info' # two"] {
        std::fs::write(scene.path("proxy.toml"), text).unwrap();
        assert!(load_again(&scene.sources, &said).is_ok(), "{text:?}");
    }
}

#[test]
fn upstream_is_neither_where_we_listen_nor_where_we_are_to() {
    let text = |listen: &str, upstream: &str| {
        format!("listen = '127.0.0.1:{listen}'\nupstream.base_url = 'http://127.0.0.1:{upstream}'")
    };
    let running = Running {
        file: None,
        only_clients: false,
        asks_for_keys: false,
        listen: "127.0.0.1:1".parse().unwrap(),
    };
    for (listen, upstream, sound) in [("2", "1", false), ("2", "2", false), ("2", "3", true)] {
        let scene = Scene::with(&text(listen, upstream)).var("RELAYDANCE_API_KEY", "sk-canary");
        match load_again(&scene.sources, &running) {
            Ok(_) => assert!(sound, "{listen} {upstream}"),
            Err(problems) => {
                let told = problems.to_string();
                assert!(
                    told.contains("`upstream.base_url`: is where this"),
                    "{told}"
                );
                assert!(!sound, "{told}");
            }
        }
    }
}

#[test]
fn a_stamp_is_of_what_is_read_and_of_nothing_else() {
    let scene = Scene::with("[upstream]\napi_key_file = 'key'\n").file("key", "one");
    let config = scene.config();
    let stamp = || stamp(&scene.sources, &config);
    let write = |name: &str, text: &str| std::fs::write(scene.path(name), text).unwrap();
    let first = stamp();
    write("other", "x");
    write("proxy.toml", "[upstream]\napi_key_file = 'key'\n");
    assert_eq!(stamp(), first, "touched");
    write("key", "two");
    let second = stamp();
    assert_ne!(second, first, "another key");
    write("proxy.toml", "[upstream]\napi_key_file = 'key' \n");
    let third = stamp();
    assert!(third != second && third != first, "another file");
    std::fs::remove_file(scene.path("proxy.toml")).unwrap();
    assert!(![first, second, third].contains(&stamp()), "gone");
}
