//! What is to be called next: in order of time, and never too much at once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use super::verdict::Verdict;
use crate::store::DeliveryId;

/// Calls at once.
const MOST: usize = 16;
/// Calls at once to one host.
const MOST_TO_A_HOST: usize = 2;
/// How many deliveries are held in memory; the rest stays on the disk until the next look at it.
const MOST_HELD: usize = 64 * 1024;

/// One call that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: DeliveryId,
    pub(super) task_id: String,
    /// Where it goes, as far as calls are counted: scheme, host and port.
    pub(super) host: String,
    /// What the last attempt has made of it, where only the note is still to be made.
    pub(super) verdict: Option<Verdict>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Call now.
    Call(Due),
    /// Nothing before this.
    At(Instant),
    /// Nothing until something changes.
    Nothing,
}

/// When, and in which order for equal times.
type Place = (Instant, u64);

/// Where a call is.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// In the queue.
    Due(Place),
    /// Taken out: it stands aside or is being made. It is to be made again then, when it was put in
    /// meanwhile.
    Out(Option<Instant>),
}

/// The calls that are to be made.
///
/// One whose host is busy stands aside until a call to that host has ended, so that a slow receiver
/// holds up nobody else.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<Place, Due>,
    /// All that are held.
    held: HashMap<DeliveryId, Held>,
    hosts: HashMap<String, Host>,
    under_way: usize,
    count: u64,
}

#[derive(Debug, Default)]
struct Host {
    under_way: usize,
    aside: VecDeque<Due>,
}

impl Queue {
    /// Puts in a call for `at`. One that is held already is only brought forward.
    pub(super) fn add(&mut self, due: Due, at: Instant) {
        let room = self.held.len() < MOST_HELD;
        match self.held.get_mut(&due.id) {
            Some(Held::Due(place)) if at < place.0 => {
                self.due.remove(place);
            }
            Some(Held::Due(_)) => return,
            Some(Held::Out(again)) => {
                *again = Some(again.map_or(at, |before| before.min(at)));
                return;
            }
            None if !room => return,
            None => {}
        }
        self.count += 1;
        let place = (at, self.count);
        self.held.insert(due.id, Held::Due(place));
        self.due.insert(place, due);
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes out what is to be called at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Next {
        while let Some((place, due)) = self.due.pop_first() {
            if place.0 > now || self.under_way >= MOST {
                self.due.insert(place, due);
                return if self.under_way >= MOST {
                    Next::Nothing
                } else {
                    Next::At(place.0)
                };
            }
            self.held.insert(due.id, Held::Out(None));
            let host = self.hosts.entry(due.host.clone()).or_default();
            if host.under_way >= MOST_TO_A_HOST {
                host.aside.push_back(due);
                continue;
            }
            host.under_way += 1;
            self.under_way += 1;
            return Next::Call(due);
        }
        Next::Nothing
    }

    /// A call has ended; the next one to its host comes in.
    pub(super) fn ended(&mut self, due: &Due, now: Instant) {
        let was = self.held.remove(&due.id);
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(Held::Out(Some(at))) = was {
            self.add(due.clone(), at);
        }
        let Some(host) = self.hosts.get_mut(&due.host) else {
            return;
        };
        host.under_way = host.under_way.saturating_sub(1);
        let next = host.aside.pop_front();
        if host.under_way == 0 && next.is_none() {
            self.hosts.remove(&due.host);
        }
        if let Some(next) = next {
            self.held.remove(&next.id);
            self.add(next, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::generation::Fingerprint;

    fn due(host: &str, n: usize) -> Due {
        let key = Fingerprint::from_bytes([1; 32]);
        Due {
            id: DeliveryId::new(&key, "task_1", &format!("{host}/{n}")),
            task_id: "task_1".to_owned(),
            host: host.to_owned(),
            verdict: None,
        }
    }

    fn call(queue: &mut Queue, now: Instant) -> Option<Due> {
        match queue.take(now) {
            Next::Call(due) => Some(due),
            Next::At(_) | Next::Nothing => None,
        }
    }

    #[test]
    fn the_earliest_comes_first_and_each_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let later = now + Duration::from_secs(5);
        queue.add(due("a", 1), later);
        queue.add(due("b", 1), now);
        queue.add(due("b", 1), now);
        assert_eq!(call(&mut queue, now), Some(due("b", 1)));
        queue.add(due("b", 1), now);
        assert_eq!(queue.take(now), Next::At(later));
        queue.add(due("a", 1), now);
        assert_eq!(call(&mut queue, now), Some(due("a", 1)));
        assert_eq!(queue.take(later), Next::Nothing);
        queue.ended(&due("a", 1), now);
        // It was put in while it was being made: something may have changed meanwhile.
        queue.ended(&due("b", 1), now);
        assert_eq!(call(&mut queue, now), Some(due("b", 1)));
        queue.ended(&due("b", 1), now);
        assert_eq!(queue.take(later), Next::Nothing);
    }

    #[test]
    fn a_busy_host_holds_up_nobody_else() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for n in 0..40 {
            queue.add(due("slow", n), now);
        }
        queue.add(due("quick", 0), now);
        let first: Vec<Due> = std::iter::from_fn(|| call(&mut queue, now)).collect();
        assert_eq!(first, [due("slow", 0), due("slow", 1), due("quick", 0)]);
        queue.ended(&first[0], now);
        assert_eq!(call(&mut queue, now), Some(due("slow", 2)));
        assert_eq!(call(&mut queue, now), None);
        let mut ended = vec![due("slow", 1), due("slow", 2), due("quick", 0)];
        let mut count = 3;
        while let Some(one) = ended.pop() {
            queue.ended(&one, now);
            while let Some(next) = call(&mut queue, now) {
                count += 1;
                ended.push(next);
            }
        }
        assert_eq!(count, 40, "all that stood aside were called");
        assert!(queue.held.is_empty() && queue.hosts.is_empty() && queue.due.is_empty());
    }

    #[test]
    fn there_is_an_end_to_calls_at_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for n in 0..3 * MOST {
            queue.add(due(&format!("host{n}"), 0), now);
        }
        let first: Vec<Due> = std::iter::from_fn(|| call(&mut queue, now)).collect();
        assert_eq!(first.len(), MOST);
        assert_eq!(queue.take(now), Next::Nothing);
        queue.ended(&first[0], now);
        assert!(call(&mut queue, now).is_some());
    }
}
