//! Streams, whole, cut and in pieces.

use proptest::prelude::*;

use super::*;

const CHAT: &str = "/v1/chat/completions";
const IMAGES: &str = "/v1/images/generations";

fn scan(path: &str, stream: &str) -> EventScanner {
    let mut scanner = EventScanner::new(path);
    scanner.push(stream.as_bytes());
    scanner
}

/// Path, stream and how it ends. `~` stands for a blank line's two line feeds.
const STREAMS: &str = r#"
/v1/chat/completions | data: {"choices":[]}~data: [DONE]~ | Complete
/v1/completions | data: [DONE]~ | Complete
/v1/completions | data: {}~﻿data: [DONE]~ | Incomplete
/v1/chat/completions/ | data:[DONE]~ | Complete
/v1/chat/completions | data: [DONE] | Complete
/v1/chat/completions | : PING~data: {}~: PING~data: [DONE]~: PING~ | Complete
/v1/chat/completions | | Incomplete
/v1/chat/completions | data: {"choices":[{"finish_reason":"stop"}]}~ | Incomplete
/v1/chat/completions | data: [DONE | Incomplete
/v1/chat/completions | : [DONE]~ | Incomplete
/v1/chat/completions | id: [DONE]~ | Incomplete
/v1/chat/completions | data: {"content":"[DONE]"}~ | Incomplete
/v1/chat/completions | data: {"content":"an error","error":null}~data: [DONE]~ | Complete
/v1/chat/completions | data: {"error":{"message":"x"}}~data: [DONE]~ | Error
/v1/chat/completions | data: {"error":"x"}~ | Error
/v1/chat/completions | data: [DONE]~data: {"error":{}}~ | Error
/v1/chat/completions | data: {"x":{"error":{"message":"x"}}}~data: [DONE]~ | Complete
/v1/chat/completions | data: {"type":"error"}~data: [DONE]~ | Error
/v1/chat/completions | event: error&data: {}~data: [DONE]~ | Error
/v1/chat/completions | data: {"type":"message_stop"}~ | Incomplete
/v1/responses | event: response.completed&data: {"type":"response.completed"}~ | Complete
/v1/responses | data: {"response":{"error":null},"type":"response.completed"}~ | Complete
/v1/responses | data: {"type":"response.incomplete"}~ | Complete
/v1/responses | event: response.completed&data: {}~data: [DONE]~ | Complete
/v1/responses | data: {"type":"response.failed","response":{"error":{}}}~ | Error
/v1/responses | event: response.failed&data: {}~ | Error
/v1/responses | event: error&data: {"type":"error","message":"x"}~ | Error
/v1/responses | data: {"type":"response.output_item.done"}~ | Incomplete
/v1/responses | data: {"delta":"response.completed","type":"response.output_text.delta"}~ | Incomplete
/v1/messages | event: message_stop&data: {"type":"message_stop"}~ | Complete
/v1/messages | data: {"type":"message_stop"}~ | Complete
/v1/messages | data: {"type":&data: "message_stop"}~ | Complete
/v1/messages | event: message_delta&data: {"type":"message_delta"}~ | Incomplete
/v1/messages | event: error&data: {"type":"error","error":{"type":"overloaded_error"}}~ | Error
/v1/images/generations | event: image_generation.completed&data: {"b64_json":"x"}~ | Complete
/v1/images/edits | data: {"type":"image_edit.completed"}~ | Complete
/v1/images/generations | data: {"type":"image_generation.partial_image"}~ | Incomplete
/v1/images/generations | data: {"type":"image_generation.completed"}~data: {"type":"image_generation.partial_image"}~ | Incomplete
/v1/images/generations | data: {"type":"image_generation.completed"}~data: {"type":"image_generation.completed"}~ | Complete
/v1/images/generations | data: {"type":"image_generation.completed"}~data: [DONE]~ | Complete
/v1/audio/speech | data: {"type":"speech.audio.done","usage":{}}~ | Complete
/v1/audio/speech | data: {"type":"speech.audio.delta"}~ | Incomplete
/v1/audio/transcriptions | data: {"type":"transcript.text.done","text":"x"}~ | Complete
/v1/audio/transcriptions | data: {"type":"transcript.text.delta"}~ | Incomplete
"#;

#[test]
fn how_streams_end() {
    for line in STREAMS.trim().lines() {
        let (path, rest) = line.split_once(" | ").unwrap();
        let (stream, end) = rest.rsplit_once("| ").unwrap();
        let stream = stream.trim_end().replace('~', "\n\n").replace('&', "\n");
        for lines in ["\n", "\r", "\r\n"] {
            let stream = stream.replace('\n', lines);
            assert_eq!(format!("{:?}", scan(path, &stream).end()), end, "{line}");
            let marked = format!("\u{feff}{stream}");
            assert_eq!(
                format!("{:?}", scan(path, &marked).end()),
                end,
                "BOM, {line}"
            );
        }
    }
}

/// A client may be shown what stands before the bar.
#[test]
fn what_may_be_shown() {
    for (path, stream) in [
        (CHAT, "|"),
        (CHAT, "|data: {}"),
        (CHAT, "|data: {}\n"),
        (CHAT, "data: {}\n\n|"),
        (CHAT, "data: {}\n\n|data: {}\n"),
        (CHAT, "data: {}\r\n\r\n|"),
        (CHAT, "data: {}\r\r|"),
        (CHAT, "data: {}\n\n|data: [DONE]\n\n"),
        (
            CHAT,
            "data: {}\n\n|data: [DONE]\n\n: PING\n\ndata: more\n\n",
        ),
        (CHAT, "data: {}\n\n|id: 7\ndata: [DONE]\n\n"),
        (CHAT, ": PING\n|"),
        (CHAT, ": PING\n\n|: PI"),
        (CHAT, "|data: {\n: PING\n"),
        (CHAT, "\n\n\n|"),
        (CHAT, "\u{feff}: PING\n|data: [DONE]\n\n"),
        (CHAT, "data: {\"error\":1}\n\n|data: [DONE]\n\n"),
        (
            "/v1/messages",
            "data: {}\n\n|event: message_stop\ndata: {}\n\n",
        ),
        ("/v1/messages", "data: {}\n\n|event: message_stop\n"),
        (
            "/v1/responses",
            "|data: {\"type\":\"response.completed\"}\n\ndata: [DONE]\n\n",
        ),
        (IMAGES, "|event: image_generation.completed\ndata: {}\n\n"),
        (
            IMAGES,
            "|event: image_generation.completed\ndata: {}\n\n: PING\n\n",
        ),
        (
            IMAGES,
            "|event: image_generation.completed\ndata: {}\n\ndata: [DONE]\n\n",
        ),
        (
            IMAGES,
            "event: image_generation.completed\ndata: {}\n\ndata: {}\n\n|",
        ),
        (
            IMAGES,
            "event: image_generation.completed\n\n|event: image_generation.completed\n\n",
        ),
    ] {
        let (shown, rest) = stream.split_once('|').unwrap();
        let scanner = scan(path, &format!("{shown}{rest}"));
        assert_eq!(scanner.safe_len(), shown.len() as u64, "{stream:?}");
    }
}

#[test]
fn long_lines_are_scanned_at_their_start() {
    let long = "x".repeat(4 * MOST_SCANNED);
    let typed =
        format!("data: {{\"type\":\"image_generation.completed\",\"b64_json\":\"{long}\"}}\n\n");
    assert_eq!(scan(IMAGES, &typed).end(), StreamEnd::Complete);
    assert_eq!(scan(IMAGES, &typed).safe_len(), 0);
    let named = format!("event: image_generation.completed\ndata: {{\"b64_json\":\"{long}\"}}\n\n");
    assert_eq!(scan(IMAGES, &named).end(), StreamEnd::Complete);
    let late =
        format!("data: {{\"b64_json\":\"{long}\",\"type\":\"image_generation.completed\"}}\n\n");
    assert_eq!(scan(IMAGES, &late).end(), StreamEnd::Incomplete);
    assert_eq!(scan(IMAGES, &late).safe_len(), late.len() as u64);
    let failed = format!("data: {{\"error\":{{\"message\":\"{long}\"}}}}\n\n");
    assert_eq!(scan(CHAT, &failed).end(), StreamEnd::Error);
    let not_failed = format!("data: {{\"error\":null,\"text\":\"{long}\"}}\n\ndata: [DONE]\n\n");
    assert_eq!(scan(CHAT, &not_failed).end(), StreamEnd::Complete);
}

#[test]
fn memory_stays_bounded() {
    let mut scanner = EventScanner::new(CHAT);
    for piece in ["data: x", "y", "data: z\n", "\r", "event: e\n"] {
        for _ in 0..600 {
            scanner.push(piece.repeat(1000).as_bytes());
        }
        let waiting = scanner
            .event
            .as_ref()
            .map_or(0, |event| event.data.capacity());
        assert!(scanner.line.capacity() <= 2 * MOST_SCANNED, "{piece:?}");
        assert!(waiting <= 4 * MOST_SCANNED, "{piece:?}");
    }
    scanner.push(b"\n\ndata: [DONE]\n\n");
    assert_eq!(scanner.end(), StreamEnd::Complete);
}

/// Pieces of streams, good and broken.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "data: ",
        "[DONE]",
        "data: [DONE]\n\n",
        "event: ",
        "error",
        "message_stop",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        ": PING\n",
        "\u{feff}",
        "data: {\"type\":\"message_stop\"}\n\n",
        "data: {\"error\":{}}\r\n\r\n",
        "data: {\"type\":\"image_generation.completed\"}\r\r",
        "data: {\"content\":\"hello\"}\n\n",
        "{",
        "}",
        "id: 1\n",
        "x",
        ":",
        " ",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn splitting_changes_nothing(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        path in prop::sample::select(vec![CHAT, IMAGES, "/v1/messages"]),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut pieces = EventScanner::new(path);
        let mut shown = 0;
        for cut in cuts.windows(2) {
            pieces.push(&stream[cut[0]..cut[1]]);
            let mut whole = EventScanner::new(path);
            whole.push(&stream[..cut[1]]);
            prop_assert_eq!(pieces.end(), whole.end());
            prop_assert_eq!(pieces.safe_len(), whole.safe_len());
            // What has been shown cannot be taken back.
            prop_assert!(pieces.safe_len() >= shown);
            prop_assert!(pieces.safe_len() <= cut[1] as u64);
            shown = pieces.safe_len();
        }
    }

    #[test]
    fn the_end_is_never_shown(before in streams(), after in streams()) {
        let mut scanner = EventScanner::new(CHAT);
        scanner.push(&before);
        scanner.push(b"\n\n");
        if scanner.end() != StreamEnd::Incomplete {
            return Ok(());
        }
        scanner.push(b"data: [DONE]\n\n");
        let limit = scanner.len - 14;
        scanner.push(&after);
        prop_assert!(scanner.safe_len() <= limit);
        prop_assert_ne!(scanner.end(), StreamEnd::Incomplete);
    }

    #[test]
    fn no_bytes_make_it_panic(stream: Vec<u8>, at: prop::sample::Index) {
        let mut scanner = EventScanner::new(IMAGES);
        let at = at.index(stream.len() + 1);
        scanner.push(&stream[..at]);
        scanner.push(&stream[at..]);
        prop_assert!(scanner.safe_len() <= stream.len() as u64);
    }
}

#[test]
fn a_result_that_others_may_follow_is_not_the_end_for_sure() {
    let picture = "data: {\"type\":\"image_generation.completed\"}\n\n";
    let words = "data: {\"choices\":[]}\n\n";
    for (path, stream, is_over) in [
        ("/v1/images/generations", picture.to_owned(), false),
        ("/v1/images/generations", picture.repeat(3), false),
        ("/v1/chat/completions", words.to_owned(), false),
        (
            "/v1/chat/completions",
            format!("{words}data: [DONE]\n\n"),
            true,
        ),
        ("/v1/chat/completions", format!("{words}data: [DONE]"), true),
    ] {
        let mut scanner = EventScanner::new(path);
        scanner.push(stream.as_bytes());
        assert_eq!(scanner.is_over(), is_over, "{stream}");
    }
    let mut scanner = EventScanner::new("/v1/images/generations");
    scanner.push(picture.as_bytes());
    assert_eq!(scanner.end(), StreamEnd::Complete);
}
