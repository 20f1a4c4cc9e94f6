//! What a client asks to have paid.

use jiff::Timestamp;

use crate::generation::{Extent, Fingerprint, Identity, Kind};
use crate::ledger::{Line, Outcome};
use crate::price::Usd;
use crate::store::Record;

/// A generation as somebody asks for it, as far as its money goes. Holds no prompt.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who asks.
    pub client: String,
    /// For what.
    pub kind: Kind,
    /// Of which model, where the request names one.
    pub model: Option<String>,
    /// Which generation it is.
    pub key: Fingerprint,
    /// How much it asks for.
    pub extent: Extent,
}

impl Claim {
    /// What `client` asks for with a request of this identity.
    pub fn new(client: &str, kind: Kind, identity: &Identity) -> Self {
        Self {
            client: client.to_owned(),
            kind,
            model: identity.model.clone(),
            key: identity.fingerprint,
            extent: identity.extent,
        }
    }

    /// What was asked for once, as it is kept.
    pub(super) fn of_record(record: &Record) -> Self {
        Self {
            client: record.client.clone(),
            kind: record.kind,
            model: record.model.clone(),
            key: record.generation(),
            extent: record.extent.unwrap_or_default(),
        }
    }

    /// Its line, without dollars.
    pub(super) fn line(&self, time: Timestamp, outcome: Outcome) -> Line {
        Line {
            time,
            client: self.client.clone(),
            kind: self.kind,
            model: self.model.clone(),
            key: self.key,
            outcome,
            usd_spent: Usd::ZERO,
            usd_saved: Usd::ZERO,
            usd_held: Usd::ZERO,
            run: None,
            task: None,
            unpriced: false,
            possible_double_payment: false,
        }
    }
}
