//! What an API keeps for its account under an id: jobs, files, responses. All clients of the proxy
//! are one account there, so the proxy has to know whose a thing is.
//!
//! - a path names things: what stands behind a collection;
//! - the answer to a POST below a collection names what was made;
//! - a body may name things too: the clip of a remix, the response that goes before.

use std::borrow::Cow;
use std::fmt;

use super::path::{self, Segments};
use super::percent;
use super::strings::{self, Level};

/// A kind of things that share a space of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection(u8);

/// Paths below `/v1`, and the name of the collection they lead to. Longer ones first.
const PATHS: [(&[&str], u8); 17] = [
    (&["contents", "generations", "tasks"], JOBS),
    (&["video", "generations"], JOBS),
    (&["videos", "characters"], 1),
    (&["chat", "completions"], CHAT),
    (&["messages", "batches"], 3),
    (&["fine_tuning", "jobs"], 4),
    (&["videos"], JOBS),
    (&["tasks"], JOBS),
    (&["files"], FILES),
    (&["uploads"], 6),
    (&["batches"], 7),
    (&["responses"], RESPONSES),
    (&["conversations"], CONVERSATIONS),
    (&["vector_stores"], 10),
    (&["containers"], 11),
    (&["evals"], 12),
    (&["predictions"], 13),
];
const JOBS: u8 = 0;
const CHAT: u8 = 2;
const FILES: u8 = 5;
const RESPONSES: u8 = 8;
const CONVERSATIONS: u8 = 9;
const COLLECTIONS: u8 = 14;

/// Where the answer to a POST names what was made; `None`: in the collection of the path.
const NAMED_AT: [(&[&str], Option<u8>); 7] = [
    (&["id"], None),
    (&["task_id"], None),
    (&["data", "id"], None),
    (&["data", "task_id"], None),
    (&["response", "id"], None),
    (&["file", "id"], Some(FILES)),
    (&["conversation", "id"], Some(CONVERSATIONS)),
];

/// No id is shorter or longer, in bytes, where one may stand among other words.
const SHORTEST: usize = 6;
const LONGEST: usize = 512;

/// A thing's name in all tables: 16 bytes of the hash of its id, for its collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThingKey([u8; 16]);

impl ThingKey {
    /// `id` in `collection`. Upper and lower case are one, since there are databases for which they
    /// are, and so is white space around it.
    pub fn of(collection: Collection, id: &str) -> Self {
        Self::in_collection(hash(id), collection.0)
    }

    /// The id of a video job.
    pub fn job(id: &str) -> Self {
        Self::of(Collection(JOBS), id)
    }

    /// The same id in each collection.
    pub fn everywhere(id: &str) -> impl Iterator<Item = Self> {
        let hash = hash(id);
        (0..COLLECTIONS).map(move |collection| Self::in_collection(hash, collection))
    }

    fn in_collection(mut hash: [u8; 16], collection: u8) -> Self {
        hash[0] ^= collection;
        Self(hash)
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ThingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hash(id: &str) -> [u8; 16] {
    let id = id.trim().to_ascii_lowercase();
    let mut short = [0; 16];
    let hash = blake3::hash(id.as_bytes());
    for (to, from) in short.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    short
}

/// A thing that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub collection: Collection,
    /// Its id, decoded. What is no UTF-8 has U+FFFD in it.
    pub id: String,
}

impl Thing {
    /// Whether it is a video job.
    pub fn is_job(&self) -> bool {
        self.collection.0 == JOBS
    }

