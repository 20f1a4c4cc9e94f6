//! `reprise prices`: what holds, and what upstream's public list changes in the file.

use std::os::unix::fs::PermissionsExt;

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::program::{Ended, Home};

const LIST: &str = "GET /api/pricing";

async fn sandbox() -> Sandbox {
    Sandbox::start(Options::default()).await.unwrap()
}

/// Upstream's list says these rows from now on.
fn lists(sandbox: &Sandbox, rows: &Value) {
    let body = json!({"success": true, "data": rows, "group_ratio": {"default": 1, "vip": 0.5}});
    sandbox
        .on(LIST)
        .answer(200, "application/json", body.to_string())
        .always();
}

fn row(model: &str, ratio: f64, completion: f64) -> Value {
    json!({"model_name": model, "quota_type": 0, "model_ratio": ratio, "completion_ratio": completion})
}

async fn update(home: &Home, sandbox: &Sandbox, more: &[&str]) -> Ended {
    let base = sandbox.base_url();
    let args = [&["prices", "update", "--upstream", &base], more].concat();
    home.run(&args).await
}

fn printed(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

const FILE: &str = "\
# The team's proxy.
listen   =  \"127.0.0.1:0\"   # any port

[prices.\"doubao-seedance-2-0-720p\"]   # agreed in May
  per_million_tokens = 8.0 # dollars
[prices]
\"grok-4.5\" = { per_request = 1 }
[prices.ours]
per_image = 0.5

[console]
enabled = true
";

#[tokio::test]
async fn what_differs_is_written_and_nothing_else() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let file = home.write("proxy.toml", FILE);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let rows = json!([
        row("doubao-seedance-2-0-720p", 4.375, 1.0),
        row("doubao-seedance-2-0-4k", 2.5, 1.0),
        row("grok-4.5", 1.25, 3.0),
        row("newer-than-we-are", 0.1, 4.0),
        row("odd", 0.0, 1.0),
    ]);
    lists(&sandbox, &rows);

    let dry = printed(&update(&home, &sandbox, &["--dry-run", "--json"]).await);
    assert_eq!(dry["dry_run"], true);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), FILE);

    let told = printed(&update(&home, &sandbox, &["--json"]).await);
    for name in ["added", "changed", "gone", "unclear", "unchanged"] {
        assert_eq!(told[name], dry[name], "{name}");
    }
    let new = json!([{"model": "newer-than-we-are", "input_per_million": 0.2, "output_per_million": 0.8}]);
    assert_eq!(told["added"], new);
    let changed = json!([
        {"model": "doubao-seedance-2-0-720p",
            "from": {"per_million_tokens": 8.0}, "to": {"per_million_tokens": 8.75}},
        {"model": "grok-4.5", "from": {"per_request": 1.0},
            "to": {"input_per_million": 2.5, "output_per_million": 7.5}},
    ]);
    assert_eq!(told["changed"], changed);
    assert_eq!(told["gone"], json!(["ours"]));
    assert_eq!(told["unclear"], json!(["odd"]));
    assert_eq!(told["unchanged"], 1, "the table knows it already");

    let text = std::fs::read_to_string(&file).unwrap();
    let kept = FILE
        .replace("per_million_tokens = 8.0", "per_million_tokens = 8.75")
        .replace(
            "per_request = 1",
            "input_per_million = 2.5, output_per_million = 7.5",
        );
    for line in kept.lines() {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
    assert!(text.starts_with("# The team's proxy.\nlisten   =  \"127.0.0.1:0\"   # any port\n"));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    let again = update(&home, &sandbox, &[]).await;
    assert!(
        again
            .out
            .contains("4 prices as they were, nothing to write"),
        "{again:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let check = home.run_with_key(&["check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[tokio::test]
async fn a_new_file_is_for_its_owner_alone_and_no_key_is_sent() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    lists(&sandbox, &json!([row("new", 1.0, 1.0)]));
    let base = sandbox.base_url();
    let told = home
        .run_with_key(&["prices", "update", "--upstream", &base])
        .await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(
        told.out.contains("added\tnew\t$2.00 for a million tokens"),
        "{told:?}"
    );
    let written = home.path(".config/reprise/proxy.toml");
    let mode = std::fs::metadata(&written).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = home.run(&["prices", "list", "--json"]).await;
    let rows = printed(&list);
    let of = |model: &str| {
        let rows = rows.as_array().unwrap().iter();
        rows.filter(|row| row["model"] == model)
            .cloned()
            .collect::<Vec<_>>()
    };
    let new = json!([{"model": "new", "source": "configured", "per_million_tokens": 2.0}]);
    assert_eq!(json!(of("new")), new);
    let known = json!([{"model": "grok-video-1.5", "source": "built-in", "per_second": 0.0368}]);
    assert_eq!(json!(of("grok-video-1.5")), known);
    assert!(
        home.run(&["prices", "list"])
            .await
            .out
            .contains("new\t$2.00 for")
    );

    let asked = sandbox.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].uri.path(), "/api/pricing");
    for name in ["authorization", "x-api-key", "cookie"] {
        assert_eq!(asked[0].header(name), None, "{name}");
    }
}

