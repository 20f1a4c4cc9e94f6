//! Event streams: what is said of one depends on its bytes alone, and its end is never shown early.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise::generation::events::{EventScanner, StreamEnd};

const PATHS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
];

fuzz_target!(|input: &[u8]| {
    let [first, step, stream @ ..] = input else {
        return;
    };
    let path = PATHS[usize::from(*first) % PATHS.len()];
    let whole = scan(path, stream);

    // In pieces of one size, and cut in two at a place of the fuzzer's choice.
    let mut pieces = EventScanner::new(path);
    let (mut shown, mut fed) = (0, 0);
    for piece in stream.chunks(usize::from(*step % 16) + 1) {
        pieces.push(piece);
        fed += piece.len() as u64;
        let safe = pieces.safe_len();
        assert!(shown <= safe && safe <= fed, "{shown} {safe} {fed}");
        assert!(is_boundary(stream, safe), "shown up to {safe}");
        shown = safe;
    }
    same(&whole, &pieces);
    let cut = usize::from(*step) % (stream.len() + 1);
    let mut halves = scan(path, &stream[..cut]);
    same(&halves, &scan(path, &stream[..cut]));
    halves.push(&[]);
    halves.push(&stream[cut..]);
    same(&whole, &halves);

    if whole.end() == StreamEnd::Complete {
        assert!(whole.safe_len() < stream.len() as u64, "the end was shown");
    }
    // The three ways to end a line are one.
    if !stream.contains(&b'\r') {
        for ending in [&b"\r\n"[..], b"\r"] {
            let other: Vec<u8> = stream
                .iter()
                .flat_map(|byte| {
                    if *byte == b'\n' {
                        ending
                    } else {
                        std::slice::from_ref(byte)
                    }
                })
                .copied()
                .collect();
            assert_eq!(scan(path, &other).end(), whole.end());
        }
    }
    // An error is one for good, and a comment changes nothing between events.
    let mut longer = scan(path, stream);
    longer.push(b"\n\n: PING\n\n");
    let settled = longer.end();
    assert_eq!(settled, whole.end(), "a blank line and a comment");
    longer.push(b"data: {\"error\":{}}\n\n");
    longer.push(b"data: [DONE]\n\n");
    assert_eq!(longer.end(), StreamEnd::Error);
});

fn scan(path: &str, stream: &[u8]) -> EventScanner {
    let mut scanner = EventScanner::new(path);
    scanner.push(stream);
    scanner
}

fn same(one: &EventScanner, two: &EventScanner) {
    assert_eq!(one.end(), two.end());
    assert_eq!(one.safe_len(), two.safe_len());
}

/// What may be shown ends where a line does.
fn is_boundary(stream: &[u8], at: u64) -> bool {
    let before = usize::try_from(at).ok().and_then(|at| at.checked_sub(1));
    before.is_none_or(|before| matches!(stream.get(before), Some(b'\n' | b'\r')))
}
