//! What keeps from serving is said together with everything else, and where it was written.

use secrecy::ExposeSecret;

use super::super::load_to_serve;
use super::{Scene, hash};

const KEY: (&str, &str) = ("RELAYDANCE_API_KEY", "sk-canary");

/// A scene with these variables.
fn scene(toml: &str, env: &[(&str, &str)]) -> Scene {
    env.iter().fold(Scene::with(toml), |scene, (name, value)| {
        scene.var(name, value)
    })
}

/// The problems, one a line.
fn problems(scene: &Scene) -> Vec<String> {
    match load_to_serve(&scene.sources) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// A name, the file, the variables, and how each problem begins.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[track_caller]
fn assert_told(table: &[Case<'_>]) {
    for (name, toml, env, expected) in table {
        let lines = problems(&scene(toml, env));
        assert_eq!(lines.len(), expected.len(), "{name}: {lines:#?}");
        for (line, start) in lines.iter().zip(*expected) {
            assert!(line.starts_with(start), "{name}: {line}");
            assert!(!line.contains("canary"), "{name}: {line}");
        }
    }
}

#[test]
fn each_is_told_where_it_was_written() {
    assert_told(&[
        ("fine", "", &[KEY], &[]),
        (
            "every kind at once, in the order of the file",
            "listen = '0.0.0.0:1'\nlisten_on = 1\n[upstream]\nbase_url = 'http://127.0.0.1:1/v1'\n\
             api_key_file = 'nope'\nca_file = 'none.pem'\n[console]\ntoken_env = 'ADMIN'",
            &[KEY, ("REPRISE_LOG__LEVEL", "loud")],
            &[
                "proxy.toml:1:10: `listen`: 0.0.0.0:1 can be reached",
                "proxy.toml:2:1: unknown key `listen_on`",
                "proxy.toml:4:12: `upstream.base_url`: is where this proxy itself listens",
                "proxy.toml:5:16: `upstream.api_key_file`: cannot read",
                "proxy.toml:6:11: `upstream.ca_file`: cannot read",
                "proxy.toml:8:13: `console.token_env`: there is no admin token",
                "REPRISE_LOG__LEVEL: must be",
            ],
        ),
        (
            "by variables",
            "listen = '127.0.0.1:1'\n[upstream]\nca_file = 'proxy.toml'",
            &[
                ("REPRISE_LISTEN", "0.0.0.0:1"),
                ("REPRISE_UPSTREAM__CA_FILE", "none.pem"),
                ("REPRISE_UPSTREAM__API_KEY_ENV", "TEAM_KEY"),
            ],
            &[
                "REPRISE_LISTEN: 0.0.0.0:1 can be reached",
                "REPRISE_UPSTREAM__API_KEY_ENV: there is no upstream key",
                "REPRISE_UPSTREAM__CA_FILE: cannot read",
            ],
        ),
        (
            "the short form of a variable",
            "",
            &[KEY, ("REPRISE_UPSTREAM", "http://localhost:8787/v1")],
            &["REPRISE_UPSTREAM: is where this proxy itself listens"],
        ),
        (
            "nowhere",
            "nothing = 1",
            &[],
            &[
                "proxy.toml:1:1: unknown key",
                "upstream.api_key_env: there is no upstream key",
            ],
        ),
        (
            "a key that is none",
            "[upstream]\napi_key_env = 'K'",
            &[("K", "canary canary")],
            &["proxy.toml:2:15: `upstream.api_key_env`: the key in K holds"],
        ),
    ]);
    let mut flagged = scene("listen = '127.0.0.1:1'", &[KEY]);
    flagged.sources.listen = Some("[::]:1".to_owned());
    flagged.sources.upstream = Some("http://[::1]:1".to_owned());
    let lines = problems(&flagged);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("--listen: [::]:1 can be"), "{lines:?}");
    assert!(lines[1].starts_with("--upstream: is where"), "{lines:?}");
}

/// Where a line is broken, its default stands in for it, and is no news.
#[test]
fn an_echo_is_not_told() {
    assert_told(&[
        (
            "a broken address is not 127.0.0.1:8787",
            "listen = 1\n[upstream]\nbase_url = 'http://127.0.0.1:8787'",
            &[KEY],
            &["proxy.toml:1:10: `listen` must be text"],
        ),
        (
            "a broken client is a client",
            "listen = '0.0.0.0:1'\n[clients.a]\nkey_hash = 'x'",
            &[KEY],
            &["proxy.toml:3:12: "],
        ),
        (
            "a client without a key is a client",
            "listen = '0.0.0.0:1'\n[clients.a]",
            &[KEY],
            &["proxy.toml:2:10: a client needs its key_hash"],
        ),
        (
            "a broken name of a variable",
            "[upstream]\napi_key_env = 'sk-canary'",
            &[],
            &["proxy.toml:2:15: "],
        ),
        (
            "a broken path of a key",
            "[upstream]\napi_key_file = 1",
            &[],
            &["proxy.toml:2:16: "],
        ),
        (
            "a line that is no TOML could be the key or a client",
            "listen = '0.0.0.0:1'\nlog = ",
            &[],
            &["proxy.toml:2:7: "],
        ),
        (
            "but what was written stands",
            "log = \nupstream.ca_file = 'none.pem'\nupstream.api_key_file = 'nope'",
            &[],
            &["proxy.toml:1:7: ", "proxy.toml:2:20: ", "proxy.toml:3:25: "],
        ),
        (
            "a file that cannot be read could be anything",
            "",
            &[("REPRISE_CONFIG", "none.toml")],
            &["REPRISE_CONFIG: cannot read none.toml"],
        ),
        (
            "an overridden value that is broken hides nothing",
            "listen = 1",
            &[KEY, ("REPRISE_LISTEN", "0.0.0.0:1")],
            &["proxy.toml:1:10: ", "REPRISE_LISTEN: 0.0.0.0:1 can be"],
        ),
    ]);
}

#[test]
fn what_is_ready_has_its_secrets() {
    let toml = "listen = '0.0.0.0:1'\n[console]\ntoken_env = 'ADMIN'";
    let hash = hash("k");
    let keyed = ("REPRISE_CLIENTS__ALICE__KEY_HASH", hash.as_str());
    let ready = load_to_serve(&scene(toml, &[KEY, keyed, ("ADMIN", "t0k-canary-of-mine")]).sources);
    let ready = ready.expect("ready");
    assert_eq!(ready.upstream_key.expose_secret(), KEY.1);
    let token = ready.admin_token.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(token, Some("t0k-canary-of-mine"));
    assert_eq!(ready.loaded.config.clients.len(), 1);
    let shown = format!("{ready:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// What reads the configuration and does not serve asks for no key and no safe address.
#[test]
fn to_look_takes_no_key() {
    let scene = scene("listen = '0.0.0.0:1'\nupstream.ca_file = 'none.pem'", &[]);
    assert_eq!(scene.problems(), "");
    assert_eq!(problems(&scene).len(), 3);
}
