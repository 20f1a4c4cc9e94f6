//! The pause between the head and the body of a request whose client waits for 100
//! (`Expect: 100-continue`, RFC 9110 §10.1.1).
//!
//! The client is given its 100 when its body is first asked for. So the body is not asked for before
//! upstream has sent its own 100, or nothing for a while: it need not know what is expected of it. An
//! answer that comes instead spares the upload.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{Sleep, sleep};

/// How long upstream's 100 is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends a pause, for whoever hears of upstream.
#[derive(Clone, Default)]
pub(super) struct GoAhead(Arc<Given>);

#[derive(Default)]
struct Given {
    given: AtomicBool,
    waiting: AtomicWaker,
}

impl GoAhead {
    /// The body may be asked for.
    pub(super) fn give(&self) {
        self.0.given.store(true, Ordering::Release);
        self.0.waiting.wake();
    }
}

/// A pause. It begins when it is first polled, which is when the head is on its way.
pub(super) struct Pause {
    go_ahead: GoAhead,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    pub(super) fn until(go_ahead: GoAhead) -> Self {
        Self {
            go_ahead,
            patience: None,
        }
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.go_ahead.0.waiting.register(context.waker());
        if self.go_ahead.0.given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        patience.as_mut().poll(context)
    }
}