    /// SECURITY: whether databases may take it for an id that is written otherwise: they pass over
    /// accents, and over what cannot be seen.
    pub fn is_odd(&self) -> bool {
        !self.id.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// The things that `path`, which begins with `/v1/`, may be about, in any way of reading it.
pub fn things(path: &str) -> Vec<Thing> {
    let mut found: Vec<Thing> = Vec::new();
    for segments in readings(path) {
        for (collection, rest) in below(&segments) {
            let whole = rest.first().map(|id| String::from_utf8_lossy(id));
            let whole = whole.unwrap_or_default();
            // Some servers take what stands behind a semicolon for a parameter.
            let bare = whole.split(';').next().unwrap_or_default().to_owned();
            for id in [whole.into_owned(), bare] {
                let thing = Thing { collection, id };
                if !thing.id.is_empty() && !found.contains(&thing) {
                    found.push(thing);
                }
            }
        }
    }
    found
}

/// The collection that `path` leads to or into.
pub fn collection(path: &str) -> Option<Collection> {
    let first = |read: &Segments<'_>| below(read).next().map(|(collection, _)| collection);
    readings(path).iter().find_map(first)
}

/// Whether `path` is that of a whole collection, whose GET lists it.
pub fn is_list(path: &str) -> bool {
    let is_one = |read: &Segments<'_>| below(read).any(|(_, rest)| rest.is_empty());
    readings(path).iter().any(is_one)
}

/// Whether what a POST in the collection makes can be asked for by its id later on, when its body is
/// `body`: of the answers to a chat only those that are asked to be stored.
pub fn is_kept_upstream(collection: Collection, body: &[u8]) -> bool {
    collection.0 != CHAT || memchr::memmem::find(body, b"\"store\"").is_some()
}

/// The things that were made, by what the answer to a POST in the collection says; of an event
/// stream and of a long text its beginning is enough.
pub fn made(collection: Collection, answer: &[u8]) -> Vec<ThingKey> {
    let mut made = Vec::new();
    let mut note = |levels: &[Level<'_>], string: &[u8]| {
        let way = |names: &[&str]| {
            let same =
                |(level, name): (&Level<'_>, &&str)| *level == Level::Object(name.as_bytes());
            names.len() == levels.len() && levels.iter().zip(names).all(same)
        };
        let place = NAMED_AT.iter().find(|(names, _)| way(names));
        if let Some((_, elsewhere)) = place
            && let Some(id) = strings::read(string).filter(|id| !id.trim().is_empty())
        {
            let collection = Collection(elsewhere.unwrap_or(collection.0));
            made.push(ThingKey::of(collection, &id));
        }
        true
    };
    let events = answer.split(|byte| *byte == b'\n').filter_map(|line| {
        let data = line.strip_prefix(b"data:")?.trim_ascii_start();
        data.starts_with(b"{").then_some(data)
    });
    match answer.trim_ascii_start().first() {
        Some(b'{') => strings::each(answer, &mut note),
        _ => events
            .take(8)
            .for_each(|event| strings::each(event, &mut note)),
    }
    made.dedup();
    made
}

/// Every word in a body that may be the id of a thing; `is_form`: it is a multipart form, whose lines
/// are looked at, also as JSON. `visit` says whether to go on.
pub fn mentions(body: &[u8], is_form: bool, mut visit: impl FnMut(&str) -> bool) {
    if !is_form {
        in_json(body, &mut visit);
        return;
    }
    let lines = body.split(|byte| *byte == b'\n');
    let mut lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
    lines.all(|line| {
        let nested = line.starts_with(['{', '[']);
        words(line, &mut visit) && (!nested || in_json(line.as_bytes(), &mut visit))
    });
}

fn in_json(text: &[u8], visit: &mut impl FnMut(&str) -> bool) -> bool {
    let mut go_on = true;
    strings::each(text, |_, string| {
        // An escape takes six bytes at most for each byte.
        go_on = string.len() > 6 * LONGEST
            || strings::read(string).is_none_or(|text| words(&text, visit));
        go_on
    });
    go_on
}

/// The text itself, and the parts of an address.
fn words(text: &str, visit: &mut impl FnMut(&str) -> bool) -> bool {
    let text = text.trim();
    if text.len() > LONGEST || text.len() < SHORTEST {
        return true;
    }
    if !text.contains('/') {
        return visit(text);
    }
    let parts = text.split(['/', '?', '&', '=', '#']);
    parts.filter(|part| part.len() >= SHORTEST).all(|part| {
        let decoded = percent::decode_fully(part.as_bytes());
        std::str::from_utf8(&decoded).map_or(true, &mut *visit)
    })
}

fn readings(path: &str) -> Vec<Segments<'_>> {
    let other = path::decode_then_split(path);
    [Some(path::split_then_decode(path)), other]
        .into_iter()
        .flatten()
        .collect()
}

/// The collections that a path may lead into, and what stands behind them. SECURITY: some servers do not
/// mind the case of a path.
fn below<'s, 'p>(
    segments: &'s Segments<'p>,
) -> impl Iterator<Item = (Collection, &'s [Cow<'p, [u8]>])> {
    let rest = match segments.as_slice() {
        [root, rest @ ..] if root.eq_ignore_ascii_case(b"v1") => rest,
        _ => &[],
    };
    PATHS.iter().filter_map(move |(words, collection)| {
        let (head, behind) = rest.split_at_checked(words.len())?;
        let mut pairs = head.iter().zip(*words);
        pairs
            .all(|(part, word)| part.eq_ignore_ascii_case(word.as_bytes()))
            .then_some((Collection(*collection), behind))
    })
}

#[cfg(test)]
mod tests;
