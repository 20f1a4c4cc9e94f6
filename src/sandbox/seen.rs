//! What has arrived, for tests to look at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use super::locked;

/// Requests that are remembered.
const REQUESTS: usize = 10_000;
/// Bytes that are remembered of one body.
const BODY: usize = 1024 * 1024;
/// Bytes that are remembered of all bodies together; the oldest go first.
const BODIES: usize = 256 * 1024 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method and path, without the query: `POST /v1/images/generations`.
    pub route: String,
    /// Its method.
    pub method: Method,
    /// Its target, undecoded.
    pub uri: Uri,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Its headers; the values of a repeated one stand in the order in which they came.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The first mebibyte of its body; empty for a body that was echoed while it came in, and for
    /// old requests once more than 256 MiB would be kept.
    pub body: Bytes,
    /// The true length of its body in bytes, as far as it was read before it was answered.
    pub body_length: usize,
    /// Set once the requester has gone before the end of the answer.
    abandoned: Arc<AtomicBool>,
}

impl Seen {
    /// The first value of a header, when it is text. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.as_str() == name);
        found.and_then(|(_, value)| value.to_str().ok())
    }

    /// Whether the requester went away before it had the whole answer, or the answer was cut.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// Whether `route` (`POST /v1/…`) starts with `prefix`; one that starts with a slash means any method.
pub(super) fn matches(route: &str, prefix: &str) -> bool {
    let path = route.split_once(' ').map_or(route, |(_, path)| path);
    let subject = if prefix.starts_with('/') { path } else { route };
    subject.starts_with(prefix)
}

/// The book of what arrived.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    seen: VecDeque<Seen>,
    /// Bytes of all bodies in `seen`.
    bytes: usize,
    /// How many of the oldest have lost their body already.
    stripped: usize,
}

impl Visits {
    /// Writes down one request, and hands out what notices when its answer is not taken to the end.
    pub(super) fn record(&self, head: &Parts, body: &Bytes) -> Ticket {
        let abandoned = Arc::new(AtomicBool::new(false));
        let seen = Seen {
            route: format!("{} {}", head.method, head.uri.path()),
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            // A slice would keep the whole body alive.
            body: Bytes::copy_from_slice(body.get(..BODY).unwrap_or(body)),
            body_length: body.len(),
            abandoned: abandoned.clone(),
        };
        locked(&self.0).add(seen);
        Ticket {
            abandoned,
            whole: false,
        }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        locked(&self.0).seen.iter().cloned().collect()
    }

    pub(super) fn count(&self, prefix: &str) -> usize {
        locked(&self.0)
            .seen
            .iter()
            .filter(|seen| matches(&seen.route, prefix))
            .count()
    }
}

impl Book {
    fn add(&mut self, seen: Seen) {
        self.bytes += seen.body.len();
        self.seen.push_back(seen);
        if self.seen.len() > REQUESTS
            && let Some(oldest) = self.seen.pop_front()
        {
            self.bytes -= oldest.body.len();
            self.stripped = self.stripped.saturating_sub(1);
        }
        while self.bytes > BODIES
            && let Some(seen) = self.seen.get_mut(self.stripped)
        {
            self.bytes -= std::mem::take(&mut seen.body).len();
            self.stripped += 1;
        }
    }
}

/// Travels with an answer; dropped before `whole` was called, its request counts as abandoned.
#[derive(Debug)]
pub(super) struct Ticket {
    abandoned: Arc<AtomicBool>,
    whole: bool,
}

impl Ticket {
    /// The last byte was handed over.
    pub(super) fn whole(&mut self) {
        self.whole = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.whole {
            self.abandoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(visits: &Visits, path: &str, body: usize) -> Ticket {
        let request = hyper::Request::post(path).body(()).unwrap();
        visits.record(&request.into_parts().0, &Bytes::from(vec![7; body]))
    }

    #[test]
    fn prefixes() {
        for (prefix, expected) in [
            ("POST /v1/images", true),
            ("POST /v1/images/generations", true),
            ("/v1/images", true),
            ("GET /v1/images", false),
            ("/v1/chat", false),
            ("", true),
        ] {
            assert_eq!(
                matches("POST /v1/images/generations", prefix),
                expected,
                "{prefix}"
            );
        }
    }

    #[test]
    fn memory_is_bounded() {
        let visits = Visits::default();
        for _ in 0..300 {
            visit(&visits, "/v1/large", 2 * BODY).whole();
        }
        let all = visits.all();
        assert_eq!(all.len(), 300);
        assert_eq!(
            all.iter().map(|seen| seen.body.len()).sum::<usize>(),
            BODIES
        );
        assert_eq!((all[0].body.len(), all[0].body_length), (0, 2 * BODY));
        assert_eq!(all[299].body.len(), BODY);
        for _ in 0..REQUESTS {
            visit(&visits, "/v1/small", 1).whole();
        }
        assert_eq!(
            (visits.count("/v1/small"), visits.count("/v1/large")),
            (REQUESTS, 0)
        );
        assert_eq!(locked(&visits.0).bytes, REQUESTS);
    }

    #[test]
    fn a_dropped_ticket_is_noticed() {
        let visits = Visits::default();
        drop(visit(&visits, "/v1/left", 0));
        visit(&visits, "/v1/stayed", 0).whole();
        let abandoned: Vec<bool> = visits.all().iter().map(Seen::is_abandoned).collect();
        assert_eq!(abandoned, [true, false]);
    }
}
