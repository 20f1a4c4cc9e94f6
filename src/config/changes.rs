//! What differs between two configurations, in the words of `proxy.toml`, and what of it has to wait.

use std::collections::BTreeMap;

use super::keys::written;
use super::resolved::Config;

/// The paths of the keys that differ, each with the fields that hold it.
macro_rules! differing {
    ($old:ident, $new:ident: $($path:literal $($field:ident).+;)+) => {
        [$(($path, $old.$($field).+ != $new.$($field).+)),+]
    };
}

impl Config {
    /// The keys whose values differ from those of `before`, as `proxy.toml` names them, in its order;
    /// of kinds, clients and prices the sections. SECURITY: values are not told.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let differing = self.plain_keys(before);
        let differing = differing.iter().filter(|(_, differs)| *differs);
        let mut changes: Vec<String> = differing.map(|(path, _)| (*path).to_owned()).collect();
        if self.tls != before.tls {
            changes.push("tls".to_owned());
        }
        changes.extend(sections("clients", &self.clients, &before.clients));
        changes.extend(sections("prices", &self.prices, &before.prices));
        changes
    }

    #[expect(clippy::float_cmp, reason = "dollars that were written otherwise are other dollars")]
    #[rustfmt::skip] // one key, one line
    fn plain_keys(&self, before: &Self) -> [(&'static str, bool); 46] {
        differing!(before, self:
            "listen" listen;
            "data_dir" data_dir;
            "public_url" public_url;
            "allowed_hosts" allowed_hosts;
            "allowed_origins" allowed_origins;
            "shutdown_grace" shutdown_grace;
            "upstream.base_url" upstream.base_url;
            "upstream.api_key_env" upstream.api_key_env;
            "upstream.api_key_file" upstream.api_key_file;
            "upstream.connect_timeout" upstream.connect_timeout;
            "upstream.response_timeout" upstream.response_timeout;
            "upstream.idle_timeout" upstream.idle_timeout;
            "upstream.ca_file" upstream.ca_file;
            "cache.scope" cache.scope;
            "cache.max_request_body" cache.max_request_body;
            "cache.max_size" cache.max_size;
            "cache.min_free" cache.min_free;
            "cache.video" cache.video;
            "cache.images" cache.images;
            "cache.audio" cache.audio;
            "cache.embeddings" cache.embeddings;
            "cache.chat" cache.chat;
            "jobs.poll_interval" jobs.poll_interval;
            "jobs.min_poll_interval" jobs.min_poll_interval;
            "jobs.deadline" jobs.deadline;
            "media.archive" media.archive;
            "media.links" media.links;
            "media.link_lifetime" media.link_lifetime;
            "media.max_file" media.max_file;
            "media.allow" media.allow;
            "callbacks.deliver" callbacks.deliver;
            "callbacks.allow" callbacks.allow;
            "callbacks.secret_env" callbacks.secret_env;
            "callbacks.attempts" callbacks.attempts;
            "limits.requests_per_minute" limits.requests_per_minute;
            "limits.generations_per_minute" limits.generations_per_minute;
            "limits.concurrent_generations" limits.concurrent_generations;
            "limits.usd_per_day" limits.usd_per_day;
            "limits.usd_per_month" limits.usd_per_month;
            "console.enabled" console.enabled;
            "console.token_env" console.token_env;
            "server.max_connections" server.max_connections;
            "server.header_timeout" server.header_timeout;
            "server.max_header_bytes" server.max_header_bytes;
            "log.format" log.format;
            "log.level" log.level;
        )
    }

    /// Puts back what a running proxy cannot change, as it stands in `running`: the socket, the
    /// store's folder, and whether TLS is spoken. Says which keys wait for a restart because of that.
    pub fn keep_until_restart(&mut self, running: &Self) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        if self.listen != running.listen {
            self.listen = running.listen;
            waiting.push("listen");
        }
        if self.data_dir != running.data_dir {
            self.data_dir.clone_from(&running.data_dir);
            waiting.push("data_dir");
        }
        if self.tls.is_some() != running.tls.is_some() {
            self.tls.clone_from(&running.tls);
            waiting.push("tls");
        }
        waiting
    }
}

/// The named sections that are new, gone or other than before.
fn sections<T: PartialEq>(
    of: &str,
    now: &BTreeMap<String, T>,
    before: &BTreeMap<String, T>,
) -> Vec<String> {
    let other = now.iter().filter_map(|(name, value)| {
        let what = match before.get(name) {
            None => " (new)",
            Some(was) if was != value => "",
            Some(_) => return None,
        };
        Some((name, what))
    });
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let mut all: Vec<_> = other.chain(gone.map(|name| (name, " (gone)"))).collect();
    all.sort();
    let title = |(name, what): (&String, &str)| format!("{of}.{}{what}", written(name));
    all.into_iter().map(title).collect()
}
