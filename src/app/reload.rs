//! Another configuration for everything that runs: the one place where every part is told.
//!
//! What can fail comes first, and changes nothing. Then every part is told, at once and without
//! waiting for anything. Parts whose section is the same are left alone, and so is what is under
//! way: requests go on by the configuration they began with, connections by their terms.

use std::sync::Arc;

use blake3::Hash;
use secrecy::ExposeSecret;

use super::opening::token;
use super::{Secrets, StartError};
use crate::books::Books;
use crate::callbacks::{self, Callbacks};
use crate::config::{self, Config, Live};
use crate::console::Console;
use crate::egress::{Allowed, Egress};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::media::{self, Archive};
use crate::proxy::Proxy;
use crate::server::{Patience, Terms, descriptors};
use crate::store::{DiskStore, Keeper, Rules, Shelf, StoreError};
use crate::tls::{self, Front};
use crate::upstream::{SetupError, Upstream};

/// Gives everything that runs another configuration; one at a time, so it has one owner.
pub struct Reload {
    /// What runs now.
    pub(super) running: Live<Config>,
    pub(super) known: Known,
    pub(super) upstream: Arc<Upstream>,
    pub(super) store: Arc<DiskStore>,
    pub(super) shelf: Shelf,
    pub(super) ledger: Arc<Ledger>,
    pub(super) proxy: Live<Proxy>,
    pub(super) console: Live<Option<Console>>,
    pub(super) terms: Terms,
    pub(super) limits: Arc<Limits>,
    pub(super) books: Arc<Books>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) archive: Arc<Archive>,
    pub(super) front: Option<Arc<Front>>,
}

/// What differs now from what ran before, in the words of `proxy.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What has taken effect.
    pub taken: Vec<String>,
    /// What takes effect at the next start.
    pub waiting: Vec<&'static str>,
}

/// What two files hold that a configuration only names: of the key its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    key: Hash,
    roots: Hash,
}

/// What has to be made before anything is told.
struct Made {
    upstream: Option<Arc<Upstream>>,
    fetching: Option<media::Rules>,
    calls: Option<callbacks::Rules>,
}

impl Known {
    /// Reads a file, so it blocks.
    pub(super) fn of(settings: &config::Upstream, secrets: &Secrets) -> Self {
        Self {
            key: blake3::hash(secrets.upstream_key.expose_secret().as_bytes()),
            roots: config::content(settings.ca_file.as_deref()),
        }
    }
}

impl Reload {
    /// What runs now.
    pub fn running(&self) -> Arc<Config> {
        self.running.load()
    }

    /// Whether whoever reaches the proxy is served without a key.
    pub fn is_open(&self) -> bool {
        self.proxy.load().is_open()
    }

    /// Has everything go by `config` and `secrets`, but for what only a start can change.
    ///
    /// # Errors
    /// When the way to upstream or to others cannot be prepared; then nothing has changed.
    pub async fn apply(
        &mut self,
        mut config: Config,
        secrets: impl Into<Secrets>,
    ) -> Result<Changed, StartError> {
        let (before, secrets) = (self.running.load(), Arc::new(secrets.into()));
        let waiting = config.keep_until_restart(&before);
        let mut taken = config.changes_since(&before);
        let config = Arc::new(config);
        let (known, made) = self.make(&before, &config, &secrets).await?;
        let console = if config.console == before.console {
            None
        } else {
            Some(token(&config, &secrets, &self.store).await)
        };
        for (content, was, is) in [
            ("the upstream key", self.known.key, known.key),
            (
                "the roots of upstream.ca_file",
                self.known.roots,
                known.roots,
            ),
        ] {
            if was != is {
                taken.push(content.to_owned());
            }
        }
        if !taken.is_empty() {
            self.known = known;
            self.tell(&before, &config, made);
            self.turn_front(&before, &config).await;
        }
        if let Some(token) = console {
            let (proxy, store) = (self.proxy.clone(), self.shelf.clone());
            let (ledger, secure) = (self.ledger.clone(), self.front.is_some());
            let console = token.map(|token| Console::new(proxy, store, ledger, &token, secure));
            self.console.set(console);
        }
        Ok(Changed { taken, waiting })
    }

