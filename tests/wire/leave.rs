//! Nobody who speaks HTTP/2 is sent away before the last of an answer is there, however much of it
//! the proxy has handed on already: neither by a drain, nor for the place.

use std::time::{Duration, Instant};

use reprise::app::Drained;

use crate::frames::{DATA, Frame, GOAWAY, Http2, PING, WINDOW_UPDATE, frame, get};
use crate::house::{HEAD, House, soon};

/// `SETTINGS_INITIAL_WINDOW_SIZE` = 1,000.
const SMALL_WINDOW: [u8; 6] = [0, 4, 0, 0, 3, 232];

/// Longer than the drain, or who waits for a place, takes to find somebody idle.
const LOOKED: Duration = Duration::from_millis(400);

async fn make_room(http2: &mut Http2) -> bool {
    let room = frame(WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes());
    http2.say(&room).await
}

/// The rest of an answer of 5,000 bytes, of which 1,000 are here, with a pause before each piece.
async fn take_slowly(http2: &mut Http2) {
    let mut got = 1000;
    while got < 5000 {
        tokio::time::sleep(LOOKED).await;
        assert!(make_room(http2).await, "after {got} bytes");
        let data = http2.ears.until(DATA).await;
        let data = data.unwrap_or_else(|| panic!("it ends after {got} bytes"));
        got += data.payload.len();
    }
}

async fn first_piece(house: &House) -> Http2 {
    let mut http2 = Http2::open(house, &SMALL_WINDOW).await;
    http2.get(1, "/v1/bytes/5000").await;
    let data = http2.ears.until(DATA).await.unwrap();
    assert_eq!(data.payload.len(), 1000);
    http2
}

#[tokio::test]
async fn a_drain_waits_for_what_a_client_takes_slowly() {
    let house = House::new().await;
    let mut http2 = first_piece(&house).await;
    house.close();
    take_slowly(&mut http2).await;
}

#[tokio::test]
async fn a_place_is_not_taken_from_who_takes_an_answer_slowly() {
    let house = House::with(|config| config.server.max_connections = 1).await;
    let mut http2 = first_piece(&house).await;
    let mut next = house.connect().await;
    next.get("/v1/models").await;
    let next = tokio::spawn(async move { next.answer().await.status });
    take_slowly(&mut http2).await;
    // It has its answer, so that its place is free for who waits.
    assert_eq!(soon(next).await.unwrap(), 200);
    while soon(http2.ears.next()).await.is_some() {}
}

/// What a client says while it reads must not cost it what it has not read yet.
#[tokio::test]
async fn what_has_left_is_not_taken_back() {
    let house = House::new().await;
    let mut http2 = Http2::open(&house, &[]).await;
    http2.get(1, "/v1/bytes/60000").await;
    // The head is read, the rest lies in the socket: this client answers no PING either.
    soon(http2.ears.next()).await.unwrap();
    house.close();
    for _ in 0..8 {
        tokio::time::sleep(LOOKED).await;
        assert!(make_room(&mut http2).await);
    }
    let mut got = 0;
    while let Some(Frame { kind, payload }) = soon(http2.ears.next()).await {
        if kind == DATA {
            got += payload.len();
        }
        if got == 60_000 {
            break;
        }
    }
    assert_eq!(got, 60_000);
    assert!(http2.ears.end_well().await, "the connection was reset");
}

/// The last of an answer is with hyper, and its client makes no room: it is waited for as long as for
/// any other, and no longer.
#[tokio::test]
async fn the_last_of_an_answer_is_not_waited_for_for_ever() {
    let house = House::with(|config| config.upstream.idle_timeout = HEAD).await;
    let mut http2 = first_piece(&house).await;
    let closed = http2.ears.closed().await;
    assert!(closed > HEAD / 2, "{closed:?}");
    assert!(closed < 5 * HEAD, "{closed:?}");
}

/// Neither who has its answers and says nothing keeps the program from ending, nor who has asked for
/// half of something, nor who talks on without hearing that it shall leave.
#[tokio::test]
async fn who_is_idle_does_not_hold_up_a_drain() {
    let whole = get(3, "/v1/models");
    let ping = frame(PING, 0, 0, &[0; 8]);
    for (says, talks_on, longest) in [
        (&[][..], false, Duration::from_secs(4)),
        (&whole[..whole.len() - 1], false, Duration::from_secs(4)),
        (&ping, true, Duration::from_secs(14)),
    ] {
        let mut house = House::new().await;
        let mut http2 = Http2::open(&house, &[]).await;
        http2.get(1, "/v1/bytes/5000").await;
        http2.ears.until(DATA).await.unwrap();
        http2.say(says).await;
        let began = Instant::now();
        house.close();
        let ended = soon(async {
            let mut ended = Box::pin(house.ended());
            loop {
                let again = tokio::time::sleep(LOOKED);
                tokio::select! {
                    ended = &mut ended => return ended,
                    () = again => {}
                }
                if talks_on {
                    http2.say(says).await;
                }
            }
        });
        assert_eq!(ended.await, Drained::Whole);
        assert!(began.elapsed() < longest, "{:?}", began.elapsed());
        // It was told, and can read it.
        http2.ears.until(GOAWAY).await.unwrap();
    }
}
