//! The admin API itself: who may, and in which form.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::call::{request, send, soon};
use crate::world::{IMAGES, World, image};

/// Headers by name and value.
type Sent<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn only_the_admin_token_opens_it() {
    let world = World::new().await;
    let hash = blake3::hash(b"sk-alice").to_hex();
    let alice = format!("blake3:{hash}");
    let proxy = world
        .serve_with(&[("REPRISE_CLIENTS__ALICE__KEY_HASH", &alice)])
        .await;
    let token = world.token();
    let file = std::fs::metadata(world.data().join("admin-token")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let listed = proxy.admin("GET", "/api/jobs", &token, "").await;
    assert_eq!((listed.status, listed.json()), (200, json!([])));
    assert_eq!(listed.header("content-type"), "application/json");
    assert_eq!(listed.header("cache-control"), "no-store");

    let host = proxy.url("").replace("http://", "");
    let bearer = format!("Bearer {token}");
    let right = ("authorization", bearer.as_str());
    let longer = format!("{bearer}0");
    let basic = format!("Basic {token}");
    let none = (401, "invalid_admin_token");
    let table: [(&str, Sent<'_>, (u16, &str)); 9] = [
        ("no token", &[], none),
        (
            "a client's key",
            &[("authorization", "Bearer sk-alice")],
            none,
        ),
        ("another token", &[("authorization", &longer)], none),
        ("another scheme", &[("authorization", &basic)], none),
        ("elsewhere", &[("x-api-key", &token)], none),
        ("two", &[right, right], (400, "invalid_request")),
        (
            "a web page",
            &[right, ("origin", "https://evil.example")],
            (403, "origin_not_allowed"),
        ),
        (
            "a page across sites",
            &[right, ("sec-fetch-site", "cross-site")],
            (403, "origin_not_allowed"),
        ),
        (
            "a rebound name",
            &[right, ("host", "evil.example")],
            (421, "host_not_allowed"),
        ),
    ];
    for (name, headers, (status, code)) in table {
        for (method, path) in [("GET", "/api/jobs"), ("POST", "/api/jobs/abcd/resolve")] {
            let url = format!("http://{host}{path}");
            let refused = send(request(method, &url, headers, "")).await;
            assert_eq!(refused.error(), (status, code.to_owned()), "{name} {path}");
        }
    }
    let said = proxy.stop().await;
    assert!(!said.contains(&token), "the token is in the log");
}

#[tokio::test]
async fn every_answer_has_the_promised_form() {
    let world = World::new().await;
    let key = world.leave_unknown(IMAGES, &image("a boat")).await;
    let proxy = world.serve().await;
    let token = world.token();
    let resolve = format!("/api/jobs/{key}/resolve");
    let large = "x".repeat(70_000);
    let invalid = (400, "invalid_request");
    for (method, path, body, (status, code)) in [
        ("GET", "/api", "", (404, "not_found")),
        ("GET", "/api/", "", (404, "not_found")),
        ("GET", "/api/nothing", "", (404, "not_found")),
        ("GET", "/api/jobs/", "", (405, "method_not_allowed")),
        ("DELETE", "/api/jobs", "", (405, "method_not_allowed")),
        ("GET", resolve.as_str(), "", (405, "method_not_allowed")),
        ("GET", "/api/jobs?al=1", "", invalid),
        ("GET", "/api/jobs/task_9", "", (404, "job_not_found")),
        ("GET", "/api/jobs/a%2Fb", "", (404, "job_not_found")),
        (
            "POST",
            "/api/jobs/ffff/resolve",
            r#"{"action":"rerun"}"#,
            (404, "job_not_found"),
        ),
        ("POST", resolve.as_str(), "", invalid),
        ("POST", resolve.as_str(), r#"{"action":"task"}"#, invalid),
        (
            "POST",
            resolve.as_str(),
            r#"{"action":"task","task_id":"t"}"#,
            (409, "not_a_job"),
        ),
        ("POST", resolve.as_str(), &large, (413, "request_too_large")),
    ] {
        let refused = proxy.admin(method, path, &token, body).await;
        assert_eq!(
            refused.error(),
            (status, code.to_owned()),
            "{method} {path} {body:.40}"
        );
    }
    let list = proxy.admin("GET", "/api/jobs", &token, "").await.json();
    assert_eq!(list, world.json(&["jobs", "list"]).await);
    assert_eq!(list[0]["key"], key.as_str());
    let one = proxy
        .admin("GET", &format!("/api/jobs/{key}"), &token, "")
        .await;
    assert_eq!(one.json(), world.json(&["jobs", "show", &key]).await);
    let head = proxy.admin("HEAD", "/api/jobs", &token, "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    let done = proxy
        .admin("POST", &resolve, &token, r#"{"action":"forget"}"#)
        .await;
    let expected = json!({"key": key, "kind": "images", "action": "forget", "task_id": null});
    assert_eq!((done.status, done.json()), (200, expected));
    let list = proxy.admin("GET", "/api/jobs?all=1", &token, "").await;
    assert_eq!(list.json(), json!([]));
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let world = World::new().await;
    let proxy = world
        .serve_with(&[("REPRISE_CONSOLE__ENABLED", "false")])
        .await;
    let reply = proxy.admin("GET", "/api/jobs", "any", "").await;
    assert_eq!(reply.error(), (404, "not_found".to_owned()));
    assert!(!world.data().join("admin-token").exists());
    let ended = world.run(&["jobs", "list"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("admin-token"), "{ended:?}");
    drop(proxy);

    // With a token of an earlier start, the proxy itself says so.
    world.serve().await.stop().await;
    let _proxy = world
        .serve_with(&[("REPRISE_CONSOLE__ENABLED", "false")])
        .await;
    let ended = world.run(&["jobs", "list"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("console.enabled = true"), "{ended:?}");
}

#[tokio::test]
async fn the_commands_say_how_to_turn_it_on() {
    let world = World::new().await;
    let file = world.path("proxy.toml");
    std::fs::write(&file, "[console]\nenabled = false\n").unwrap();
    let _proxy = world.serve().await;
    let commands = [["jobs", "list"], ["cache", "list"], ["stats", "--json"]];
    for command in &commands {
        let ended = world.run(command).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for advice in ["console.enabled = true", "stop it first"] {
            assert!(ended.err.contains(advice), "{ended:?}");
        }
    }
    // Done as it says, it is enough.
    std::fs::write(&file, "[console]\nenabled = true\n").unwrap();
    soon(async {
        while world.run(&commands[0]).await.code != Some(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for command in &commands {
        let ended = world.run(command).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[tokio::test]
async fn a_token_of_ones_own_replaces_the_one_that_is_made() {
    let world = World::new().await;
    let named = ("REPRISE_CONSOLE__TOKEN_ENV", "ADMIN");
    let proxy = world
        .serve_with(&[named, ("ADMIN", "a-token-of-my-own")])
        .await;
    assert!(!world.data().join("admin-token").exists());
    let listed = proxy
        .admin("GET", "/api/jobs", "a-token-of-my-own", "")
        .await;
    assert_eq!(listed.status, 200);
    let list = ["jobs", "list", "--json"];
    let with = world
        .run_with(&list, &[named, ("ADMIN", "a-token-of-my-own")])
        .await;
    assert_eq!(
        (with.code, with.out.as_str()),
        (Some(0), "[]\n"),
        "{with:?}"
    );
    let wrong = world
        .run_with(&list, &[named, ("ADMIN", "another-one-of-theirs")])
        .await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("admin token"), "{wrong:?}");
    let without = world.run_with(&list, &[named]).await;
    assert_eq!(without.code, Some(2), "{without:?}");
    assert!(!format!("{wrong:?}{without:?}").contains("a-token-of-my-own"));
    let said = proxy.stop().await;
    assert!(!said.contains("a-token-of-my-own"), "{said}");
}
