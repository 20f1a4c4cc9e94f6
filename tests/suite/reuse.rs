//! The connections to upstream: what was written to one is never written again, and what could not be
//! written is written once to another.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reprise::config::BaseUrl;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::house::{Answer, House, soon};

const CHAT: &str = "/v1/chat/completions";
const IMAGES: &str = "/v1/images/generations";

/// What becomes of a connection that has brought a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is answered, and the connection kept for the next.
    Keep,
    /// It is answered, and the connection closed without a word about it.
    Close,
    /// The first is answered, the second read whole, and the connection closed.
    CloseUnanswered,
}

/// An upstream that counts bytes, not intentions.
struct Raw {
    addr: SocketAddr,
    /// The bodies that were read whole, in order.
    read: Arc<Mutex<Vec<Value>>>,
    /// How many connections were accepted, and how many of them were closed here.
    accepted: watch::Receiver<usize>,
    closed: watch::Receiver<usize>,
}

impl Raw {
    async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let read = Arc::new(Mutex::new(Vec::new()));
        let (accept, accepted) = watch::channel(0);
        let (close, closed) = watch::channel(0);
        let seen = read.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accept.send_modify(|count| *count += 1);
                let (seen, close) = (seen.clone(), close.clone());
                tokio::spawn(async move {
                    serve(stream, then, &seen).await;
                    close.send_modify(|count| *count += 1);
                });
            }
        });
        Self {
            addr,
            read,
            accepted,
            closed,
        }
    }

    /// A proxy in front of it.
    async fn house(&self) -> House {
        let base = format!("http://{}/v1", self.addr);
        House::new()
            .config(move |config| config.upstream.base_url = BaseUrl::parse(&base).unwrap())
            .await
    }

    /// How often this prompt was read whole.
    fn read(&self, prompt: &str) -> usize {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let all = read.iter().filter(|body| body["prompt"] == prompt);
        all.count()
    }
}

async fn serve(mut stream: TcpStream, then: Then, read: &Mutex<Vec<Value>>) {
    let mut served = 0;
    while let Some(body) = request(&mut stream).await {
        read.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(body);
        if then == Then::CloseUnanswered && served > 0 {
            return;
        }
        let answer = json!({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
            "data": [{"b64_json": "QUJD"}]})
        .to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let whole = format!("{head} {}\r\n\r\n{answer}", answer.len());
        if stream.write_all(whole.as_bytes()).await.is_err() || then == Then::Close {
            return;
        }
        served += 1;
    }
}

/// The body of one request that was read whole.
async fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split_once("content-length: ")?.1;
        let length: usize = length.split("\r\n").next()?.parse().ok()?;
        if bytes.len() >= head.len() + 4 + length {
            return serde_json::from_slice(&bytes[head.len() + 4..]).ok();
        }
    }
}

async fn ask(house: &House, path: &str, prompt: &str) -> Answer {
    let said = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": "m", "prompt": prompt, "messages": said});
    house.client().post(path).json(&body).send().await
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let mut raw = Raw::start(Then::Close).await;
    let house = raw.house().await;
    assert_eq!(ask(&house, CHAT, "first").await.status, 200);
    soon(raw.closed.wait_for(|closed| *closed == 1))
        .await
        .unwrap();
    assert_eq!(ask(&house, CHAT, "second").await.status, 200);
    assert_eq!((raw.read("first"), raw.read("second")), (1, 1));
    assert_eq!(*raw.accepted.borrow(), 2);
}

#[tokio::test]
async fn what_was_written_to_a_reused_connection_is_not_written_again() {
    let raw = Raw::start(Then::CloseUnanswered).await;
    let house = raw.house().await;
    assert_eq!(ask(&house, CHAT, "first").await.status, 200);
    let lost = ask(&house, CHAT, "second").await;
    assert_eq!(
        (lost.status, lost.error_code().as_str()),
        (502, "upstream_outcome_unknown")
    );
    assert_eq!(lost.header("x-should-retry"), "false");
    // Long enough for a second try that nobody may make.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((raw.read("first"), raw.read("second")), (1, 1));
    assert_eq!(*raw.accepted.borrow(), 1, "on the connection of the first");
}

#[tokio::test]
async fn a_connection_that_closes_in_the_same_moment_bills_at_most_once() {
    let raw = Raw::start(Then::Close).await;
    let house = raw.house().await;
    let mut answered = 0;
    for round in 0..200_u64 {
        // Before, while and after the other side's end arrives.
        tokio::time::sleep(Duration::from_micros(round % 20 * 25)).await;
        let prompt = format!("round {round}");
        let answer = ask(&house, CHAT, &prompt).await;
        match answer.status {
            200 => answered += 1,
            502 => assert_eq!(answer.error_code(), "upstream_outcome_unknown"),
            status => panic!("{status}: {}", answer.text()),
        }
        let read = raw.read(&prompt);
        assert!(read <= 1, "{prompt} was read {read} times");
        assert!(read == 1 || answer.status == 502, "{prompt}");
    }
    assert!(answered > 100, "{answered}");
}

#[tokio::test]
async fn what_is_dear_has_a_connection_of_its_own() {
    let raw = Raw::start(Then::Keep).await;
    let house = raw.house().await;
    for round in 1..=5 {
        let prompt = format!("picture {round}");
        assert_eq!(ask(&house, IMAGES, &prompt).await.status, 200);
        assert_eq!((raw.read(&prompt), *raw.accepted.borrow()), (1, round));
    }
    ask(&house, CHAT, "talk").await;
    ask(&house, CHAT, "more").await;
    assert_eq!(*raw.accepted.borrow(), 6, "what is cheap shares one");
}
