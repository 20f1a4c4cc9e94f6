//! The place that result links point to: no key wanted, links that die, ranges.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::answer::{Answer, Ask, Payload};
use super::{World, assets, locked};

/// Objects that are kept; the oldest are forgotten.
const OBJECTS: usize = 100_000;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Clip,
    Picture,
}

#[derive(Clone, Debug)]
struct Object {
    form: Form,
    /// Names the run inside the bytes.
    mark: String,
    born: Instant,
}

/// All objects. Their bytes are made anew for each request.
#[derive(Debug)]
pub(super) struct Storage(Mutex<Shelf>);

#[derive(Debug)]
struct Shelf {
    by_name: HashMap<String, Object>,
    in_order: VecDeque<String>,
    lifetime: Duration,
}

impl Storage {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self(Mutex::new(Shelf {
            by_name: HashMap::new(),
            in_order: VecDeque::new(),
            lifetime,
        }))
    }

    /// How long links work, old ones included.
    pub(super) fn set_lifetime(&self, lifetime: Duration) {
        locked(&self.0).lifetime = lifetime;
    }

    fn add(&self, name: String, object: Object) {
        let mut kept = locked(&self.0);
        if kept.by_name.contains_key(&name) {
            return;
        }
        if kept.in_order.len() >= OBJECTS
            && let Some(oldest) = kept.in_order.pop_front()
        {
            kept.by_name.remove(&oldest);
        }
        kept.in_order.push_back(name.clone());
        kept.by_name.insert(name, object);
    }

    /// `Ok(None)` when there is no such object, `Err` when its link is dead.
    fn get(&self, name: &str) -> Result<Option<Object>, Dead> {
        let kept = locked(&self.0);
        match kept.by_name.get(name) {
            Some(object) if object.born.elapsed() >= kept.lifetime => Err(Dead),
            found => Ok(found.cloned()),
        }
    }
}

struct Dead;

/// Keeps the object of a run and gives its link. Asked again it gives the same link, no younger one.
pub(super) fn link(world: &World, form: Form, mark: &str, born: Instant) -> String {
    let name = name(world, form, mark);
    let signature = world.ids.word_of(&name, 40);
    world.storage.add(
        name.clone(),
        Object {
            form,
            mark: mark.into(),
            born,
        },
    );
    let origin = world.options.public_url.as_deref().unwrap_or(&world.origin);
    format!(
        "{}/storage/{name}?sig={signature}",
        origin.trim_end_matches('/')
    )
}

fn name(world: &World, form: Form, mark: &str) -> String {
    let ending = match form {
        Form::Clip => "mp4",
        Form::Picture => "png",
    };
    format!(
        "{}.{ending}",
        world.ids.word_of(&format!("storage {ending} {mark}"), 24)
    )
}

/// Answers a request to `/storage/…`.
pub(super) fn answer(world: &World, ask: &Ask, name: &str) -> Answer {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
    }
    let signed = ask.query == format!("sig={}", world.ids.word_of(name, 40));
    match world.storage.get(name) {
        Ok(None) => refuse(StatusCode::NOT_FOUND, "NoSuchKey"),
        Ok(Some(_)) if !signed => refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        Ok(Some(object)) => ranged(ask, &object),
        Err(Dead) => refuse(StatusCode::FORBIDDEN, "AccessDenied"),
    }
}

/// The clip of a finished job through the gateway, which fetches it by its link: 502 once that is dead.
pub(super) fn content(world: &World, ask: &Ask, mark: &str, born: Instant) -> Answer {
    link(world, Form::Clip, mark, born);
    if let Ok(Some(object)) = world.storage.get(&name(world, Form::Clip, mark)) {
        return ranged(ask, &object).header(CACHE_CONTROL, "public, max-age=86400");
    }
    let message = "Failed to fetch video content: upstream returned status 403";
    ask.refuse_as("server_error", StatusCode::BAD_GATEWAY, "", message)
}

fn refuse(status: StatusCode, code: &str) -> Answer {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>\n");
    Answer::new(status, "application/xml", body.into())
}

/// An object, or the part of it that is asked for; more than one range gets all of it.
fn ranged(ask: &Ask, object: &Object) -> Answer {
    let (bytes, content_type) = match object.form {
        Form::Clip => (assets::clip(&object.mark), "video/mp4"),
        Form::Picture => (assets::picture(&object.mark), "image/png"),
    };
    let hash = blake3::hash(&bytes).to_hex();
    let etag = format!("\"{}\"", &hash[..32]);
    let dressed = |status, body: Bytes| {
        let answer = Answer::empty(status).header(CONTENT_TYPE, content_type);
        answer
            .header(ACCEPT_RANGES, "bytes")
            .header(ETAG, &etag)
            .carrying(Payload::Whole(body))
    };
    if ask
        .header(IF_NONE_MATCH.as_str())
        .is_some_and(|known| known == "*" || known.contains(&etag))
    {
        return dressed(StatusCode::NOT_MODIFIED, Bytes::new());
    }
    let same = ask
        .header(IF_RANGE.as_str())
        .is_none_or(|known| known == etag);
    let parsed = ask
        .header(RANGE.as_str())
        .filter(|_| same)
        .and_then(|range| http_range_header::parse_range_header(range).ok());
    let total = bytes.len() as u64;
    match parsed.map(|ranges| ranges.validate(total)) {
        Some(Ok(ranges)) if ranges.len() == 1 => {
            let (start, end) = (*ranges[0].start(), *ranges[0].end());
            let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            match part.filter(|(start, end)| start <= end && *end < bytes.len()) {
                Some((from, to)) => dressed(StatusCode::PARTIAL_CONTENT, bytes.slice(from..=to))
                    .header(CONTENT_RANGE, format!("bytes {start}-{end}/{total}")),
                None => unsatisfiable(total),
            }
        }
        Some(Err(_)) => unsatisfiable(total),
        Some(Ok(_)) | None => dressed(StatusCode::OK, bytes),
    }
}

fn unsatisfiable(total: u64) -> Answer {
    refuse(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange")
        .header(CONTENT_RANGE, format!("bytes */{total}"))
}
