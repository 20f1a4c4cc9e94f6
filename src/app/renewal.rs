//! A certificate that is replaced while the proxy serves: its files are looked at now and then, and
//! whenever somebody asks for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{DiskStore, Served};
use crate::tls::{Flaw, Front, Identity, Look};

/// How often the files are looked at. It costs two calls of the system.
const PERIOD: Duration = Duration::from_secs(2);

/// Whoever looks, and what has to know.
pub(super) struct Renewal {
    pub(super) front: Arc<Front>,
    pub(super) store: Arc<DiskStore>,
    pub(super) addr: SocketAddr,
    pub(super) clock: Clock,
    /// Looks at once, and says what came of it.
    pub(super) asked: Arc<Notify>,
}

impl Renewal {
    /// Looks until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => true,
                () = tokio::time::sleep(PERIOD) => false,
            };
            let front = self.front.clone();
            let look = tokio::task::spawn_blocking(move || front.look(asked)).await;
            match look {
                Ok(Look::Same) if asked => {
                    tracing::info!("the certificate is the one that is served")
                }
                Ok(Look::Same) => {}
                Ok(Look::Renewed(identity)) => self.renewed(&identity).await,
                Ok(Look::Refused(flaws)) => refused(&flaws),
                Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
            }
        }
    }

    async fn renewed(&self, identity: &Identity) {
        let served = Served {
            addr: self.addr,
            certificate: Some(identity.fingerprint()),
        };
        super::announce(self.store.clone(), served).await;
        tracing::info!(
            names = identity.names().join(" "),
            "another certificate is served to new connections"
        );
        if let Some(why) = identity.untimely(self.clock.now()) {
            tracing::warn!("clients refuse the certificate: {why}");
        }
    }
}

fn refused(flaws: &[Flaw]) {
    for flaw in flaws {
        tracing::error!(
            "the certificate that was served before is served on: {}",
            flaw.reason
        );
    }
}
