//! Gates and faults: what a test makes the sandbox do to the requests that come.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::watch;

use super::locked;
use super::seen::matches;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Word {
    CloseBeforeHead,
    Reset,
    StallAfter(usize),
    CutAfter(usize),
    Answer {
        status: StatusCode,
        content_type: String,
        body: Bytes,
        billed: bool,
    },
    WithoutDone,
    ErrorEvent,
    Delay(Duration),
}

/// Everything that was asked for with `hold`, `hold_stream` and `on`.
#[derive(Debug, Default)]
pub(super) struct Script {
    holds: Mutex<Vec<Arc<Hold>>>,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    next: u64,
    all: Vec<Fault>,
}

#[derive(Debug)]
struct Fault {
    id: u64,
    prefix: String,
    words: Vec<Word>,
    /// How many more requests it applies to; `None` for all.
    left: Option<usize>,
}

/// The request's side of a gate.
#[derive(Debug)]
pub(super) struct Hold {
    prefix: String,
    /// `None` holds whole requests, `Some(n)` event streams after their nth event.
    pub(super) after_events: Option<usize>,
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Hold {
    /// Counts an arrival and waits until the gate is open.
    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        // Fails only when the sender is gone, and `self` owns it.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Holds requests until it is released or dropped.
#[derive(Debug)]
pub struct Gate {
    hold: Arc<Hold>,
    script: Arc<Script>,
}

impl Gate {
    /// Waits until `n` requests (or streams) have come to the gate since it was put up.
    ///
    /// Waits for ever when they do not come: a test puts a time limit around it.
    pub async fn arrived(&self, n: usize) {
        let _ = self
            .hold
            .arrived
            .subscribe()
            .wait_for(|count| *count >= n)
            .await;
    }

    /// Lets everything go that waits, and everything that will come.
    pub fn release(&self) {
        self.hold.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
        locked(&self.script.holds).retain(|hold| !Arc::ptr_eq(hold, &self.hold));
    }
}

/// Says what goes wrong with the next request whose route starts with the prefix.
///
/// Several words of one builder apply to the same request; several builders take turns, and those
/// that apply [`always`](Self::always) come last. A fault is in force as soon as its word was said, for
/// requests whose body is read after that; one that waits at a gate already is not touched.
#[derive(Debug)]
pub struct FaultBuilder {
    id: u64,
    script: Arc<Script>,
}

impl FaultBuilder {
    /// The run is billed, then the connection closes before the answer's head.
    pub fn close_before_head(&self) -> &Self {
        self.say(Word::CloseBeforeHead)
    }

    /// The run is billed, then the connection is reset (TCP RST) before the answer's head.
    pub fn reset(&self) -> &Self {
        self.say(Word::Reset)
    }

    /// The answer stops after `bytes` bytes of its body; the connection stays open.
    pub fn stall_after(&self, bytes: usize) -> &Self {
        self.say(Word::StallAfter(bytes))
    }

    /// The answer breaks off after `bytes` bytes of its body: the connection closes, over HTTP/2 the
    /// stream is reset.
    pub fn cut_after(&self, bytes: usize) -> &Self {
        self.say(Word::CutAfter(bytes))
    }

    /// Another answer, for a run that is not billed and never begins. A status that HTTP does not
    /// have becomes 500.
    pub fn answer(&self, status: u16, content_type: &str, body: impl Into<Bytes>) -> &Self {
        self.instead(status, content_type, body.into(), false)
    }

    /// Another answer, though the run is billed and takes place.
    pub fn answer_billed(&self, status: u16, content_type: &str, body: impl Into<Bytes>) -> &Self {
        self.instead(status, content_type, body.into(), true)
    }

    /// An event stream ends cleanly, but without its end marker.
    pub fn without_done(&self) -> &Self {
        self.say(Word::WithoutDone)
    }

    /// An event stream breaks off with an error event after its first part.
    pub fn error_event(&self) -> &Self {
        self.say(Word::ErrorEvent)
    }

    /// The answer's head comes later, after the run was billed.
    pub fn delay(&self, by: Duration) -> &Self {
        self.say(Word::Delay(by))
    }

    /// Applies to the next `n` matching requests instead of one.
    pub fn times(&self, n: usize) -> &Self {
        self.change(|fault| fault.left = Some(n))
    }

    /// Applies to every matching request.
    pub fn always(&self) -> &Self {
        self.change(|fault| fault.left = None)
    }

    fn instead(&self, status: u16, content_type: &str, body: Bytes, billed: bool) -> &Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.say(Word::Answer {
            status,
            content_type: content_type.into(),
            body,
            billed,
        })
    }

    fn say(&self, word: Word) -> &Self {
        self.change(|fault| fault.words.push(word))
    }

    fn change(&self, how: impl FnOnce(&mut Fault)) -> &Self {
        locked(&self.script.faults)
            .all
            .iter_mut()
            .find(|fault| fault.id == self.id)
            .map(how);
        self
    }
}

impl Script {
    /// Puts up a gate.
    pub(super) fn hold(self: &Arc<Self>, prefix: &str, after_events: Option<usize>) -> Gate {
        let hold = Arc::new(Hold {
            prefix: prefix.into(),
            after_events,
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(false),
        });
        locked(&self.holds).push(hold.clone());
        Gate {
            hold,
            script: self.clone(),
        }
    }

