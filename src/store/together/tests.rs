use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

impl Together {
    fn waiting(&self) -> usize {
        self.rounds().waiting
    }

    fn wait_for(&self, waiting: usize) {
        while self.waiting() < waiting {
            thread::yield_now();
        }
    }
}

/// MONEY: a name that came while a sync was under way may not be in it.
#[test]
fn whoever_comes_during_a_sync_waits_for_one_that_begins_afterwards() {
    const LATE: usize = 8;
    let (together, syncs) = (Together::default(), AtomicUsize::new(0));
    let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            together.share(|| {
                begun.wait();
                go_on.wait();
                Ok(())
            })
        });
        begun.wait();
        let late = [(); LATE].map(|()| {
            scope.spawn(|| {
                together.share(|| {
                    syncs.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
            })
        });
        together.wait_for(LATE);
        assert_eq!(syncs.load(Ordering::SeqCst), 0, "one at a time");
        assert!(late.iter().all(|late| !late.is_finished()));
        go_on.wait();
        first.join().unwrap().unwrap();
        for late in late {
            late.join().unwrap().unwrap();
        }
    });
    assert_eq!(syncs.load(Ordering::SeqCst), 1, "one for all of them");
    together.share(|| Ok(())).unwrap();
}

#[test]
fn a_failure_reaches_everybody_who_waited_for_it_and_nobody_else() {
    const LATE: usize = 4;
    let together = Together::default();
    let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
    let full = || io::Error::from_raw_os_error(28);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            together.share(|| {
                begun.wait();
                go_on.wait();
                Ok(())
            })
        });
        begun.wait();
        let late = [(); LATE].map(|()| scope.spawn(|| together.share(|| Err(full()))));
        together.wait_for(LATE);
        go_on.wait();
        first.join().unwrap().unwrap();
        for late in late {
            let error = late.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(28));
        }
    });
    // What comes afterwards makes its own.
    together.share(|| Ok(())).unwrap();
    let error = together.share(|| Err(io::Error::other("broken")));
    assert_eq!(error.unwrap_err().to_string(), "broken");
}

#[test]
fn a_panic_and_an_error_reach_who_came_meanwhile() {
    let together = Together::default();
    let broken: fn() -> io::Result<()> = || Err(io::Error::from_raw_os_error(5));
    for ends in [broken, || panic!("a test")] {
        let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                together.share(|| {
                    begun.wait();
                    go_on.wait();
                    ends()
                })
            });
            begun.wait();
            let late = scope.spawn(|| together.share(|| Ok(())));
            together.wait_for(1);
            go_on.wait();
            assert!(first.join().map_or(true, |first| first.is_err()));
            // What it has renamed may be among what was dropped, and an error is told once.
            late.join().unwrap().unwrap_err();
        });
        together.share(|| Ok(())).unwrap();
    }
}

#[test]
fn a_folder_that_is_away_is_an_error_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let together = Together::default();
    together.sync(dir.path()).unwrap();
    let gone = dir.path().join("gone");
    let error = together.sync(&gone).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}
