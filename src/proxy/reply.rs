//! What the client sees, made from the record or from the answer that is arriving, and the
//! `Cache-Status` that says how it came about (RFC 9211).

use std::fs::File;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::Error;
use super::answered::Doubtful;
use crate::generation::Fingerprint;
use crate::message::{Body, body, headers};
use crate::once::{Live, NotKept, Reason};
use crate::store::{self, Payload, Shelf, StoredHeaders};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How an answer came about, in the words of RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// From what is kept.
    Hit(Fingerprint),
    /// This request ran; its answer is kept if it succeeds.
    Stored(Reason),
    /// This request ran, and this answer of upstream's is not one that is kept.
    Answered(Reason, StatusCode),
    /// This request ran and succeeded, but the store could not take the answer.
    NotKept(Reason),
    /// Another request's run, or a job that is under way.
    Collapsed,
    /// The cache had nothing to do with it: the reason as a token.
    Bypass(&'static str),
}

impl Status {
    fn words(self) -> String {
        match self {
            Self::Hit(key) => ["reprise; hit; key=\"", &key.short(), "\""].concat(),
            Self::Stored(reason) => ["reprise; fwd=", word(reason), "; stored"].concat(),
            Self::Answered(reason, status) => [
                "reprise; fwd=",
                word(reason),
                "; fwd-status=",
                status.as_str(),
            ]
            .concat(),
            Self::NotKept(reason) => ["reprise; fwd=", word(reason), "; detail=not-kept"].concat(),
            Self::Collapsed => "reprise; fwd=miss; collapsed".to_owned(),
            Self::Bypass(detail) => ["reprise; fwd=bypass; detail=", detail].concat(),
        }
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Miss => "miss",
        Reason::Asked => "request",
        Reason::Expired => "stale",
    }
}

/// Says how the answer came about, and how old it is.
pub(super) fn mark(on: &mut HeaderMap, status: Status, age: Option<u64>) {
    if let Ok(value) = HeaderValue::try_from(status.words()) {
        // Behind what caches further up have said (RFC 9211 §2).
        on.append(CACHE_STATUS, value);
    }
    if let Some(age) = age {
        on.insert(header::AGE, headers::number(age));
    }
}

/// An answer that is kept.
///
/// # Errors
/// When its body is a file that cannot be opened.
pub(super) async fn kept(
    shelf: &Shelf,
    (status, stored): (u16, &StoredHeaders),
    payload: &Payload,
) -> Result<Response<Body>, Error> {
    let file = shelf.open(payload).await?;
    Ok(of_parts((status, stored), payload, file))
}

/// An answer that is kept, with the file of its body already open if it has one.
pub(super) fn of_parts(
    (status, stored): (u16, &StoredHeaders),
    payload: &Payload,
    file: Option<File>,
) -> Response<Body> {
    let body = match (file, payload) {
        (Some(file), Payload::Blob { len, .. }) => body::from_file(file, *len),
        (_, Payload::Bytes(bytes)) => body::full(bytes.clone()),
        (None, Payload::Blob { .. }) => body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = store::restore(stored);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, headers::number(payload.len()));
    response
}

/// Gives the one whose request was sent what upstream said about that exchange alone.
pub(super) fn add_per_exchange(to: &mut HeaderMap, all: &HeaderMap) {
    let speaks_of_it = |name: &HeaderName| {
        headers::is_per_exchange(name)
            && *name != header::CONTENT_LENGTH
            && *name != header::TRANSFER_ENCODING
    };
    for (name, value) in all.iter().filter(|(name, _)| speaks_of_it(name)) {
        to.append(name, value.clone());
    }
}

/// An answer as it arrives, or one that arrived and is not kept.
///
/// `first` is the one whose request was sent; the others do not get what speaks of that exchange.
pub(super) fn arriving(answer: &Arc<Live>, first: bool, why: Option<NotKept>) -> Response<Body> {
    let mut response = Response::new(answer.recording.body());
    *response.status_mut() = answer.status;
    let length = answer.headers.get(header::CONTENT_LENGTH).cloned();
    *response.headers_mut() = if first {
        answer.headers.clone()
    } else {
        shared(&answer.headers)
    };
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    match why {
        Some(NotKept::Unknown) => {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
            response.extensions_mut().insert(Doubtful);
        }
        Some(NotKept::Refused | NotKept::StoreFailed) | None => {}
    }
    response
}

/// The headers that also fit somebody who did not send the request.
pub(super) fn shared(all: &HeaderMap) -> HeaderMap {
    let fits = |(name, _): &(&HeaderName, &HeaderValue)| {
        *name == header::RETRY_AFTER || !headers::is_per_exchange(name)
    };
    all.iter()
        .filter(fits)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_its_words() {
        let key = Fingerprint::from_bytes([0xab; 32]);
        let table = [
            (Status::Hit(key), "reprise; hit; key=\"abababababababab\""),
            (Status::Stored(Reason::Miss), "reprise; fwd=miss; stored"),
            (
                Status::Stored(Reason::Asked),
                "reprise; fwd=request; stored",
            ),
            (
                Status::Stored(Reason::Expired),
                "reprise; fwd=stale; stored",
            ),
            (Status::Collapsed, "reprise; fwd=miss; collapsed"),
            (
                Status::NotKept(Reason::Miss),
                "reprise; fwd=miss; detail=not-kept",
            ),
            (
                Status::Answered(Reason::Miss, StatusCode::NOT_FOUND),
                "reprise; fwd=miss; fwd-status=404",
            ),
            (
                Status::Bypass("no-store"),
                "reprise; fwd=bypass; detail=no-store",
            ),
        ];
        for (status, words) in table {
            assert_eq!(status.words(), words);
        }
    }
}
