//! What is measured: each ready to be asked, and to be asked only for what it answers right.

pub(crate) mod nginx;
pub(crate) mod reprise;
pub(crate) mod varnish;

use std::path::PathBuf;

use crate::asking::Asking;
use crate::line::Line;
use crate::process::Process;

/// A process, and what it is asked.
pub(crate) struct System {
    /// How it is called in the tables.
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    pub(crate) asking: Asking,
}

impl System {
    /// Asks until what has to be in memory is, then compares one answer with what it has to be.
    pub(crate) async fn checked(name: &'static str, process: Process, asking: Asking) -> Self {
        let mut line = Line::to(process.address).await.unwrap();
        // What fills a cache, what finds it filled, and what all others will be like.
        let mut head = String::new();
        for _ in 0..3 {
            let (said, body) = ask(&mut line, &asking).await;
            assert!(said.starts_with("HTTP/1.1 200"), "{name}: {said}");
            let (len, wanted) = (body.len(), asking.answer.len());
            assert!(
                body == asking.answer,
                "{name}: {len} bytes for {wanted}: {said}"
            );
            head = said;
        }
        if let Some(words) = asking.says {
            assert!(
                head.contains(words),
                "{name} does not say `{words}`: {head}"
            );
        }
        Self {
            name,
            process,
            asking,
        }
    }
}

async fn ask(line: &mut Line, asking: &Asking) -> (String, Vec<u8>) {
    let mut request = asking.request.clone();
    asking.turn_over(&mut request, &mut 1);
    line.send(&request).await.unwrap();
    line.read().await.unwrap()
}

/// Where a program is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
