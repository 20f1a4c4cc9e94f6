//! What a client may use: by the minute, and at once. What is free stays free, and one client's limit is
//! nobody else's.

mod jobs;
mod minutes;
mod slots;

use std::collections::BTreeMap;

use reprise::config::{self, Config, Limits, OwnLimits};
use serde_json::{Value, json};

use crate::credentials::{ANNA, BEN};
use crate::house::{Answer, Call, House, Plan};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const IMAGES: &str = "/v1/images/generations";
pub(crate) const VIDEO: &str = "/v1/video/generations";

/// A house where Anna has these limits and Ben has none.
fn house_of_anna(limits: OwnLimits) -> Plan {
    House::new().config(move |config| anna_and_ben(config, limits))
}

fn anna_and_ben(config: &mut Config, anna: OwnLimits) {
    let keys = [("anna", ANNA, anna), ("ben", BEN, OwnLimits::default())];
    config.clients = BTreeMap::from_iter(keys.map(|(name, key, limits)| {
        let key_hash = blake3::hash(key.as_bytes());
        (name.to_owned(), config::Client { key_hash, limits })
    }));
}

/// An open house where so many generations may be paid at once.
fn at_once(most: u32) -> Plan {
    House::new().config(move |config| {
        config.limits = Limits {
            concurrent_generations: most,
            ..Limits::default()
        };
        config.jobs.min_poll_interval = std::time::Duration::from_nanos(1);
    })
}

fn chat(words: &str) -> Value {
    json!({"model": "grok-4.5", "messages": [{"role": "user", "content": words}]})
}

fn image(words: &str) -> Value {
    json!({"model": "gpt-image-2", "prompt": words})
}

fn video(words: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": words, "seconds": "5"})
}

fn post(house: &House, path: &str, body: &Value) -> Call {
    house.client().post(path).json(body)
}

/// Refused by a limit: which, in the words of the configuration, and when to come back. Gives the
/// milliseconds.
#[track_caller]
fn assert_refused(answer: &Answer, limit: &str, most: u64) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.error_code(), "rate_limit_exceeded");
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    assert_eq!(answer.json()["error"]["param"], Value::Null);
    let message = answer.error_message();
    assert!(message.contains(&format!("({limit})")), "{message}");
    assert!(message.contains(&format!("limit of {most} ")), "{message}");
    assert_eq!(answer.header("x-should-retry"), "", "SDKs come back");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    let millis: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(millis.div_ceil(1000), seconds);
    millis
}
