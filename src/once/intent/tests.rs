use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::generation::Kind;
use crate::price::Usd;
use crate::store::DiskStore;

fn intent(clock: &Clock) -> Intent {
    Intent {
        key: Fingerprint::from_bytes([7; 32]),
        kind: Kind::Video,
        path: "/v1/videos".to_owned(),
        model: None,
        client: "local".to_owned(),
        started_at: clock.now(),
        state: IntentState::Pending,
        reason: None,
        run: None,
        usd: Usd::ZERO,
        extent: None,
        beside: Vec::new(),
        passed_by: None,
    }
}

struct Desk {
    _dir: tempfile::TempDir,
    shelf: Shelf,
    pledges: Pledges,
    clock: Clock,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let store = DiskStore::open(dir.path(), clock.clone()).unwrap().0;
        let shelf = Shelf::new(Arc::new(store));
        Self {
            _dir: dir,
            pledges: Pledges::new(shelf.clone()),
            shelf,
            clock,
        }
    }

    async fn make(&self) -> Pledge {
        self.pledges.make(intent(&self.clock)).await.unwrap()
    }

    fn open_question(&self, key: Fingerprint) -> Option<Intent> {
        let store = self.shelf.store();
        self.pledges.open_question(store, key).unwrap()
    }

    async fn stands(&self) -> Option<IntentState> {
        let key = intent(&self.clock).key;
        let intent = self.shelf.intent(key).await.unwrap();
        intent.map(|intent| intent.state)
    }
}

#[tokio::test]
async fn a_run_alone() {
    let desk = Desk::new();
    let pledge = desk.make().await;
    assert_eq!(desk.stands().await, Some(IntentState::Pending));
    pledge.settle().await;
    assert_eq!(desk.stands().await, None);
    desk.make().await.withdraw().await.unwrap();
    assert_eq!(desk.stands().await, None);
    desk.make().await.doubt("cut".to_owned()).await;
    assert_eq!(desk.stands().await, Some(IntentState::Unknown));
}

#[tokio::test]
async fn a_run_that_did_not_happen_leaves_the_earlier_doubt() {
    let desk = Desk::new();
    desk.make().await.doubt("cut".to_owned()).await;
    desk.make().await.withdraw().await.unwrap();
    assert_eq!(desk.stands().await, Some(IntentState::Unknown));
    desk.make().await.settle().await;
    assert_eq!(desk.stands().await, None, "a success settles it");
}

#[tokio::test]
async fn one_run_does_not_take_the_note_of_another() {
    for first_succeeds in [true, false] {
        let desk = Desk::new();
        let (first, second) = (desk.make().await, desk.make().await);
        if first_succeeds {
            first.settle().await;
        } else {
            first.withdraw().await.unwrap();
        }
        let stands = desk.stands().await;
        assert_eq!(
            stands,
            Some(IntentState::Pending),
            "the second is under way"
        );
        second.withdraw().await.unwrap();
        assert_eq!(desk.stands().await, None);
    }
}

#[tokio::test]
async fn a_doubt_outlives_the_success_beside_it_and_a_panic_is_one() {
    let desk = Desk::new();
    let (first, second) = (desk.make().await, desk.make().await);
    first.doubt("cut".to_owned()).await;
    second.settle().await;
    assert_eq!(desk.stands().await, Some(IntentState::Unknown));

    let desk = Desk::new();
    let (first, second) = (desk.make().await, desk.make().await);
    drop(first);
    second.settle().await;
    assert!(desk.stands().await.is_some());
}

#[test]
fn an_answer_settles_the_note_of_its_own_run_only() {
    let clock = Clock::system();
    let note = intent(&clock);
    let record = |key, at| Record {
        key,
        kind: Kind::Video,
        path: note.path.clone(),
        model: None,
        client: note.client.clone(),
        status: 200,
        headers: Vec::new(),
        created_at: at,
        elapsed_ms: 0,
        usd: None,
        run: None,
        extent: None,
        task: None,
        previous: None,
        media: Vec::new(),
        passed_by: None,
    };
    let earlier = note.started_at - SignedDuration::from_secs(1);
    let other = Fingerprint::from_bytes([8; 32]);
    assert!(is_settled(&note, &record(note.key, clock.now())));
    assert!(!is_settled(&note, &record(note.key, earlier)));
    assert!(!is_settled(&note, &record(other, clock.now())));
    let shared = Intent {
        reason: Some(SHARED.to_owned()),
        ..note.clone()
    };
    assert!(!is_settled(&shared, &record(note.key, clock.now())));
}

