//! What `reprise keys` prints: the key alone on standard output, everything about it beside that.

use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};

use super::{Edited, Given, Running};
use crate::cli::output::print;
use crate::cli::{Failure, table};
use crate::config::{self, Config, Limits};

/// A key that was made. SECURITY: the only place where one is shown. Standard error gets none unless a
/// person reads it: whoever takes the key from standard output may well log the rest.
pub(super) fn given(edited: &Edited<Given>, running: &Running, json: bool) -> Result<(), Failure> {
    let Given { name, key, first } = &edited.value;
    let config = &edited.loaded.config;
    if json {
        let mut shown = client(config, name);
        shown.insert("key".to_owned(), key.expose().into());
        shown.insert("file".to_owned(), edited.path.display().to_string().into());
        shown.insert("running".to_owned(), running.there.into());
        return print(&format!("{}\n", Value::Object(shown)));
    }
    print(&format!("{}\n", key.expose()))?;
    let mut lines = vec![format!(
        "That is the key of {name}. It is not kept, and not shown again; its hash is in {}.",
        edited.path.display()
    )];
    let people = io::stdout().is_terminal() && io::stderr().is_terminal();
    let pasted = if people { key.expose() } else { "…" };
    lines.push(format!(
        "export OPENAI_BASE_URL={}/v1 OPENAI_API_KEY={pasted}",
        running.origin
    ));
    let when = if running.there {
        "The running proxy takes it up by itself."
    } else {
        "No proxy runs on this data; the next start takes it up."
    };
    lines.push(when.to_owned());
    if *first {
        lines.push("It is the first client: from now on every request needs a key.".to_owned());
    }
    tell(&lines)
}

/// A client that is no more.
pub(super) fn removed(
    edited: &Edited<()>,
    running: &Running,
    name: &str,
    json: bool,
) -> Result<(), Failure> {
    let config = &edited.loaded.config;
    let file = edited.path.display().to_string();
    if json {
        let left = config.clients.len();
        let shown =
            json!({"name": name, "file": file, "clients_left": left, "running": running.there});
        return print(&format!("{shown}\n"));
    }
    let mut lines = vec![format!("{name} is taken out of {file}.")];
    let last = config.clients.is_empty();
    lines.push(
        match (running.there, last) {
            (true, false) => "The running proxy refuses its key within seconds.",
            (true, true) => {
                "It was the last client: the running proxy lets nobody in until it is restarted."
            }
            (false, false) => "No proxy runs on this data.",
            (false, true) => "It was the last client. No proxy runs on this data.",
        }
        .to_owned(),
    );
    if last {
        lines.push(match config::open_to_others(config) {
            Some(problem) => format!("The next start is refused: {problem}."),
            None => {
                "After that everybody who reaches this machine's own address is served.".to_owned()
            }
        });
    }
    tell(&lines)
}

const HEAD: [&str; 7] = [
    "NAME",
    "KEY HASH",
    "REQUESTS/MIN",
    "GENERATIONS/MIN",
    "AT ONCE",
    "USD/DAY",
    "USD/MONTH",
];

/// The clients by name, with the limits that hold for each.
pub(super) fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let names: Vec<&String> = config.clients.keys().collect();
    if json {
        let clients = names.iter().map(|name| client(config, name).into());
        let clients: Vec<Value> = clients.collect();
        return print(&format!("{}\n", Value::Array(clients)));
    }
    let rows: Vec<_> = config
        .clients
        .iter()
        .map(|(name, client)| row(name, &client.key_hash, &client.limits.over(&config.limits)))
        .collect();
    if !io::stdout().is_terminal() {
        return print(&table::tabbed(&rows));
    }
    if rows.is_empty() {
        return print("There are no clients: whoever reaches the proxy is served.\n");
    }
    print(&table::aligned(HEAD, &rows))
}

fn row(name: &str, hash: &blake3::Hash, limits: &Limits) -> [String; 7] {
    let count = |number: u32| match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    };
    let usd = |usd: f64| match usd {
        usd if usd > 0.0 => format!("${usd}"),
        _ => "-".to_owned(),
    };
    let hash = hash.to_hex();
    [
        name.to_owned(),
        hash.get(..16).unwrap_or_default().to_owned(),
        count(limits.requests_per_minute),
        count(limits.generations_per_minute),
        count(limits.concurrent_generations),
        usd(limits.usd_per_day),
        usd(limits.usd_per_month),
    ]
}

/// One client as JSON: its name, its hash, and the limits that hold for it.
fn client(config: &Config, name: &str) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), name.into());
    if let Some(client) = config.clients.get(name) {
        let limits = client.limits.over(&config.limits);
        let hash = format!("blake3:{}", client.key_hash.to_hex());
        let pairs = [
            ("key_hash", json!(hash)),
            ("requests_per_minute", json!(limits.requests_per_minute)),
            (
                "generations_per_minute",
                json!(limits.generations_per_minute),
            ),
            (
                "concurrent_generations",
                json!(limits.concurrent_generations),
            ),
            ("usd_per_day", json!(limits.usd_per_day)),
            ("usd_per_month", json!(limits.usd_per_month)),
        ];
        shown.extend(pairs.map(|(key, value)| (key.to_owned(), value)));
    }
    shown
}

fn tell(lines: &[String]) -> Result<(), Failure> {
    let mut err = io::stderr().lock();
    for line in lines {
        writeln!(err, "{line}")?;
    }
    Ok(())
}
