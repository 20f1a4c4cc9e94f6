//! Who asks upstream, and who waits for the answer: one slot for each job and poll path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::answer::{PollAnswer, PollError};

/// How many jobs' latest answers are held before the stale ones are swept.
const SWEEP_AT: usize = 1024;

/// What everyone who waits is told; `None` until then.
pub(super) type Told = Option<Result<Arc<PollAnswer>, PollError>>;

/// The latest answers, and the questions under way, by poll path.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<String, Slot>>);

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
    /// Takes a place at `place`, whose answers serve for `interval`.
    pub(super) fn board(self: &Arc<Self>, place: &str, interval: Duration) -> Boarded {
        let mut slots = self.lock();
        if slots.len() >= SWEEP_AT {
            slots.retain(|_, slot| slot.asking.is_some() || slot.fresh(interval).is_some());
        }
        let slot = slots.entry(place.to_owned()).or_default();
        if let Some(answer) = slot.fresh(interval) {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            && let Some(slot) = self.slots.lock().get_mut(&self.place)
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
        let mut slots = self.slots.lock();
        let unanswered = |slot: &Slot| {
            let asking = slot.asking.as_ref();
            asking.is_some_and(|tell| Arc::ptr_eq(tell, &self.tell))
        };
        if slots.get(&self.place).is_some_and(unanswered) {
            slots.remove(&self.place);
        }
    }
}
