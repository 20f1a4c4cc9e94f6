//! What is wrong is said before anything listens: all of it, with its place, and exit code 2.

use std::os::unix::fs::PermissionsExt;

use reprise::sandbox::{Options, Sandbox};

use crate::call::{get, send};
use crate::program::{Ended, Home, KEY, Program};

fn assert_usage(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is missing: {ended:?}");
    }
    assert!(!ended.err.contains("listening on"), "{ended:?}");
}

#[tokio::test]
async fn without_an_upstream_key_nothing_starts() {
    let home = Home::new();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    assert_usage(&home.run(&args).await, &["RELAYDANCE_API_KEY"]);
    assert!(!home.path("data").exists(), "nothing was touched");
    let empty = Program::start(home.command(&args).env("RELAYDANCE_API_KEY", " "));
    assert_usage(&empty.end().await, &["RELAYDANCE_API_KEY"]);
    home.write("proxy.toml", "[upstream]\napi_key_env = \"TEAM_KEY\"\n");
    assert_usage(&home.run_with_key(&args).await, &["TEAM_KEY"]);
}

#[tokio::test]
async fn a_key_file_is_used_and_must_be_private() {
    let options = Options {
        key: Some("sk-from-the-file".into()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let home = Home::new();
    let file = home.write("upstream.key", "sk-from-the-file\n");
    home.write(
        "proxy.toml",
        "[upstream]\napi_key_file = \"upstream.key\"\n",
    );
    let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();

    mode(0o644);
    let ended = Program::start(&mut home.serving(&sandbox)).end().await;
    assert_usage(&ended, &["upstream.key", "chmod 600"]);
    assert!(!ended.err.contains("sk-from-the-file"), "{ended:?}");

    mode(0o600);
    let program = home.serve(&sandbox).await;
    let reply = send(get(&program.url("/v1/models"))).await;
    assert_eq!(
        reply.status, 200,
        "the file's key counts, not the variable's"
    );
}

#[tokio::test]
async fn open_mode_stays_on_loopback() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8787"] {
        let args = ["serve", "--listen", address, "--data-dir", "data"];
        assert_usage(&home.run_with_key(&args).await, &["listen", "keys add"]);
        assert!(!home.path("data").exists(), "{address}");
    }
}

#[tokio::test]
async fn every_problem_of_a_file_is_told_with_its_place() {
    let home = Home::new();
    home.write(
        "proxy.toml",
        "listen = 8787\n\
         [cache]\n\
         scoop = \"shared\"\n\
         [cache.chat]\n  ttl = \"1y\"\n\
         [jobs]\n\
         poll_interval = \"1ms\"\n",
    );
    let places = [
        "proxy.toml:1:10",
        "proxy.toml:3:1",
        "proxy.toml:5:9",
        "proxy.toml:7:17",
        "scope",
    ];
    for args in [&["check"][..], &["serve"][..], &[][..]] {
        let ended = home.run_with_key(args).await;
        assert_usage(&ended, &places);
    }
}

/// What would only show at start is no second round: it is told with the rest, place and all.
#[tokio::test]
async fn what_keeps_from_starting_is_told_with_every_other_problem() {
    let home = Home::new();
    home.write(
        "proxy.toml",
        "listen = \"0.0.0.0:1\"\n\
         [cache]\n\
         scoop = \"shared\"\n\
         [upstream]\n\
         api_key_file = \"nope\"\n\
         ca_file = \"none.pem\"\n",
    );
    let lines = [
        "proxy.toml:1:10: `listen`: 0.0.0.0:1 can be reached",
        "proxy.toml:3:1: unknown key `scoop`",
        "proxy.toml:5:16: `upstream.api_key_file`: cannot read",
        "proxy.toml:6:11: `upstream.ca_file`: cannot read",
    ];
    for args in [&["check"][..], &["serve"][..], &[][..]] {
        let ended = home.run(args).await;
        assert_usage(&ended, &lines);
        assert_eq!(ended.err.lines().count(), lines.len(), "{ended:?}");
    }
    let flagged = home.run(&["check", "--listen", "[::]:1"]).await;
    assert_usage(&flagged, &["--listen: [::]:1 can be reached", lines[2]]);

    let other = Home::new();
    other.write("proxy.toml", "[upstream]\napi_key_env = \"TEAM_KEY\"\n");
    for args in [["check"], ["serve"]] {
        let ended = other.run_with_key(&args).await;
        assert_usage(&ended, &["proxy.toml:2:15: `upstream.api_key_env`: "]);
    }
}

#[tokio::test]
async fn check_ends_with_0_when_all_is_fine() {
    let home = Home::new();
    let ended = home.run_with_key(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    home.write("proxy.toml", "listen = \"127.0.0.1:0\"\n");
    let ended = home.run_with_key(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("proxy.toml"), "{ended:?}");
    assert!(!home.path(".local").exists(), "a check keeps nothing");
}

#[tokio::test]
async fn the_documented_file_is_a_good_one() {
    let home = Home::new();
    home.write("proxy.toml", include_str!("../../proxy.toml"));
    let ended = home.run_with_key(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn a_named_file_must_be_there() {
    let home = Home::new();
    for args in [
        &["check", "--config", "nowhere.toml"][..],
        &["--config", "nowhere.toml", "check"][..],
    ] {
        assert_usage(&home.run_with_key(args).await, &["nowhere.toml"]);
    }
    let mut command = home.command(&["check"]);
    command.env("REPRISE_CONFIG", "elsewhere.toml");
    let ended = Program::start(command.env("RELAYDANCE_API_KEY", KEY));
    assert_usage(&ended.end().await, &["elsewhere.toml"]);
}

/// Flag before environment before file.
#[tokio::test]
async fn a_flag_counts_more_than_a_variable_and_that_more_than_the_file() {
    let home = Home::new();
    home.write("proxy.toml", "listen = \"in the file\"\n");
    let ended = home.run_with_key(&["check"]).await;
    assert_usage(&ended, &["proxy.toml:1:10"]);
    let by_variable = |args: &[&str], value: &str| {
        let mut command = home.command(args);
        command.env("REPRISE_LISTEN", value);
        Program::start(command.env("RELAYDANCE_API_KEY", KEY))
    };
    let ended = by_variable(&["check"], "in the variable").end().await;
    assert_usage(&ended, &["REPRISE_LISTEN"]);
    let args = ["check", "--listen", "in the flag"];
    let ended = by_variable(&args, "127.0.0.1:0").end().await;
    assert_usage(&ended, &["--listen"]);
}
