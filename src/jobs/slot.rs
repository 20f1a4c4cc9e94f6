//! Who asks upstream, and who waits for the answer: one slot for each job and poll path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::answer::{PollAnswer, PollError};

/// So many slots are not worth sweeping.
const FEW: usize = 1024;

/// What everyone who waits is told; `None` until then.
pub(super) type Told = Option<Result<Arc<PollAnswer>, PollError>>;

/// The latest answers, and the questions under way, by poll path.
pub(super) struct Slots {
    table: Mutex<Table>,
}

struct Table {
    slots: HashMap<String, Slot>,
    /// For how long an answer serves.
    interval: Duration,
    /// With so many slots, the stale ones are swept.
    sweep_at: usize,
}

#[derive(Default)]
struct Slot {
    latest: Option<Arc<PollAnswer>>,
    asking: Option<Arc<watch::Sender<Told>>>,
}

/// What one who wants an answer has to do for it.
pub(super) enum Boarded {
    /// Nothing: this is young enough.
    Latest(Arc<PollAnswer>),
    /// Wait for somebody else's question.
    Wait(watch::Receiver<Told>),
    /// See that the question is asked, and wait.
    Ask(Asking, watch::Receiver<Told>),
}

/// The duty to ask. Dropped without an answer, it leaves no slot behind in which everybody waits
/// for nobody.
pub(super) struct Asking {
    slots: Arc<Slots>,
    place: String,
    tell: Arc<watch::Sender<Told>>,
}

impl Slots {
    /// An answer serves for `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        let table = Table {
            slots: HashMap::new(),
            interval,
            sweep_at: FEW,
        };
        Self {
            table: Mutex::new(table),
        }
    }

    /// From now on, an answer serves for `interval`; those that are there too.
    pub(super) fn set_interval(&self, interval: Duration) {
        self.lock().interval = interval;
    }

    /// Takes a place at `place`; with `anew`, no answer that is there already will do.
    pub(super) fn board(self: &Arc<Self>, place: &str, anew: bool) -> Boarded {
        let mut table = self.lock();
        let interval = table.interval;
        table.sweep(interval);
        let slot = table.slots.entry(place.to_owned()).or_default();
        if let Some(answer) = slot.fresh(interval)
            && !anew
        {
            return Boarded::Latest(answer);
        }
        if let Some(tell) = &slot.asking {
            return Boarded::Wait(tell.subscribe());
        }
        let (tell, told) = watch::channel(None);
        let tell = Arc::new(tell);
        slot.asking = Some(tell.clone());
        let asking = Asking {
            slots: self.clone(),
            place: place.to_owned(),
            tell,
        };
        Boarded::Ask(asking, told)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes out what serves nobody, when there is much; the next time when it has doubled.
    fn sweep(&mut self, interval: Duration) {
        if self.slots.len() >= self.sweep_at {
            self.slots
                .retain(|_, slot| slot.asking.is_some() || slot.fresh(interval).is_some());
            self.sweep_at = FEW.max(2 * self.slots.len());
        }
    }
}

impl Slot {
    fn fresh(&self, interval: Duration) -> Option<Arc<PollAnswer>> {
        let answer = self.latest.as_ref()?;
        (answer.age() < interval).then(|| answer.clone())
    }
}

impl Asking {
    /// Tells everybody who waits. The answer serves others for a while, unless the job is over:
    /// then what is kept speaks for it.
    pub(super) fn answer(self, answer: Result<Arc<PollAnswer>, PollError>, over: bool) {
        let tell = self.tell.clone();
        if let Ok(answer) = &answer
            && !over
            && let Some(slot) = self.slots.lock().slots.get_mut(&self.place)
        {
            slot.latest = Some(answer.clone());
            slot.asking = None;
        }
        // Before anybody is told: whoever asks again at once asks a new question.
        drop(self);
        tell.send_replace(Some(answer));
    }

    /// Waits until nobody waits for the answer any more.
    pub(super) async fn abandoned(&self) {
        self.tell.closed().await;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let slots = &mut self.slots.lock().slots;
        let unanswered = |slot: &Slot| {
            let asking = slot.asking.as_ref();
            asking.is_some_and(|tell| Arc::ptr_eq(tell, &self.tell))
        };
        if slots.get(&self.place).is_some_and(unanswered) {
            slots.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer() -> Arc<PollAnswer> {
        Arc::new(PollAnswer::new(
            StatusCode::OK,
            HeaderMap::new(),
            Bytes::new(),
        ))
    }

    fn asking(slots: &Arc<Slots>, place: &str) -> Asking {
        match slots.board(place, false) {
            Boarded::Ask(asking, _) => asking,
            Boarded::Latest(_) | Boarded::Wait(_) => panic!("somebody else asks"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_serves_for_its_time() {
        let slots = Arc::new(Slots::new(Duration::from_secs(2)));
        asking(&slots, "/a").answer(Ok(answer()), false);
        assert!(matches!(slots.board("/a", false), Boarded::Latest(_)));
        let Boarded::Ask(anew, _) = slots.board("/a", true) else {
            panic!("it is asked anew");
        };
        assert!(matches!(slots.board("/a", false), Boarded::Latest(_)));
        assert!(matches!(slots.board("/a", true), Boarded::Wait(_)));
        drop(anew);
        tokio::time::advance(Duration::from_secs(2)).await;
        asking(&slots, "/a").answer(Ok(answer()), true);
        drop(asking(&slots, "/a"));
        asking(&slots, "/a").answer(Err(PollError::Gone), false);
        asking(&slots, "/a");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_and_who_leaves_is_noticed() {
        let slots = Arc::new(Slots::new(Duration::from_secs(2)));
        let Boarded::Ask(asking, first) = slots.board("/a", false) else {
            panic!("nobody asks yet");
        };
        let Boarded::Wait(second) = slots.board("/a", false) else {
            panic!("somebody asks");
        };
        drop(first);
        let left = tokio::time::timeout(Duration::from_secs(1), asking.abandoned());
        assert!(left.await.is_err(), "one still waits");
        let mut told = second.clone();
        asking.answer(Ok(answer()), false);
        assert!(told.wait_for(Option::is_some).await.is_ok());
        let Boarded::Ask(asking, told) = slots.board("/b", false) else {
            panic!("nobody asks yet");
        };
        drop(told);
        asking.abandoned().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_serves_nobody_is_swept() {
        let slots = Arc::new(Slots::new(Duration::from_secs(2)));
        for nth in 0..3 * FEW {
            asking(&slots, &nth.to_string()).answer(Ok(answer()), false);
        }
        assert_eq!(slots.lock().slots.len(), 3 * FEW, "all are fresh");
        tokio::time::advance(Duration::from_secs(2)).await;
        for nth in 0..2 * FEW {
            asking(&slots, &format!("later {nth}")).answer(Ok(answer()), false);
        }
        assert!(
            slots.lock().slots.len() <= 2 * FEW,
            "{}",
            slots.lock().slots.len()
        );
    }
}
