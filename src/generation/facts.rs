//! What a request's body says about itself, noted while its fingerprint is made.

use super::top;

/// Longer than any model's name; what is longer is somebody's prompt, and goes into no record.
const LONGEST_MODEL: usize = 256;

/// What the proxy wants to know of a body beside its fingerprint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The top-level `model`.
    pub(super) model: Option<String>,
    /// The top-level `stream` is true.
    pub(super) stream: bool,
    /// The top-level `temperature` is zero, or `seed` is there and not null.
    pub(super) deterministic: bool,
}

impl Facts {
    /// The facts of a JSON body that is hashed raw: it may have a repeated key, or be nested deeper
    /// than we canonicalise, and still be one that upstream reads and charges for.
    pub(super) fn of_raw(body: &[u8]) -> Self {
        let mut facts = Self::default();
        let names = ["model", "stream", "temperature", "seed"];
        let Some([model, stream, temperature, seed]) = top::members(body, names) else {
            return facts;
        };
        if let Some(name) = model.and_then(top::text) {
            facts.note_model(name.as_bytes());
        }
        facts.stream = stream.is_some_and(|stream| stream.get() == "true");
        let temperature = temperature.and_then(|number| number.get().parse::<f64>().ok());
        facts.deterministic = temperature == Some(0.0) || seed.is_some_and(top::is_set);
        facts
    }

    /// Notes the model's name, when it is one.
    pub(super) fn note_model(&mut self, name: &[u8]) {
        self.model = std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty() && name.len() <= LONGEST_MODEL)
            .map(str::to_owned);
    }
}
