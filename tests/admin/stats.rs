//! `reprise stats` and `GET /api/stats`: the same at a running proxy and without one.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::world::{World, snapshot};

const SHAPE: [&str; 10] = [
    "failed",
    "groups",
    "hit",
    "joined",
    "paid",
    "possible_double_payments",
    "unknown",
    "unpriced",
    "usd_saved",
    "usd_spent",
];

/// A line by hand, with what the others leave out.
fn line(time: &str, client: &str, outcome: &str, (spent, saved): (f64, f64), more: &str) -> String {
    let key = "ab".repeat(32);
    format!(
        "{{\"time\":\"{time}\",\"client\":\"{client}\",\"kind\":\"chat\",\"key\":\"{key}\",\
         \"outcome\":\"{outcome}\",\"usd_spent\":{spent},\"usd_saved\":{saved}{more}}}\n"
    )
}

/// A data directory with two months of a ledger.
async fn furnished() -> World {
    let world = World::new().await;
    world.serve().await.stop().await;
    let run = ",\"run\":\"018f0000-0000-7000-8000-000000000001\"";
    let october = line("2026-10-30T23:00:00Z", "=cmd", "paid", (0.1, 0.0), "");
    let mut november = String::new();
    for (client, outcome, usd, more) in [
        ("alice", "unknown", (0.0, 0.0), run),
        ("alice", "paid", (1.25, 0.0), run),
        ("alice", "hit", (0.0, 0.2), ""),
        ("alice", "joined", (0.0, 0.000_000_001), ",\"model\":\"m\""),
        ("bob", "paid", (0.0, 0.0), ",\"unpriced\":true"),
        (
            "bob",
            "paid",
            (0.2, 0.0),
            ",\"possible_double_payment\":true",
        ),
        ("bob", "failed", (0.0, 0.0), ""),
    ] {
        write!(
            november,
            "{}",
            line("2026-11-02T08:00:00Z", client, outcome, usd, more)
        )
        .unwrap();
    }
    let folder = world.data().join("ledger");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("2026-10.jsonl"), october).unwrap();
    // The last line is torn.
    std::fs::write(folder.join("2026-11.jsonl"), november + "{\"time\":\"20").unwrap();
    world
}

fn names(statistics: &Value) -> Vec<&str> {
    let groups = statistics["groups"].as_array().unwrap().iter();
    groups
        .map(|group| group["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn figures_are_the_same_with_and_without_a_proxy() {
    let world = furnished().await;
    let before = snapshot(&world.data());
    let stopped = world.json(&["stats"]).await;
    let expected = json!({
        "paid": 4, "hit": 1, "joined": 1, "failed": 1, "unknown": 0,
        "possible_double_payments": 1, "unpriced": 1, "unreadable": 1,
        "usd_spent": 1.55, "usd_saved": 0.200_000_001,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&stopped[name], value, "{name} in {stopped}");
    }
    assert_eq!(names(&stopped), ["alice", "bob", "=cmd"]);
    let mut fields: Vec<&str> = stopped["groups"][0]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| if name == "name" { "groups" } else { name })
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, SHAPE, "{stopped}");
    for (by, expected) in [
        ("model", &["(none)", "m"][..]),
        ("kind", &["chat"]),
        ("day", &["2026-10-30", "2026-11-02"]),
    ] {
        let found = world.json(&["stats", "--by", by]).await;
        assert_eq!(names(&found), expected, "{by}");
        assert_eq!(found["usd_spent"], 1.55);
    }
    let since = world.json(&["stats", "--since", "2026-11-01"]).await;
    assert_eq!(
        (&since["paid"], &since["usd_spent"]),
        (&json!(3), &json!(1.45))
    );
    assert_eq!(snapshot(&world.data()), before, "looking changes nothing");

    let proxy = world.serve().await;
    assert_eq!(world.json(&["stats"]).await, stopped);
    let token = world.token();
    let ask = async |path: &str| proxy.admin("GET", path, &token, "").await;
    let answer = ask("/api/stats").await;
    assert_eq!((answer.status, answer.json()), (200, stopped));
    assert_eq!(answer.header("cache-control"), "no-store");
    let asked = ask("/api/stats?since=2026-11-01&by=client").await;
    assert_eq!(asked.json(), since);
    for query in ["by=colour", "since=soon", "to=1d"] {
        let refused = ask(&format!("/api/stats?{query}")).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_request".to_owned()),
            "{query}"
        );
    }
    let refused = proxy.admin("POST", "/api/stats", &token, "").await;
    assert_eq!(refused.error(), (405, "method_not_allowed".to_owned()));
    let stranger = proxy.admin("GET", "/api/stats", "guess", "").await;
    assert_eq!(stranger.error().0, 401);
}

#[tokio::test]
async fn programs_get_columns_or_csv() {
    let world = furnished().await;
    let plain = world.run(&["stats", "--since", "2026-11-01"]).await;
    assert_eq!(plain.code, Some(0), "{plain:?}");
    assert_eq!(
        plain.out,
        "total\t3\t1\t1\t1\t0\t1\t1\t1.45\t0.200000001\n\
         alice\t1\t1\t1\t0\t0\t0\t0\t1.25\t0.200000001\n\
         bob\t2\t0\t0\t1\t0\t1\t1\t0.20\t0.00\n"
    );
    let csv = world.run(&["stats", "--csv"]).await;
    assert_eq!(
        csv.out,
        "client,paid,hit,joined,failed,unknown,possible_double_payments,unpriced,usd_spent,usd_saved\r\n\
         alice,1,1,1,0,0,0,0,1.25,0.200000001\r\n\
         bob,2,0,0,1,0,1,1,0.20,0.00\r\n\
         \"'=cmd\",1,0,0,0,0,0,0,0.10,0.00\r\n"
    );
    for wrong in [
        &["stats", "--by", "colour"][..],
        &["stats", "--since", "soon"],
        &["stats", "--csv", "--json"],
    ] {
        let ended = world.run(wrong).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    }
}

#[tokio::test]
async fn where_nothing_was_kept_everything_is_zero_and_nothing_is_made() {
    let world = World::new().await;
    let nothing = world.json(&["stats"]).await;
    let mut fields: Vec<&str> = nothing
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, SHAPE, "no line is unreadable");
    assert_eq!(nothing["groups"], json!([]));
    assert_eq!(nothing["usd_spent"], 0.0);
    assert!(!world.data().exists());
    world.serve().await.stop().await;
    assert_eq!(world.json(&["stats"]).await, nothing);
    assert!(!world.data().join("ledger").exists());
}
