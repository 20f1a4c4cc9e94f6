//! Every fail point × every sort: a first run says which points it passes and how often; then the
//! program is killed at each of these passages, started again, and held to what its client remembers.
#![cfg(debug_assertions)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use reprise::fault::{POINTS, VARIABLE};

use crate::dice::Dice;
use crate::home::{Home, Memory, furnished};
use crate::long;
use crate::power::{CUTS, Cut};
use crate::program::Program;
use crate::shim::Shim;
use crate::sort::{self, Sort};
use crate::trial::{Trial, visit};
use crate::visitor::Call;

/// How many passages of one point are tried: the pieces of a long answer differ in nothing.
const MOST: u64 = 4;

/// How many programs run at once.
const AT_ONCE: usize = 4;

/// How long files may take to be fetched or given up; it takes milliseconds.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn every_passage_of_every_point_of_every_sort() {
    let data = furnished().await;
    let mut cases = Vec::new();
    for sort in sort::ALL {
        let passages = passages(data.path(), sort).await;
        let wanted = passages
            .into_iter()
            .filter(|(point, _)| wanted(sort, point));
        cases.extend(wanted.map(|passage| (sort, passage)));
    }
    let mut table = String::new();
    for point in POINTS {
        let of_point = cases.iter().filter(|(_, (name, _))| name == point);
        let passages = of_point.count();
        write!(table, " {point} {passages}").unwrap();
        assert!(passages > 0, "nothing ever passes {point}");
    }
    println!("crash matrix: {} kills;{table}", cases.len());
    let setting = Setting {
        data: data.path(),
        power: None,
    };
    all(setting, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_passage_without_power() {
    let Some(shim) = Shim::build() else { return };
    let data = furnished().await;
    let mut cases = Vec::new();
    for sort in sort::ALL {
        if long() || matches!(sort, Sort::Video | Sort::SpeechLarge) {
            let passages = passages(data.path(), sort).await;
            cases.extend(passages.into_iter().map(|passage| (sort, passage)));
        }
    }
    let cuts = if long() { &CUTS[..] } else { &CUTS[..1] };
    for cut in cuts {
        let setting = Setting {
            data: data.path(),
            power: Some((&shim, *cut)),
        };
        all(setting, &cases).await;
    }
    println!(
        "crash matrix without power: {} cuts",
        cases.len() * cuts.len()
    );
}

async fn all(setting: Setting<'_>, cases: &[(Sort, (String, u64))]) {
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |(sort, (point, passage))| async move {
            let fault = format!("{point}=kill#{passage}");
            let killed = case(setting, *sort, &fault).await;
            // How many pieces an answer comes in is the network's business.
            let certain = point != "mid-answer";
            assert!(killed || !certain, "{sort:?} {fault}: not reached");
        })
        .await;
}

/// The short form leaves out what differs in nothing: a start knows no sorts, and what is shown while
/// it arrives arrives in many pieces.
fn wanted(sort: Sort, point: &str) -> bool {
    let start = POINTS.iter().position(|name| *name == "reconciled");
    let at = POINTS.iter().position(|name| *name == point);
    long() || sort == Sort::Video || at > start
}

/// Every passage of every point in one clean run: its number within the point.
async fn passages(data: &Path, sort: Sort) -> Vec<(String, u64)> {
    let home = Home::for_sort(data, sort).await;
    let trace = home.launch.with(VARIABLE, "trace");
    let program = trace.must_start().await;
    let mut memory = Memory::default();
    visit(&program, sort, &mut memory).await;
    files_settled(&program).await;
    let ended = program.stop().await;
    assert!(ended.status.success(), "{}", ended.log);
    assert!(memory.answer.is_some(), "{}", ended.log);
    let mut passed = BTreeMap::new();
    let points = ended
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("passed "));
    let mut passages = Vec::new();
    for point in points {
        let count = passed.entry(point.to_owned()).or_insert(0);
        *count += 1;
        if *count <= MOST {
            passages.push((point.to_owned(), *count));
        }
    }
    passages
}

/// Waits until it is known what became of the files of a result, or until the program dies of it: a stop
/// meanwhile leaves that to the next start, and its passages to chance.
async fn files_settled(program: &Program) {
    let began = Instant::now();
    let page = Call::get("/metrics");
    while let Ok(figures) = page.clone().send(program.addr).await {
        assert_eq!(figures.status, 200, "{}", figures.brief());
        let figures = String::from_utf8_lossy(&figures.body);
        if figures.contains("reprise_media_waiting 0\n") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{figures}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What goes with the program.
#[derive(Clone, Copy)]
struct Setting<'a> {
    /// What it starts on.
    data: &'a Path,
    /// The power, on a disk that has done no more than it had to.
    power: Option<(&'a Shim, Cut)>,
}

/// Runs one case; whether the fault came up.
async fn case(setting: Setting<'_>, sort: Sort, fault: &str) -> bool {
    let home = Home::for_sort(setting.data, sort).await;
    let mut memory = Memory::default();
    let (mut launch, mut life) = (home.launch.clone(), None);
    if let Some((shim, cut)) = setting.power {
        let (on_shim, begun) = shim.life(&home);
        (launch, life) = (on_shim, Some((begun, cut)));
    }
    let ended = match launch.with(VARIABLE, fault).start().await {
        Err(ended) => ended,
        Ok(program) => {
            visit(&program, sort, &mut memory).await;
            files_settled(&program).await;
            program.stop().await
        }
    };
    let killed = ended.killed();
    let mut named = format!("{sort:?} {fault}");
    if let Some((life, cut)) = life {
        write!(named, " {cut:?}").unwrap();
        life.cut(&home, cut, &mut Dice::new(1));
    }
    assert!(
        killed || ended.status.success(),
        "{named}: {}\n{}",
        ended.status,
        ended.log
    );
    assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
    let trial = Trial {
        home: &home,
        sort,
        named: &named,
        doubtful: false,
    };
    trial.hold(&memory).await;
    killed
}