    /// Begins a fault; without a word it does nothing.
    pub(super) fn on(self: &Arc<Self>, prefix: &str) -> FaultBuilder {
        let mut faults = locked(&self.faults);
        faults.all.retain(|fault| fault.left != Some(0));
        faults.next += 1;
        let id = faults.next;
        let fault = Fault {
            id,
            prefix: prefix.into(),
            words: Vec::new(),
            left: Some(1),
        };
        faults.all.push(fault);
        FaultBuilder {
            id,
            script: self.clone(),
        }
    }

    /// The gates that a request, or the stream in its answer, has to pass.
    pub(super) fn holds(&self, route: &str) -> Vec<Arc<Hold>> {
        let matching = |hold: &&Arc<Hold>| matches(route, &hold.prefix);
        locked(&self.holds)
            .iter()
            .filter(matching)
            .cloned()
            .collect()
    }

    /// What goes wrong with this request.
    pub(super) fn take(&self, route: &str) -> Vec<Word> {
        let mut faults = locked(&self.faults);
        let due = |fault: &Fault| {
            fault.left != Some(0) && !fault.words.is_empty() && matches(route, &fault.prefix)
        };
        let counted = faults
            .all
            .iter()
            .position(|fault| fault.left.is_some() && due(fault));
        let Some(at) = counted.or_else(|| faults.all.iter().position(due)) else {
            return Vec::new();
        };
        let fault = &mut faults.all[at];
        fault.left = fault.left.map(|left| left.saturating_sub(1));
        fault.words.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(script: &Script, route: &str) -> Vec<u64> {
        let words = script.take(route);
        let secs = |word: &Word| match word {
            Word::Delay(by) => Some(by.as_secs()),
            Word::CloseBeforeHead
            | Word::Reset
            | Word::StallAfter(_)
            | Word::CutAfter(_)
            | Word::Answer { .. }
            | Word::WithoutDone
            | Word::ErrorEvent => None,
        };
        words.iter().filter_map(secs).collect()
    }

    #[test]
    fn faults_take_turns_and_always_comes_last() {
        let script = Arc::new(Script::default());
        let seconds = Duration::from_secs;
        script.on("POST /a").delay(seconds(9)).always();
        script.on("POST /a").delay(seconds(1)).times(2);
        script.on("POST /a/b").delay(seconds(3)).delay(seconds(4));
        script.on("POST /a");
        let taken: Vec<Vec<u64>> = (0..5).map(|_| delays(&script, "POST /a/b")).collect();
        assert_eq!(taken, [vec![1], vec![1], vec![3, 4], vec![9], vec![9]]);
        assert_eq!(delays(&script, "GET /a/b"), [0_u64; 0]);
    }

    #[tokio::test]
    async fn a_dropped_gate_is_open_and_gone() {
        let script = Arc::new(Script::default());
        let gate = script.hold("/x", None);
        let [hold] = &script.holds("GET /x/y")[..] else {
            panic!("one gate")
        };
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.pass().await }
        });
        gate.arrived(1).await;
        assert!(!waiting.is_finished());
        drop(gate);
        waiting.await.unwrap();
        assert!(script.holds("GET /x/y").is_empty());
    }
}
