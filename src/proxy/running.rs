//! What the program asks of a proxy that runs: how it is doing, and the same one for another
//! configuration.

use std::sync::Arc;

use super::Proxy;
use super::guard::Guard;
use crate::config::Config;
use crate::upstream::Upstream;

impl Proxy {
    /// How many paid calls are under way.
    pub fn under_way(&self) -> usize {
        self.once.under_way()
    }

    /// Ends every tunnel: as long as somebody speaks, they have no end that a drain could wait for.
    pub fn cut_tunnels(&self) {
        self.tunnels.cancel();
    }

    /// Whether it serves whoever reaches it, without a key.
    pub fn is_open(&self) -> bool {
        self.keys.are_none()
    }

    /// A proxy that goes by `config` and sends to `upstream`, and has everything else in common with
    /// this one: what is kept, what is under way, who waits for it, and the room for bodies.
    ///
    /// Jobs are asked for by the new one from now on, also if they were submitted through this one.
    /// What this one has begun it goes on with by its own configuration, so a request sees one
    /// configuration from its beginning to its end.
    #[must_use]
    pub fn renewed(&self, config: Arc<Config>, upstream: Arc<Upstream>) -> Arc<Self> {
        self.polls.reload(upstream.clone(), &config.jobs);
        Arc::new(Self {
            guard: Guard::new(&config),
            keys: self.keys.renewed(&config),
            bodies: self.bodies.resized(config.cache.max_request_body),
            once: self.once.clone(),
            limits: self.limits.clone(),
            books: self.books.clone(),
            config,
            shelf: self.shelf.clone(),
            upstream,
            polls: self.polls.clone(),
            callbacks: self.callbacks.clone(),
            archive: self.archive.clone(),
            verdicts: self.verdicts.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            tunnels: self.tunnels.clone(),
            metrics: self.metrics.clone(),
        })
    }
}
