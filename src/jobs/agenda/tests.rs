use super::super::dialect::State;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn agenda(jobs: usize) -> Agenda {
    let agenda = Agenda::new(&config::Jobs {
        poll_interval: 10 * SECOND,
        min_poll_interval: SECOND,
        deadline: Duration::from_hours(24),
    });
    let jobs: Vec<_> = (0..jobs)
        .map(|nth| (format!("task_{nth}"), Route::Generations))
        .collect();
    agenda.take_up(&jobs);
    agenda
}

fn working(progress: u8) -> Word {
    Word::Sign(Sign {
        state: State::Working,
        progress: Some(progress),
    })
}

/// Plays the watcher for `seconds`; how many polls began in each.
async fn played(agenda: &Agenda, seconds: u64, word: Word) -> Vec<usize> {
    let mut counts = vec![0; usize::try_from(seconds).unwrap()];
    let start = Instant::now();
    loop {
        match agenda.next() {
            Next::Visit(id, route) => {
                let second = usize::try_from(start.elapsed().as_secs()).unwrap();
                let Some(count) = counts.get_mut(second) else {
                    return counts;
                };
                *count += 1;
                agenda.hear(&id, word, route);
                agenda.put_back(&id);
            }
            Next::Wait(until) => tokio::time::sleep_until(until).await,
            Next::Idle => panic!("there are jobs"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_jobs_make_no_burst() {
    let agenda = agenda(1000);
    let counts = played(&agenda, 60, working(1)).await;
    let (all, most): (usize, usize) = (counts.iter().sum(), *counts.iter().max().unwrap());
    assert!((5_000..=7_000).contains(&all), "{counts:?}");
    assert!(most <= 202, "at most twice the mean: {counts:?}");
    // All submitted in one moment; and after a pause of the machine, when all are due at once.
    let burst = Agenda::new(&config::Jobs {
        poll_interval: 10 * SECOND,
        min_poll_interval: SECOND,
        deadline: Duration::from_hours(24),
    });
    for nth in 0..1000 {
        burst.follow(&format!("task_{nth}"), Route::Videos);
    }
    let counts = played(&burst, 60, working(1)).await;
    assert!(*counts.iter().max().unwrap() <= 205, "{counts:?}");
    tokio::time::advance(60 * SECOND).await;
    let counts = played(&burst, 60, working(1)).await;
    assert!(*counts.iter().max().unwrap() <= 205, "{counts:?}");
    assert!(counts.iter().sum::<usize>() >= 5_000, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_is_left_alone() {
    let agenda = agenda(100);
    played(&agenda, 600, Word::Missed { retry_after: None }).await;
    let counts = played(&agenda, 600, Word::Missed { retry_after: None }).await;
    let all: usize = counts.iter().sum();
    assert!((150..=300).contains(&all), "every five minutes: {all}");
}

#[tokio::test(start_paused = true)]
async fn a_clients_poll_postpones_ours() {
    let agenda = agenda(1);
    for _ in 0..100 {
        tokio::time::advance(3 * SECOND).await;
        assert!(matches!(agenda.next(), Next::Wait(_)));
        agenda.hear("task_0", working(1), Route::Generations);
    }
    let prospect = agenda.prospect("task_0").unwrap();
    assert_eq!(prospect.progress, Some(1));
    assert!(prospect.next_poll >= 8 * SECOND && prospect.next_poll <= 12 * SECOND);
    tokio::time::advance(13 * SECOND).await;
    let Next::Visit(id, Route::Generations) = agenda.next() else {
        panic!("it is due");
    };
    // While it is asked for, nobody else asks, and nobody else puts it back.
    agenda.hear("task_0", working(2), Route::Generations);
    assert_eq!(agenda.next(), Next::Idle);
    assert_eq!(agenda.prospect("task_0").unwrap().next_poll, Duration::ZERO);
    agenda.put_back(&id);
    assert!(matches!(agenda.next(), Next::Wait(_)));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_gone_wherever_it_was() {
    let agenda = agenda(2);
    agenda.forget("task_0");
    tokio::time::advance(20 * SECOND).await;
    let Next::Visit(id, _) = agenda.next() else {
        panic!("the other one is due");
    };
    assert_eq!(&*id, "task_1");
    agenda.forget(&id);
    agenda.put_back(&id);
    agenda.hear(&id, working(1), Route::Videos);
    assert_eq!((agenda.next(), agenda.len()), (Next::Idle, 0));
    assert_eq!(agenda.prospect(&id), None);
    agenda.follow("task_2", Route::Videos);
    agenda.follow("task_2", Route::Videos);
    assert_eq!(agenda.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_hears_of_what_comes_sooner() {
    let agenda = agenda(0);
    assert_eq!(agenda.next(), Next::Idle);
    agenda.follow("task_0", Route::Videos);
    tokio::time::timeout(SECOND, agenda.sooner()).await.unwrap();
}

#[tokio::test]
async fn it_holds_no_more_than_it_may() {
    let agenda = agenda(MOST + 5);
    assert_eq!(agenda.len(), MOST);
}

#[tokio::test]
async fn no_interval_is_too_long() {
    let agenda = Agenda::new(&config::Jobs {
        poll_interval: Duration::MAX,
        min_poll_interval: SECOND,
        deadline: Duration::MAX,
    });
    agenda.take_up(&[("task_0".to_owned(), Route::Videos)]);
    agenda.follow("task_1", Route::Videos);
    assert!(matches!(agenda.next(), Next::Wait(_)));
}
