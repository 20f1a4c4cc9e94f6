//! SIGTERM and Ctrl-C: the first one drains, the second one ends the process at once. SIGHUP, which
//! asks for the configuration to be read again, ends nothing.
//!
//! They are heard on a thread of their own, so that a second signal ends the process whatever the
//! others are stuck in, also when all has ended but a call of the system.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Failure;

/// A token that the first signal cancels. SIGHUP is passed on to `reload`.
///
/// # Errors
/// When the system does not let us listen for signals.
pub(super) fn stop(reload: Arc<Notify>) -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let first = stop.clone();
    let (ready, listening) = mpsc::channel();
    let listen = move || -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let hang_up = signal(SignalKind::hangup())?;
            let ends = (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            );
            // Whoever waits for it may be gone only when the process ends.
            let _ = ready.send(());
            tokio::join!(pass_on(hang_up, &reload), end(ends, &first));
            Ok(())
        })
    };
    let listener = thread::Builder::new().name("signals".to_owned());
    let listener = listener.spawn(listen)?;
    if listening.recv().is_ok() {
        return Ok(stop);
    }
    match listener.join() {
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(())) | Err(_) => Err(Failure::Runtime("cannot listen for signals".to_owned())),
    }
}

async fn pass_on(mut hang_up: Signal, reload: &Notify) {
    while hang_up.recv().await.is_some() {
        reload.notify_one();
    }
}

async fn end((mut terminate, mut interrupt): (Signal, Signal), first: &CancellationToken) {
    for received in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if received > 1 {
            eprintln!("reprise: stopped at once; what was under way is shown as unknown");
            std::process::exit(1);
        }
        first.cancel();
    }
}
