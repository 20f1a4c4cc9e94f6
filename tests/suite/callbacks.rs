//! Callbacks: whoever gave an address hears of the end of its job once, whether it ran the job,
//! joined it or hit.

use std::time::Duration;

use http::Method;
use reprise::config::{Deliver, Network, Scope};
use serde_json::{Value, json};

use crate::house::{Answer, Form, House, Plan, Receiver, Reply, until};

const PATH: &str = "/v1/video/generations";

fn loopback() -> Vec<Network> {
    vec![Network::parse("127.0.0.0/8").unwrap()]
}

/// A house that calls loopback addresses, and whose jobs end when the test says so.
fn house(deliver: Deliver) -> Plan {
    House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(move |config| {
            config.jobs.min_poll_interval = Duration::from_nanos(1);
            config.callbacks.deliver = deliver;
            config.callbacks.allow = loopback();
        })
}

fn video(prompt: &str, callback: &str) -> Value {
    json!({
        "model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5",
        "metadata": {"resolution": "720p", "callback_url": callback},
    })
}

async fn submit(house: &House, body: &Value) -> Answer {
    house.client().post(PATH).json(body).send().await
}

fn task(submit: &Answer) -> String {
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

async fn poll(house: &House, task: &str) -> Answer {
    house.client().get(&format!("{PATH}/{task}")).send().await
}

/// What upstream was sent last.
fn sent(house: &House) -> String {
    let mut requests = house.sandbox.requests();
    requests.retain(|seen| seen.route.starts_with("POST "));
    String::from_utf8(requests.last().unwrap().body.to_vec()).unwrap()
}

/// Everything that was to be called by now is called before this one more.
async fn last_call(house: &House, receiver: &Receiver, prompt: &str) {
    let before = receiver.heard().len();
    let hit = submit(house, &video(prompt, &receiver.url("/last"))).await;
    assert!(hit.is_hit(), "{}", hit.cache_status());
    receiver.arrived(before + 1).await;
    assert_eq!(receiver.heard_at("/last").len(), 1);
}

#[tokio::test]
async fn fifty_callers_are_called_once_each() {
    let receiver = Receiver::start().await;
    let mut house = house(Deliver::All).await;
    let body = |n: usize| video("a lighthouse", &receiver.url(&format!("/{n}?token=t{n}")));
    let gate = house.hold("POST /v1/video");
    let begin = |n| house.client().post(PATH).json(&body(n)).begin();
    let mut under_way = vec![begin(0)];
    gate.arrived(1).await;
    under_way.extend((1..20).map(begin));
    house.waiting(20).await;
    gate.release();
    let mut id = String::new();
    for call in under_way {
        let answer = call.answer().await;
        assert_eq!(answer.status, 200);
        id = task(&answer);
    }
    for n in 20..35 {
        let joined = submit(&house, &body(n)).await;
        assert_eq!(joined.cache_status(), "reprise; fwd=miss; collapsed");
    }
    assert!(receiver.heard().is_empty(), "nothing has ended");
    house.sandbox.finish_jobs();
    let shown = poll(&house, &id).await;
    for n in 35..50 {
        assert!(submit(&house, &body(n)).await.is_hit());
    }
    receiver.arrived(50).await;
    // Who asks again under the same address is not called again, nor after a restart.
    for n in [0, 7, 25, 49] {
        assert!(submit(&house, &body(n)).await.is_hit());
    }
    house.restart().await;
    last_call(&house, &receiver, "a lighthouse").await;
    for n in 0..50 {
        let calls = receiver.heard_at(&format!("/{n}?token=t{n}"));
        assert_eq!(calls.len(), 1, "{n}");
        assert_eq!(calls[0].body, shown.text());
        assert_eq!(calls[0].headers["content-type"], "application/json");
        assert!(calls[0].headers["webhook-id"].starts_with("msg_"));
        assert!(calls[0].headers["user-agent"].starts_with("reprise/"));
        assert!(!calls[0].headers.contains_key("webhook-signature"));
        assert!(!calls[0].headers.contains_key("authorization"));
    }
    let mut ids: Vec<_> = receiver.heard().into_iter().collect();
    ids.sort_by(|one, other| one.headers["webhook-id"].cmp(&other.headers["webhook-id"]));
    ids.dedup_by(|one, other| one.headers["webhook-id"] == other.headers["webhook-id"]);
    assert_eq!(ids.len(), 51, "each delivery has an id of its own");
    assert_eq!(house.billed(), 1);
    assert!(!sent(&house).contains("callback_url"), "{}", sent(&house));
}

#[tokio::test]
async fn upstream_calls_the_first_and_the_proxy_the_others() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::Joined).await;
    let first = video("joined", &receiver.url("/first"));
    let answer = submit(&house, &first).await;
    assert_eq!(sent(&house), first.to_string(), "upstream gets the address");
    // The first caller again, as SDKs do when they lose patience: upstream calls it already.
    submit(&house, &first).await;
    submit(&house, &video("joined", &receiver.url("/second"))).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&answer)).await;
    receiver.arrived(1).await;
    last_call(&house, &receiver, "joined").await;
    assert_eq!(receiver.heard_at("/second").len(), 1);
    assert!(receiver.heard_at("/first").is_empty());
}

