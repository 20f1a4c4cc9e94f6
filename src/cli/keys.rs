//! `reprise keys`: who may use the proxy. The keys stand in proxy.toml, as hashes.
//!
//! A running proxy reads the file again by itself; nothing is asked of it.

mod print;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::edit::{self, Draft, EditError, Edited, Uneditable};
use crate::config::{self, ClientKey, Loaded, NoRandomness, Sources};
use crate::store;

/// The section of the file that clients stand in.
const CLIENTS: &str = "clients";
const KEY_HASH: &str = "key_hash";

#[derive(Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
    /// Where the proxy keeps its data, to see whether it runs [env: `REPRISE_DATA_DIR`]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data_dir: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make a client and its key, and print the key: it is shown this once
    Add {
        /// What to call the client: 1 to 64 of A-Z a-z 0-9 . _ -
        name: String,
        #[command(flatten)]
        limits: LimitArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the clients and their limits, without their keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a client out: its key lets nobody in any more
    Remove {
        /// The client
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a client another key and print it; the old one lets nobody in any more
    Rotate {
        /// The client
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Limits of the client's own; 0 is no limit. Without one, that of `[limits]` holds.
#[derive(Args, Clone, Copy)]
struct LimitArgs {
    /// Requests in a minute
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// Paid requests in a minute
    #[arg(long, value_name = "N")]
    generations_per_minute: Option<u32>,
    /// Paid requests and running jobs at once
    #[arg(long, value_name = "N")]
    concurrent_generations: Option<u32>,
    /// US dollars in a day (UTC)
    #[arg(long, value_name = "USD", value_parser = dollars)]
    usd_per_day: Option<f64>,
    /// US dollars in a month (UTC)
    #[arg(long, value_name = "USD", value_parser = dollars)]
    usd_per_month: Option<f64>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let sound = |usd: &f64| usd.is_finite() && *usd >= 0.0;
    let usd = text.parse().ok().filter(sound);
    usd.ok_or_else(|| "must be an amount of US dollars, such as 5 or 0.5; 0 is no limit".to_owned())
}

/// A new key, and what is told about it.
struct Given {
    name: String,
    key: ClientKey,
    /// Whether nobody needed a key before.
    first: bool,
}

pub(super) fn run(args: KeysArgs, sources: &Sources) -> Result<(), Failure> {
    match args.command {
        KeysCommand::Add { name, limits, json } => {
            let edited = edit::edit(sources, |loaded, draft| {
                add(sources, loaded, draft, &name, limits)
            })?;
            print::given(&edited, &served(&edited.loaded), json)
        }
        KeysCommand::Rotate { name, json } => {
            let edited = edit::edit(sources, |loaded, draft| {
                rotate(sources, loaded, draft, &name)
            })?;
            print::given(&edited, &served(&edited.loaded), json)
        }
        KeysCommand::Remove { name, json } => {
            let edited = edit::edit(sources, |loaded, draft| {
                remove(sources, loaded, draft, &name)
            })?;
            print::removed(&edited, &served(&edited.loaded), &name, json)
        }
        KeysCommand::List { json } => {
            let loaded = config::load(sources)?;
            print::list(&loaded.config, json)
        }
    }
}

fn add(
    sources: &Sources,
    loaded: &Loaded,
    draft: &mut Draft,
    name: &str,
    limits: LimitArgs,
) -> Result<Given, Refused> {
    // SECURITY: a key in place of a name would stand in logs and metrics; it is not repeated either.
    if name.starts_with("sk-") {
        let rule = "that looks like a key: give the client a name, and it gets a key";
        return Err(Refused::usage(rule.to_owned()));
    }
    config::client_name(name).map_err(Refused::usage)?;
    if loaded.config.clients.contains_key(name) {
        return Err(Refused::usage(match variable(sources, name) {
            Some(variable) => format!("the client {name} has its key by {variable} already"),
            None => format!(
                "there is a client {name} already: `reprise keys rotate {name}` gives it another \
                 key, `reprise keys remove {name}` takes it out"
            ),
        }));
    }
    let given = new_key(name, loaded.config.clients.is_empty())?;
    draft.set(CLIENTS, name, KEY_HASH, given.key.hash())?;
    let counts = [
        ("requests_per_minute", limits.requests_per_minute),
        ("generations_per_minute", limits.generations_per_minute),
        ("concurrent_generations", limits.concurrent_generations),
    ];
    for (key, count) in counts {
        if let Some(count) = count {
            draft.set(CLIENTS, name, key, i64::from(count))?;
        }
    }
    let budgets = [
        ("usd_per_day", limits.usd_per_day),
        ("usd_per_month", limits.usd_per_month),
    ];
    for (key, usd) in budgets {
        if let Some(usd) = usd {
            draft.set(CLIENTS, name, key, usd)?;
        }
    }
    Ok(given)
}

fn rotate(
    sources: &Sources,
    loaded: &Loaded,
    draft: &mut Draft,
    name: &str,
) -> Result<Given, Refused> {
    there(sources, loaded, draft, name)?;
    let given = new_key(name, false)?;
    draft.set(CLIENTS, name, KEY_HASH, given.key.hash())?;
    Ok(given)
}

fn remove(
    sources: &Sources,
    loaded: &Loaded,
    draft: &mut Draft,
    name: &str,
) -> Result<(), Refused> {
    there(sources, loaded, draft, name)?;
    draft.remove(CLIENTS, name)?;
    // SECURITY: a proxy that runs takes an empty file for a mishap, and would serve this key on.
    draft.keep(CLIENTS)?;
    Ok(())
}

/// Whether the file says by which key this client comes.
fn there(sources: &Sources, loaded: &Loaded, draft: &Draft, name: &str) -> Result<(), Refused> {
    if let Some(variable) = variable(sources, name) {
        return Err(Refused::usage(format!(
            "the client {name} has its key by {variable}, which goes before the file: change it there"
        )));
    }
    let in_file = draft.keys(CLIENTS, name).is_some();
    if in_file && loaded.config.clients.contains_key(name) {
        return Ok(());
    }
    let names: Vec<&str> = loaded.config.clients.keys().map(String::as_str).collect();
    Err(Refused::usage(match names.as_slice() {
        // SECURITY: what was asked for may be a key, so it is not repeated.
        [] => "there is no such client, and no other: `reprise keys add NAME` makes one".to_owned(),
        names => format!("there is no such client; there are: {}", names.join(", ")),
    }))
}

/// The variable that sets the key of this client.
fn variable(sources: &Sources, name: &str) -> Option<String> {
    let variable = format!("REPRISE_CLIENTS__{}__KEY_HASH", name.to_ascii_uppercase());
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let set = sources
        .env
        .get(&variable)
        .is_some_and(|value| !value.is_empty());
    (lower && set).then_some(variable)
}

fn new_key(name: &str, first: bool) -> Result<Given, Refused> {
    Ok(Given {
        name: name.to_owned(),
        key: ClientKey::generate()?,
        first,
    })
}

/// Where a proxy serves with this configuration's data, if one does, as far as it says so.
struct Running {
    /// Whether there is one.
    there: bool,
    /// `http://ADDR`, or where it would be.
    origin: String,
}

fn served(loaded: &Loaded) -> Running {
    let config = &loaded.config;
    // That nobody can look is no reason to take back what is written.
    let holder = store::holder(&config.data_dir).ok().flatten();
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let usual = || format!("{scheme}://{}", super::admin::reachable(config.listen));
    let at = holder.as_ref().and_then(|holder| holder.at);
    Running {
        there: holder.is_some(),
        origin: at.map_or_else(usual, |at| at.to_string()),
    }
}

/// Why a change is not made.
enum Refused {
    Edit(EditError),
    Other(Failure),
}

impl Refused {
    fn usage(words: String) -> Self {
        Self::Other(Failure::Usage(words))
    }
}

impl From<EditError> for Refused {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}

impl From<Uneditable> for Refused {
    fn from(reason: Uneditable) -> Self {
        Self::Edit(reason.into())
    }
}

impl From<NoRandomness> for Refused {
    fn from(error: NoRandomness) -> Self {
        Self::Other(Failure::Runtime(error.to_string()))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Edit(error) => error.into(),
            Refused::Other(failure) => failure,
        }
    }
}
