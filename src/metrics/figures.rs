//! Figures that are told apart by words from short lists, found again without hashing the words.

use std::fmt::Debug;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::metrics::family::{Family, MetricConstructor};

use super::labels::{Labels, word};

/// A figure for each combination of words; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Figures<const N: usize, M, C = fn() -> M>(Arc<Known<N, M, C>>);

#[derive(Debug)]
struct Known<const N: usize, M, C> {
    names: [&'static str; N],
    family: Family<Labels<N>, M, C>,
    /// Those that were counted before: a handful, which are looked through faster than a hash is made.
    met: ArcSwap<Met<N, M>>,
}

type Met<const N: usize, M> = Vec<([&'static str; N], M)>;

impl<const N: usize, M: Clone + Debug, C: MetricConstructor<M> + Clone> Figures<N, M, C> {
    /// Labels called `names`, whose values are words from lists; `new` makes what begins at 0.
    pub(super) fn new(names: [&'static str; N], new: C) -> Self {
        Self(Arc::new(Known {
            names,
            family: Family::new_with_constructor(new),
            met: ArcSwap::default(),
        }))
    }

    /// The figure of `words`, handed to `count`.
    pub(super) fn of(&self, words: [&'static str; N], count: impl FnOnce(&M)) {
        let met = self.0.met.load();
        match met.iter().find(|(known, _)| *known == words) {
            Some((_, figure)) => count(figure),
            None => count(&self.meet(words)),
        }
    }

    pub(super) fn family(&self) -> Family<Labels<N>, M, C> {
        self.0.family.clone()
    }

    fn meet(&self, words: [&'static str; N]) -> M {
        let mut values = words.iter();
        let labels = self.0.names.map(|name| {
            // There are as many.
            word(name, values.next().copied().unwrap_or_default())
        });
        let figure = self.0.family.get_or_create_owned(&labels);
        self.0.met.rcu(|met| {
            let mut met = Met::clone(met);
            if !met.iter().any(|(known, _)| *known == words) {
                met.push((words, figure.clone()));
            }
            met
        });
        figure
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_many_count_at_once_is_counted_once_each() {
        let figures: Figures<2, Counter> = Figures::new(["kind", "outcome"], Counter::default);
        let words = [["chat", "hit"], ["chat", "stored"], ["video", "hit"]];
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for nth in 0..3_000 {
                        figures.of(words[nth % 3], |count| {
                            count.inc();
                        });
                    }
                });
            }
        });
        for [kind, outcome] in words {
            let labels = [word("kind", kind), word("outcome", outcome)];
            assert_eq!(figures.family().get_or_create(&labels).get(), 4_000);
        }
        assert_eq!(figures.0.met.load().len(), 3);
    }
}
