//! A thousand jobs, killed in the middle: the next process follows every one of them to its end, and none
//! is paid for again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::home::Home;
use crate::visitor::{Answer, Call};

const JOBS: usize = 1000;
/// How many clients there are at once.
const CROWD: usize = 16;
/// All jobs have ended well before.
const PATIENCE: Duration = Duration::from_mins(1);

fn submit(nth: usize) -> Call {
    let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": format!("job {nth}")});
    Call::post("/v1/video/generations", &body)
}

/// Sends what `call` makes of every number below `JOBS`, a crowd at once; the answers that came.
async fn crowd(addr: SocketAddr, call: fn(usize) -> Call) -> Vec<Answer> {
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CROWD)
        .map(|_| {
            let next = next.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= JOBS {
                        return answers;
                    }
                    answers.extend(call(nth).send(addr).await);
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_end_over_a_crash() {
    let home = Home::empty().await;
    home.sandbox.set_job_time(Duration::from_hours(1));
    let launch = home.launch.with("REPRISE_JOBS__POLL_INTERVAL", "2s");
    let deaths = if crate::long() { 8 } else { 1 };

    let program = launch.must_start().await;
    let answers = crowd(program.addr, submit).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.is_promised()).count(),
        JOBS
    );
    let mut program = program;
    for death in 0..deaths {
        // A part of the jobs is asked for, in this life; in the last one, some are seen to end.
        let polls = home.sandbox.count("GET /v1/video/");
        if death + 1 == deaths {
            home.sandbox.finish_jobs();
        }
        let asked = async {
            while home.sandbox.count("GET /v1/video/") < polls + JOBS / 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap();
        program.kill().await;
        program = launch.must_start().await;
    }
    // Nobody polls: only a job whose end was seen is a hit.
    let ended = async {
        loop {
            let kept = crowd(program.addr, |nth| {
                submit(nth).cache_control("only-if-cached")
            })
            .await;
            if kept.iter().filter(|answer| answer.is_hit()).count() == JOBS {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(home.sandbox.bill().total(), JOBS as u64);
    let stopped = program.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
}
