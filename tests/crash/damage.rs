//! Damaged files: whatever a start finds, it repairs, rebuilds, or refuses with the file's name.
//!
//! In one process, so that hundreds of starts take seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reprise::app::App;
use reprise::clock::Clock;
use reprise::config::{self, Config, Sources};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::dice::{Dice, seeds};
use crate::home::{Home, copy, folder};
use crate::long;
use crate::sort::{self, Sort, succeeded};
use crate::visitor::{Answer, Call};

/// A start takes a fraction of a second; one that is not over by then hangs.
const PATIENCE: Duration = Duration::from_mins(1);

const DOUBTFUL: &str = "nobody knows";

const AT_ONCE: usize = 4;

/// A directory with a record of every sort in it, and what was seen of it.
struct Original {
    home: Home,
    data: TempDir,
    /// By sort.
    answers: Vec<(Sort, Bytes)>,
    poll: (Call, Bytes),
}

impl Original {
    /// `killed`: its index was not closed.
    async fn make(killed: bool) -> Self {
        let home = Home::empty().await;
        let program = home.launch.must_start().await;
        let mut answers = Vec::new();
        let mut poll = None;
        for sort in sort::ALL {
            if matches!(sort, Sort::SpeechLarge | Sort::ImageInline) {
                sort.prepare(&home.sandbox);
            }
            let call = sort.call(&prompt(sort));
            let call = call.header("idempotency-key", &prompt(sort));
            let answer = call.send(program.addr).await.unwrap();
            assert_eq!(answer.status, 200, "{sort:?}: {}", answer.brief());
            poll = poll.or(sort.poll(&answer));
            answers.push((sort, answer.body));
        }
        let poll = poll.unwrap();
        let end = loop {
            let end = poll.send(program.addr).await.unwrap();
            if succeeded(&end) {
                break end.body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        home.sandbox.on("POST /v1/video").close_before_head();
        let lost = Sort::Video.call(DOUBTFUL).send(program.addr).await.unwrap();
        assert_eq!(lost.error_code(), "upstream_outcome_unknown");
        let ended = if killed {
            program.kill().await
        } else {
            program.stop().await
        };
        assert!(killed || ended.status.success(), "{}", ended.log);
        let data = folder();
        copy(&home.launch.data, data.path());
        assert_eq!(home.pending().len(), 1);
        Self {
            home,
            data,
            answers,
            poll: (poll, end),
        }
    }
}

fn prompt(sort: Sort) -> String {
    format!("kept as {sort:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_cost_at_most_themselves() {
    let originals = [Original::make(false).await, Original::make(true).await];
    let trials = seeds(if long() { 400 } else { 60 });
    let count = trials.len();
    let mut outcomes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let originals = &originals;
    let mut told = stream::iter(trials)
        .map(|seed| async move {
            let original = &originals[usize::from(seed % 2 == 0)];
            trial(original, seed).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some((what, outcome)) = told.next().await {
        *outcomes.entry((what, outcome)).or_default() += 1;
    }
    println!("damaged: {count} directories; {outcomes:?}");
}

/// The kinds of files, by the folder or the name that they go by.
const KINDS: [&str; 9] = [
    "generations/",
    "blobs/",
    "pending/",
    "idempotency/",
    "index/db",
    "index/conf",
    "index/",
    "VERSION",
    "LOCK",
];

/// What was done to which files.
struct Damage {
    kind: &'static str,
    file: PathBuf,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    BitFlipped,
    PageZeroed,
    CutShort,
    Emptied,
    Deleted,
    Garbage,
    Longer,
}

const HOWS: [How; 7] = [
    How::BitFlipped,
    How::PageZeroed,
    How::CutShort,
    How::Emptied,
    How::Deleted,
    How::Garbage,
    How::Longer,
];

impl Damage {
    /// One file of one kind; `None` when there is none of it.
    fn choose(data: &Path, dice: &mut Dice) -> Option<Self> {
        let kind = dice.one(&KINDS);
        let mut files = Vec::new();
        list(data, data, &mut files);
        files.retain(|file| file.to_string_lossy().starts_with(kind));
        files.sort();
        (!files.is_empty()).then(|| Self {
            kind,
            file: dice.one(&files),
            how: dice.one(&HOWS),
        })
    }

    fn apply(&self, data: &Path, dice: &mut Dice) {
        let path = data.join(&self.file);
        if self.how == How::Deleted {
            return fs::remove_file(&path).unwrap();
        }
        let mut bytes = fs::read(&path).unwrap();
        let at = dice.below(bytes.len());
        match self.how {
            How::BitFlipped => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            How::PageZeroed => {
                let page = at / 4096 * 4096;
                let end = (page + 4096).min(bytes.len());
                bytes[page..end].fill(0);
            }
            How::CutShort => bytes.truncate(at),
            How::Emptied | How::Deleted => bytes.clear(),
            How::Garbage => {
                let length = dice.below(2 * bytes.len() + 16);
                bytes = (0..length).map(|_| dice.throw().to_le_bytes()[0]).collect();
            }
            How::Longer => bytes.resize(bytes.len() + 1 + dice.below(5000), 0x5a),
        }
        fs::write(path, bytes).unwrap();
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
}

/// One start on damaged files; the kind of the first damage, and what came of it.
async fn trial(original: &Original, seed: u64) -> (&'static str, &'static str) {
    let mut dice = Dice::new(seed);
    let place = folder();
    let data = place.path().join("data");
    copy(original.data.path(), &data);
    let mut damages = Vec::new();
    for _ in 0..=dice.below(2) {
        if let Some(damage) = Damage::choose(&data, &mut dice) {
            damage.apply(&data, &mut dice);
            damages.push(damage);
        }
    }
    let mut named = format!("REPRISE_SEED={seed}");
    for Damage { file, how, .. } in &damages {
        write!(named, " {} {how:?}", file.display()).unwrap();
    }
    let kind = damages.first().map_or("nothing", |damage| damage.kind);
    let touched = |kind: &str| damages.iter().any(|damage| damage.kind == kind);
    let mut outcome = "whole";
    // A second start finds what the first one made of it.
    for _ in 0..2 {
        let running = match Running::start(original, &data).await {
            Ok(running) => running,
            Err(error) => {
                assert!(touched("VERSION"), "{named}: {error}");
                // One digit that became another is a format that nobody knows yet.
                let newer = error.contains("data has format");
                assert!(error.contains("VERSION") || newer, "{named}: {error}");
                return (kind, "refused");
            }
        };
        let trial = Trial {
            original,
            addr: running.addr,
            named: &named,
            losses: touched("generations/") || touched("blobs/"),
            doubt_gone: damages
                .iter()
                .any(|damage| damage.kind == "pending/" && damage.how == How::Deleted),
        };
        if !trial.hold().await {
            outcome = "one lost";
        }
        running.stop(&named).await;
    }
    (kind, outcome)
}

struct Trial<'a> {
    original: &'a Original,
    addr: SocketAddr,
    named: &'a str,
    /// Something that was kept may be gone.
    losses: bool,
    doubt_gone: bool,
}

impl Trial<'_> {
    /// Every answer is the one that was kept; whether all are there.
    async fn hold(&self) -> bool {
        let named = self.named;
        let billed = self.original.home.billed();
        let mut lost = 0;
        for (sort, body) in &self.original.answers {
            let call = sort.call(&prompt(*sort)).cache_control("only-if-cached");
            let answer = self.send(&call).await;
            let told = || format!("{named}: {sort:?}: {}", answer.brief());
            if answer.status == 200 {
                assert!(answer.is_hit() && answer.body == body, "{}", told());
            } else {
                assert_eq!(answer.error_code(), "not_cached", "{}", told());
                assert!(self.losses, "{}", told());
                lost += 1;
            }
        }
        assert!(lost <= 2, "{named}: {lost} answers lost");
        let (poll, end) = &self.original.poll;
        let poll = self.send(poll).await;
        // Upstream shows it the same way: a poll costs nothing.
        assert!(poll.body == end || self.losses, "{named}: {}", poll.brief());
        if !self.doubt_gone {
            let doubt = self.send(&Sort::Video.call(DOUBTFUL)).await;
            assert_eq!(
                doubt.error_code(),
                "outcome_unknown",
                "{named}: {}",
                doubt.brief()
            );
        }
        assert_eq!(
            self.original.home.billed(),
            billed,
            "{named}: something ran"
        );
        lost == 0
    }

    async fn send(&self, call: &Call) -> Answer {
        call.send(self.addr).await.unwrap()
    }
}

/// A proxy in this process.
struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Running {
    async fn start(original: &Original, data: &Path) -> Result<Self, String> {
        let key = SecretString::from("sk-upstream-of-the-crash-tests");
        let bind = App::bind(config(original, data), key, Clock::system());
        let app = tokio::time::timeout(PATIENCE, bind).await;
        let app = app.expect("it hangs at its start");
        let app = app.map_err(|error| error.to_string())?;
        let stop = CancellationToken::new();
        let addr = app.addr();
        let stopping = stop.clone();
        let run = tokio::spawn(async move {
            app.run(stopping).await;
        });
        Ok(Self { addr, stop, run })
    }

    async fn stop(self, named: &str) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.run).await;
        ended
            .unwrap_or_else(|_| panic!("{named}: it hangs at its end"))
            .unwrap();
    }
}

fn config(original: &Original, data: &Path) -> Config {
    let sources = Sources {
        listen: Some("127.0.0.1:0".to_owned()),
        upstream: Some(original.home.sandbox.base_url()),
        data_dir: Some(data.to_owned()),
        cwd: original.home.path().to_owned(),
        ..Sources::default()
    };
    let mut config = config::load(&sources).unwrap().config;
    config.cache.min_free = 0;
    config
}
