//! Client keys: made, listed, rotated and taken out, in a file that somebody wrote by hand.

use std::os::unix::fs::PermissionsExt;

use reprise::sandbox::{Options, Sandbox};
use serde_json::Value;

use crate::call::{get, send};
use crate::program::{Ended, Home, Program};

/// A file with everything in it that an edit may not touch.
const FILE: &str = "# Ours.\r\nshutdown_grace   = \"5s\"   # short\r\n\r\n[clients] # who\r\n\
    'old.one' = { key_hash = \"blake3:0000000000000000000000000000000000000000000000000000000000000000\" }\r\n\
    \r\n# The rest.\r\n[log]\r\n  level='warn'";

/// The key that was printed: alone on standard output.
fn key(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let key = ended.out.strip_suffix('\n').unwrap();
    let digits = key.strip_prefix("sk-reprise-").unwrap();
    let fits = digits.len() == 36 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert!(fits, "{key}");
    assert!(!ended.err.contains(key), "standard error is often logged");
    key.to_owned()
}

fn hash(key: &str) -> String {
    format!("blake3:{}", blake3::hash(key.as_bytes()).to_hex())
}

fn text(home: &Home) -> String {
    std::fs::read_to_string(home.path("proxy.toml")).unwrap()
}

async fn listed(home: &Home) -> Vec<Value> {
    let ended = home.run(&["keys", "list", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.out.is_empty(), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is missing: {ended:?}");
    }
}

#[tokio::test]
async fn a_commented_file_keeps_every_byte_but_the_clients() {
    let home = Home::new();
    let file = home.write("proxy.toml", FILE);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let made = home
        .run(&["keys", "add", "alice", "--requests-per-minute", "60"])
        .await;
    let first = key(&made);
    assert!(made.err.contains("OPENAI_API_KEY="), "{made:?}");
    let section = |key: &str| {
        format!(
            "\r\n[clients.alice]\r\nkey_hash = \"{}\"\r\nrequests_per_minute = 60\r\n",
            hash(key)
        )
    };
    let (before, after) = FILE.split_once("\r\n# The rest.").unwrap();
    let with = |section: &str| format!("{before}{section}\r\n# The rest.{after}");
    assert_eq!(text(&home), with(&section(&first)));

    let second = key(&home.run(&["keys", "rotate", "alice"]).await);
    assert_ne!(first, second);
    assert_eq!(text(&home), with(&section(&second)));

    let clients = listed(&home).await;
    let names: Vec<_> = clients
        .iter()
        .map(|client| client["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "old.one"]);
    assert_eq!(clients[0]["key_hash"], hash(&second));
    assert_eq!(clients[0]["requests_per_minute"], 60);
    assert_eq!(clients[1]["requests_per_minute"], 0);
    assert_eq!(clients[1]["usd_per_day"], 0.0);
    let plain = home.run(&["keys", "list"]).await;
    assert!(
        plain.out.starts_with("alice\t") && !plain.out.contains("sk-"),
        "{plain:?}"
    );

    let gone = home.run(&["keys", "remove", "alice"]).await;
    assert_eq!((gone.code, gone.out.as_str()), (Some(0), ""), "{gone:?}");
    assert_eq!(text(&home), FILE);
    let permissions = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(permissions & 0o777, 0o640);
    let left = home.run(&["keys", "remove", "old.one", "--json"]).await;
    let left: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(
        (&left["clients_left"], &left["running"]),
        (&0.into(), &false.into())
    );
}

#[tokio::test]
async fn a_key_lets_in_from_the_next_start_on() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let alice = key(&home.run(&["keys", "add", "alice"]).await);
    let file = home.path(".config/reprise/proxy.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bob = home.run(&["keys", "add", "bob", "--json"]).await;
    let bob: Value = serde_json::from_str(&bob.out).unwrap();
    assert_eq!(bob["name"], "bob");
    assert_eq!(bob["key_hash"], hash(bob["key"].as_str().unwrap()));
    assert_eq!(bob["file"], file.to_str().unwrap());

    let program = home.serve(&sandbox).await;
    let url = program.url("/v1/models");
    let asked = async |key: &str| {
        let mut request = get(&url);
        let value = format!("Bearer {key}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        send(request).await.status
    };
    assert_eq!(asked(&alice).await, 200);
    assert_eq!(asked(bob["key"].as_str().unwrap()).await, 200);
    assert_eq!(asked(&alice.replace("sk-reprise-", "sk-")).await, 401);
    assert_eq!(send(get(&url)).await.status, 401);

    // It is said that a proxy runs, and where.
    let mut again = home.command(&["keys", "rotate", "bob"]);
    let again = Program::start(again.args(["--data-dir", "data"]))
        .end()
        .await;
    key(&again);
    assert!(again.err.contains("running proxy"), "{again:?}");
    assert!(again.err.contains(&program.origin), "{again:?}");
    for name in ["alice", "bob"] {
        let args = ["keys", "remove", name, "--data-dir", "data"];
        let gone = home.run(&args).await;
        assert_eq!(gone.code, Some(0), "{gone:?}");
        assert_eq!(
            gone.err.contains("until it is restarted"),
            name == "bob",
            "{gone:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_one_line_and_changes_nothing() {
    let home = Home::new();
    home.write("proxy.toml", FILE);
    let run = async |args: &[&str]| home.run(args).await;
    let table: [(&[&str], &[&str]); 8] = [
        (&["add", "old.one"], &["keys rotate old.one", "keys remove"]),
        (&["add", "sk-reprise-abc"], &["looks like a key"]),
        (&["add", "local"], &["local"]),
        (&["add", "a b"], &["1 to 64"]),
        (&["add", ""], &["1 to 64"]),
        (&["remove", "nobody"], &["no such client", "old.one"]),
        (&["rotate", "sk-secret"], &["no such client"]),
        (&["rotate", "nobody"], &["old.one"]),
    ];
    for (args, words) in table {
        let ended = run(&[&["keys"], args].concat()).await;
        assert_refused(&ended, words);
        assert!(
            !ended.err.contains("sk-secret") && !ended.err.contains("abc"),
            "{ended:?}"
        );
    }
    assert_eq!(text(&home), FILE);
    for flag in ["--usd-per-day", "--usd-per-month"] {
        for value in ["-1", "NaN", "inf", "much"] {
            let ended = run(&["keys", "add", "x", &format!("{flag}={value}")]).await;
            assert_eq!(ended.code, Some(2), "{ended:?}");
        }
    }
    assert_eq!(text(&home), FILE);
    let ended = run(&["--config", "proxy.toml/no.toml", "keys", "add", "x"]).await;
    assert_eq!(
        (ended.code, ended.err.lines().count()),
        (Some(1), 1),
        "{ended:?}"
    );

    home.write("proxy.toml", "listenn = 1\n[cache]\nscope = 2\n");
    let ended = run(&["keys", "add", "x"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.err.contains("proxy.toml:1:1") && ended.err.contains(":3:9"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn clients_of_the_environment_are_changed_there() {
    let home = Home::new();
    let hash = hash("sk-any");
    for (args, code) in [
        (&["keys", "add", "alice"][..], 2),
        (&["keys", "rotate", "alice"], 2),
        (&["keys", "remove", "alice"], 2),
        (&["keys", "list", "--json"], 0),
    ] {
        let mut command = home.command(args);
        command.env("REPRISE_CLIENTS__ALICE__KEY_HASH", &hash);
        let ended = Program::start(&mut command).end().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let told = ended.err.contains("REPRISE_CLIENTS__ALICE__KEY_HASH");
        assert_eq!(told, code == 2, "{ended:?}");
        assert_eq!(ended.out.contains(&hash), code == 0, "{ended:?}");
    }
    assert!(!home.path(".config").join("reprise/proxy.toml").exists());
}

#[tokio::test]
async fn without_the_last_client_an_open_address_is_no_longer_served() {
    let home = Home::new();
    home.write("proxy.toml", "listen = \"0.0.0.0:1\"\n");
    key(&home.run(&["keys", "add", "alice"]).await);
    let checked = home.run_with_key(&["check"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let gone = home.run(&["keys", "remove", "alice"]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert!(gone.err.contains("The next start is refused"), "{gone:?}");
    assert_eq!(text(&home), "listen = \"0.0.0.0:1\"\n");
}
