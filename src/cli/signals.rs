//! SIGTERM and Ctrl-C: the first one drains, the second one ends the process at once. SIGHUP, which
//! asks for the configuration to be read again, ends nothing.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Failure;

/// A token that the first signal cancels. SIGHUP is passed on to `reload`.
///
/// # Errors
/// When the system does not let us listen for signals.
pub(super) fn stop(reload: Arc<Notify>) -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::warn!(
                "reload is not supported yet, but for the certificate; restart to have the \
                 configuration read again"
            );
            reload.notify_one();
        }
    });
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
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
    });
    Ok(stop)
}
