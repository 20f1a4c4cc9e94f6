use std::sync::Barrier;
use std::thread::ThreadId;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::*;

/// Much longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn started(count: usize) -> Workers {
    Workers::start(NonZero::new(count).unwrap()).unwrap()
}

/// Both ends of a connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(to), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// A connection that is open until it is told to end.
struct Open {
    thread: ThreadId,
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Open {
    async fn on(crew: &Crew) -> Self {
        let (_client, accepted) = connection().await;
        let (end, over) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        let (here, thread) = oneshot::channel();
        crew.host(accepted, async move |_stream, hold| {
            here.send(thread::current().id()).unwrap();
            let _ = over.await;
            drop(hold);
            let _ = tell.send(());
        });
        let thread = thread.await.unwrap();
        Self { thread, end, ended }
    }

    async fn end(self) {
        self.end.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_has_the_fewest_connections_gets_the_next() {
    let workers = started(2);
    let crew = workers.crew();
    let first = Open::on(&crew).await;
    let second = Open::on(&crew).await;
    assert_ne!(first.thread, second.thread);
    assert_ne!(first.thread, thread::current().id());
    let third = Open::on(&crew).await;
    assert_eq!(third.thread, first.thread, "one each: it is all the same");
    let here = second.thread;
    second.end().await;
    let fourth = Open::on(&crew).await;
    let fifth = Open::on(&crew).await;
    assert_eq!([fourth.thread, fifth.thread], [here, here], "0 and 1 to 2");
    third.end().await;
    let sixth = Open::on(&crew).await;
    assert_eq!(sixth.thread, first.thread, "1 to 2");
    assert!(workers.end(LONG));
}

#[tokio::test]
async fn a_connection_and_what_it_begins_stay_on_one_thread() {
    let workers = started(3);
    let (mut client, accepted) = connection().await;
    let (tell, mut threads) = mpsc::unbounded_channel();
    workers
        .crew()
        .host(accepted, async move |mut stream, _hold| {
            let here = || thread::current().id();
            for _ in 0..20 {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                tell.send(here()).unwrap();
                let inner = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    here()
                });
                tell.send(inner.await.unwrap()).unwrap();
                let apart = tokio::task::spawn_blocking(here).await.unwrap();
                assert_ne!(apart, here());
                tell.send(here()).unwrap();
                stream.write_all(&byte).await.unwrap();
            }
        });
    for nth in 0..20 {
        client.write_all(&[nth]).await.unwrap();
        let mut echo = [0];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [nth]);
    }
    let first = threads.recv().await.unwrap();
    for _ in 1..60 {
        assert_eq!(threads.recv().await, Some(first));
    }
    assert_eq!(threads.recv().await, None);
    assert!(workers.end(LONG));
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let workers = started(2);
    let crew = workers.crew();
    let beside = Open::on(&crew).await;
    let (mut client, accepted) = connection().await;
    let (here, thread) = oneshot::channel();
    crew.host(accepted, async move |_stream, _hold| {
        here.send(thread::current().id()).unwrap();
        panic!("as a fault of ours would");
    });
    let there = thread.await.unwrap();
    assert_ne!(there, beside.thread);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it is closed");
    let next = Open::on(&crew).await;
    assert_eq!(next.thread, there, "its place is free, its thread lives");
    beside.end().await;
    assert!(workers.end(LONG));
}

/// Tells of its drop.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().map(|tell| tell.send(()));
    }
}

/// A connection that does not end by itself, and what tells of its end.
async fn endless(crew: &Crew) -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    let dropped = Dropped(Some(tell));
    let (_client, accepted) = connection().await;
    crew.host(accepted, async move |_stream, _hold| {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    told
}

#[tokio::test]
async fn the_end_takes_along_what_is_still_open() {
    let workers = started(2);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(endless(&workers.crew()).await);
    }
    assert!(workers.end(LONG));
    for told in &mut told {
        told.try_recv().expect("it was over when the end was");
    }
}

#[tokio::test]
async fn dropped_they_end_as_well() {
    let workers = started(1);
    let told = endless(&workers.crew()).await;
    drop(workers);
    told.await.unwrap();
}

#[tokio::test]
async fn the_end_waits_for_no_call_that_does_not_come_back() {
    let workers = started(2);
    let (_client, accepted) = connection().await;
    let (come_back, stuck) = std::sync::mpsc::channel::<()>();
    let (begun, called) = oneshot::channel();
    workers.crew().host(accepted, async move |_stream, _hold| {
        let call = move || {
            begun.send(()).unwrap();
            stuck.recv().is_ok()
        };
        let _ = tokio::task::spawn_blocking(call).await;
    });
    called.await.unwrap();
    let asked = Instant::now();
    assert!(!workers.end(Duration::from_millis(100)));
    assert!(asked.elapsed() < LONG / 2, "{:?}", asked.elapsed());
    drop(come_back);
}

#[tokio::test]
async fn calls_that_block_overlap_on_one_thread() {
    // The fewest that one has, of which one stands by.
    let workers = started(4);
    let (mut client, accepted) = connection().await;
    workers
        .crew()
        .host(accepted, async move |mut stream, _hold| {
            let all = Arc::new(Barrier::new(FEWEST_BLOCKING - 1));
            let calls: Vec<_> = (1..FEWEST_BLOCKING)
                .map(|_| {
                    let all = all.clone();
                    tokio::task::spawn_blocking(move || all.wait().is_leader())
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
            stream.write_all(b"!").await.unwrap();
        });
    let met = tokio::time::timeout(LONG, client.read_u8()).await;
    assert_eq!(met.expect("they met").unwrap(), b'!');
    assert!(workers.end(LONG));
}

#[test]
fn threads_that_may_block_are_shared_out() {
    for (workers, each) in [(1, 512), (2, 256), (4, 128), (64, 128)] {
        assert_eq!(blocking(NonZero::new(workers).unwrap()), each, "{workers}");
    }
}

#[test]
fn whoever_cannot_start_one_is_told_what_to_do() {
    let said = NoWorker(io::ErrorKind::OutOfMemory.into()).to_string();
    assert!(
        said.contains("ulimit -u") && said.contains("ulimit -n"),
        "{said}"
    );
}
