//! Content codings: undone where an answer is kept, untouched where it passes.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;

use crate::house::{Call, House, UPSTREAM_KEY};
use crate::wire::{Head, Parrot, Stage, Wire, exchange};

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(text).unwrap();
    zlib.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let (mut coded, params) = (Vec::new(), brotli::enc::BrotliEncoderParams::default());
    brotli::BrotliCompress(&mut &*text, &mut coded, &params).unwrap();
    coded
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// The same text in every coding that is known.
pub(crate) fn all(text: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    [
        ("gzip", gzip(text)),
        ("deflate", deflate(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
    ]
}

/// An upstream that gives everybody this body in this coding.
async fn coded(status: u16, content_type: &str, coding: &str, body: &[u8]) -> Parrot {
    let mut answer = format!(
        "HTTP/1.1 {status} So\r\nContent-Type: {content_type}\r\nContent-Encoding: {coding}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    Parrot::saying(answer).await
}

const IMAGE: &str = r#"{"created":1,"data":[{"b64_json":"aGVsbG8="}]}"#;
const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn a_coded_answer_is_kept_plain_and_serves_everybody() {
    for (path, content_type, plain) in [
        ("/v1/images/generations", "application/json", IMAGE),
        ("/v1/chat/completions", "text/event-stream", STREAM),
        ("/v1/audio/speech", "audio/mpeg", "a sound"),
    ] {
        let bytes = plain.as_bytes();
        for (coding, body) in all(bytes) {
            let parrot = coded(200, content_type, coding, &body).await;
            let house = House::new().config(parrot.behind()).await;
            let body = json!({"model": "m", "prompt": "a", "stream": true, "messages": []});
            let call = |accepts: &str| {
                let call = house.client().post(path).header("accept-encoding", accepts);
                call.json(&body).send()
            };
            let first = call("gzip, br").await;
            assert_eq!(first.status, 200, "{path} {coding} {}", first.text());
            assert_eq!(
                (first.text().as_str(), first.header("content-encoding")),
                (plain, "")
            );
            assert_eq!(parrot.last().0.all("accept-encoding"), ["identity"]);
            let again = call("identity").await;
            assert!(again.is_hit(), "{path} {coding}");
            assert_eq!(
                (again.text().as_str(), again.header("content-encoding")),
                (plain, "")
            );
            assert_eq!(parrot.count(), 0, "{path} {coding}");
        }
    }
}

/// Longer than what is undone and judged where it arrives.
#[tokio::test]
async fn a_long_coded_answer_is_kept_plain_to_its_last_byte() {
    let numbers: String = (0..300_000_u32)
        .flat_map(|n| {
            [
                char::from(b'a' + (n % 23) as u8),
                char::from(b'a' + (n / 23 % 26) as u8),
            ]
        })
        .collect();
    let plain = format!(r#"{{"created":1,"data":[{{"b64_json":"{numbers}"}}]}}"#);
    let bytes = plain.as_bytes();
    for (coding, body) in [("gzip", gzip(bytes)), ("deflate", deflate(bytes))] {
        let parrot = coded(200, "application/json", coding, &body).await;
        let house = House::new().config(parrot.behind()).await;
        for hit in [false, true] {
            let call = house.client().post("/v1/images/generations");
            let answer = call
                .json(&json!({"model": "m", "prompt": "a"}))
                .send()
                .await;
            assert_eq!((answer.status, answer.is_hit()), (200, hit), "{coding}");
            assert!(answer.text() == plain, "{coding}");
        }
    }
}

#[tokio::test]
async fn a_coded_refusal_of_a_run_is_read_as_one() {
    let text = r#"{"error":{"message":"no","code":"invalid_request"}}"#;
    let parrot = coded(400, "application/json", "gzip", &gzip(text.as_bytes())).await;
    let house = House::new().config(parrot.behind()).await;
    for _ in 0..2 {
        let call = house.client().post("/v1/images/generations");
        let answer = call
            .json(&json!({"model": "m", "prompt": "a"}))
            .send()
            .await;
        assert_eq!((answer.status, answer.text().as_str()), (400, text));
    }
}

/// It may have been paid for, and nobody can read it.
#[tokio::test]
async fn a_damaged_or_huge_answer_is_an_unknown_outcome() {
    let whole = gzip(IMAGE.as_bytes());
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1024 * 1024];
    for _ in 0..129 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1024 * 1024);
    for body in [&whole[..whole.len() - 3], b"no gzip at all", &bomb] {
        let parrot = coded(200, "application/json", "gzip", body).await;
        let house = House::new().config(parrot.behind()).await;
        let call = || {
            let call = house.client().post("/v1/images/generations");
            call.json(&json!({"model": "m", "prompt": "a"})).send()
        };
        let first = call().await;
        assert_eq!(
            (first.status, first.error_code().as_str()),
            (502, "upstream_outcome_unknown")
        );
        assert!(
            first.error_message().contains("content coding"),
            "{}",
            first.text()
        );
        assert_eq!(call().await.error_code(), "outcome_unknown");
        assert_eq!(parrot.count(), 1);
    }
}

#[tokio::test]
async fn what_passes_through_passes_coded() {
    let text = gzip(IMAGE.as_bytes());
    for status in [200, 206, 400, 500] {
        for coding in ["gzip", "br", "gzip, gzip"] {
            let parrot = coded(status, "application/json", coding, &text).await;
            let house = House::new().config(parrot.behind()).await;
            let answer = house.client().get("/v1/models").send().await;
            assert_eq!(
                (answer.status, answer.header("content-encoding")),
                (status, coding)
            );
            assert!(answer.body == text, "{status} {coding}");
            let length = text.len().to_string();
            assert_eq!(answer.header("content-length"), length);
        }
    }
    // Longer than anybody looks into.
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let long = gzip(&noise);
    let parrot = coded(500, "text/plain", "gzip", &long).await;
    let house = House::new().config(parrot.behind()).await;
    assert!(house.client().get("/v1/models").send().await.body == long);
}

#[tokio::test]
async fn a_coded_answer_that_shows_the_key_is_sent_plain_without_it() {
    let text = format!(r#"{{"error":{{"message":"Incorrect API key: {UPSTREAM_KEY}"}}}}"#);
    for status in [200, 401, 500] {
        for (coding, body) in all(text.as_bytes()) {
            let parrot = coded(status, "application/json", coding, &body).await;
            let house = House::new().config(parrot.behind()).await;
            let request =
                "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
            let (head, plain) = exchange(house.addr(), request).await;
            assert_eq!(
                (head.status(), head.has("content-encoding")),
                (status, false),
                "{coding}"
            );
            assert_eq!(head.all("content-length"), [plain.len().to_string()]);
            let plain = String::from_utf8(plain).unwrap();
            assert_eq!(plain, text.replace(UPSTREAM_KEY, "***"), "{coding}");
        }
    }
}

/// Its coded form holds the letters of the key, its plain form does not.
#[tokio::test]
async fn a_coded_answer_that_shows_no_key_passes_to_the_last_byte() {
    // A gzip member whose file name is the key.
    let named = flate2::GzBuilder::new().filename(UPSTREAM_KEY);
    let mut named = named.write(Vec::new(), Compression::best());
    named.write_all(IMAGE.as_bytes()).unwrap();
    let named = named.finish().unwrap();
    // A frame of Zstandard that says nothing, with the key in it.
    let length = u32::try_from(UPSTREAM_KEY.len()).unwrap().to_le_bytes();
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18], &length, UPSTREAM_KEY.as_bytes()].concat();
    let skipped = [skipped, zstd(IMAGE.as_bytes())].concat();
    for (coding, body) in [("gzip", named), ("zstd", skipped)] {
        for status in [200, 400] {
            let parrot = coded(status, "application/json", coding, &body).await;
            let house = House::new().config(parrot.behind()).await;
            let answer = house.client().get("/v1/models").send().await;
            assert_eq!(answer.header("content-encoding"), coding);
            assert!(answer.body == body, "{status} {coding}");
        }
    }
}

/// Nothing says how long it is, so nobody waits for its end.
#[tokio::test]
async fn a_coded_stream_is_not_held_back() {
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let mut client = Wire::open(house.addr()).await;
    client
        .say("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut upstream = stage.accept().await;
    upstream.head().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.say(format!("{head}3\r\nabc\r\n")).await;
    let head = client.head().await;
    assert_eq!(head.all("content-encoding"), ["br"]);
    assert_eq!(client.take(8).await, b"3\r\nabc\r\n");
}

/// Answers the next request on a connection of its own, and says what was asked.
async fn reply(stage: &Stage, coding: &str, body: &[u8]) -> Head {
    let mut wire = stage.accept().await;
    let asked = wire.head().await;
    wire.body(&asked).await;
    let coding = match coding {
        "" => String::new(),
        coding => format!("Content-Encoding: {coding}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{coding}Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    wire.say([head.as_bytes(), body].concat()).await;
    asked
}

fn submit(house: &House) -> Call {
    let call = house.client().post("/v1/video/generations");
    call.json(&json!({"model": "m", "prompt": "a"}))
}

/// A house with a job that runs.
async fn running(stage: &Stage) -> House {
    let house = House::new()
        .config(stage.behind())
        .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
        .await;
    let submitted = submit(&house).begin();
    reply(stage, "", br#"{"task_id":"task_1","status":"submitted"}"#).await;
    assert_eq!(submitted.answer().await.status, 200);
    house
}

/// Before a job is deleted it is asked for.
async fn still_runs(stage: &Stage) {
    reply(stage, "", br#"{"task_id":"task_1","status":"running"}"#).await;
}

/// A running job that is forgotten is paid for again.
#[tokio::test]
async fn a_coded_answer_to_a_deletion_is_read_like_a_plain_one() {
    let stage = Stage::open();
    let house = running(&stage).await;
    let refusal = gzip(br#"{"success":false,"message":"it runs"}"#);
    let error = deflate(br#"{"error":{"message":"no"}}"#);
    let deleted = gzip(br#"{"id":"task_1","deleted":true}"#);
    for (coding, body, gone) in [
        ("gzip", &refusal[..], false),
        ("deflate", &error, false),
        ("gzip", &deleted[..deleted.len() - 1], false),
        ("compress", b"{}", false),
        ("gzip, gzip", &deleted, false),
        ("", b"<html>sign in</html>", false),
        ("gzip", &deleted, true),
    ] {
        let deleting = house
            .client()
            .call(http::Method::DELETE, "/v1/videos/task_1")
            .header("accept-encoding", "gzip, br")
            .begin();
        still_runs(&stage).await;
        let asked = reply(&stage, coding, body).await;
        assert_eq!(asked.all("accept-encoding"), ["identity"]);
        let told = deleting.answer().await;
        assert_eq!(
            (told.status, told.header("content-encoding")),
            (200, coding)
        );
        assert!(told.body == body, "it passes as it came");
        let again = submit(&house).begin();
        if gone {
            reply(&stage, "", br#"{"task_id":"task_2","status":"submitted"}"#).await;
        }
        let ran = again.answer().await.cache_status() == "reprise; fwd=miss; stored";
        assert_eq!(ran, gone, "{coding} {}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn an_empty_answer_to_a_deletion_is_one() {
    for coding in ["", "gzip"] {
        let stage = Stage::open();
        let house = running(&stage).await;
        let deleting = house
            .client()
            .call(http::Method::DELETE, "/v1/videos/task_1")
            .begin();
        still_runs(&stage).await;
        reply(&stage, coding, b"").await;
        assert_eq!(deleting.answer().await.status, 200);
        let again = submit(&house).begin();
        reply(&stage, "", br#"{"task_id":"task_2","status":"submitted"}"#).await;
        assert!(again.answer().await.text().contains("task_2"));
    }
}

#[tokio::test]
async fn a_coded_poll_ends_its_job_and_is_shown_plain() {
    const PATH: &str = "/v1/video/generations/task_1";
    let long = format!(
        r#"{{"task_id":"task_1","status":"succeeded","note":"{}"}}"#,
        "x".repeat(200_000)
    );
    let short = r#"{"task_id":"task_1","status":"succeeded"}"#;
    for plain in [short, &long] {
        for (coding, body) in [
            ("gzip", gzip(plain.as_bytes())),
            ("deflate", deflate(plain.as_bytes())),
            ("", plain.as_bytes().to_vec()),
        ] {
            let stage = Stage::open();
            let house = running(&stage).await;
            let poll = house.client().get(PATH).begin();
            let asked = reply(&stage, coding, &body).await;
            assert_eq!(asked.all("accept-encoding"), ["identity"]);
            let first = poll.answer().await;
            let again = house.client().get(PATH).send().await;
            assert!(again.is_hit(), "{coding}: the job has ended");
            for told in [first, again] {
                assert_eq!(
                    (told.status, told.header("content-encoding")),
                    (200, ""),
                    "{coding}"
                );
                assert!(told.text() == plain, "{coding}");
            }
        }
    }
}

/// It says nothing about the job, and passes as it came.
#[tokio::test]
async fn a_poll_whose_coding_cannot_be_undone_changes_nothing() {
    let stage = Stage::open();
    let house = running(&stage).await;
    let whole = gzip(br#"{"task_id":"task_1","status":"failed"}"#);
    for (coding, body) in [("gzip", &whole[..whole.len() - 2]), ("br", b"\x0b\x02")] {
        let poll = house.client().get("/v1/videos/task_1").begin();
        reply(&stage, coding, body).await;
        let told = poll.answer().await;
        assert_eq!(
            (told.status, told.header("content-encoding")),
            (200, coding)
        );
        assert!(told.body == body, "{coding}");
    }
    assert_eq!(
        submit(&house).send().await.cache_status(),
        "reprise; fwd=miss; collapsed"
    );
}
