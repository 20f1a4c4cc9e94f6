//! What a request's body says about itself, noted while its fingerprint is made.

use super::extent::{Extent, Member, Said};
use super::{Kind, top};

/// Longer than any model's name; what is longer is somebody's prompt, and goes into no record.
const LONGEST_MODEL: usize = 256;

/// The members that matter beside those that say a size.
const NAMES: [&str; 5] = ["model", "stream", "temperature", "seed", "metadata"];

/// What the proxy wants to know of a body beside its fingerprint.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The top-level `model`.
    pub(super) model: Option<String>,
    /// The same by a name that differs in case alone. RelayDance's gateway matches names like that, so
    /// it says what is charged; the fingerprint takes no notice of it.
    pub(super) model_loosely: Option<String>,
    /// The top-level `stream` is true.
    pub(super) stream: bool,
    /// The top-level `temperature` is zero, or `seed` is there and not null.
    pub(super) deterministic: bool,
    /// What it says of the size of what it asks for.
    pub(super) size: Said,
    /// How much of it is no file, in bytes.
    pub(super) body: u64,
}

impl Facts {
    /// The facts of a body that is not looked into.
    pub(super) fn unread(body: &[u8]) -> Self {
        Self {
            body: u64::try_from(body.len()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// The facts of a JSON body that is hashed raw: it may have a repeated key, or be nested deeper
    /// than we canonicalise, and still be one that upstream reads and charges for.
    pub(super) fn of_raw(body: &[u8], kind: Kind) -> Self {
        let mut facts = Self::unread(body);
        let mut names = [""; NAMES.len() + Member::TOP.len()];
        let sizes = Member::TOP.iter().map(|(name, _)| *name);
        for (name, known) in names.iter_mut().zip(NAMES.into_iter().chain(sizes)) {
            *name = known;
        }
        let Some([model, stream, temperature, seed, metadata, sizes @ ..]) =
            top::members(body, names)
        else {
            return facts;
        };
        if let Some(name) = model.and_then(top::text) {
            facts.note_model(name.as_bytes());
        }
        facts.stream = stream.is_some_and(|stream| stream.get() == "true");
        let temperature = temperature.and_then(|number| number.get().parse::<f64>().ok());
        facts.deterministic = temperature == Some(0.0) || seed.is_some_and(top::is_set);
        for ((_, member), said) in Member::TOP.into_iter().zip(sizes) {
            facts.size.note_raw(member, said);
        }
        if let Some(metadata) = metadata.filter(|_| kind == Kind::Video) {
            match top::text(metadata) {
                Some(text) => facts.size.note_metadata(text.as_bytes()),
                None => facts.size.note_metadata(metadata.get().as_bytes()),
            }
        }
        facts
    }

    /// How much the request asks for.
    pub(super) fn extent(&self, kind: Kind) -> Extent {
        self.size.extent(kind, self.model(), self.body)
    }

    /// The model that is charged for.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.model_loosely.as_deref())
    }

    /// Notes the model's name, when it is one.
    pub(super) fn note_model(&mut self, name: &[u8]) {
        self.model = model(name);
    }

    /// The same of a member whose name is that of the model but for its case.
    pub(super) fn note_model_loosely(&mut self, name: &[u8]) {
        self.model_loosely = model(name);
    }
}

fn model(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= LONGEST_MODEL)
        .map(str::to_owned)
}
