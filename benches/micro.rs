//! What a single function costs: `cargo bench --bench micro`. The fastest of many short batches, which a
//! busy machine disturbs least.
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends the run")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use reprise::generation::{Kind, Request, classify};
use reprise::media::links;

/// One batch takes about so long.
const BATCH: Duration = Duration::from_millis(2);

fn main() {
    // `--smoke` runs everything once; cargo says `--bench`.
    let batches = if std::env::args().any(|word| word == "--smoke") {
        1
    } else {
        200
    };
    for (name, body) in [
        ("fingerprint, chat of 200 bytes", chat(1)),
        ("fingerprint, chat of 10 KB", chat(80)),
        ("fingerprint, chat of 1 MB", chat(8_000)),
        ("fingerprint, escapes and numbers, 100 KB", awkward()),
    ] {
        measure(name, batches, Some(body.len()), || identify(&body));
    }
    for (name, body) in [
        ("links, job with one clip", job()),
        ("links, 64 images", images(64)),
        ("links, chat of 1 MB without any", chat(8_000)),
        ("links, picture in base64 of 2 MB", picture()),
    ] {
        measure(name, batches, Some(body.len()), || links::find(&body));
    }
    let post = http::Method::POST;
    measure("classify", batches, None, || {
        classify(&post, "/v1/chat/completions")
    });
}

fn measure<T>(name: &str, batches: u32, len: Option<usize>, mut run: impl FnMut() -> T) {
    let begun = Instant::now();
    black_box(run());
    let once = begun.elapsed().max(Duration::from_nanos(50));
    let times = u32::try_from(BATCH.as_nanos() / once.as_nanos())
        .unwrap_or(1)
        .max(1);
    let best = (0..batches).map(|_| {
        let begun = Instant::now();
        for _ in 0..times {
            black_box(run());
        }
        begun.elapsed().as_secs_f64() / f64::from(times)
    });
    let seconds = best.fold(f64::INFINITY, f64::min);
    let speed = len.and_then(|len| u32::try_from(len).ok());
    let speed = speed.map_or(String::new(), |len| {
        format!("{:>10.0} MB/s", f64::from(len) / seconds / 1e6)
    });
    println!("{name:<44}{:>12.2} µs{speed}", seconds * 1e6);
}

fn identify(body: &Bytes) -> reprise::generation::Identity {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = Request {
        kind: Kind::Chat,
        path: "/v1/chat/completions",
        query: None,
        scope: None,
        take: 1,
        headers: &headers,
        body,
    };
    request.identify()
}

/// A conversation of so many messages.
fn chat(messages: usize) -> Bytes {
    let said = r#"{"role":"user","content":"What is the most beautiful lighthouse, and how would one get there by train? Say it shortly."}"#;
    let all = vec![said; messages].join(",");
    Bytes::from(format!(
        r#"{{"model":"gpt-5","messages":[{all}],"temperature":0.2}}"#
    ))
}

/// What is most work to make canonical.
fn awkward() -> Bytes {
    let one = r#"{"z":1.50e2,"a":"\u00e9\n\"\u20ac","m":[5,5.0,-0,123456789012345678901]}"#;
    Bytes::from(format!("[{}]", vec![one; 1_400].join(", ")))
}

fn job() -> Bytes {
    Bytes::from_static(
        br#"{"code":"success","data":{"task_id":"task_1","status":"SUCCESS","progress":"100%","result_url":"https://cdn.example.com/clip.mp4?x=1","data":{"content":{"video_url":"https://cdn.example.com/clip.mp4?x=1"},"usage":{"total_tokens":108900}}}}"#,
    )
}

fn images(many: usize) -> Bytes {
    let one = |nth| {
        format!(r#"{{"url":"https://cdn.example.com/{nth}.png?signature=0123456789abcdef"}}"#)
    };
    let all: Vec<String> = (0..many).map(one).collect();
    Bytes::from(format!(r#"{{"created":1,"data":[{}]}}"#, all.join(",")))
}

fn picture() -> Bytes {
    let bytes = "iVBORw0KGgoAAAANSUhEUg".repeat(100_000);
    Bytes::from(format!(
        r#"{{"created":1,"data":[{{"b64_json":"{bytes}"}}]}}"#
    ))
}
