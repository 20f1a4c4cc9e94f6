//! Settings → [`Config`]: which rule each key has to keep, and its default.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, BaseUrl};
use super::cache::{Cache, KindPolicy, Mode, Scope, Ttl, UnknownOutcome};
use super::problem::{Place, Problem};
use super::proxies::Proxies;
use super::reader::{Reader, Slot};
use super::resolved::{
    Callbacks, Client, Config, Console, Deliver, Jobs, Limits, Links, Log, LogFormat, Media,
    OwnLimits, Price, Server, Tls, Upstream,
};
use super::rules::{self, count, dollars, duration, one_of, size, truth, words};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest request body that may be taken whole into memory.
const LARGEST_REQUEST: u64 = 4 * GIB;

/// The whole configuration. `data_dir` is where data is kept unless the user says.
pub(super) fn resolve(reader: &mut Reader<'_>, data_dir: Option<PathBuf>) -> Config {
    let public_url = reader.optional("public_url", |v| words(v, BaseUrl::parse));
    Config {
        listen: reader.or(
            "listen",
            |v| words(v, address::listen),
            SocketAddr::from((Ipv4Addr::LOCALHOST, 8787)),
        ),
        data_dir: self::data_dir(reader, data_dir),
        public_url: public_url.map(|url| url.to_string()),
        allowed_hosts: reader.list("allowed_hosts", address::host),
        allowed_origins: reader.list("allowed_origins", address::origin),
        shutdown_grace: reader.or("shutdown_grace", duration, 30 * SECOND),
        tls: tls(reader),
        upstream: upstream(reader),
        cache: cache(reader),
        jobs: jobs(reader),
        media: media(reader),
        callbacks: callbacks(reader),
        limits: limits(reader),
        clients: clients(reader),
        prices: prices(reader),
        console: console(reader),
        server: server(reader),
        log: log(reader),
    }
}

fn data_dir(reader: &mut Reader<'_>, default: Option<PathBuf>) -> PathBuf {
    let written = reader.path("data_dir");
    if written.is_none() && default.is_none() && !reader.settings().has("data_dir") {
        reader.problems.push(Problem::about(
            "data_dir",
            "there is no home folder to keep data in: set data_dir (or REPRISE_DATA_DIR)",
        ));
    }
    written.or(default).unwrap_or_default()
}