#[tokio::test]
async fn nobody_is_called_when_that_is_off() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::Off).await;
    let body = video("off", &receiver.url("/first"));
    let answer = submit(&house, &body).await;
    assert_eq!(sent(&house), body.to_string());
    submit(&house, &video("off", &receiver.url("/second"))).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&answer)).await;
    let hit = submit(&house, &video("off", &receiver.url("/third"))).await;
    assert!(hit.is_hit());
    house.settle().await;
    assert!(receiver.heard().is_empty());
    assert!(!house.data_dir().join("callbacks").exists());
}

#[tokio::test]
async fn an_address_is_taken_out_wherever_it_stands() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::All).await;
    let url = receiver.url("/c");
    let text = serde_json::to_string(&json!({"callback_url": url, "r": 1})).unwrap();
    let json = json!(text).to_string();
    let long = "long ".repeat(20_000);
    let bodies = [
        (
            format!(r#"{{ "model":"m", "callback_url" : "{url}", "prompt":"top" }}"#),
            r#"{ "model":"m", "prompt":"top" }"#.to_owned(),
        ),
        (
            format!(r#"{{"model":"m","prompt":"text","metadata":{json}}}"#),
            r#"{"model":"m","prompt":"text","metadata":"{\"r\":1}"}"#.to_owned(),
        ),
        (
            format!(r#"{{"metadata":{{"callback_url":"{url}"}},"model":"m","prompt":"in"}}"#),
            r#"{"metadata":{},"model":"m","prompt":"in"}"#.to_owned(),
        ),
    ];
    let bodies = bodies.into_iter().chain([
        (
            format!(r#"{{"Metadata":{{"Callback_URL":"{url}"}},"model":"m","prompt":"case"}}"#),
            r#"{"Metadata":{},"model":"m","prompt":"case"}"#.to_owned(),
        ),
        (
            format!(r#"{{"callback_url":"{url}","model":"m","prompt":"{long}"}}"#),
            format!(r#"{{"model":"m","prompt":"{long}"}}"#),
        ),
    ]);
    for (n, (body, upstreams)) in bodies.enumerate() {
        let answer = house.client().post(PATH).json_text(body).send().await;
        assert_eq!(sent(&house), upstreams);
        house.sandbox.finish_jobs();
        poll(&house, &task(&answer)).await;
        receiver.arrived(n + 1).await;
    }
    let form = Form::new("b").text("model", "m").text("prompt", "form");
    let with = form.clone().text("callback_url", &url);
    let answer = house.client().post("/v1/videos").form(&with).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!sent(&house).contains("callback"), "{}", sent(&house));
    assert!(sent(&house).contains("form"));
    house.sandbox.finish_jobs();
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let shown = house.client().get(&format!("/v1/videos/{id}"));
    let shown = shown.send().await;
    receiver.arrived(6).await;
    assert_eq!(receiver.heard()[5].body, shown.text());
}

/// With "all", nobody may be called of whom the proxy knows nothing.
#[tokio::test]
async fn an_address_that_readers_may_find_differently_is_refused() {
    let receiver = Receiver::start().await;
    let (one, other) = (receiver.url("/one"), receiver.url("/other"));
    let twice = format!(
        r#"{{"model":"m","prompt":"twice","metadata":{{"callback_url":"{one}"}},"metadata":{{"callback_url":"{other}"}}}}"#
    );
    let torn = format!(r#"{{"model":"m","prompt":"torn","Callback_url":"{one}""#);
    let house_of_all = house(Deliver::All).await;
    for body in [&twice, &torn] {
        let call = house_of_all.client().post(PATH).json_text(body.clone());
        let refused = call.send().await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.error_code(), "invalid_callback_url", "{body}");
    }
    assert!(house_of_all.sandbox.requests().is_empty());

    // With "joined" it goes as it came, and who joins is called as upstream would call it.
    let house = house(Deliver::Joined).await;
    let post = |body: &str| house.client().post(PATH).json_text(body.to_owned()).send();
    let first = post(&twice).await;
    assert_eq!(sent(&house), twice);
    post(&twice.replace("/other", "/joined")).await;
    assert_eq!(
        house.billed(),
        2,
        "what repeats a name is recognised by its bytes"
    );
    post(&twice).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&first)).await;
    house.settle().await;
    assert!(receiver.heard().is_empty(), "upstream calls both");
}

#[tokio::test]
async fn a_failure_is_told_and_the_next_run_is_another_job() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::All).await;
    let body = video("it fails [fail]", &receiver.url("/c"));
    for n in 1..=2 {
        let answer = submit(&house, &body).await;
        house.sandbox.finish_jobs();
        let shown = poll(&house, &task(&answer)).await;
        receiver.arrived(n).await;
        assert_eq!(receiver.heard()[n - 1].body, shown.text());
        assert!(shown.text().contains(&task(&answer)));
    }
    let heard = receiver.heard();
    assert_ne!(
        heard[0].headers["webhook-id"],
        heard[1].headers["webhook-id"]
    );
    // Of a job that is forgotten nothing stays behind.
    let folder = house.data_dir().join("callbacks");
    until(|| crate::house::files_below(&folder).is_empty()).await;
}

