//! How a call that takes long tells how far it is: one line of JSON after the other.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::console::pipe::Pipe;
use crate::store::StoreError;

/// How often it is told at most.
const PAUSE: Duration = Duration::from_millis(200);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News<T> {
    /// So much is done since the beginning.
    Progress(u64),
    /// It has come to its end; the last line.
    Done(T),
    /// It has failed, for this reason; the last line.
    Failed(String),
}

/// Tells it to whoever reads the answer.
pub(super) struct Teller {
    pipe: Pipe,
    done: u64,
    told: Instant,
}

impl Teller {
    pub(super) fn new(pipe: Pipe) -> Self {
        Self {
            pipe,
            done: 0,
            told: Instant::now(),
        }
    }

    /// So much more is done. Breaks when nobody listens any longer.
    pub(super) fn progress(&mut self, more: u64) -> ControlFlow<()> {
        self.done = self.done.saturating_add(more);
        if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            self.tell(&News::<()>::Progress(self.done));
        }
        if self.pipe.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The last line.
    pub(super) fn end<T: Serialize>(mut self, end: Result<T, StoreError>) {
        match end {
            Ok(done) => self.tell(&News::Done(done)),
            Err(error) => {
                tracing::warn!(%error, "what an administrator asked for has failed");
                self.tell(&News::<()>::Failed(error.to_string()));
            }
        }
    }

    /// Whoever has gone hears nothing; that is noticed by `is_closed`.
    fn tell(&mut self, news: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(news) {
            line.push(b'\n');
            let told = self.pipe.write_all(&line).and_then(|()| self.pipe.flush());
            drop(told);
        }
    }
}
