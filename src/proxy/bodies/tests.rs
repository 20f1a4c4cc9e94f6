use super::*;
use crate::message::body;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

const MIB: u64 = 1024 * 1024;

/// A body that comes as its sender says.
fn slow() -> (mpsc::UnboundedSender<Vec<u8>>, Body) {
    let (send, receive) = mpsc::unbounded_channel::<Vec<u8>>();
    let frames = stream::unfold(receive, |mut receive| async {
        let piece = receive.recv().await?;
        Some((Ok(Frame::data(Bytes::from(piece))), receive))
    });
    (send, body::boxed(StreamBody::new(Box::pin(frames))))
}

fn mebibytes(count: u64, letter: u8) -> Vec<u8> {
    vec![letter; usize::try_from(count * MIB).unwrap()]
}

fn free(bodies: &Bodies) -> (usize, usize) {
    (
        bodies.small.available_permits(),
        bodies.large.available_permits(),
    )
}

#[tokio::test]
async fn room_is_held_for_as_long_as_the_body_and_equal_bodies_count_once() {
    let bodies = Bodies::new(64 * MIB);
    let all = free(&bodies);
    let small = bodies.collect(body::full("small"), Some(5)).await.unwrap();
    assert_eq!(free(&bodies), (all.0 - 1, all.1));
    let one = bodies
        .collect(body::full(mebibytes(2, b'a')), Some(2 * MIB))
        .await
        .unwrap();
    assert_eq!(free(&bodies), (all.0 - 1, all.1 - 2048));
    // Of unknown length: it gives back what it did not need.
    let same = bodies
        .collect(body::full(mebibytes(2, b'a')), None)
        .await
        .unwrap();
    assert_eq!(same, one);
    assert_eq!(free(&bodies), (all.0 - 1, all.1 - 2048));
    let other = bodies
        .collect(body::full(mebibytes(2, b'b')), None)
        .await
        .unwrap();
    assert_eq!(free(&bodies), (all.0 - 1, all.1 - 4096));
    drop((one.slice(5..), one, small));
    assert_eq!(free(&bodies), (all.0, all.1 - 4096), "`same` is still held");
    drop((same, other));
    assert_eq!(free(&bodies), all);
    assert!(bodies.held.open().is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_largest_always_fits() {
    let bodies = Bodies::new(MIB);
    for (announced, len) in [(Some(2 * MIB), 2), (None, 2)] {
        let refused = bodies
            .collect(body::full(mebibytes(len, b'a')), announced)
            .await;
        assert!(matches!(refused, Err(Error::TooLarge(MIB))));
    }
    let largest = Bodies::new(600 * MIB);
    assert_eq!(free(&largest).1, 600 * 1024);
    for (largest, room) in [(2, 256), (300, 300), (1, 300), (500, 500)] {
        let resized = bodies.resized(largest * MIB);
        assert_eq!(free(&resized).1, room * 1024, "{largest} MiB");
        let whole = body::full(mebibytes(2, b'a'));
        let taken = resized.collect(whole, None).await;
        assert_eq!(taken.is_ok(), largest >= 2, "{largest} MiB");
    }
    let all = free(&bodies);
    assert!(
        bodies
            .collect(body::full(mebibytes(1, b'a')), None)
            .await
            .is_ok()
    );
    assert_eq!(free(&bodies), all);
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_room_waits_for_it_and_then_is_sent_away() {
    let bodies = Arc::new(Bodies::new(200 * MIB));
    let all = free(&bodies);
    let (send, body) = slow();
    let first = bodies.clone();
    let first = tokio::spawn(async move { first.collect(body, Some(200 * MIB)).await });
    send.send(mebibytes(1, b'a')).unwrap();
    while free(&bodies).1 == all.1 {
        tokio::task::yield_now().await;
    }
    // Quick enough for those who wait: it keeps its room.
    let second = bodies.clone();
    let second = tokio::spawn(async move {
        let asked = Instant::now();
        let refused = second
            .collect(body::full(mebibytes(100, b'b')), Some(100 * MIB))
            .await;
        (refused, asked.elapsed())
    });
    for _ in 0..17 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        send.send(mebibytes(1, b'a')).unwrap();
    }
    let (refused, waited) = second.await.unwrap();
    assert!(matches!(refused, Err(Error::Busy(_))));
    assert_eq!(waited.as_secs(), WAIT.as_secs());
    // Small ones do not care.
    assert!(bodies.collect(body::full("small"), None).await.is_ok());
    // Silent, with nobody waiting: it keeps its room. Then somebody waits.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!first.is_finished());
    let third = bodies.collect(body::full(mebibytes(100, b'c')), None).await;
    assert!(third.is_ok());
    assert!(matches!(first.await.unwrap(), Err(Error::Busy(_))));
    drop(third);
    assert_eq!(free(&bodies), all);
    assert_eq!(bodies.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn many_that_arrive_in_part_do_not_lock_each_other_out() {
    let bodies = Arc::new(Bodies::new(64 * MIB));
    let all = free(&bodies);
    let mut senders = Vec::new();
    let mut running = Vec::new();
    for nth in 0..40 {
        let (send, body) = slow();
        let each = bodies.clone();
        running.push(tokio::spawn(async move {
            each.collect(body, None).await.map(drop)
        }));
        send.send(vec![nth; 100 * 1024]).unwrap();
        senders.push(send);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(free(&bodies).1, 0, "four have room, the others wait");
    drop(senders);
    for one in running {
        one.await.unwrap().unwrap();
    }
    assert_eq!(free(&bodies), all);
}

#[tokio::test(start_paused = true)]
async fn nothing_arrives_for_ever() {
    let bodies = Bodies::new(64 * MIB);
    let (send, body) = slow();
    let dripping = async {
        while send.send(vec![b'x']).is_ok() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    let (refused, ()) = tokio::join!(bodies.collect(body, None), dripping);
    assert!(matches!(refused, Err(Error::TooSlow)));
}

/// More than any machine can address: nobody dies of it.
#[tokio::test]
async fn memory_that_cannot_be_had_is_refused() {
    for largest in [1 << 50, u64::MAX] {
        let bodies = Bodies::new(largest);
        let all = free(&bodies);
        let more_than_small = body::full(mebibytes(1, b'a'));
        let refused = bodies.collect(more_than_small, None).await;
        assert!(matches!(refused, Err(Error::Busy(_))), "{largest}");
        assert_eq!(free(&bodies), all);
        let announced = bodies
            .collect(body::full(mebibytes(1, b'a')), Some(MIB))
            .await;
        assert_eq!(announced.unwrap().len() as u64, MIB);
    }
}
