//! What HTTP/2 lets a client ask of a server for next to nothing (CVE-2023-44487, CVE-2024-27316,
//! CVE-2025-8671 and their kin): the connection ends or is bounded, and others are served meanwhile.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, field, frame, get, length, request,
};
use crate::house::{HEAD, House, alone, soon};
use crate::upstream::Upstream;

/// Memory that the whole process of the tests may take in addition, whatever is sent: bytes.
const BOUND: u64 = 200 * 1024 * 1024;

async fn house() -> House {
    let turn = alone().await;
    let house = House::with(|config| config.upstream.idle_timeout = HEAD).await;
    house.in_turn(turn)
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.split("VmRSS:").nth(1);
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
    kilobytes.map_or(0, |number| number.parse::<u64>().unwrap() * 1024)
}

/// Does something, while somebody else is served all the time.
async fn meanwhile<T>(house: &House, what: impl Future<Output = T>) -> T {
    let before = memory();
    let others = async {
        loop {
            let started = Instant::now();
            let mut socket = house.connect().await;
            socket.get("/v1/models").await;
            assert_eq!(socket.answer().await.status, 200);
            assert!(started.elapsed() < Duration::from_secs(5), "others wait");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::select! {
        done = what => done,
        () = others => unreachable!(),
    };
    let grown = memory().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");
    done
}

#[tokio::test]
async fn streams_that_are_reset_at_once() {
    let house = house().await;
    let _gate = house.sandbox.hold("GET /v1/models/held");
    let mut flood = Vec::new();
    for nth in 0..20_000 {
        let stream = 2 * nth + 1;
        flood.extend(get(stream, "/v1/models"));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut http2 = Http2::open(&house, &[]).await;
    meanwhile(&house, async {
        let reading = async {
            let goaway = http2
                .ears
                .until(GOAWAY)
                .await
                .expect("it is told to go away");
            // ENHANCE_YOUR_CALM
            assert_eq!(goaway.payload[4..8], 11_u32.to_be_bytes());
            http2.ears.closed().await
        };
        let (closed, _) = tokio::join!(reading, http2.mouth.write_all(&flood));
        assert!(closed < Duration::from_secs(5));
    })
    .await;
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset() {
    let house = house().await;
    let _gate = house.sandbox.hold("GET /v1/models/held");
    let held = request("GET", "/v1/models/held");
    let mut http2 = Http2::open(&house, &[]).await;
    let mut streams = 0;
    meanwhile(&house, async {
        loop {
            let stream = 2 * streams + 1;
            let begun = frame(HEADERS, END_HEADERS | END_STREAM, stream, &held);
            // No window grows by nothing (RFC 9113 §6.9).
            let wrong = frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
            if !http2.say(&[begun, wrong].concat()).await {
                break;
            }
            let frame = soon(http2.ears.next()).await;
            if frame.is_none_or(|frame| frame.kind == GOAWAY) {
                break;
            }
            streams += 1;
            assert!(streams < 2000, "it goes on for ever");
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_that_never_ends() {
    let house = house().await;
    let mut http2 = Http2::open(&house, &[]).await;
    http2
        .say(&frame(
            HEADERS,
            END_STREAM,
            1,
            &request("GET", "/v1/models"),
        ))
        .await;
    let more = frame(CONTINUATION, 0, 1, &field("x-more", &"x".repeat(10_000)));
    let said = meanwhile(&house, http2.repeat(more, 10_000)).await;
    // Both sockets hold some of it.
    assert!(said < 5000, "{said} times");
    let mut empty = Http2::open(&house, &[]).await;
    empty
        .say(&frame(
            HEADERS,
            END_STREAM,
            1,
            &request("GET", "/v1/models"),
        ))
        .await;
    let nothing = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let said = meanwhile(&house, empty.repeat(nothing, 50_000)).await;
    assert!(said < 25_000, "{said} times");
}

#[tokio::test]
async fn settings_and_pings_without_end() {
    let house = house().await;
    for one in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    ] {
        let http2 = Http2::open(&house, &[]).await;
        meanwhile(&house, http2.repeat(one.repeat(1000), 100)).await;
        // Window updates are answered with nothing, so that there is nothing to wait for.
        if one[3] == WINDOW_UPDATE {
            continue;
        }
        // Nobody reads what is answered: nobody is listened to any more.
        let mut deaf = Http2::open(&house, &[]).await;
        let gave_up = meanwhile(&house, async {
            let started = Instant::now();
            while started.elapsed() < 10 * HEAD {
                if !deaf.say(&one.repeat(1000)).await {
                    return true;
                }
            }
            false
        })
        .await;
        assert!(gave_up, "kind {}", one[3]);
    }
}

#[tokio::test]
async fn data_that_is_empty() {
    let house = house().await;
    let mut http2 = Http2::open(&house, &[]).await;
    let fields = request("POST", "/v1/images/generations");
    http2.say(&frame(HEADERS, END_HEADERS, 1, &fields)).await;
    let nothing = frame(DATA, 0, 1, &[]).repeat(100);
    let said = meanwhile(&house, http2.repeat(nothing, 10_000)).await;
    assert!(said < 10_000, "{said} times");
    assert_eq!(house.sandbox.count("POST /v1/images"), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_makes_room_for() {
    let house = house().await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0, and = 1,000.
    for window in [[0, 4, 0, 0, 0, 0], [0, 4, 0, 0, 3, 232]] {
        let mut http2 = Http2::open(&house, &window).await;
        http2.get(1, "/v1/bytes/100000000").await;
        meanwhile(&house, async {
            let started = Instant::now();
            // It looks alive, but for what matters.
            while http2.say(&frame(PING, 0, 0, &[0; 8])).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(started.elapsed() < 5 * HEAD, "it goes on for ever");
            }
            assert!(started.elapsed() > HEAD / 2);
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_goes_on() {
    let house = house().await;
    let window = [0, 4, 0, 0, 3, 232];
    let mut http2 = Http2::open(&house, &window).await;
    http2.get(1, "/v1/bytes/5000").await;
    let mut got = 0;
    while got < 5000 {
        let data = http2.ears.until(DATA).await.expect("it goes on");
        got += data.payload.len();
        tokio::time::sleep(HEAD / 2).await;
        http2
            .say(&frame(WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes()))
            .await;
    }
}

#[tokio::test]
async fn a_header_table_that_explodes() {
    let house = house().await;
    let mut http2 = Http2::open(&house, &[]).await;
    // One field of 4,000 bytes enters the table as number 62, and is named ten thousand times.
    let value = "x".repeat(4000);
    let mut fields = request("GET", "/v1/models");
    fields.push(0x40);
    for text in ["x-bomb", &value] {
        fields.extend(length(text.len(), 0x7f));
        fields.extend(text.as_bytes());
    }
    fields.extend([0xbe; 10_000]);
    let answer = meanwhile(&house, async {
        http2
            .say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields))
            .await;
        loop {
            let frame = soon(http2.ears.next()).await?;
            if matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY) {
                return Some(frame);
            }
        }
    })
    .await;
    // A refusal of whatever kind, and nothing of it went upstream.
    let ok = |frame: &Frame| frame.kind == HEADERS && frame.payload.first() == Some(&0x88);
    assert!(!answer.as_ref().is_some_and(ok), "{answer:?}");
    for seen in house.sandbox.requests() {
        assert!(!format!("{:?}", seen.headers).contains("x-bomb"));
    }
}

#[tokio::test]
async fn more_streams_than_allowed() {
    let house = House::new().await;
    let gate = house.sandbox.hold("GET /v1/models/held");
    let mut http2 = Http2::open(&house, &[]).await;
    for nth in 0..300 {
        http2.get(2 * nth + 1, "/v1/models/held").await;
    }
    let refused = http2.ears.until(RST_STREAM).await.expect("one is refused");
    // REFUSED_STREAM
    assert_eq!(refused.payload, 7_u32.to_be_bytes());
    soon(gate.arrived(100)).await;
    assert_eq!(house.sandbox.count("GET /v1/models/held"), 100);
    gate.release();
    http2
        .ears
        .until(HEADERS)
        .await
        .expect("the others are answered");
}

#[tokio::test]
async fn what_http2_forbids_never_gets_through() {
    let upstream = Upstream::start().await;
    let house = House::with(upstream.behind()).await;
    let before = request("POST", "/v1/files");
    for (what, fields, body) in [
        ("H2.TE", field("transfer-encoding", "chunked"), "0\r\n\r\n"),
        (
            "H2.CL too short",
            field("content-length", "3"),
            "GET /v1/smuggled",
        ),
        ("H2.CL too long", field("content-length", "100"), "abc"),
        (
            "two lengths",
            [field("content-length", "3"), field("content-length", "4")].concat(),
            "abc",
        ),
        ("connection", field("connection", "x-a"), ""),
        ("keep-alive", field("keep-alive", "1"), ""),
        ("upgrade", field("upgrade", "websocket"), ""),
        ("another host", field("host", "evil.example"), ""),
        (
            "a line break in a value",
            field("x-a", "b\r\ntransfer-encoding: chunked"),
            "",
        ),
        ("a line break in a name", field("x-a: b\r\nx-c", "d"), ""),
        ("capitals in a name", field("X-A", "b"), ""),
        ("a colon in a name", field("x:a", "b"), ""),
        ("a second method", field(":method", "GET"), ""),
        ("an unknown pseudo field", field(":evil", "a"), ""),
    ] {
        let mut http2 = Http2::open(&house, &[]).await;
        let head = frame(HEADERS, END_HEADERS, 1, &[before.clone(), fields].concat());
        let data = frame(DATA, END_STREAM, 1, body.as_bytes());
        http2.say(&[head, data].concat()).await;
        let refused = soon(async {
            loop {
                match http2.ears.next().await {
                    Some(frame) if frame.kind == HEADERS => break frame.payload,
                    Some(frame) if !matches!(frame.kind, RST_STREAM | GOAWAY) => {}
                    Some(_) | None => break Vec::new(),
                }
            }
        })
        .await;
        // `:status: 200` of the static table.
        assert_ne!(refused.first(), Some(&0x88), "{what}");
        assert_eq!(upstream.heard(), [""; 0], "{what}");
    }
    for target in ["/v1/../x", "/v1/\u{f6}", "/v1/a b", "v1/models", "", "*"] {
        let mut http2 = Http2::open(&house, &[]).await;
        http2.get(1, target).await;
        let answer = soon(async {
            loop {
                match http2.ears.next().await {
                    Some(frame) if matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY) => {
                        break frame;
                    }
                    Some(_) => {}
                    None => panic!("{target:?}: no answer"),
                }
            }
        })
        .await;
        assert!(
            answer.kind != HEADERS || answer.payload.first() != Some(&0x88),
            "{target:?}"
        );
        assert_eq!(upstream.heard(), [""; 0], "{target:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_hear_that_we_close_holds_up_nobody() {
    let house = House::new().await;
    let held = house.sandbox.hold("GET /v1/models/held");
    let mut asking = Http2::open(&house, &[]).await;
    asking.get(1, "/v1/models/held").await;
    held.arrived(1).await;
    let mut idle = Http2::open(&house, &[]).await;
    idle.get(1, "/v1/models").await;
    idle.ears.until(DATA).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut just_answered = Http2::open(&house, &[]).await;
    just_answered.get(1, "/v1/models").await;
    just_answered.ears.until(DATA).await.expect("an answer");
    house.close();
    // They say nothing to a GOAWAY and answer no PING, as one does that waits to ask again.
    assert!(idle.ears.closed().await < HEAD);
    // It might still be reading, so that it has two seconds to say so.
    let closed = just_answered.ears.closed().await;
    assert!(closed < 4 * HEAD, "{closed:?}");
    held.release();
    let begun = asking.ears.until(HEADERS).await.expect("its answer");
    // `:status: 200` of the static table.
    assert_eq!(begun.payload.first(), Some(&0x88));
    asking.ears.until(DATA).await.expect("all of it");
}
