//! Where what is kept can be had.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Failure;
use crate::cli::admin::{Admin, Reach};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{DiskStore, Glance};

/// At a running proxy, or in the directory.
pub(super) enum Place {
    /// A proxy has it.
    Running(Box<Admin>),
    /// It is ours for as long as this lives: no proxy can start meanwhile.
    Ours(Box<DiskStore>),
    /// Nothing was ever kept in this directory.
    Empty(PathBuf),
}

impl Place {
    /// Takes the directory, unless a proxy has it. Makes none.
    ///
    /// # Errors
    /// When it can neither be asked for nor opened.
    pub(super) async fn find(
        config: &Config,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        match Reach::find(config, env).await? {
            Reach::Running(admin) => Ok(Self::Running(admin)),
            Reach::Stopped => match Glance::at(&config.data_dir)? {
                Some(_) => Ok(Self::Ours(open(&config.data_dir)?)),
                None => Ok(Self::Empty(config.data_dir.clone())),
            },
        }
    }
}

/// Takes the directory, or makes one.
pub(super) fn open(dir: &Path) -> Result<Box<DiskStore>, Failure> {
    let (store, _) = DiskStore::open(dir, Clock::system())?;
    Ok(Box::new(store))
}

/// Cancelled by Ctrl-C and SIGTERM, so that what is half done can be cleared away.
///
/// # Errors
/// When the system does not let us listen for signals.
pub(super) fn stop() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// What is said then.
pub(super) fn stopped() -> Failure {
    Failure::Runtime("stopped before it was done".to_owned())
}