#[tokio::test]
async fn a_note_says_when_it_stands_for_more_than_one_run() {
    let desk = Desk::new();
    let (_first, _second) = (desk.make().await, desk.make().await);
    let key = intent(&desk.clock).key;
    let note = desk.shelf.blocking(move |store| store.intent(&key)).await;
    assert_eq!(note.unwrap().unwrap().reason.as_deref(), Some(SHARED));
}

impl Desk {
    /// A run that costs a dollar, asked for now or long ago.
    async fn paying(&self, at: Timestamp) -> (Uuid, Pledge) {
        let run = crate::generation::new_run(at);
        let intent = Intent {
            run: Some(run),
            usd: Usd::from_dollars(1.0),
            ..intent(&self.clock)
        };
        (run, self.pledges.make(intent).await.unwrap())
    }

    /// The runs that the note holds money for, its own first.
    async fn held(&self) -> Vec<Uuid> {
        let key = intent(&self.clock).key;
        let note = self.shelf.intent(key).await.unwrap();
        runs(&note.map(|note| note.stakes()).unwrap_or_default())
    }
}

fn runs(stakes: &[Stake]) -> Vec<Uuid> {
    stakes.iter().map(|stake| stake.run).collect()
}

/// MONEY: whoever runs in doubt what is in doubt has perhaps paid twice.
#[tokio::test]
async fn a_doubt_in_the_place_of_a_doubt_holds_both() {
    let desk = Desk::new();
    let (old, pledge) = desk.paying("2020-01-31T00:00:00Z".parse().unwrap()).await;
    assert!(pledge.doubt("cut".to_owned()).await.is_empty());
    assert_eq!(desk.held().await, [old]);
    let (first, pledge) = desk.paying(desk.clock.now()).await;
    let free = pledge.doubt("cut".to_owned()).await;
    assert_eq!(runs(&free), [old], "its month is over");
    assert_eq!(desk.held().await, [first]);
    let (second, pledge) = desk.paying(desk.clock.now()).await;
    assert_eq!(
        desk.held().await,
        [second, first],
        "a crash forgets nothing"
    );
    assert!(pledge.doubt("cut".to_owned()).await.is_empty());
    assert_eq!(desk.held().await, [second, first]);
    let (_, pledge) = desk.paying(desk.clock.now()).await;
    assert!(pledge.withdraw().await.unwrap().is_empty());
    assert_eq!(desk.held().await, [second, first]);
    let (_, pledge) = desk.paying(desk.clock.now()).await;
    assert_eq!(
        runs(&pledge.settle().await),
        [second, first],
        "that settles both"
    );
    assert!(desk.held().await.is_empty());
}

#[tokio::test]
async fn a_doubt_holds_nothing_for_a_run_that_has_ended_well() {
    for doubt_first in [true, false] {
        for panics in [true, false] {
            let desk = Desk::new();
            let (doubtful, first) = desk.paying(desk.clock.now()).await;
            let (_, second) = desk.paying(desk.clock.now()).await;
            let doubting = async {
                if panics {
                    drop(first);
                } else {
                    first.doubt("cut".to_owned()).await;
                }
            };
            if doubt_first {
                doubting.await;
                assert!(second.settle().await.is_empty());
            } else if panics {
                continue;
            } else {
                assert!(second.settle().await.is_empty());
                doubting.await;
            }
            assert_eq!(desk.held().await, [doubtful], "{doubt_first} {panics}");
            assert_eq!(desk.stands().await, Some(IntentState::Unknown));
        }
    }
}

#[tokio::test]
async fn a_note_that_is_left_behind_is_about_its_own_run() {
    let desk = Desk::new();
    let (left, first) = desk.paying(desk.clock.now()).await;
    let (_, second) = desk.paying(desk.clock.now()).await;
    first.leave().await;
    second.settle().await;
    assert_eq!(desk.held().await, [left]);
    assert_eq!(desk.stands().await, Some(IntentState::Pending));
}

/// MONEY: whoever led before a deliberate rerun took the note over must not run beside it.
#[tokio::test]
async fn what_stood_before_is_asked_about_while_a_rerun_goes_on() {
    let desk = Desk::new();
    let key = intent(&desk.clock).key;
    let first = desk.make().await;
    let asked = desk.open_question(key);
    assert_eq!(asked, None, "it is this process's own");
    first.doubt("cut".to_owned()).await;

    let rerun = desk.make().await;
    let asked = desk.open_question(key).unwrap();
    assert_eq!(asked.reason.as_deref(), Some("cut"));
    rerun.settle().await;
    assert_eq!(desk.open_question(key), None);
}
