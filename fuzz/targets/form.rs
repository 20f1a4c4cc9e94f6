//! The key of a multipart body: equal exactly for equal parts, and never that of another reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise::generation::Kind;
use reprise_fuzz::{asked, parts};

/// No content holds these: `asked` finds out.
const BOUNDARIES: [&str; 2] = ["----reprise7MA4YWxkTrZu0gW", "b"];

fuzz_target!(|input: &[u8]| {
    let [kind, way, rest @ ..] = input else {
        return;
    };
    let kind = asked::kind(*kind);
    if way % 2 == 0 {
        made(kind, usize::from(*way), rest);
    } else {
        as_it_came(kind, rest);
    }
});

/// Forms that are known part by part.
fn made(kind: Kind, file: usize, input: &[u8]) {
    let mut halves = input.splitn(2, |byte| *byte == 1);
    let one = parts::of(halves.next().unwrap_or_default());
    let two = parts::of(halves.next().unwrap_or_default());
    let [long, short] = BOUNDARIES;
    if [&one, &two]
        .into_iter()
        .flatten()
        .any(|part| holds_delimiter(&part.content))
    {
        return;
    }
    let body = parts::body(&one, long, 0);
    let key = asked::form(kind, long, &body).fingerprint;

    // Boundary and file names do not count.
    let renamed = parts::body(&one, short, file);
    assert_eq!(key, asked::form(kind, short, &renamed).fingerprint);
    // A form in a form, or text around it, is read in more than one way: the bytes count.
    for other in [[b"x\r\n", &body[..]].concat(), [&body[..], b"x"].concat()] {
        assert_ne!(key, asked::form(kind, long, &other).fingerprint);
    }

    let other = parts::body(&two, long, 0);
    let other = asked::form(kind, long, &other).fingerprint;
    let same = parts::counted(kind, &one) == parts::counted(kind, &two);
    assert_eq!(key == other, same, "{one:?} {two:?}");
}

fn holds_delimiter(content: &[u8]) -> bool {
    BOUNDARIES.iter().any(|boundary| {
        let delimiter = format!("--{boundary}");
        content
            .windows(delimiter.len())
            .any(|window| window == delimiter.as_bytes())
    })
}

/// Any bytes, and the same with one piece replaced: what is read as the same must hold the same.
fn as_it_came(kind: Kind, input: &[u8]) {
    let [at, length, new, body @ ..] = input else {
        return;
    };
    let one = asked::form(kind, "b", body);
    let mut edited = body.to_vec();
    let start = usize::from(*at) % (edited.len() + 1);
    let end = (start + usize::from(length % 8)).min(edited.len());
    let new = [
        &b""[..],
        b"\r",
        b"\n",
        b"\r\n",
        b"--b",
        b" ",
        b"\"",
        std::slice::from_ref(new),
    ][usize::from(new % 8)];
    edited.splice(start..end, new.iter().copied());
    let two = asked::form(kind, "b", &edited);
    if one.fingerprint == two.fingerprint {
        assert_eq!(parts::contents(body, "b"), parts::contents(&edited, "b"));
    }
}
