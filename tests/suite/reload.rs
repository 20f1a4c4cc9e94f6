//! Another configuration for a proxy that runs: it takes effect with the next request, and nothing
//! that is under way notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reprise::app::{App, Looking};
use reprise::clock::Clock;
use reprise::config::{
    Client as Known, Config, Deliver, Log, Mode, Network, OwnLimits, Scope, Sources, Ttl,
    load_to_serve,
};
use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::house::{Answer, House, Receiver, soon, until};

const IMAGES: &str = "/v1/images/generations";
const VIDEOS: &str = "/v1/video/generations";

fn client(key: &str) -> Known {
    Known {
        key_hash: blake3::hash(key.as_bytes()),
        limits: OwnLimits::default(),
    }
}

fn let_in(config: &mut Config, name: &str) {
    config
        .clients
        .insert(name.to_owned(), client(&format!("sk-{name}")));
}

fn image(prompt: &str) -> Value {
    json!({"model": "gpt-image-2", "prompt": prompt})
}

async fn run(house: &House, prompt: &str) -> Answer {
    let call = house.client().post(IMAGES).json(&image(prompt));
    call.send().await
}

/// An image behind a link.
async fn linked(house: &House, prompt: &str) -> Answer {
    let asked = json!({
        "model": "grok-imagine-image", "prompt": prompt, "response_format": "url",
    });
    house.client().post(IMAGES).json(&asked).send().await
}

async fn models(house: &House, key: &str) -> Answer {
    house.client().get("/v1/models").key(key).send().await
}

#[tokio::test]
async fn what_is_said_of_the_cache_takes_effect() {
    let mut house = House::new().await;
    assert_eq!(run(&house, "a").await.status, 200);
    assert!(run(&house, "a").await.is_hit());

    let changed = house
        .reload(|config| config.cache.images.mode = Mode::Off)
        .await;
    assert_eq!(changed.taken, ["cache.images"]);
    let passed = run(&house, "a").await;
    assert_eq!(
        passed.cache_status(),
        "reprise; fwd=bypass; detail=mode-off"
    );

    let changed = house
        .reload(|config| config.cache.images.mode = Mode::On)
        .await;
    assert_eq!((changed.taken.len(), changed.waiting.len()), (1, 0));
    assert!(run(&house, "a").await.is_hit(), "what was kept is there");
    let changed = house.reload(|_| {}).await;
    assert_eq!(changed, reprise::app::Changed::default());

    house
        .reload(|config| config.cache.images.ttl = Ttl::For(Duration::from_nanos(1)))
        .await;
    assert!(!run(&house, "a").await.is_hit(), "it is older than that");
    house
        .reload(|config| config.cache.images.ttl = Ttl::Forever)
        .await;

    house
        .reload(|config| config.cache.max_request_body = 20)
        .await;
    assert_eq!(run(&house, "a").await.error_code(), "request_too_large");
    house
        .reload(|config| config.cache.max_request_body = 1 << 20)
        .await;
    assert!(run(&house, "a").await.is_hit());

    house
        .reload(|config| config.cache.scope = Scope::Client)
        .await;
    assert!(!run(&house, "a").await.is_hit(), "a key of its own");

    house
        .reload(|config| config.cache.min_free = u64::MAX)
        .await;
    assert_eq!(run(&house, "b").await.error_code(), "store_unavailable");
    house.reload(|config| config.cache.min_free = 0).await;
    assert_eq!(run(&house, "b").await.status, 200);

    let kept = house.client().post(IMAGES).json(&image("b"));
    assert!(kept.send().await.is_hit());
    house.reload(|config| config.cache.max_size = 1).await;
    let gone = async || {
        let asked = house.client().post(IMAGES).json(&image("b"));
        !asked.cache_control("only-if-cached").send().await.is_hit()
    };
    crate::house::until_async(gone).await;
}