    /// Makes what can fail, on a thread that may block.
    async fn make(
        &self,
        before: &Arc<Config>,
        config: &Arc<Config>,
        secrets: &Arc<Secrets>,
    ) -> Result<(Known, Made), StartError> {
        let (before, config) = (before.clone(), config.clone());
        let (secrets, current, known) = (secrets.clone(), self.upstream.clone(), self.known);
        let making = tokio::task::spawn_blocking(move || {
            let now = Known::of(&config.upstream, &secrets);
            let same = known == now && config.upstream == before.upstream;
            let upstream = if same {
                None
            } else {
                let renewed = current.renewed(&config.upstream, &secrets.upstream_key)?;
                Some(Arc::new(renewed))
            };
            let fetches_alike = same
                && config.media == before.media
                && config.cache.min_free == before.cache.min_free;
            let fetching =
                (!fetches_alike).then(|| fetching(&config, upstream.as_ref().unwrap_or(&current)));
            let calls_alike =
                config.callbacks == before.callbacks && config.media.links == before.media.links;
            let calls = (!calls_alike).then(|| calls(&config, &secrets));
            let made = Made {
                fetching: fetching.transpose()?,
                calls: calls.transpose()?,
                upstream,
            };
            Ok((now, made))
        });
        making
            .await
            .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string()).into()))
    }

    /// Tells every part.
    fn tell(&mut self, before: &Config, config: &Arc<Config>, made: Made) {
        let Made {
            upstream,
            fetching,
            calls,
        } = made;
        if let Some(upstream) = upstream {
            self.upstream = upstream;
        }
        self.limits.reload(config);
        self.books.reload(config);
        let proxy = self.proxy.load();
        self.proxy
            .set(proxy.renewed(config.clone(), self.upstream.clone()));
        self.keeper.set_rules(Rules::of(&config.cache));
        if let Some(rules) = fetching {
            self.archive.reload(rules);
        }
        if let Some(rules) = calls {
            self.callbacks.reload(rules);
        }
        let idle = config.upstream.idle_timeout;
        if config.server != before.server || idle != before.upstream.idle_timeout {
            let mut settings = config.server;
            settings.max_connections = descriptors::connections(settings.max_connections);
            self.terms.reload(&settings, Patience::of(config));
        }
        self.running.set(config.clone());
    }

    /// Has the files of another certificate looked at. Whoever looks at files now is waited for, so on
    /// a thread that may block.
    async fn turn_front(&self, before: &Config, config: &Config) {
        if let (Some(front), Some(files)) = (self.front.clone(), config.tls.clone())
            && config.tls != before.tls
        {
            let turning = tokio::task::spawn_blocking(move || {
                front.turn_to(&files.cert_file, &files.key_file);
            });
            if let Err(error) = turning.await {
                tracing::error!(%error, "the files of the certificate could not be changed");
            }
        }
    }
}

/// How callbacks are made. Reads the system's certificates, so it blocks.
pub(super) fn calls(config: &Config, secrets: &Secrets) -> Result<callbacks::Rules, SetupError> {
    let signer = secrets.callback_secret.as_ref();
    let signer = signer.map(callbacks::Signer::new);
    Ok(callbacks::Rules::of(config, signer)?)
}

/// How files are fetched. Reads the system's certificates, so it blocks.
pub(super) fn fetching(
    config: &Config,
    upstream: &Arc<Upstream>,
) -> Result<media::Rules, SetupError> {
    let allowed = Allowed::new(config.media.allow.clone(), "media.allow");
    Ok(media::Rules {
        upstream: upstream.clone(),
        egress: Egress::new(tls::client(None)?, allowed, media::PATIENCE),
        base: config.upstream.base_url.clone(),
        settings: config.media.clone(),
        min_free: config.cache.min_free,
    })
}