#[tokio::test]
async fn the_sandbox_lists_what_the_table_knows() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let told = printed(&update(&home, &sandbox, &["--json"]).await);
    let nothing = json!([]);
    for name in ["added", "changed", "gone", "unclear"] {
        assert_eq!(told[name], nothing, "{name}");
    }
    assert!(told["unchanged"].as_u64().unwrap() > 20, "{told}");
    assert_eq!(told["file"], Value::Null);
    assert!(!home.path(".config").exists(), "there was nothing to write");
}

#[tokio::test]
async fn a_group_pays_its_own_prices() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    lists(
        &sandbox,
        &json!([row("doubao-seedance-2-0-720p", 4.375, 1.0)]),
    );
    let told = printed(&update(&home, &sandbox, &["--json", "--dry-run", "--group", "vip"]).await);
    assert_eq!(
        told["changed"][0]["to"],
        json!({"per_million_tokens": 4.375})
    );
    let unknown = update(&home, &sandbox, &["--group", "staff"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("default, vip"), "{unknown:?}");
}

#[tokio::test]
async fn whatever_goes_wrong_is_said_and_changes_nothing() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let file = home.write("proxy.toml", FILE);
    let large = vec![b' '; 9 << 20];
    let none = json!({"success": false, "message": "log in first"}).to_string();
    let text = |text: &str| text.as_bytes().to_vec();
    for (status, body, words) in [
        (404, text(""), "no public price list"),
        (403, text(""), "without an account"),
        (302, text(""), "moved"),
        (500, text(""), "try again later"),
        (200, text("<html>"), "no price list"),
        (200, none.into_bytes(), "log in first"),
        (200, large, "length limit"),
    ] {
        sandbox.on(LIST).answer(status, "text/html", body);
        let ended = update(&home, &sandbox, &[]).await;
        assert_eq!(ended.code, Some(1), "{status}: {ended:?}");
        assert!(ended.err.contains(words), "{status}: {ended:?}");
        assert!(ended.err.contains("/api/pricing"), "{status}: {ended:?}");
    }
    sandbox.on(LIST).close_before_head();
    let ended = update(&home, &sandbox, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("broke off"), "{ended:?}");
    let secure = sandbox.base_url().replace("http://", "https://");
    let ended = home.run(&["prices", "update", "--upstream", &secure]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("cannot be reached"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), FILE);

    home.write(
        "proxy.toml",
        "[prices.a]\nper_imag = 1\n[prices.b]\nper_second = -1\n",
    );
    let ended = update(&home, &sandbox, &[]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("did you mean `per_image`?"), "{ended:?}");
    assert!(ended.err.contains("proxy.toml:4:14"), "{ended:?}");
}