#[tokio::test]
async fn who_may_ask_changes_with_the_next_request() {
    let mut house = House::new().await;
    let from = |house: &House, name: &'static str, value: &'static str| {
        let call = house.client().get("/v1/models");
        call.header(name, value)
    };
    let page = "https://team.example";
    assert_eq!(from(&house, "origin", page).send().await.status, 403);
    assert_eq!(from(&house, "host", "proxy.lan").send().await.status, 421);
    house
        .reload(|config| {
            config.allowed_origins = vec![page.to_owned()];
            config.allowed_hosts = vec!["proxy.lan".to_owned()];
        })
        .await;
    let allowed = from(&house, "origin", page).send().await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), page);
    assert_eq!(from(&house, "host", "proxy.lan").send().await.status, 200);
    house.reload(|config| config.allowed_origins.clear()).await;
    assert_eq!(from(&house, "origin", page).send().await.status, 403);
}

#[tokio::test]
async fn the_last_key_taken_out_closes_the_proxy_until_a_restart() {
    let mut house = House::new().await;
    house.reload(|config| config.shutdown_grace *= 2).await;
    assert_eq!(models(&house, "sk-any").await.status, 200, "open as before");

    house.reload(|config| let_in(config, "anna")).await;
    assert_eq!(models(&house, "sk-any").await.status, 401);
    assert_eq!(models(&house, "sk-anna").await.status, 200);
    house
        .reload(|config| {
            config.clients.clear();
            let_in(config, "ben");
        })
        .await;
    assert_eq!(models(&house, "sk-anna").await.status, 401);
    assert_eq!(models(&house, "sk-ben").await.status, 200);

    for _ in 0..2 {
        house.reload(|config| config.clients.clear()).await;
        for key in ["sk-anna", "sk-ben", "sk-any"] {
            assert_eq!(models(&house, key).await.error_code(), "invalid_api_key");
        }
        house.reload(|config| config.shutdown_grace *= 2).await;
    }
    assert_eq!(house.client().get("/v1/models").send().await.status, 401);
    house.reload(|config| let_in(config, "anna")).await;
    assert_eq!(models(&house, "sk-anna").await.status, 200);
    house.restart().await;
    assert_eq!(
        models(&house, "sk-any").await.status,
        200,
        "nobody is known"
    );
}

