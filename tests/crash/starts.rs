//! Killed while it starts: at every passage of every point, on a directory of every sort.
#![cfg(debug_assertions)]

use std::path::Path;

use reprise::fault::{POINTS, VARIABLE};

use crate::home::{Home, Memory, copy};
use crate::program::Ended;
use crate::sort::Sort;
use crate::trial::{Trial, visit};

/// A directory before its start, and what a client has seen of it.
struct Before {
    name: &'static str,
    home: Home,
    memory: Memory,
}

impl Before {
    async fn nothing() -> Self {
        Self {
            name: "empty",
            home: Home::empty().await,
            memory: Memory::default(),
        }
    }

    /// Killed at the first passage of this point after its start, so that a note, an answer or both
    /// are there.
    async fn killed(name: &'static str, sort: Sort, point: &str) -> Self {
        for passage in 1..100 {
            let home = Home::empty().await;
            let mut memory = Memory::default();
            let fault = format!("{point}=kill#{passage}");
            // A start writes files of its own.
            let Ok(program) = home.launch.with(VARIABLE, fault).start().await else {
                continue;
            };
            visit(&program, sort, &mut memory).await;
            assert!(program.stop().await.killed());
            return Self { name, home, memory };
        }
        panic!("{point} is passed by starts only");
    }

    /// As [`Self::killed`], without the index.
    async fn without_index(name: &'static str, sort: Sort) -> Self {
        let before = Self::killed(name, sort, "after-settle").await;
        std::fs::remove_dir_all(before.home.launch.data.join("index")).unwrap();
        before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_killed_can_be_made_again() {
    let sort = Sort::Image;
    let mut kills = 0;
    for before in [
        Before::nothing().await,
        Before::killed("a note and its answer", sort, "after-record").await,
        Before::killed("a note", sort, "answer-head").await,
        Before::killed("half a file", sort, "before-rename").await,
        Before::without_index("no index", sort).await,
    ] {
        let kept = tempfile::tempdir().unwrap();
        if before.home.launch.data.exists() {
            copy(&before.home.launch.data, kept.path());
        }
        for point in POINTS {
            for passage in 1.. {
                let fault = format!("{point}=kill#{passage}");
                if !killed_at_start(&before, kept.path(), &fault).await {
                    break;
                }
                kills += 1;
                let named = format!("{} {fault}", before.name);
                let trial = Trial {
                    home: &before.home,
                    sort,
                    named: &named,
                    doubtful: false,
                };
                // What is paid for here is paid for by the trial before.
                trial.starts_whole(&before.memory).await;
            }
        }
    }
    println!("killed at its start: {kills} times");
}

/// Puts the directory back, and starts it with this fault; whether that killed it.
async fn killed_at_start(before: &Before, kept: &Path, fault: &str) -> bool {
    let data = &before.home.launch.data;
    let _ = std::fs::remove_dir_all(data);
    if before.name != "empty" {
        copy(kept, data);
    }
    match before.home.launch.with(VARIABLE, fault).start().await {
        Err(ended @ Ended { .. }) => {
            assert!(ended.killed(), "{fault}: {}\n{}", ended.status, ended.log);
            true
        }
        Ok(program) => {
            program.kill().await;
            false
        }
    }
}
