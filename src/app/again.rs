//! Looks whether the configuration has changed: now and then, and whenever somebody asks for it.
//!
//! A file that changes is given a moment to come to rest, since some editors write in pieces, and a
//! piece may be sound. What is wrong is told once, looked at again with every look, and leaves
//! everything as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blake3::Hash;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Changed, Reload, Secrets};
use crate::config::{self, Config, Loaded, Log, Problems, Ready, Running, Sources};

/// How often the files are looked at: they are small, and read from memory.
const PERIOD: Duration = Duration::from_secs(2);

/// How long a file has to stay as it is before it is believed, and how often it is looked at for that.
const AT_REST: Duration = Duration::from_millis(200);
const MOST_LOOKS: u32 = 5;

/// Whoever changes how lines are logged.
type LogChange = Box<dyn Fn(&Log) + Send + Sync>;

/// Where a configuration came from, and who wants it read again.
pub struct Looking {
    sources: Sources,
    file: Option<PathBuf>,
    /// Whether it said only who the clients are.
    only_clients: bool,
    /// What was seen last; `None`: nothing since the start. What changed between its reading and
    /// the first look would be missed otherwise.
    stamp: Option<Hash>,
    /// The file is a pipe, say: there is nothing to look at.
    read_once: bool,
    asked: Arc<Notify>,
    log: LogChange,
}

/// Who looks.
pub(super) struct Again {
    looking: Looking,
    reload: Reload,
    /// Has the certificate looked at.
    renewal: Option<Arc<Notify>>,
    /// What is wrong with what was read last, if anything is.
    refused: Option<Vec<String>>,
    /// What was told to wait for a restart.
    waiting: Vec<&'static str>,
}

impl Looking {
    /// For `loaded`, which was read from `sources`; is looked for at once when `asked` says so.
    /// `log` is called when `[log]` has changed.
    ///
    /// Looks at a file, so it blocks.
    pub fn new(sources: Sources, loaded: &Loaded, asked: Arc<Notify>, log: LogChange) -> Self {
        Self {
            stamp: None,
            read_once: loaded.file.as_deref().is_some_and(config::is_read_once),
            sources,
            file: said_by(loaded),
            only_clients: loaded.says_only_clients,
            asked,
            log,
        }
    }
}

impl Again {
    /// Gives what it finds to `reload`.
    pub(super) fn new(looking: Looking, reload: Reload, renewal: Option<Arc<Notify>>) -> Self {
        Self {
            looking,
            reload,
            renewal,
            refused: None,
            waiting: Vec::new(),
        }
    }

    /// Looks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.looking.asked.notified() => true,
                () = tokio::time::sleep(PERIOD) => false,
            };
            // A disk that hangs does not hold up the end.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look(asked) => {}
            }
            if asked && let Some(renewal) = &self.renewal {
                renewal.notify_one();
            }
        }
    }

    async fn look(&mut self, asked: bool) {
        if self.looking.read_once {
            if asked {
                tracing::warn!(
                    "the configuration came from what is no regular file, and is read at start only"
                );
            }
            return;
        }
        let Some(mut stamp) = self.stamp().await else {
            return;
        };
        if !asked {
            let same = self.looking.stamp == Some(stamp);
            if same && self.refused.is_none() {
                return;
            }
            if !same {
                stamp = self.at_rest(stamp).await;
            }
        }
        // What changes from here on is another stamp at the next look.
        self.looking.stamp = Some(stamp);
        match self.read().await {
            Some(Ok(ready)) => self.take(ready, asked).await,
            Some(Err(problems)) => self.refuse(lines(&problems), asked),
            None => {}
        }
    }

    /// Waits until two looks in a row have seen the same.
    async fn at_rest(&self, mut stamp: Hash) -> Hash {
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(AT_REST).await;
            match self.stamp().await {
                Some(next) if next != stamp => stamp = next,
                Some(_) | None => break,
            }
        }
        stamp
    }

    async fn stamp(&self) -> Option<Hash> {
        let (sources, running) = (self.looking.sources.clone(), self.reload.running());
        blocking(move || config::stamp(&sources, &running)).await
    }

    async fn read(&self) -> Option<Result<Ready, Problems>> {
        let sources = self.looking.sources.clone();
        let running = Running {
            file: self.looking.file.clone(),
            only_clients: self.looking.only_clients,
            asks_for_keys: !self.reload.is_open(),
            listen: self.reload.running().listen,
        };
        blocking(move || config::load_again(&sources, &running)).await
    }

    async fn take(&mut self, ready: Ready, asked: bool) {
        let Ready {
            loaded,
            upstream_key,
            admin_token,
            callback_secret,
        } = ready;
        let secrets = Secrets {
            upstream_key,
            admin_token,
            callback_secret,
        };
        let (before, file) = (self.reload.running(), said_by(&loaded));
        let only_clients = loaded.says_only_clients;
        let changed = match self.reload.apply(loaded.config, secrets).await {
            Ok(changed) => changed,
            Err(error) => return self.refuse(vec![error.to_string()], asked),
        };
        let mended = self.refused.take().is_some();
        self.looking.file = file;
        self.looking.only_clients = only_clients;
        let now = self.reload.running();
        if now.log != before.log {
            (self.looking.log)(&now.log);
        }
        if now.tls != before.tls
            && let Some(renewal) = &self.renewal
        {
            renewal.notify_one();
        }
        self.tell(changed, asked || mended);
        self.warn_if_closed(&before, &now);
    }

    fn tell(&mut self, changed: Changed, in_any_case: bool) {
        let Changed { taken, waiting } = changed;
        let news = waiting != self.waiting;
        let restart = (!waiting.is_empty()).then(|| waiting.join(", "));
        if !taken.is_empty() || (news && restart.is_some()) {
            tracing::info!(
                changed = (!taken.is_empty()).then(|| taken.join(", ")),
                restart_needed_for = restart,
                "the configuration was read again"
            );
        } else if in_any_case || news {
            tracing::info!(
                restart_needed_for = restart,
                "the configuration was read again; nothing has changed"
            );
        }
        self.waiting = waiting;
    }

    fn warn_if_closed(&self, before: &Config, now: &Config) {
        if now.clients.is_empty() && !before.clients.is_empty() && !self.reload.is_open() {
            tracing::warn!(
                "no client key is left: everybody is refused until one is added. Only a restart opens \
                 the proxy to whoever reaches it, on loopback"
            );
        }
    }

    /// Says what is wrong, unless it was said already.
    fn refuse(&mut self, problems: Vec<String>, asked: bool) {
        if asked || self.refused.as_ref() != Some(&problems) {
            for problem in &problems {
                tracing::error!("the configuration that was read before stays: {problem}");
            }
        }
        self.refused = Some(problems);
    }
}

/// The file that may not go: it says something.
fn said_by(loaded: &Loaded) -> Option<PathBuf> {
    loaded.file.clone().filter(|_| !loaded.says_nothing)
}

fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// `None` only after a panic, which is reported by itself.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let called = tokio::task::spawn_blocking(call).await;
    called
        .inspect_err(|error| tracing::error!(%error, "the configuration could not be looked at"))
        .ok()
}
