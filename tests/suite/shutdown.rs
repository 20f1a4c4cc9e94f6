//! The end of the program: what is paid for is waited for, nothing new is begun.

use std::time::Duration;

use reprise::app::Drained;
use serde_json::json;

use crate::house::{Broken, Client, House, soon};

const IMAGES: &str = "/v1/images/generations";

#[tokio::test]
async fn a_drain_waits_for_what_is_paid_for() {
    let mut house = House::new().await;
    let body = json!({"model": "gpt-image-2", "prompt": "the last one"});
    let gate = house.hold("POST /v1/images");
    let asked = house.client().post(IMAGES).json(&body).begin();
    let left = house
        .client()
        .post(IMAGES)
        .json(&json!({"model": "gpt-image-2", "prompt": "its client left"}));
    let left = left.begin();
    gate.arrived(2).await;
    left.leave().await;
    house.begin_shutdown();
    gate.release();
    let first = asked.answer().await;
    assert_eq!(
        (first.status, first.cache_status()),
        (200, "reprise; fwd=miss; stored")
    );
    assert_eq!(house.shutdown().await, Drained::Whole);
    house.start().await;
    let again = house.client().post(IMAGES).json(&body).send().await;
    assert!(again.is_hit() && again.body == first.body);
    let again = house.client().post(IMAGES);
    let again = again.json(&json!({"model": "gpt-image-2", "prompt": "its client left"}));
    assert!(again.send().await.is_hit());
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn a_stream_is_brought_to_its_end() {
    let mut house = House::new().await;
    let body = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]});
    let gate = house.hold_stream("POST /v1/chat", 3);
    let call = house.client().post("/v1/chat/completions").json(&body);
    let mut stream = call.open().await.unwrap();
    gate.arrived(1).await;
    assert!(stream.next().await.unwrap().is_ok());
    house.begin_shutdown();
    gate.release();
    let first = stream.rest().await.unwrap();
    assert!(first.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(house.shutdown().await, Drained::Whole);
    house.start().await;
    let again = house.client().post("/v1/chat/completions").json(&body);
    let again = again.send().await;
    assert!(again.is_hit() && again.body == first.body);
}

#[tokio::test]
async fn readyz_says_so_and_nothing_new_is_begun() {
    let mut house = House::new().await;
    let body = json!({"model": "gpt-image-2", "prompt": "the last one"});
    let gate = house.hold("POST /v1/images");
    let asked = house.client().post(IMAGES).json(&body).begin();
    gate.arrived(1).await;
    house.begin_shutdown();
    let client = house.client();
    let draining = async {
        loop {
            let ready = client.get("/readyz").try_send().await;
            match ready.map(|ready| ready.status) {
                Ok(503) => break,
                // Accepted in the very moment of the signal, a connection may be closed unanswered.
                Ok(200) | Err(_) => tokio::task::yield_now().await,
                Ok(other) => panic!("{other}"),
            }
        }
    };
    soon(draining).await;
    assert_eq!(client.get("/healthz").send().await.status, 200);
    let late = json!({"model": "gpt-image-2", "prompt": "too late"});
    let late = client.post(IMAGES).json(&late).send().await;
    assert_eq!(
        (late.status, late.error_code().as_str()),
        (503, "shutting_down")
    );
    gate.release();
    assert_eq!(asked.answer().await.status, 200);
    assert_eq!(house.shutdown().await, Drained::Whole);
    assert_eq!(house.billed(), 1);
}

/// Whoever keeps asking does not keep the program from ending.
#[tokio::test]
async fn a_drain_ends_although_somebody_keeps_connecting() {
    let mut house = House::new().await;
    let addr = house.addr();
    let knocking = tokio::spawn(async move {
        loop {
            let _ = tokio::net::TcpStream::connect(addr).await;
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(house.shutdown().await, Drained::Whole);
    knocking.abort();
}

#[tokio::test]
async fn when_the_grace_is_over_the_outcome_is_unknown() {
    let mut house = House::new()
        .config(|config| config.shutdown_grace = Duration::from_millis(200))
        .await;
    let body = json!({"model": "gpt-image-2", "prompt": "too slow"});
    let gate = house.hold("POST /v1/images");
    let asked = house.client().post(IMAGES).json(&body).begin();
    gate.arrived(1).await;
    assert_eq!(house.shutdown().await, Drained::CutOff(1));
    // In the program the process ends here; the runtime of a test goes on.
    asked.leave().await;
}

#[tokio::test]
async fn an_idle_client_is_let_go() {
    let mut house = House::new().await;
    let client = house.client();
    assert_eq!(client.get("/v1/models").send().await.status, 200);
    let h2 = house.client_h2();
    assert_eq!(h2.get("/v1/models").send().await.status, 200);
    assert_eq!(house.shutdown().await, Drained::Whole);
    let refused = client.get("/healthz").try_send().await;
    assert_eq!(refused.map(|answer| answer.status), Err(Broken::BeforeHead));
}

/// What is passed through and is on its way to a client comes to its end as well.
async fn read_to_its_end(mut house: House, client: Client) {
    let mut answer = client.get("/v1/bytes/5000000").open().await.unwrap();
    assert!(answer.next().await.unwrap().is_ok());
    house.begin_shutdown();
    let whole = answer.rest().await.map(|answer| answer.body.len());
    assert_eq!(whole, Ok(5_000_000));
    assert_eq!(house.shutdown().await, Drained::Whole);
}

#[tokio::test]
async fn an_answer_that_is_being_read_is_brought_to_its_end() {
    let house = House::new().await;
    let client = house.client();
    read_to_its_end(house, client).await;
}

#[tokio::test]
async fn an_answer_that_is_being_read_over_http2_is_brought_to_its_end() {
    let house = House::new().await;
    let client = house.client_h2();
    read_to_its_end(house, client).await;
}
