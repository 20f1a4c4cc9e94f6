//! The folder `pending/`: paid calls that are under way, or whose outcome nobody knows.
//!
//! MONEY: a file here says "this may have been paid for". Whatever has happened to its content,
//! its name still says for which key; so a damaged one is an unknown outcome and never nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::files;
use super::record::{Intent, IntentState, Stake};
use super::together::Together;
use crate::generation::{Extent, Fingerprint, Kind};
use crate::price::Usd;

const FORMAT: u64 = 1;
/// No intent of ours is longer, in bytes; longer ones are not read.
const FILE_MAX: u64 = 1024 * 1024;

/// An intent of format 1. At first it had none of the fields behind `reason`.
#[derive(Serialize, Deserialize)]
struct IntentForm {
    format: u64,
    key: Fingerprint,
    kind: Kind,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    client: String,
    started_at: Timestamp,
    state: IntentState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Uuid>,
    #[serde(default, skip_serializing_if = "is_nothing")]
    usd: Usd,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extent: Option<Extent>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beside: Vec<Stake>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed_by: Option<Fingerprint>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_nothing(usd: &Usd) -> bool {
    *usd == Usd::ZERO
}

/// The files under `pending/`.
#[derive(Clone, Debug)]
pub(super) struct Intents {
    root: PathBuf,
    together: Arc<Together>,
}

/// All intents, and the files among them that could not be read as what was written.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) intents: Vec<Intent>,
    pub(super) damaged: Vec<PathBuf>,
}

impl Intents {
    pub(super) fn in_dir(root: PathBuf) -> Self {
        Self {
            root,
            together: Arc::default(),
        }
    }

    pub(super) fn path(&self, key: &Fingerprint) -> PathBuf {
        files::named(&self.root, (files::In::Itself, key), ".json")
    }

    pub(super) fn put(&self, intent: &Intent) -> Result<(), StoreError> {
        let Intent {
            key,
            kind,
            path,
            model,
            client,
            started_at,
            state,
            reason,
            run,
            usd,
            extent,
            beside,
            passed_by,
        } = intent.clone();
        let form = IntentForm {
            format: FORMAT,
            key,
            kind,
            path,
            model,
            client,
            started_at,
            state,
            reason,
            run,
            usd,
            extent,
            beside,
            passed_by,
        };
        let mut bytes = serde_json::to_vec(&form)
            .map_err(|_| StoreError::Refused("the intent has no form in JSON"))?;
        bytes.push(b'\n');
        if bytes.len() as u64 > FILE_MAX {
            return Err(StoreError::Refused("the intent is longer than 1 MiB"));
        }
        files::write_together(&self.path(&key), &bytes, &self.together)?;
        Ok(())
    }

    pub(super) fn get(&self, key: &Fingerprint) -> Result<Option<Intent>, StoreError> {
        Ok(self.read(key)?.map(|(intent, _)| intent))
    }

    pub(super) fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        files::remove_together(&self.path(key), &self.together)
    }

    pub(super) fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for entry in files::read_dir(&self.root)? {
            let entry = entry.map_err(StoreError::io("list", &self.root))?;
            let Some(key) = entry.file_name().to_str().and_then(key_of) else {
                continue;
            };
            let Some((intent, whole)) = self.read(&key)? else {
                continue;
            };
            if !whole {
                listing.damaged.push(entry.path());
            }
            listing.intents.push(intent);
        }
        listing.intents.sort_by_key(|intent| intent.key);
        Ok(listing)
    }

    pub(super) fn sweep(&self) -> Result<u64, StoreError> {
        files::sweep(&self.root)
    }

    /// The intent of `key` and whether its file is whole.
    fn read(&self, key: &Fingerprint) -> Result<Option<(Intent, bool)>, StoreError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let mut bytes = Vec::new();
        let read = file.take(FILE_MAX).read_to_end(&mut bytes);
        let flaw = match read
            .map_err(|error| error.to_string())
            .and_then(|_| parse(key, &bytes))
        {
            Ok(intent) => return Ok(Some((intent, true))),
            Err(flaw) => flaw,
        };
        tracing::warn!(path = %path.display(), flaw, "a damaged intent counts as unknown outcome");
        Ok(Some((salvage(key, &bytes, &path, &flaw), false)))
    }
}

fn parse(key: &Fingerprint, bytes: &[u8]) -> Result<Intent, String> {
    let form: IntentForm = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let IntentForm {
        format,
        key: inside,
        kind,
        path,
        model,
        client,
        started_at,
        state,
        reason,
        run,
        usd,
        extent,
        beside,
        passed_by,
    } = form;
    if format != FORMAT {
        return Err(format!("it has format {format}"));
    }
    if inside != *key {
        return Err(format!("it holds the intent of {inside}"));
    }
    Ok(Intent {
        key: inside,
        kind,
        path,
        model,
        client,
        started_at,
        state,
        reason,
        run,
        usd,
        extent,
        beside,
        passed_by,
    })
}

/// What can be said of an intent whose file is not whole.
fn salvage(key: &Fingerprint, bytes: &[u8], path: &Path, flaw: &str) -> Intent {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| {
        value
            .get(name)
            .and_then(|field| field.as_str())
            .map(str::to_owned)
    };
    let field = |name: &str| value.get(name).cloned().unwrap_or_default();
    let written = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok();
    Intent {
        key: *key,
        // Without a word for it, the kind that costs most: it is asked about, not run again.
        kind: serde_json::from_value(field("kind")).unwrap_or(Kind::Video),
        path: text("path").unwrap_or_default(),
        model: text("model"),
        client: text("client").unwrap_or_default(),
        started_at: serde_json::from_value(field("started_at"))
            .ok()
            .or_else(|| Timestamp::try_from(written?).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        state: IntentState::Unknown,
        reason: Some(format!("{} is damaged: {flaw}", path.display())),
        run: serde_json::from_value(field("run")).unwrap_or_default(),
        usd: serde_json::from_value(field("usd")).unwrap_or_default(),
        extent: serde_json::from_value(field("extent")).unwrap_or_default(),
        beside: serde_json::from_value(field("beside")).unwrap_or_default(),
        passed_by: serde_json::from_value(field("passed_by")).unwrap_or_default(),
    }
}

/// The key in a file name of ours: 64 lower-case hex digits and `.json`.
fn key_of(name: &str) -> Option<Fingerprint> {
    let key: Fingerprint = name.strip_suffix(".json")?.parse().ok()?;
    (format!("{key}.json") == name).then_some(key)
}
