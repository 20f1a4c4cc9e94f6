//! How long a start and a listing take with much kept. Run by hand:
//! `REPRISE_TEST_KEPT=100000 cargo test --release --lib figures -- --ignored --nocapture`.

use std::time::Instant;

use super::super::codec;
use super::*;

#[test]
#[ignore = "measures, and takes a while"]
fn a_start_and_a_listing_with_much_kept() {
    let count = std::env::var("REPRISE_TEST_KEPT").ok();
    let count: u64 = count.and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for n in 0..count {
        let mut entry = image(1);
        let hash = *blake3::hash(&n.to_be_bytes()).as_bytes();
        entry.record.key = Fingerprint::from_bytes(hash);
        let path = gen_path(dir.path(), &entry.record.key);
        // Not synced: a machine that fills a directory so need not survive.
        std::fs::write(path, codec::encode(&entry).unwrap()).unwrap();
    }
    let time = |what: &str, since: Instant| {
        println!("{count} kept: {what} took {:?}", since.elapsed());
    };
    let since = Instant::now();
    let (store, report) = open(dir.path());
    assert_eq!(report.generations, count);
    time("an index from nothing", since);
    drop(store);
    let since = Instant::now();
    let (store, report) = open(dir.path());
    assert_eq!((report.generations, report.reindexed), (count, 0));
    time("a start", since);
    for _ in 0..2 {
        let (since, mut listed) = (Instant::now(), 0);
        store
            .list_kept(None, &mut |_| {
                listed += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(listed, count);
        time("a listing", since);
    }
}
