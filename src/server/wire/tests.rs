use super::*;
use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

const HEAD: Duration = Duration::from_secs(10);

fn wire() -> (Wire<DuplexStream>, DuplexStream, Arc<Tally>) {
    let (ours, theirs) = tokio::io::duplex(64);
    let tally = Arc::new(Tally::default());
    let patience = Patience {
        head: HEAD,
        body: HEAD * 3,
    };
    (Wire::new(ours, tally.clone(), patience), theirs, tally)
}

async fn take(wire: &mut Wire<DuplexStream>, mut length: usize) {
    let mut buffer = [0; 64];
    while length > 0 {
        length -= wire.read(&mut buffer).await.unwrap();
    }
}

/// After how many seconds reading fails.
async fn gives_up(wire: &mut Wire<DuplexStream>) -> u64 {
    let started = Instant::now();
    let error = wire.read(&mut [0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    started.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn each_wait_has_its_end() {
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let (mut wire, _theirs, _) = wire();
    assert_eq!(gives_up(&mut wire).await, 10, "nothing comes");

    let (mut wire, mut theirs, _) = self::wire();
    theirs.write_all(&request[..5]).await.unwrap();
    take(&mut wire, 5).await;
    assert_eq!(gives_up(&mut wire).await, 10, "a head does not go on");

    let (mut wire, mut theirs, tally) = self::wire();
    theirs.write_all(request).await.unwrap();
    take(&mut wire, request.len()).await;
    tally.ask();
    tally.answer();
    assert_eq!(gives_up(&mut wire).await, 120, "no further request comes");
}

/// Should hyper ever see fewer heads than were counted.
#[tokio::test(start_paused = true)]
async fn a_head_that_hyper_did_not_see_is_waited_for_like_one() {
    let (mut wire, mut theirs, tally) = wire();
    let requests = b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    theirs.write_all(requests).await.unwrap();
    take(&mut wire, requests.len()).await;
    tally.ask();
    tokio::time::timeout(HEAD * 100, wire.read(&mut [0]))
        .await
        .expect_err("the first one is being answered");
    tally.answer();
    assert_eq!(gives_up(&mut wire).await, 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_on_once_a_message_cannot_be_followed() {
    let (mut wire, mut theirs, _) = wire();
    let head = b"P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    theirs.write_all(head).await.unwrap();
    take(&mut wire, head.len()).await;
    theirs
        .write_all(b"0\r\na: b\n\nGET / HTTP/1.1")
        .await
        .unwrap();
    for _ in 0..2 {
        let error = wire.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_only_pings_ends() {
    let (mut wire, mut theirs, tally) = wire();
    let opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    theirs.write_all(opening).await.unwrap();
    take(&mut wire, opening.len()).await;
    let reading = tokio::spawn(async move {
        let started = Instant::now();
        let mut buffer = [0; 64];
        while wire.read(&mut buffer).await.is_ok() {}
        started.elapsed().as_secs()
    });
    let ping = b"\0\0\x08\x06\0\0\0\0\0pingpong";
    for second in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 60 {
            tally.ask();
        }
        if second == 90 {
            tally.answer();
        }
        if theirs.write_all(ping).await.is_err() {
            break;
        }
    }
    let ended = reading.await.unwrap();
    assert!(
        (150..=212).contains(&ended),
        "2 min after its last request: {ended}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_up_where_nothing_is_under_way() {
    let request = b"GET / HTTP/1.1\r\n\r\n";
    for (sent, answered, goes) in [
        (&request[..0], false, true),
        (&request[..5], false, true),
        (request, false, false),
        (request, true, true),
    ] {
        let (mut wire, mut theirs, tally) = wire();
        theirs.write_all(sent).await.unwrap();
        take(&mut wire, sent.len()).await;
        if sent.len() == request.len() {
            tally.ask();
        }
        if answered {
            tally.answer();
            wire.flush().await.unwrap();
        }
        let shedding = tally.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            shedding.shed();
        });
        let mut buffer = [0; 64];
        let reading = tokio::time::timeout(Duration::from_secs(2), wire.read(&mut buffer));
        assert_eq!(reading.await.is_ok(), goes, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_asks_again_when_the_answer_is_out() {
    let (wire, mut theirs, tally) = wire();
    let service = service_fn(move |_| {
        let tally = tally.clone();
        tally.ask();
        async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            tally.answer();
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(None);
    let connection = http1.serve_connection(TokioIo::new(wire), service);
    tokio::spawn(connection);
    let started = Instant::now();
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(started.elapsed().as_secs(), 30 + 120);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_its_time_and_the_wait_behind_it_begins_with_its_end() {
    let (mut wire, mut theirs, tally) = wire();
    let request = b"GET / HTTP/1.1\r\n\r\nGET";
    theirs.write_all(request).await.unwrap();
    take(&mut wire, request.len()).await;
    tally.ask();
    let began = Instant::now();
    let answering = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_hours(1)).await;
        tally.answer();
    });
    assert_eq!(gives_up(&mut wire).await, 3610, "it is woken by the answer");
    answering.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3610);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_now_and_then_is_waited_for() {
    let (mut wire, mut theirs, _) = wire();
    let writing = tokio::spawn(async move {
        let started = Instant::now();
        let error = wire.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        started.elapsed().as_secs()
    });
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        theirs.read_exact(&mut [0; 10]).await.unwrap();
    }
    assert_eq!(writing.await.unwrap(), 5 * 20 + 30);
}

/// Over TLS a write is taken at once, and it is the flush that waits for the client.
#[tokio::test(start_paused = true)]
async fn a_flush_and_a_farewell_that_nobody_takes_have_their_end() {
    for farewell in [false, true] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let patience = Patience {
            head: HEAD,
            body: HEAD * 3,
        };
        let held_back = tokio::io::BufWriter::with_capacity(1024, ours);
        let mut wire = Wire::new(held_back, Arc::default(), patience);
        wire.write_all(&[0; 1000]).await.unwrap();
        let started = Instant::now();
        let ended = if farewell {
            wire.shutdown().await
        } else {
            wire.flush().await
        };
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn who_still_speaks_is_listened_to_for_a_while() {
    for (sent, seconds) in [
        ("P / HTTP/1.1\r\ncontent-length: 9\r\n\r\n1", 2),
        ("GET / HTTP/1.1\r\n", 2),
        ("GET / HTTP/1.1\r\n\r\n", 0),
    ] {
        let (mut wire, mut theirs, _) = wire();
        theirs.write_all(sent.as_bytes()).await.unwrap();
        take(&mut wire, sent.len()).await;
        let started = Instant::now();
        wire.shutdown().await.unwrap();
        assert_eq!(started.elapsed().as_secs(), seconds, "{sent:?}");
        assert_eq!(
            theirs.read(&mut [0]).await.unwrap(),
            0,
            "it is told at once"
        );
    }
}
