//! One request, asked again and again, and what has to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::parts::Sort;

/// How many digits a serial number has in a prompt.
const DIGITS: usize = 12;
/// Where they will stand.
const PLACE: &str = "000000000000";

/// Which prompt comes next.
#[derive(Clone, Debug)]
pub(crate) enum Serial {
    /// Always the same.
    Same,
    /// One that was never asked before.
    New(Arc<AtomicU64>),
    /// Any of the first so many.
    Among(u64),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    /// The whole request as it is sent.
    pub(crate) request: Vec<u8>,
    /// The body that answers it.
    pub(crate) answer: Bytes,
    /// What the head of every answer has to have in it, in lower case.
    pub(crate) says: Option<&'static str>,
    serial: Serial,
    place: Option<usize>,
}

impl Asking {
    /// A question that is no generation.
    pub(crate) fn get(path: &str, answer: Bytes) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\n{HEADERS}\r\n");
        Self::of(request, answer, Serial::Same)
    }

    /// A generation at `path`.
    pub(crate) fn post(path: &str, sort: Sort, serial: Serial) -> Self {
        Self::of(post(path, &body(sort, "")), sort.body(), serial)
    }

    /// A generation that the upstream holds until it is let go.
    pub(crate) fn held() -> Self {
        let request = post(CHAT, &body(Sort::Small, "[hold]"));
        Self::of(request, Sort::Small.body(), Serial::Same)
    }

    fn of(request: String, answer: Bytes, serial: Serial) -> Self {
        Self {
            place: request.rfind(PLACE),
            request: request.into_bytes(),
            answer,
            says: None,
            serial,
        }
    }

    /// Every answer has to say this in its head.
    pub(crate) fn saying(mut self, words: &'static str) -> Self {
        self.says = Some(words);
        self
    }

    /// Writes the next prompt into `request`, a copy of ours; `dice` is the asker's own.
    pub(crate) fn turn_over(&self, request: &mut [u8], dice: &mut u64) {
        let number = match &self.serial {
            Serial::Same => return,
            Serial::New(next) => next.fetch_add(1, Ordering::Relaxed),
            Serial::Among(many) => roll(dice) % many,
        };
        if let Some(place) = self.place {
            write_digits(&mut request[place..place + DIGITS], number);
        }
    }
}

/// Where a chat is asked for.
pub(crate) const CHAT: &str = "/v1/chat/completions";
/// Where pictures are asked for.
pub(crate) const PICTURES: &str = "/v1/images/generations";

/// What an SDK sends along.
const HEADERS: &str = "host: 127.0.0.1\r\nauthorization: Bearer sk-of-a-client\r\naccept: application/json\r\n\
                       user-agent: bench/1.0\r\n";

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\n{HEADERS}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body of a request; the model says what comes back.
fn body(sort: Sort, words: &str) -> String {
    let model = sort.model();
    match sort {
        Sort::Picture => format!(
            r#"{{"model":"{model}","prompt":"a lighthouse in the morning {words}{PLACE}","size":"1024x1024","n":1}}"#
        ),
        Sort::Small | Sort::Large => format!(
            r#"{{"model":"{model}","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"Say it in one sentence. {words}{PLACE}"}}],"temperature":0.2}}"#
        ),
    }
}

/// The body of the chat with this serial number.
pub(crate) fn chat(number: u64) -> String {
    body(Sort::Small, "").replace(PLACE, &format!("{number:012}"))
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// The next of a sequence that is random enough (xorshift64).
fn roll(dice: &mut u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice
}
