//! What answers say was used.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generation::Kind;
use crate::price::Usage;

fn read(kind: Kind, body: &Value) -> Usage {
    Usage::read(kind, body.to_string().as_bytes())
}

fn tokens(input: u64, output: u64, total: u64) -> Usage {
    let told = |tokens| (tokens > 0).then_some(tokens);
    Usage {
        input: told(input),
        output: told(output),
        total: told(total),
        ..Usage::default()
    }
}

#[test]
fn every_dialect_of_text() {
    for (name, kind, body, expected) in [
        (
            "chat",
            Kind::Chat,
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
            tokens(3, 4, 7),
        ),
        (
            "the gateway says it twice, zero where it means none",
            Kind::Chat,
            json!({"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
                "input_tokens": 0, "output_tokens": 0, "input_tokens_details": null}}),
            tokens(3, 4, 7),
        ),
        (
            "responses",
            Kind::Chat,
            json!({"usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
                "input_tokens_details": {"cached_tokens": 2}}}),
            tokens(3, 4, 7),
        ),
        (
            "messages",
            Kind::Chat,
            json!({"usage": {"input_tokens": 3, "output_tokens": 4,
                "cache_creation_input_tokens": 10, "cache_read_input_tokens": 20}}),
            tokens(33, 4, 0),
        ),
        (
            "embeddings",
            Kind::Embeddings,
            json!({"data": [1, 2], "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
            tokens(3, 0, 3),
        ),
        (
            "rerank",
            Kind::Embeddings,
            json!({"results": [], "usage": {"total_tokens": 9}}),
            tokens(0, 0, 9),
        ),
        (
            "another rerank",
            Kind::Embeddings,
            json!({"results": [], "meta": {"tokens": {"input_tokens": 9}}}),
            tokens(9, 0, 0),
        ),
        (
            "nothing but zeros says nothing",
            Kind::Chat,
            json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
            Usage::default(),
        ),
        ("null", Kind::Chat, json!({"usage": null}), Usage::default()),
        (
            "nonsense",
            Kind::Chat,
            json!({"usage": {"prompt_tokens": "x", "total_tokens": -1}}),
            Usage::default(),
        ),
        (
            "no object",
            Kind::Chat,
            json!([{"usage": {"total_tokens": 1}}]),
            Usage::default(),
        ),
    ] {
        assert_eq!(read(kind, &body), expected, "{name}");
    }
    let failed = json!({"error": {"message": "no"}, "usage": {"total_tokens": 5}});
    assert!(read(Kind::Chat, &failed).failed);
    assert!(!read(Kind::Chat, &json!({"error": null})).failed);
}

#[test]
fn pictures_and_sounds() {
    let used = read(
        Kind::Images,
        &json!({"data": [{"url": "a"}, {"b64_json": "b"}],
            "usage": {"input_tokens": 5, "output_tokens": 2112, "total_tokens": 2117}}),
    );
    let expected = Usage {
        images: Some(2),
        ..tokens(5, 2112, 2117)
    };
    assert_eq!(used, expected);
    let heard = read(Kind::Audio, &json!({"text": "a", "duration": 61.5}));
    assert_eq!(heard.seconds, Some(61.5));
    let heard = read(
        Kind::Audio,
        &json!({"usage": {"type": "duration", "seconds": 7}}),
    );
    assert_eq!(heard.seconds, Some(7.0));
    assert_eq!(
        Usage::read(Kind::Audio, b"RIFF\0\0\xff\xffWAVE"),
        Usage::default()
    );
    assert_eq!(Usage::read(Kind::Images, b""), Usage::default());
}

#[test]
fn every_shape_of_a_poll() {
    let usage = json!({"completion_tokens": 108_900, "total_tokens": 108_900});
    let ark = json!({"id": "cgt-1", "status": "succeeded", "usage": usage, "duration": 5});
    let done = |data: Value| {
        json!({"code": "success", "message": "", "data": {"id": 917, "task_id": "task_1",
            "quota": 1_093_750, "status": "SUCCESS", "data": data}})
    };
    let expected = Usage {
        seconds: Some(5.0),
        ..tokens(0, 108_900, 108_900)
    };
    for (name, body) in [
        ("the envelope", done(ark.clone())),
        ("a gateway behind the gateway", done(done(ark.clone()))),
        ("bare", ark.clone()),
        (
            "OpenAI's object",
            json!({"id": "task_1", "object": "video", "status": "completed", "seconds": "5", "usage": usage}),
        ),
    ] {
        assert_eq!(read(Kind::Video, &body), expected, "{name}");
    }
    assert_eq!(
        read(Kind::Video, &done(Value::Null)),
        Usage::default(),
        "the quota is a hold, and no money"
    );
    let frames = json!({"status": "succeeded", "frames": 36, "framespersecond": 24});
    assert_eq!(read(Kind::Video, &done(frames)).seconds, Some(1.5));
    let flat = json!({"task_id": "task_1", "status": "succeeded", "url": "u"});
    assert_eq!(read(Kind::Video, &flat), Usage::default());
}

