//! What a start opens, and what it finds there: the socket, the store, the ledger, the certificate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpListener;

use super::{Secrets, StartError};
use crate::books::{self, Books};
use crate::clock::Clock;
use crate::config::{self, Config, Problem};
use crate::ledger::{Ledger, LedgerError, Spent};
use crate::store::{DiskStore, Indexing, OpenReport, Served, StoreError};
use crate::tls::Front;

/// Binds the socket; says where it is, with the real port.
pub(super) async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening = async {
        let listener = TcpListener::bind(addr).await?;
        listener.local_addr().map(|addr| (listener, addr))
    };
    listening
        .await
        .map_err(|source| StartError::Listen { addr, source })
}

/// Who hears how far an index is that has to be made anew.
pub type Tell = Box<dyn Fn(Indexing) + Send + Sync>;

/// Opens the data directory, as far as a start waits for it.
pub(super) async fn open(
    dir: PathBuf,
    clock: Clock,
    tell: Tell,
) -> Result<(DiskStore, OpenReport), StoreError> {
    let opening = tokio::task::spawn_blocking(move || DiskStore::open_at_once(&dir, clock, &tell));
    opening
        .await
        .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())))
}

/// Who is let into the admin API, if it is served.
pub(super) async fn token(
    config: &Config,
    secrets: &Secrets,
    store: &Arc<DiskStore>,
) -> Option<SecretString> {
    match &secrets.admin_token {
        _ if !config.console.enabled => None,
        Some(token) => Some(token.clone()),
        None => kept_token(store.clone()).await,
    }
}

/// Reads what was spent. The data directory has to be ours.
pub(super) async fn open_ledger(
    dir: PathBuf,
    clock: Clock,
) -> Result<(Arc<Ledger>, Spent), LedgerError> {
    let opening = tokio::task::spawn_blocking(move || Ledger::open(&dir, &clock));
    opening
        .await
        .unwrap_or_else(|error| Err(LedgerError::Panicked(error.to_string())))
}

/// Takes up what an earlier process held, and the lines that it did not come to write; says whether they
/// are written.
pub(super) async fn take_up(
    books: &Arc<Books>,
    store: Arc<DiskStore>,
    spent: Spent,
) -> Result<bool, StartError> {
    let books = books.clone();
    let taking = tokio::task::spawn_blocking(move || books.take_up(store.as_ref(), &spent));
    let taken = taking
        .await
        .map_err(|error| StoreError::Panicked(error.to_string()))?;
    taken.map_err(|error| match error {
        books::StartError::Store(error) => error.into(),
        books::StartError::Ledger(error) => error.into(),
    })
}

/// The token in the data directory. Without one there is no admin API; all else goes on.
async fn kept_token(store: Arc<DiskStore>) -> Option<SecretString> {
    let token = tokio::task::spawn_blocking(move || store.admin_token());
    let token = token
        .await
        .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())));
    token
        .inspect_err(|error| tracing::error!(%error, "there is no admin token: /api is not served"))
        .ok()
}

/// Reads the certificate, if there is one.
pub(super) async fn front(files: Option<config::Tls>) -> Result<Option<Arc<Front>>, StartError> {
    let Some(files) = files else {
        return Ok(None);
    };
    let opening =
        tokio::task::spawn_blocking(move || Front::open(&files.cert_file, &files.key_file));
    let opened = opening
        .await
        .map_err(|error| StoreError::Panicked(error.to_string()))?;
    let front = opened
        .map_err(|flaws| StartError::Certificate(flaws.into_iter().map(Problem::of).collect()))?;
    Ok(Some(Arc::new(front)))
}

/// Notes where this process serves, for the commands.
pub(super) async fn announce(store: Arc<DiskStore>, addr: SocketAddr, front: Option<&Front>) {
    let certificate = front.map(|front| front.identity().fingerprint());
    let served = Served { addr, certificate };
    // It only fails by a panic, after which the commands do not find this process.
    let _ = tokio::task::spawn_blocking(move || store.announce(served)).await;
}
