//! What comes back.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use serde_json::Value;

use super::soon;

/// Where an answer broke off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// No head came.
    BeforeHead,
    /// The body ended with an error.
    InBody,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's first value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status().starts_with("reprise; hit; key=\"")
    }

    /// The 16 hex digits in the `Cache-Status` of a hit.
    pub(crate) fn key(&self) -> &str {
        let status = self.cache_status();
        status
            .strip_prefix("reprise; hit; key=\"")
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or_else(|| panic!("no hit: {} {status}", self.status))
    }

    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {} {text}", self.status))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of an error in OpenAI's form; empty when there is none.
    pub(crate) fn error_code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The `message` of an error in OpenAI's form.
    pub(crate) fn error_message(&self) -> String {
        let json = self.json();
        json["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// An answer whose head is here and whose body is read by the piece.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: BytesMut,
}

impl Opened {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            read: BytesMut::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    /// What has been read of the body so far.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads one more piece; `None` at the body's good end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            let Ok(frame) = soon(self.body.frame()).await? else {
                return Some(Err(Broken::InBody));
            };
            if let Ok(piece) = frame.into_data() {
                self.read.extend_from_slice(&piece);
                return Some(Ok(piece));
            }
        }
    }

    /// Reads until the body so far holds `words`.
    pub(crate) async fn read_to(&mut self, words: &str) {
        while !self.so_far().contains(words) {
            match self.next().await {
                Some(Ok(_)) => {}
                other => panic!("{other:?} before `{words}`: {}", self.so_far()),
            }
        }
    }

    /// Reads to the end; the answer holds what was read before as well.
    pub(crate) async fn rest(mut self) -> Result<Answer, Broken> {
        while let Some(piece) = self.next().await {
            piece?;
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: self.read.freeze(),
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap_or_default())
}