#[tokio::test]
async fn another_upstream_gets_the_next_request_and_the_old_one_ends_what_it_has() {
    let mut house = House::new().await;
    let other = Sandbox::start(Options::default()).await.unwrap();
    let gate = house.hold("POST /v1/images");
    let first = house.client().post(IMAGES).json(&image("a")).begin();
    gate.arrived(1).await;
    let base = reprise::config::BaseUrl::parse(&other.base_url()).unwrap();
    let changed = house.reload(|config| config.upstream.base_url = base).await;
    assert_eq!(changed.taken, ["upstream.base_url"]);

    // Joined to the run that is under way, wherever that is.
    let joined = house.client().post(IMAGES).json(&image("a")).begin();
    assert_eq!(run(&house, "b").await.status, 200);
    assert_eq!(other.bill().total(), 1);
    gate.release();
    assert_eq!(
        first.answer().await.cache_status(),
        "reprise; fwd=miss; stored"
    );
    assert_eq!(joined.answer().await.status, 200);
    assert!(run(&house, "a").await.is_hit());
    assert_eq!((house.billed(), other.bill().total()), (1, 1));
    assert_eq!(house.client().get("/v1/models").send().await.status, 200);
    assert_eq!(
        (
            house.sandbox.count("GET /v1/models"),
            other.count("GET /v1/models")
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn jobs_are_asked_for_as_often_as_is_said_now() {
    let hour = Duration::from_hours(1);
    let plan = House::new().sandbox(move |options| options.job_time = hour);
    let plan = plan.config(move |config| config.jobs.min_poll_interval = hour);
    let mut house = plan.await;
    let video = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a"});
    let submit = house.client().post(VIDEOS).json(&video).send().await;
    let poll = format!("{VIDEOS}/{}", submit.json()["task_id"].as_str().unwrap());
    let asked = |house: &House| house.sandbox.count(&format!("GET {poll}"));
    let ask = async |house: &House| house.client().get(&poll).send().await.status;
    for _ in 0..3 {
        assert_eq!(ask(&house).await, 200);
    }
    assert_eq!(asked(&house), 1);
    let brief = Duration::from_nanos(1);
    house
        .reload(|config| config.jobs.min_poll_interval = brief)
        .await;
    for _ in 0..3 {
        assert_eq!(ask(&house).await, 200);
    }
    assert_eq!(asked(&house), 4);
    // Due in an hour, it is brought forward.
    house
        .reload(|config| config.jobs.poll_interval = Duration::from_millis(50))
        .await;
    until(|| asked(&house) >= 7).await;
    house.sandbox.finish_jobs();
    let done = async || {
        house
            .client()
            .post(VIDEOS)
            .json(&video)
            .send()
            .await
            .is_hit()
    };
    crate::house::until_async(done).await;
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn callbacks_are_made_once_they_are_on_and_where_they_may_go() {
    let receiver = Receiver::start().await;
    let plan = House::new().sandbox(|options| options.job_time = Duration::from_hours(1));
    let plan = plan.config(|config| {
        config.jobs.min_poll_interval = Duration::from_nanos(1);
        config.callbacks.deliver = Deliver::Off;
    });
    let mut house = plan.await;
    let submit = async |house: &House, prompt: &str, path: &str| {
        let callback = receiver.url(path);
        let video = json!({
            "model": "doubao-seedance-2-0-720p", "prompt": prompt,
            "metadata": {"callback_url": callback},
        });
        house.client().post(VIDEOS).json(&video).send().await
    };
    submit(&house, "a", "/off").await;
    house
        .reload(|config| config.callbacks.deliver = Deliver::All)
        .await;
    let refused = submit(&house, "a", "/private").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let allow = || vec![Network::parse("127.0.0.0/8").unwrap()];
    house
        .reload(|config| config.callbacks.allow = allow())
        .await;
    let noted = submit(&house, "a", "/on").await;
    assert_eq!(noted.status, 200, "{}", noted.text());

    house
        .reload(|config| config.callbacks.deliver = Deliver::Off)
        .await;
    house.sandbox.finish_jobs();
    let task = noted.json()["task_id"].as_str().unwrap().to_owned();
    house.client().get(&format!("{VIDEOS}/{task}")).send().await;
    house.settle().await;
    assert!(receiver.heard().is_empty(), "it waits");
    house
        .reload(|config| config.callbacks.deliver = Deliver::Joined)
        .await;
    receiver.arrived(1).await;
    assert_eq!(receiver.heard_at("/on").len(), 1);
}

#[tokio::test]
async fn files_are_kept_from_the_moment_that_is_asked_for() {
    let plan = House::new().config(|config| config.media.allow = Vec::new());
    let mut house = plan.await;
    let allow = vec![Network::parse("127.0.0.0/8").unwrap()];
    linked(&house, "without").await;
    house
        .reload(|config| {
            config.media.archive = true;
            config.media.allow = allow;
        })
        .await;
    linked(&house, "with").await;
    until(|| house.archive().tally().files == 1).await;
    let kept = linked(&house, "with").await;
    assert!(kept.text().contains("/media/"), "{}", kept.text());
    house
        .reload(|config| config.public_url = Some("https://proxy.example".to_owned()))
        .await;
    let kept = linked(&house, "with").await;
    assert!(kept.text().contains("https://proxy.example/media/"));
    house
        .reload(|config| config.media.links = reprise::config::Links::Upstream)
        .await;
    assert!(!linked(&house, "with").await.text().contains("/media/"));
}

#[tokio::test]
async fn the_admin_api_and_the_terms_of_connections_follow() {
    let mut house = House::new().await;
    let api = async |house: &House| house.client().get("/api/jobs").send().await.status;
    assert_eq!(api(&house).await, 401);
    house.reload(|config| config.console.enabled = false).await;
    assert_eq!(api(&house).await, 404);
    house.reload(|config| config.console.enabled = true).await;
    assert_eq!(api(&house).await, 401);

    let large = "x".repeat(9000);
    let ask = async |client: &crate::house::Client| {
        let call = client.get("/v1/models").header("x-large", &large);
        call.send().await.status
    };
    let (before, after) = (house.client(), house.client());
    assert_eq!(ask(&before).await, 200);
    house
        .reload(|config| config.server.max_header_bytes = 8192)
        .await;
    assert_eq!(
        ask(&before).await,
        200,
        "an open connection keeps its terms"
    );
    assert_eq!(ask(&after).await, 431);
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_everything_else_done() {
    let mut house = House::new().await;
    let (listen, data) = (house.addr(), house.data_dir());
    let changed = house
        .reload(|config| {
            config.listen = "127.0.0.2:1".parse().unwrap();
            config.data_dir = data.join("elsewhere");
            config.cache.images.mode = Mode::Off;
        })
        .await;
    assert_eq!(changed.waiting, ["listen", "data_dir"]);
    assert_eq!(changed.taken, ["cache.images"]);
    assert_eq!(house.addr(), listen);
    assert_eq!(
        run(&house, "a").await.cache_status(),
        "reprise; fwd=bypass; detail=mode-off"
    );
    assert!(!data.join("elsewhere").exists());
}

#[tokio::test]
async fn what_changed_before_the_first_look_is_seen() {
    let home = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let file = home.path().join("proxy.toml");
    let key = ("RELAYDANCE_API_KEY".to_owned(), "sk-upstream".to_owned());
    let sources = Sources {
        flag_config: Some(file.clone()),
        listen: Some("127.0.0.1:0".to_owned()),
        upstream: Some(sandbox.base_url()),
        data_dir: Some(home.path().join("data")),
        env: [key].into(),
        cwd: home.path().to_owned(),
        ..Sources::default()
    };
    std::fs::write(&file, "log.level = \"info\"").unwrap();
    let ready = load_to_serve(&sources).unwrap();
    std::fs::write(&file, "log.level = \"warn\"").unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let log = Box::new(move |log: &Log| told.send(log.level.clone()).unwrap());
    let looking = Looking::new(sources, &ready.loaded, Arc::default(), log);
    let app = App::bind(ready.loaded.config, ready.upstream_key, Clock::system());
    let app = soon(app).await.unwrap().looking_again(looking);
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.run(stop.clone()));
    assert_eq!(soon(heard.recv()).await.as_deref(), Some("warn"));
    stop.cancel();
    soon(running).await.unwrap();
}

/// Requests of one client, one after the other on a connection that stays; each must be served.
async fn keep_asking(
    client: crate::house::Client,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
) {
    let body = image("hit");
    while !stop.load(Ordering::Relaxed) {
        let nth = served.fetch_add(1, Ordering::Relaxed);
        let answer = if nth.is_multiple_of(2) {
            client.get("/v1/models").key("sk-anna").try_send().await
        } else {
            let call = client.post(IMAGES).key("sk-anna").json(&body);
            call.try_send().await
        };
        let answer = answer.unwrap_or_else(|broken| panic!("request {nth}: {broken:?}"));
        assert_eq!(answer.status, 200, "request {nth}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_of_an_unchanged_client_fails() {
    let plan = House::new().config(|config| let_in(config, "anna"));
    let mut house = plan.await;
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let asking: Vec<_> = (0..8)
        .map(|nth| {
            let client = if nth % 2 == 0 {
                house.client()
            } else {
                house.client_h2()
            };
            tokio::spawn(keep_asking(client, stop.clone(), served.clone()))
        })
        .collect();
    let begun = Instant::now();
    let mut reloads = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while begun.elapsed() < Duration::from_secs(4) || served.load(Ordering::Relaxed) < 800 {
        ticks.tick().await;
        let name = format!("guest{reloads}");
        let key = format!("sk-{name}");
        house
            .reload(|config| {
                let_in(config, &name);
                config.upstream.idle_timeout += Duration::from_secs(1);
                config.cache.max_size += 1;
            })
            .await;
        assert_eq!(
            models(&house, &key).await.status,
            200,
            "from the next request on"
        );
        house
            .reload(|config| {
                config.clients.remove(&name);
            })
            .await;
        assert_eq!(
            models(&house, &key).await.status,
            401,
            "from the next request on"
        );
        reloads += 2;
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
    stop.store(true, Ordering::Relaxed);
    for asked in asking {
        soon(asked).await.unwrap();
    }
    assert_eq!(house.billed(), 1, "paid once, over all reloads");
    let served = u32::try_from(served.load(Ordering::Relaxed)).unwrap();
    let rate = f64::from(served) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} requests a second, {reloads} reloads");
}
