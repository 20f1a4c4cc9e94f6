//! What the program needs: every value in its type, every default filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address::BaseUrl;
use super::cache::Cache;
use super::network::Network;
use super::proxies::Proxies;

/// The whole configuration, resolved from flags, environment, file and defaults.
///
/// It holds no secret: the upstream key is read apart ([`super::load_to_serve()`]), and of a client's
/// key only the hash is known. So it may be printed with `Debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients reach the proxy. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of everything that is kept; always absolute.
    pub data_dir: PathBuf,
    /// How clients reach the proxy from outside, without a trailing slash; `None`: by the host
    /// they used.
    pub public_url: Option<String>,
    /// Further `Host` values that are served, in lower case: `host` (any port) or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call, as a browser writes them: `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// How long running requests may go on after the signal to stop.
    pub shutdown_grace: Duration,
    /// The certificate to serve HTTPS with; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Who is paid.
    pub upstream: Upstream,
    /// What is kept.
    pub cache: Cache,
    /// How running jobs are watched.
    pub jobs: Jobs,
    /// What happens to the bytes behind result links.
    pub media: Media,
    /// Who hears of the end of a job.
    pub callbacks: Callbacks,
    /// The limits of every client that has none of its own.
    pub limits: Limits,
    /// The clients by name. Empty: open, to loopback only.
    pub clients: BTreeMap<String, Client>,
    /// What a model costs, by the model's name.
    pub prices: BTreeMap<String, Price>,
    /// The admin API.
    pub console: Console,
    /// How connections are treated.
    pub server: Server,
    /// What is written to the log.
    pub log: Log,
}

/// The files of the certificate that the proxy serves HTTPS with, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, followed by its chain.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// The upstream and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What stands in place of the proxy's own `/v1`.
    pub base_url: BaseUrl,
    /// The environment variable that holds the upstream key. Not asked when `api_key_file` is set.
    pub api_key_env: String,
    /// The file that holds the upstream key.
    pub api_key_file: Option<PathBuf>,
    /// How long a connection may take to stand, TLS included.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// How long there may be silence between two pieces of a body.
    pub idle_timeout: Duration,
    /// PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies that the environment names.
    pub proxies: Proxies,
}

/// How running jobs are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// How often a running job is asked for, whoever is waiting.
    pub poll_interval: Duration,
    /// Clients that poll faster than this share one upstream answer.
    pub min_poll_interval: Duration,
    /// After this long a silent job is given up, and may be run again.
    pub deadline: Duration,
}

/// Where the links of a result point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// To the kept copy.
    Local,
    /// Where upstream pointed them.
    Upstream,
}

/// What happens to the bytes behind result links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Whether they are fetched and kept.
    pub archive: bool,
    /// Where the links of a result point to.
    pub links: Links,
    /// After this long an upstream link that is not archived counts as dead.
    pub link_lifetime: Duration,
    /// The largest file that is kept, in bytes.
    pub max_file: u64,
    /// Private networks that result links may point to.
    pub allow: Vec<Network>,
}

/// Which callers are called back by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// Those who joined or hit; upstream calls the first one itself.
    Joined,
    /// All: `callback_url` is taken out of what goes upstream.
    All,
    /// None.
    Off,
}

/// Who hears of the end of a job, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callbacks {
    /// Which callers the proxy calls back.
    pub deliver: Deliver,
    /// Private networks that callbacks may reach.
    pub allow: Vec<Network>,
    /// The environment variable with the secret to sign by (Standard Webhooks); `None`: unsigned.
    pub secret_env: Option<String>,
    /// How many times one callback is tried, 1 or more.
    pub attempts: u32,
}

/// What one client may use; 0 is no limit, everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Requests under `/v1` in a minute.
    pub requests_per_minute: u32,
    /// Generations in a minute that would be paid.
    pub generations_per_minute: u32,
    /// Paid calls and running jobs at once.
    pub concurrent_generations: u32,
    /// US dollars in a day.
    pub usd_per_day: f64,
    /// US dollars in a month.
    pub usd_per_month: f64,
}

/// Limits that one client has of its own; `None` takes the one of [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnLimits {
    /// Requests under `/v1` in a minute.
    pub requests_per_minute: Option<u32>,
    /// Generations in a minute that would be paid.
    pub generations_per_minute: Option<u32>,
    /// Paid calls and running jobs at once.
    pub concurrent_generations: Option<u32>,
    /// US dollars in a day.
    pub usd_per_day: Option<f64>,
    /// US dollars in a month.
    pub usd_per_month: Option<f64>,
}

impl OwnLimits {
    /// What holds for this client: its own limits where it has them, else `common`.
    pub fn over(&self, common: &Limits) -> Limits {
        Limits {
            requests_per_minute: self
                .requests_per_minute
                .unwrap_or(common.requests_per_minute),
            generations_per_minute: self
                .generations_per_minute
                .unwrap_or(common.generations_per_minute),
            concurrent_generations: self
                .concurrent_generations
                .unwrap_or(common.concurrent_generations),
            usd_per_day: self.usd_per_day.unwrap_or(common.usd_per_day),
            usd_per_month: self.usd_per_month.unwrap_or(common.usd_per_month),
        }
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The hash of its key. Comparing two hashes takes the same time whatever they are.
    pub key_hash: blake3::Hash,
    /// The limits it has of its own.
    pub limits: OwnLimits,
}

/// What one model costs in US dollars: the sum of the forms that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// For a million tokens of any kind.
    pub per_million_tokens: Option<f64>,
    /// For a second of what was made.
    pub per_second: Option<f64>,
    /// For an image.
    pub per_image: Option<f64>,
    /// For a request.
    pub per_request: Option<f64>,
    /// For a million tokens that went in.
    pub input_per_million: Option<f64>,
    /// For a million tokens that came out.
    pub output_per_million: Option<f64>,
}

/// The admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Whether it is served.
    pub enabled: bool,
    /// The environment variable with the admin token; `None`: made at first start and kept.
    pub token_env: Option<String>,
}

/// How connections are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Connections at once.
    pub max_connections: usize,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// The largest head of a request, in bytes.
    pub max_header_bytes: usize,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A filter in the words of `tracing_subscriber::EnvFilter`, which has accepted it.
    pub level: String,
}