#[tokio::test]
async fn a_rerun_is_a_job_of_its_own() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::All).await;
    let body = video("again", &receiver.url("/c"));
    let first = submit(&house, &body).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&first)).await;
    receiver.arrived(1).await;
    let again = house.client().post(PATH).json(&body);
    let again = again.cache_control("no-cache").send().await;
    assert_ne!(task(&again), task(&first));
    house.sandbox.finish_jobs();
    poll(&house, &task(&again)).await;
    receiver.arrived(2).await;
    last_call(&house, &receiver, "again").await;
    let calls = receiver.heard_at("/c");
    assert_eq!(calls.len(), 2);
    assert!(calls[0].body.contains(&task(&first)));
    assert!(calls[1].body.contains(&task(&again)));
}

#[tokio::test]
async fn who_leaves_before_the_answer_is_called_all_the_same() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::All).await;
    let gate = house.hold("POST /v1/video");
    let begin = |path| {
        let body = video("left", &receiver.url(path));
        house.client().post(PATH).json(&body).begin()
    };
    let leader = begin("/leader");
    gate.arrived(1).await;
    let follower = begin("/follower");
    house.waiting(2).await;
    leader.leave().await;
    follower.leave().await;
    gate.release();
    let joined = submit(&house, &video("left", &receiver.url("/joined"))).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&joined)).await;
    receiver.arrived(3).await;
    for path in ["/leader", "/follower", "/joined"] {
        assert_eq!(receiver.heard_at(path).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn clients_that_share_nothing_hear_of_their_own_jobs() {
    let receiver = Receiver::start().await;
    let plan = house(Deliver::All).config(|config| {
        config.cache.scope = Scope::Client;
        config.clients = ["alice", "bob"]
            .into_iter()
            .map(|name| {
                let client = reprise::config::Client {
                    key_hash: blake3::hash(name.as_bytes()),
                    limits: reprise::config::OwnLimits::default(),
                };
                (name.to_owned(), client)
            })
            .collect();
    });
    let house = plan.await;
    let body = video("apart", &receiver.url("/c"));
    let mut tasks = Vec::new();
    for name in ["alice", "bob"] {
        let answer = house.client().post(PATH).key(name).json(&body).send().await;
        tasks.push((name, task(&answer)));
    }
    house.sandbox.finish_jobs();
    for (n, (name, task)) in tasks.iter().enumerate() {
        let target = format!("{PATH}/{task}");
        house.client().get(&target).key(name).send().await;
        receiver.arrived(n + 1).await;
        assert!(receiver.heard()[n].body.contains(task.as_str()));
    }
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn no_redirect_is_followed_and_who_is_gone_is_left_alone() {
    let (receiver, trap) = (Receiver::start().await, Receiver::start().await);
    let plan = house(Deliver::All).config(|config| config.callbacks.attempts = 2);
    let house = plan.await;
    let away = format!("location: {}\r\n", trap.url("/trap"));
    receiver.reply("/moved", &[Reply::Status(307, away)]);
    receiver.reply("/gone", &[Reply::Status(410, String::new())]);
    let answer = submit(&house, &video("gone", &receiver.url("/gone"))).await;
    submit(&house, &video("gone", &receiver.url("/moved"))).await;
    house.sandbox.finish_jobs();
    poll(&house, &task(&answer)).await;
    // Two attempts at the one that moved, one at the one that is gone.
    receiver.arrived(3).await;
    last_call(&house, &receiver, "gone").await;
    assert_eq!(receiver.heard_at("/moved").len(), 2);
    assert_eq!(receiver.heard_at("/gone").len(), 1);
    assert!(trap.heard().is_empty());
    // One that was given up and asks again is tried again.
    receiver.reply("/gone", &[Reply::Status(200, String::new())]);
    submit(&house, &video("gone", &receiver.url("/gone"))).await;
    receiver.arrived(5).await;
    assert_eq!(receiver.heard_at("/gone").len(), 2);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_and_a_silent_one_holds_up_nobody() {
    let receiver = Receiver::start().await;
    let silent = Receiver::start().await;
    let house = house(Deliver::All).await;
    receiver.reply("/flood", &[Reply::Flood]);
    let answer = submit(&house, &video("slow", &receiver.url("/flood"))).await;
    for n in 0..10 {
        let path = format!("/{n}");
        silent.reply(&path, &[Reply::Silence]);
        submit(&house, &video("slow", &silent.url(&path))).await;
    }
    house.sandbox.finish_jobs();
    poll(&house, &task(&answer)).await;
    silent.arrived(2).await;
    receiver.arrived(1).await;
    last_call(&house, &receiver, "slow").await;
    assert_eq!(
        silent.heard().len(),
        2,
        "at most two calls at once to one host"
    );
    // What the sockets' buffers hold is taken by nobody.
    assert!(receiver.flooded().await < 64 * 1024 * 1024);
    assert_eq!(receiver.heard_at("/flood").len(), 1);
}

#[tokio::test]
async fn private_addresses_are_refused_before_anything_is_paid() {
    let trap = Receiver::start().await;
    let plan = house(Deliver::All).config(|config| config.callbacks.allow = Vec::new());
    let house = plan.await;
    let port = trap.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let body = video("private", &format!("http://{host}:{port}/c"));
        let refused = submit(&house, &body).await;
        assert_eq!(refused.status, 400, "{host}");
        assert_eq!(refused.error_code(), "invalid_callback_url", "{host}");
        assert_eq!(refused.header("x-should-retry"), "false");
    }
    let long = format!("https://a.example/{}", "a".repeat(2048));
    for address in [
        "ftp://a.example/",
        "a.example",
        "https://u:p@a.example/",
        &long,
    ] {
        let refused = submit(&house, &video("private", address)).await;
        assert_eq!(refused.error_code(), "invalid_callback_url", "{address}");
    }
    assert_eq!(house.billed(), 0);
    assert!(trap.heard().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_when_they_are_connected_to() {
    let trap = Receiver::start().await;
    let (receiver, port) = (Receiver::start().await, trap.port());
    // Only this one address is allowed, and the trap's is another.
    let own = Network::parse("127.0.0.1").unwrap();
    let plan = house(Deliver::Joined).config(move |config| config.callbacks.allow = vec![own]);
    let house = plan.await;
    let answer = submit(&house, &video("private", &receiver.url("/first"))).await;
    for address in [
        format!("http://127.0.0.2:{port}/c"),
        format!("http://[::1]:{port}/c"),
        format!("http://[::ffff:127.0.0.2]:{port}/c"),
        format!("http://2130706434:{port}/c"),
        format!("http://0.0.0.0:{port}/c"),
        "not an address".to_owned(),
        format!("ftp://127.0.0.1:{port}/c"),
    ] {
        let joined = submit(&house, &video("private", &address)).await;
        assert_eq!(joined.status, 200, "{address}");
    }
    house.sandbox.finish_jobs();
    poll(&house, &task(&answer)).await;
    last_call(&house, &receiver, "private").await;
    assert!(trap.heard().is_empty());
}

#[tokio::test]
async fn the_end_is_told_after_a_restart() {
    let receiver = Receiver::start().await;
    let mut house = house(Deliver::All).await;
    let answer = submit(&house, &video("later", &receiver.url("/c"))).await;
    house.restart().await;
    house.sandbox.finish_jobs();
    receiver.reply("/c", &[Reply::Silence]);
    poll(&house, &task(&answer)).await;
    receiver.arrived(1).await;
    // The call is cut off by the shutdown, and made again under its own id.
    receiver.reply("/c", &[Reply::Status(204, String::new())]);
    house.restart().await;
    receiver.arrived(2).await;
    let calls = receiver.heard_at("/c");
    assert_eq!(calls.len(), 2);
    assert_eq!(
        calls[0].headers["webhook-id"],
        calls[1].headers["webhook-id"]
    );
}

#[tokio::test]
async fn other_kinds_and_bypassed_runs_are_none_of_it() {
    let receiver = Receiver::start().await;
    let house = house(Deliver::All).await;
    let url = receiver.url("/c");
    let image = json!({"model": "grok-imagine-image", "prompt": "p", "callback_url": url});
    house
        .client()
        .post("/v1/images/generations")
        .json(&image)
        .send()
        .await;
    assert_eq!(sent(&house), image.to_string());
    // Upstream calls back itself where the proxy does not remember the job.
    let body = video("bypassed", &url);
    let call = house.client().call(Method::POST, PATH).json(&body);
    call.cache_control("no-store").send().await;
    assert_eq!(sent(&house), body.to_string());
    house.sandbox.finish_jobs();
    house.settle().await;
    assert!(receiver.heard().is_empty());
}
