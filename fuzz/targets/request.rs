//! Paths, queries and names: no spelling hides a paid call, a way out of `/v1/`, or a credential.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use reprise::generation::{self, Fingerprint};
use reprise::jobs::dialect;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let path = format!("/v1/{path}");
    paid(&path);
    root(&path);
    jobs(&path);
    credentials(query);
    name(query);
});

/// A paid call is one in every spelling that a front end resolves.
fn paid(path: &str) {
    let kind = generation::classify(&Method::POST, path);
    assert_eq!(generation::classify(&Method::GET, path), None);
    let slashes = path.replace('/', "//");
    assert_eq!(
        kind,
        generation::classify(&Method::POST, &slashes),
        "{slashes}"
    );
    let Some(kind) = kind else { return };
    for spelling in [
        format!("{path}/"),
        path.replacen("/v1/", "/v1/./", 1),
        path.replacen("/v1/", "/v1/x/../", 1),
        path.replace('o', "%6f"),
        path.replace('e', "%2565"),
    ] {
        let other = generation::classify(&Method::POST, &spelling);
        assert_eq!(other, Some(kind), "{spelling}");
    }
}

/// However often it is decoded and whatever separates, a path that stays for us stays for anyone.
fn root(path: &str) {
    if generation::escapes_root(path) {
        return;
    }
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..8 {
        for separators in [&b"/"[..], b"/\\"] {
            assert!(!leaves(&bytes, separators), "{path}");
            assert!(!leaves(&loose(&bytes), separators), "{path}");
        }
        let next = decoded_once(&bytes);
        if next == bytes {
            break;
        }
        bytes = next;
    }
}

/// As servers read it that are content with what no standard allows.
fn loose(path: &[u8]) -> Vec<u8> {
    let mut text: String = path.iter().map(|byte| char::from(*byte)).collect();
    for (byte, high, low) in [('.', "2e", '\u{ae}'), ('/', "2f", '\u{af}')] {
        let plain = byte.to_string();
        for odd in [
            format!("\u{c0}{low}"),
            format!("\u{e0}\u{80}{low}"),
            format!("\u{f0}\u{80}\u{80}{low}"),
            format!("%u00{high}"),
            format!("%u00{}", high.to_uppercase()),
        ] {
            text = text.replace(&odd, &plain);
        }
    }
    text.chars().filter_map(|c| u8::try_from(c).ok()).collect()
}

fn leaves(path: &[u8], separators: &[u8]) -> bool {
    let mut depth = 0_i32;
    path.split(|byte| separators.contains(byte)).any(|segment| {
        match segment {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        // The first segment is `v1`: to leave it is to leave.
        depth < i32::from(segment == b"..")
    })
}

fn decoded_once(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = digits
            .filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        if let Some(value) = value.filter(|_| *first == b'%') {
            out.push(value);
            rest = &after[2..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// A poll or a deletion of a job is about that job in every reading.
fn jobs(path: &str) {
    let ids = generation::thing::things(path);
    let targets = [
        dialect::poll_target(&Method::GET, path),
        dialect::deletion_target(&Method::DELETE, path),
    ];
    for id in targets.into_iter().flatten() {
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(!plain || ids.iter().any(|found| found.id == id), "{path}");
    }
}

/// No `key=` gets through, and nothing else is touched.
fn credentials(query: &str) {
    let rest = generation::without_key(query);
    let rest = rest.as_deref().unwrap_or_default();
    assert_eq!(generation::key_of(rest), None);
    let mut pairs = query.split('&');
    assert!(
        rest.is_empty() || rest.split('&').all(|pair| pairs.any(|other| other == pair)),
        "in order and unchanged"
    );
    let key = generation::key_of(query).is_some();
    assert!(key || rest == query, "{rest}");
    assert!(!key || rest.len() < query.len());
}

fn name(text: &str) {
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), text);
        assert!(text.starts_with(&fingerprint.short()));
    }
}
