//! The commands beside `serve`.

use reprise::sandbox::{Options, Sandbox};
use serde_json::json;

use crate::call::{get, post, send};
use crate::program::{Home, Program};

#[tokio::test]
async fn help_and_version_go_to_standard_output() {
    let home = Home::new();
    let help = home.run(&["--help"]).await;
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for word in [
        "serve", "demo", "sandbox", "check", "cache", "--config", "--listen",
    ] {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    let version = home.run(&["--version"]).await;
    let expected = format!("reprise {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, version.out), (Some(0), expected));
}

#[tokio::test]
async fn bad_usage_ends_with_2() {
    let home = Home::new();
    for args in [
        &["srve"][..],
        &["--no-such-flag"],
        &["serve", "too", "much"],
        &["cache"],
        &["cache", "key"],
        &["cache", "key", "/v1/models", "body.json"],
        &["serve", "--log-format", "xml"],
        &["sandbox", "--submit-shape", "round"],
        &["sandbox", "--job-time", "soon"],
        &["sandbox", "--listen", "nowhere"],
    ] {
        let ended = home.run_with_key(args).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.out, "", "{args:?}");
        assert!(!ended.err.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn cache_key_names_the_generation_that_the_proxy_keeps() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let body = json!({"model": "grok-imagine-image", "prompt": "a key", "n": 1});
    home.write(
        "body.json",
        "{ \"n\": 1.0, \"prompt\": \"a\\u0020key\", \"model\": \"grok-imagine-image\" }\n",
    );
    let key = home
        .run(&["cache", "key", "/v1/images/generations", "body.json"])
        .await;
    assert_eq!(key.code, Some(0), "{key:?}");
    let hex = key.out.trim_end();
    assert!(
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key:?}"
    );

    let url = program.url("/v1/images/generations");
    send(post(&url, &body)).await;
    let hit = send(post(&url, &body)).await;
    let expected = format!("reprise; hit; key=\"{}\"", &hex[..16]);
    assert_eq!(hit.header("cache-status"), expected);

    let args = ["cache", "key", "/v1/images/generations", "-"];
    let mut piped = Program::start(&mut home.command(&args));
    piped.tell(&body.to_string());
    let piped = piped.end().await;
    assert_eq!((piped.code, piped.out.trim_end()), (Some(0), hex));
    let take = home
        .run(&[
            "cache",
            "key",
            "/v1/images/generations",
            "body.json",
            "--take",
            "2",
        ])
        .await;
    assert!(
        take.code == Some(0) && take.out.trim_end() != hex,
        "{take:?}"
    );
}

#[tokio::test]
async fn the_demo_shows_what_was_paid_and_saved() {
    let home = Home::new();
    let ended = home
        .run(&["demo", "--exit", "--listen", "127.0.0.1:0"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["PAID $", " paid: $", "Saved: $"] {
        assert!(ended.out.contains(word), "{word}: {}", ended.out);
    }
    let left = std::fs::read_dir(home.path("")).unwrap().count();
    assert_eq!(left, 0, "a demo leaves nothing behind");
}

#[tokio::test]
async fn the_demo_stays_until_it_is_told_to_end() {
    let home = Home::new();
    let mut demo = Program::start(&mut home.command(&["demo", "--listen", "127.0.0.1:0"]));
    demo.says("OPENAI_BASE_URL=").await;
    let printed = demo.printed();
    let (_, rest) = printed.split_once("OPENAI_BASE_URL=").unwrap();
    let base = rest.split_whitespace().next().unwrap().to_owned();
    let models = send(get(&format!("{base}/models"))).await;
    assert_eq!(models.status, 200, "{printed}");
    demo.signal("INT");
    let ended = demo.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn the_sandbox_speaks_in_the_shape_that_was_asked_for() {
    let home = Home::new();
    for (shape, fields) in [
        ("docs", &["task_id", "status"][..]),
        ("bare", &["task_id"][..]),
        (
            "openai",
            &[
                "id",
                "task_id",
                "object",
                "model",
                "status",
                "progress",
                "created_at",
            ][..],
        ),
    ] {
        let args = [
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--job-time",
            "200ms",
            "--submit-shape",
            shape,
        ];
        let mut sandbox = Program::start(&mut home.command(&args));
        sandbox.listening().await;
        let ask = |request: http::Request<_>| {
            let (mut parts, body) = request.into_parts();
            parts
                .headers
                .insert("authorization", "Bearer any".parse().unwrap());
            send(http::Request::from_parts(parts, body))
        };
        let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a boat"});
        let submit = ask(post(&sandbox.url("/v1/video/generations"), &body))
            .await
            .json();
        let mut names: Vec<&str> = submit
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected = fields.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{shape}");
        let poll = sandbox.url(&format!(
            "/v1/videos/{}",
            submit["task_id"].as_str().unwrap()
        ));
        let mut last = ask(get(&poll)).await.json();
        for _ in 0..500 {
            if last["status"] == "completed" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            last = ask(get(&poll)).await.json();
        }
        assert_eq!(last["status"], "completed", "{last}");
        let bill = ask(get(&sandbox.url("/sandbox/bill"))).await.json();
        assert_eq!(bill["video"], 1, "{bill}");
        sandbox.signal("TERM");
        assert_eq!(sandbox.end().await.code, Some(0));
    }
}