fn tls(reader: &mut Reader<'_>) -> Option<Tls> {
    const FILES: [&str; 2] = ["tls.cert_file", "tls.key_file"];
    let [cert_file, key_file] = FILES.map(|path| reader.path(path));
    let settings = reader.settings();
    for (one, other) in [(FILES[0], FILES[1]), (FILES[1], FILES[0])] {
        // SECURITY: half a certificate must not end in plain HTTP.
        if let Some(set) = settings.get(one, "").last()
            && !settings.has(other)
            && !settings.in_part
        {
            let rule = format!("HTTPS needs both files: set {other} as well");
            reader.problems.push(Problem::at(&set.place, rule));
        }
    }
    Some(Tls {
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

fn upstream(reader: &mut Reader<'_>) -> Upstream {
    let usual = "RELAYDANCE_API_KEY".to_owned();
    let api_key_env = reader.or(
        "upstream.api_key_env",
        |v| words(v, rules::variable),
        usual.clone(),
    );
    let api_key_file = reader.path("upstream.api_key_file");
    if api_key_file.is_some() && api_key_env != usual {
        // MONEY: two keys are two accounts, and only one of them was meant to pay.
        let rule = "api_key_env names another key: set one of the two";
        if let Some(set) = reader.settings().get("upstream.api_key_file", "").last() {
            reader.problems.push(Problem::at(&set.place, rule));
        }
    }
    Upstream {
        base_url: reader.or(
            "upstream.base_url",
            |v| words(v, BaseUrl::parse),
            BaseUrl::relaydance(),
        ),
        api_key_env,
        api_key_file,
        connect_timeout: reader.or("upstream.connect_timeout", duration, 10 * SECOND),
        response_timeout: reader.or("upstream.response_timeout", duration, 10 * MINUTE),
        idle_timeout: reader.or("upstream.idle_timeout", duration, 5 * MINUTE),
        ca_file: reader.path("upstream.ca_file"),
        proxies: Proxies::default(),
    }
}

/// The three keys of the section of a kind.
macro_rules! paths {
    ($kind:literal) => {
        [
            concat!("cache.", $kind, ".mode"),
            concat!("cache.", $kind, ".ttl"),
            concat!("cache.", $kind, ".unknown_outcome"),
        ]
    };
}

fn cache(reader: &mut Reader<'_>) -> Cache {
    const ASK: KindPolicy = KindPolicy {
        mode: Mode::On,
        ttl: Ttl::Forever,
        unknown_outcome: UnknownOutcome::Ask,
    };
    const RERUN: KindPolicy = KindPolicy {
        unknown_outcome: UnknownOutcome::Rerun,
        ..ASK
    };
    const CHAT: KindPolicy = KindPolicy {
        ttl: Ttl::For(Duration::from_hours(7 * 24)),
        ..RERUN
    };
    let scopes = one_of(&[("shared", Scope::Shared), ("client", Scope::Client)]);
    Cache {
        scope: reader.or("cache.scope", scopes, Scope::Shared),
        max_request_body: reader.or(
            "cache.max_request_body",
            size(1..=LARGEST_REQUEST),
            64 * MIB,
        ),
        max_size: reader.or("cache.max_size", size(1..=u64::MAX), 20 * GIB),
        min_free: reader.or("cache.min_free", size(0..=u64::MAX), 512 * MIB),
        video: policy(reader, paths!("video"), ASK),
        images: policy(reader, paths!("images"), ASK),
        audio: policy(reader, paths!("audio"), ASK),
        embeddings: policy(reader, paths!("embeddings"), RERUN),
        chat: policy(reader, paths!("chat"), CHAT),
    }
}

/// The policy whose three keys are `paths`: mode, ttl, unknown outcome.
fn policy(reader: &mut Reader<'_>, paths: [&'static str; 3], default: KindPolicy) -> KindPolicy {
    let [mode, ttl, unknown_outcome] = paths;
    let modes: &[(&str, Mode)] = if mode == "cache.chat.mode" {
        &[
            ("on", Mode::On),
            ("off", Mode::Off),
            ("deterministic", Mode::Deterministic),
        ]
    } else {
        &[("on", Mode::On), ("off", Mode::Off)]
    };
    let outcomes = one_of(&[
        ("ask", UnknownOutcome::Ask),
        ("rerun", UnknownOutcome::Rerun),
    ]);
    KindPolicy {
        mode: reader.or(mode, one_of(modes), default.mode),
        ttl: reader.or(ttl, rules::ttl, default.ttl),
        unknown_outcome: reader.or(unknown_outcome, outcomes, default.unknown_outcome),
    }
}

fn jobs(reader: &mut Reader<'_>) -> Jobs {
    Jobs {
        poll_interval: reader.or("jobs.poll_interval", duration, 10 * SECOND),
        min_poll_interval: reader.or("jobs.min_poll_interval", duration, 2 * SECOND),
        deadline: reader.or("jobs.deadline", duration, DAY),
    }
}

fn media(reader: &mut Reader<'_>) -> Media {
    let links = one_of(&[("local", Links::Local), ("upstream", Links::Upstream)]);
    Media {
        archive: reader.or("media.archive", truth, true),
        links: reader.or("media.links", links, Links::Local),
        link_lifetime: reader.or("media.link_lifetime", duration, DAY),
        max_file: reader.or("media.max_file", size(1..=u64::MAX), 2 * GIB),
        allow: reader.networks("media.allow"),
    }
}

fn callbacks(reader: &mut Reader<'_>) -> Callbacks {
    let deliver = one_of(&[
        ("joined", Deliver::Joined),
        ("all", Deliver::All),
        ("off", Deliver::Off),
    ]);
    Callbacks {
        deliver: reader.or("callbacks.deliver", deliver, Deliver::Joined),
        allow: reader.networks("callbacks.allow"),
        secret_env: reader.optional("callbacks.secret_env", |v| words(v, rules::variable)),
        attempts: reader.or("callbacks.attempts", count(1..=100), 8),
    }
}

/// The largest number that a limit takes.
const MOST: u32 = 1_000_000_000;

fn limits(reader: &mut Reader<'_>) -> Limits {
    Limits {
        requests_per_minute: reader.or("limits.requests_per_minute", count(0..=MOST), 0),
        generations_per_minute: reader.or("limits.generations_per_minute", count(0..=MOST), 0),
        concurrent_generations: reader.or("limits.concurrent_generations", count(0..=MOST), 0),
        usd_per_day: reader.or("limits.usd_per_day", dollars, 0.0),
        usd_per_month: reader.or("limits.usd_per_month", dollars, 0.0),
    }
}

fn clients(reader: &mut Reader<'_>) -> BTreeMap<String, Client> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    for (name, place) in reader.settings().names("clients") {
        if let Err(rule) = rules::client_name(name) {
            reader.problems.push(Problem::at(place, rule));
        }
        let limits = own_limits(reader, name);
        if let Some(key_hash) = key_hash(reader, name, place) {
            // SECURITY: one key that is two clients would be counted as either.
            if let Some((other, _)) = clients.iter().find(|(_, c)| c.key_hash == key_hash) {
                let rule = format!("has the same key_hash as client {other}: give it its own key");
                reader.problems.push(Problem::at(place, rule));
            }
            clients.insert(name.to_owned(), Client { key_hash, limits });
        }
    }
    clients
}

fn key_hash(reader: &mut Reader<'_>, name: &str, place: &Place) -> Option<blake3::Hash> {
    const PATH: &str = "clients.*.key_hash";
    let settings = reader.settings();
    if settings.get(PATH, name).is_empty() && settings.is_whole(name) {
        let rule = "a client needs its key_hash; `reprise keys add NAME` makes a key";
        reader.problems.push(Problem::at(place, rule));
    }
    reader.optional(Slot::of(PATH, name), |v| words(v, rules::key_hash))
}

fn own_limits(reader: &mut Reader<'_>, name: &str) -> OwnLimits {
    let slot = |path| Slot::of(path, name);
    OwnLimits {
        requests_per_minute: reader
            .optional(slot("clients.*.requests_per_minute"), count(0..=MOST)),
        generations_per_minute: reader
            .optional(slot("clients.*.generations_per_minute"), count(0..=MOST)),
        concurrent_generations: reader
            .optional(slot("clients.*.concurrent_generations"), count(0..=MOST)),
        usd_per_day: reader.optional(slot("clients.*.usd_per_day"), dollars),
        usd_per_month: reader.optional(slot("clients.*.usd_per_month"), dollars),
    }
}

fn prices(reader: &mut Reader<'_>) -> BTreeMap<String, Price> {
    let mut prices = BTreeMap::new();
    for (model, place) in reader.settings().names("prices") {
        let slot = |path| Slot::of(path, model);
        let problems = reader.problems.len();
        let price = Price {
            per_million_tokens: reader.optional(slot("prices.*.per_million_tokens"), dollars),
            per_second: reader.optional(slot("prices.*.per_second"), dollars),
            per_image: reader.optional(slot("prices.*.per_image"), dollars),
            per_request: reader.optional(slot("prices.*.per_request"), dollars),
            input_per_million: reader.optional(slot("prices.*.input_per_million"), dollars),
            output_per_million: reader.optional(slot("prices.*.output_per_million"), dollars),
        };
        // MONEY: an empty price would count as free, and no budget would ever notice.
        let unsaid = price == Price::default() && reader.problems.len() == problems;
        if model.is_empty() || (unsaid && reader.settings().is_whole(model)) {
            let rule = "a price needs a model and one of per_million_tokens, per_second, \
                        per_image, per_request, input_per_million, output_per_million";
            reader.problems.push(Problem::at(place, rule));
        }
        prices.insert(model.to_owned(), price);
    }
    prices
}

fn console(reader: &mut Reader<'_>) -> Console {
    Console {
        enabled: reader.or("console.enabled", truth, true),
        token_env: reader.optional("console.token_env", |v| words(v, rules::variable)),
    }
}

fn server(reader: &mut Reader<'_>) -> Server {
    // Below 8 KiB the HTTP/1 parser has no room for a head at all.
    let head = reader.or(
        "server.max_header_bytes",
        size(8 * KIB..=16 * MIB),
        64 * KIB,
    );
    let connections = reader.or("server.max_connections", count(1..=1_000_000), 4096);
    Server {
        max_connections: usize::try_from(connections).unwrap_or(usize::MAX),
        header_timeout: reader.or("server.header_timeout", duration, 10 * SECOND),
        max_header_bytes: usize::try_from(head).unwrap_or(usize::MAX),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let formats = one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    Log {
        format: reader.or("log.format", formats, LogFormat::Text),
        level: reader.or("log.level", |v| words(v, rules::filter), "info".to_owned()),
    }
}
