//! A certificate that is replaced while the proxy serves: its files are looked at now and then, and
//! whenever somebody asks for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::DiskStore;
use crate::tls::{Flaw, Front, Identity, Look};

/// How often the files are looked at. It costs two calls of the system.
const PERIOD: Duration = Duration::from_secs(2);

/// Whoever looks, and what has to know.
pub(super) struct Renewal {
    front: Arc<Front>,
    store: Arc<DiskStore>,
    addr: SocketAddr,
    clock: Clock,
    asked: Arc<Notify>,
}

impl Renewal {
    /// Of what is served at `addr`.
    pub(super) fn new(
        front: Arc<Front>,
        store: Arc<DiskStore>,
        addr: SocketAddr,
        clock: Clock,
    ) -> Self {
        Self {
            front,
            store,
            addr,
            clock,
            asked: Arc::default(),
        }
    }

    /// What has the files looked at once it is notified.
    pub(super) fn asked(&self) -> Arc<Notify> {
        self.asked.clone()
    }

    /// Who we are at this moment.
    pub(super) fn identity(&self) -> Arc<Identity> {
        self.front.identity()
    }

    /// Looks until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => true,
                () = tokio::time::sleep(PERIOD) => false,
            };
            let front = self.front.clone();
            let looking = tokio::task::spawn_blocking(move || front.look(asked));
            // A disk that hangs does not hold up the end.
            let look = tokio::select! {
                () = stop.cancelled() => return,
                look = looking => look,
            };
            match look {
                Ok(Look::Same) if asked => {
                    tracing::info!("the certificate is the one that is served");
                }
                Ok(Look::Same) => {}
                Ok(Look::Renewed(identity)) => self.renewed(&identity).await,
                Ok(Look::Refused(flaws)) => refused(&flaws),
                Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
            }
        }
    }

    async fn renewed(&self, identity: &Identity) {
        super::announce(self.store.clone(), self.addr, Some(&self.front)).await;
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
