//! `reprise prices update`: upstream's list, and the configuration file.

use std::path::PathBuf;

use clap::Args;
use http::StatusCode;

use super::print;
use crate::cli::{Failure, runtime};
use crate::config::edit::{self, Draft, Uneditable};
use crate::config::{self, Sources};
use crate::price::{Changes, Listed, Price, Prices, form};
use crate::upstream::public;

/// Where a new-api gateway has its list (RelayDance).
const LIST: &str = "/api/pricing";

#[derive(Args)]
pub(super) struct UpdateArgs {
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The account's group at the gateway, which may pay more or less than others
    #[arg(long, value_name = "NAME", default_value = "default")]
    group: String,
}

/// What was done.
pub(super) struct Updated {
    /// Where the list was read.
    pub(super) url: String,
    pub(super) listed: Listed,
    pub(super) changes: Changes,
    /// The file that was written, or would be; `None`: there was nothing to write.
    pub(super) file: Option<PathBuf>,
    pub(super) dry_run: bool,
}

/// Reads the list, writes what differs, and says what it was.
pub(super) fn run(args: &UpdateArgs, sources: &Sources) -> Result<(), Failure> {
    let settings = config::load(sources)?.config.upstream;
    let base = &settings.base_url;
    let url = format!("{}://{}{LIST}", base.scheme(), base.authority());
    let failed = |why: String| Failure::Runtime(format!("{url}: {why}"));
    let runtime = runtime()?;
    let answer = runtime.block_on(public::ask(&settings, LIST));
    // A look-up of a name goes on long after nobody waits for it.
    runtime.shutdown_background();
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    if answer.status() != StatusCode::OK {
        return Err(failed(refused(answer.status())));
    }
    let updated = write(args, sources, &url, answer.body())?;
    if args.json {
        print::update_json(&updated)
    } else {
        print::update(&updated)
    }
}

/// Why an answer that is not 200 is no list.
fn refused(status: StatusCode) -> String {
    let why = match status.as_u16() {
        300..=399 => "the list is elsewhere; is upstream.base_url the address that it moved to?",
        401 | 403 => "this upstream shows its prices to nobody without an account",
        404 => "this upstream has no public price list; write [prices] by hand",
        _ => "try again later",
    };
    format!("it answers {status}: {why}")
}

/// Compares, and where something differs once more under the lock of the file: what is compared with
/// is what is changed. Where nothing does, no file and no folder is made.
fn write(args: &UpdateArgs, sources: &Sources, url: &str, body: &[u8]) -> Result<Updated, Failure> {
    let compare = |configured: &config::Config| {
        let held = Prices::new(&configured.prices);
        let listed = Listed::read(body, &args.group, &held);
        let listed = listed.map_err(|error| Failure::Runtime(format!("{url}: {error}")))?;
        Ok::<_, Failure>((Changes::between(&held, &listed), listed))
    };
    let loaded = config::load(sources)?;
    let (changes, listed) = compare(&loaded.config)?;
    let nothing = changes.new_prices().next().is_none();
    let (changes, listed, file) = if args.dry_run || nothing {
        (changes, listed, loaded.file.filter(|_| !nothing))
    } else {
        let edited = edit::edit(sources, |loaded, draft| {
            let (changes, listed) = compare(&loaded.config)?;
            for (model, price) in changes.new_prices() {
                put(draft, model, &price).map_err(|error| Failure::Usage(error.to_string()))?;
            }
            Ok::<_, Failure>((changes, listed))
        })?;
        let (changes, listed) = edited.value;
        (changes, listed, edited.changed.then_some(edited.path))
    };
    Ok(Updated {
        url: url.to_owned(),
        listed,
        changes,
        file,
        dry_run: args.dry_run,
    })
}

/// Writes one price in the place of what stands there.
fn put(draft: &mut Draft, model: &str, price: &Price) -> Result<(), Uneditable> {
    for (form, usd) in form::forms(price) {
        if let Some(usd) = usd {
            draft.set("prices", model, form, usd)?;
        }
    }
    for (form, usd) in form::forms(price) {
        if usd.is_none() {
            draft.unset("prices", model, form)?;
        }
    }
    Ok(())
}
