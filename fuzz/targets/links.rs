//! Result links: found in every spelling of an answer, and replaced without touching anything else.
#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reprise::media::{links, rewrite};
use reprise_fuzz::spelling::{self, Choices};
use reprise_fuzz::tree;
use serde_json::Value;

const KEPT: &str = "http://127.0.0.1:8787/media/00.mp4?\"\\";

fuzz_target!(|body: &[u8]| {
    let body = &Bytes::copy_from_slice(body);
    let found = links::find(body);
    assert!(found.len() <= links::MOST);
    assert!(found.iter().all(|link| links::is_link(link)));
    let mut once = found.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), found.len(), "each once");

    let no_links = HashMap::<String, String>::new();
    assert_eq!(rewrite(body, &no_links), body);
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        assert!(found.is_empty());
        return;
    };
    if let Some(tree) = tree::read(body) {
        let other = spelling::other(&tree, &mut Choices::of(body));
        if serde_json::from_str::<Value>(&other).is_ok() {
            assert_eq!(links::find(other.as_bytes()), found, "{other}");
        }
    }
    // Links, and whatever else is a text in it.
    let mut texts = found;
    strings(&value, &mut texts);
    texts.truncate(8);
    let map: HashMap<_, _> = texts
        .into_iter()
        .map(|text| {
            let kept = format!("{KEPT}{}", text.len());
            (text, kept)
        })
        .collect();
    let rewritten = rewrite(body, &map);
    let read = serde_json::from_slice::<Value>(&rewritten).ok();
    assert_eq!(read, Some(replaced(value, &map)));
    if map.is_empty() {
        assert_eq!(rewritten, body);
    }
});

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(members) => members.values().for_each(|value| strings(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn replaced(value: Value, map: &HashMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(map.get(&text).cloned().unwrap_or(text)),
        Value::Array(items) => items.into_iter().map(|item| replaced(item, map)).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members
                .map(|(name, value)| (name, replaced(value, map)))
                .collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}
