//! From the command line to the first request.

use std::time::{Duration, Instant};

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::call::{get, post, send};
use crate::program::{Home, KEY, Program};

#[tokio::test]
async fn without_arguments_it_serves() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let upstream = format!("base_url = \"{}\"", sandbox.base_url());
    home.write(
        "proxy.toml",
        &format!("listen = \"127.0.0.1:0\"\n[upstream]\n{upstream}\n"),
    );
    let mut program = Program::start(home.command(&[]).env("RELAYDANCE_API_KEY", KEY));
    program.listening().await;
    let reply = send(get(&program.url("/v1/models"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(sandbox.count("GET /v1/models"), 1);
    assert!(
        home.path(".local/share/reprise/VERSION").exists(),
        "data is kept where XDG says: {}",
        program.printed()
    );
}

#[tokio::test]
async fn the_first_lines_come_in_order_and_are_true() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let mut program = Program::start(&mut home.serving(&sandbox));
    let address = program.listening().await;
    // The line stands: from now on it accepts, without another attempt.
    let reply = send(get(&program.url("/readyz"))).await;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (200, &b"{\"status\":\"ok\"}"[..])
    );
    program.says("/v1\n").await;

    let port: u16 = address.strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0, "the real port");
    let err = program.err();
    let expected = [
        format!("reprise {}", env!("CARGO_PKG_VERSION")),
        format!("listening on http://{address}"),
        format!("upstream {}", sandbox.base_url()),
        format!("{}", home.path("data").display()),
        "open: loopback only".to_owned(),
        format!("export OPENAI_BASE_URL=http://{address}/v1"),
    ];
    let mut rest = err.as_str();
    for words in expected {
        match rest.split_once(&words) {
            Some((_, behind)) => rest = behind,
            None => panic!("`{words}` is not where it should be:\n{err}"),
        }
    }
    assert!(!err.contains('\u{1b}'), "colour into a pipe:\n{err}");
}

#[tokio::test]
async fn a_json_log_is_json_from_its_first_line_to_its_last() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let mut command = home.serving(&sandbox);
    let mut program = Program::start(command.args(["--log-format", "json"]));
    program.listening().await;
    send(get(&program.url("/v1/models"))).await;
    program.signal("TERM");
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<Value> = ended
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let requests = lines
        .iter()
        .filter(|line| line["path"] == "/v1/models" && line["status"] == 200);
    assert_eq!(requests.count(), 1, "{}", ended.err);
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.ends_with('Z') && line["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_one_clear_line() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new();
    for args in [
        vec!["serve", "--listen", &address, "--data-dir", "data"],
        vec!["sandbox", "--listen", &address],
    ] {
        let ended = home.run_with_key(&args).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(
            ended.err.contains(&address) && ended.err.contains("--listen"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_second_instance_names_the_first_and_does_it_no_harm() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let first = home.serve(&sandbox).await;
    let image = json!({"model": "grok-imagine-image", "prompt": "a"});
    let url = first.url("/v1/images/generations");
    assert_eq!(send(post(&url, &image)).await.status, 200);

    let began = Instant::now();
    let ended = Program::start(&mut home.serving(&sandbox)).end().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it waited");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(
        ended.err.contains(&format!("pid {}", first.pid())),
        "{ended:?}"
    );

    let reply = send(post(&url, &image)).await;
    assert!(reply.header("cache-status").contains("hit"), "{reply:?}");
    let other = json!({"model": "grok-imagine-image", "prompt": "b"});
    let reply = send(post(&url, &other)).await;
    assert!(reply.header("cache-status").contains("stored"), "{reply:?}");
    assert_eq!(sandbox.bill().images, 2);
}

/// A data directory that a newer version wrote is left as it is.
#[tokio::test]
async fn a_newer_data_directory_is_refused_untouched() {
    let home = Home::new();
    let data = home.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("VERSION"), "999\n").unwrap();
    let ended = home
        .run_with_key(&["--listen", "127.0.0.1:0", "--data-dir", "data"])
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("999"), "{ended:?}");
    let left: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "LOCK")
        .collect();
    assert_eq!(left, ["VERSION"]);
}

#[tokio::test]
async fn several_clients_are_counted_in_the_first_lines() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let hash = |key: &str| blake3::hash(key.as_bytes()).to_hex().to_string();
    home.write(
        "proxy.toml",
        &format!(
            "[clients.anna]\nkey_hash = \"blake3:{}\"\n[clients.ben]\nkey_hash = \"blake3:{}\"\n",
            hash("a"),
            hash("b")
        ),
    );
    let program = home.serve(&sandbox).await;
    assert!(program.err().contains("2 keys"), "{}", program.err());
    let refused = send(get(&program.url("/v1/models"))).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "invalid_api_key")
    );
    assert_eq!(sandbox.count("/v1/models"), 0);
}