#[test]
fn a_failed_job_costs_nothing() {
    for body in [
        json!({"code": "success", "data": {"task_id": "t", "status": "FAILURE", "data": {"usage": {"total_tokens": 5}}}}),
        json!({"id": "t", "status": "failed", "error": {"code": "x"}}),
        json!({"task_id": "t", "status": "cancelled"}),
    ] {
        assert!(read(Kind::Video, &body).failed, "{body}");
    }
}

#[test]
fn streams_tell_it_last() {
    let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\"\"}}],\"usage\":null}\n\n: PING\n\n\
                data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n\
                data: [DONE]\n\n";
    let messages = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
                    event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":4}}\n\n\
                    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let responses = "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n\
                     event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}}\n\n";
    for (name, stream, expected) in [
        ("chat", chat, tokens(3, 4, 7)),
        ("messages", messages, tokens(3, 4, 0)),
        ("responses", responses, tokens(3, 4, 7)),
        (
            "none",
            "data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
            Usage::default(),
        ),
    ] {
        assert_eq!(
            Usage::read(Kind::Chat, stream.as_bytes()),
            expected,
            "{name}"
        );
        let windows = stream.replace('\n', "\r\n");
        assert_eq!(
            Usage::read(Kind::Chat, windows.as_bytes()),
            expected,
            "{name}, CR LF"
        );
        // Cut off behind its last event: the stream is judged elsewhere.
        let cut = stream.trim_end();
        assert_eq!(
            Usage::read(Kind::Chat, cut.as_bytes()),
            expected,
            "{name}, cut"
        );
    }
    let lines = "data: {\"usage\":\ndata: {\"total_tokens\":7}}\n\n";
    assert_eq!(Usage::read(Kind::Chat, lines.as_bytes()), tokens(0, 0, 7));
    let picture = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n\
                   event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"output_tokens\":9}}\n\n";
    let used = Usage::read(Kind::Images, picture.as_bytes());
    assert_eq!((used.output, used.images), (Some(9), Some(1)));
}

proptest! {
    #[test]
    fn whatever_comes_is_read(body in proptest::collection::vec(any::<u8>(), 0..200), begin in "|\\{|data: \\{|\\{\"usage\":") {
        let body = [begin.as_bytes(), &body].concat();
        for kind in Kind::ALL {
            let usage = Usage::read(kind, &body);
            prop_assert!(usage.seconds.is_none_or(|seconds| seconds >= 0.0));
        }
    }
}

/// Bytes of text, where a stream does not say what was used.
#[test]
fn what_a_stream_has_brought() {
    let chat = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"twelve bytes\"}}]}\n\n\
                data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"four\",\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]}}]}\n\n\
                data: [DONE]\n\n";
    let completions = "data: {\"choices\":[{\"text\":\"four\",\"index\":0}]}\n\ndata: [DONE]\n\n";
    let responses = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"twelve bytes\",\"item_id\":\"i\"}\n\n\
                     data: {\"type\":\"response.completed\",\"response\":{\"usage\":null,\"output\":[{\"text\":\"twelve bytes\"}]}}\n\n";
    let messages = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"four\"}}\n\n\
                    data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"four\"}}\n\n\
                    data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    let zeros = "data: {\"choices\":[{\"delta\":{\"content\":\"four\"}}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n";
    for (name, stream, bytes) in [
        ("chat", chat, 12 + 4 + 7),
        ("completions", completions, 4),
        ("responses", responses, 12),
        ("messages", messages, 8),
        ("zeros", zeros, 4),
    ] {
        let expected = Usage {
            text: Some(bytes),
            ..Usage::default()
        };
        let read = |kind| Usage::read(kind, stream.as_bytes());
        assert_eq!(read(Kind::Chat), expected, "{name}");
        assert_eq!(read(Kind::Audio), Usage::default(), "{name}");
    }
}
