//! Every key there is: the one list that file, environment, resolver and documentation agree on.

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its path, with dots between levels; `*` stands for a name that the user chooses.
    pub(super) path: &'static str,
}

impl Key {
    /// The section whose name stands in place of `*`, such as `clients`.
    pub(super) fn named_section(&self) -> Option<&'static str> {
        self.path.split_once(".*").map(|(section, _)| section)
    }

    /// The levels of its path.
    pub(super) fn levels(&self) -> std::str::Split<'static, char> {
        self.path.split('.')
    }

    /// The environment variable that sets it; `NAME` stands in place of `*`.
    pub(super) fn variable(&self) -> String {
        let path = self
            .path
            .replace('*', "NAME")
            .replace('.', "__")
            .to_ascii_uppercase();
        format!("REPRISE_{path}")
    }
}

/// A name as it stands in a TOML path: in quotes where it must.
pub(super) fn written(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

const fn key(path: &'static str) -> Key {
    Key { path }
}

/// The list.
pub(super) const KEYS: &[Key] = &[
    key("listen"),
    key("data_dir"),
    key("public_url"),
    key("allowed_hosts"),
    key("allowed_origins"),
    key("shutdown_grace"),
    key("tls.cert_file"),
    key("tls.key_file"),
    key("upstream.base_url"),
    key("upstream.api_key_env"),
    key("upstream.api_key_file"),
    key("upstream.connect_timeout"),
    key("upstream.response_timeout"),
    key("upstream.idle_timeout"),
    key("upstream.ca_file"),
    key("cache.scope"),
    key("cache.max_request_body"),
    key("cache.max_size"),
    key("cache.min_free"),
    key("cache.video.mode"),
    key("cache.video.ttl"),
    key("cache.video.unknown_outcome"),
    key("cache.images.mode"),
    key("cache.images.ttl"),
    key("cache.images.unknown_outcome"),
    key("cache.audio.mode"),
    key("cache.audio.ttl"),
    key("cache.audio.unknown_outcome"),
    key("cache.embeddings.mode"),
    key("cache.embeddings.ttl"),
    key("cache.embeddings.unknown_outcome"),
    key("cache.chat.mode"),
    key("cache.chat.ttl"),
    key("cache.chat.unknown_outcome"),
    key("jobs.poll_interval"),
    key("jobs.min_poll_interval"),
    key("jobs.deadline"),
    key("media.archive"),
    key("media.links"),
    key("media.link_lifetime"),
    key("media.max_file"),
    key("media.allow"),
    key("callbacks.deliver"),
    key("callbacks.allow"),
    key("callbacks.secret_env"),
    key("callbacks.attempts"),
    key("limits.requests_per_minute"),
    key("limits.generations_per_minute"),
    key("limits.concurrent_generations"),
    key("limits.usd_per_day"),
    key("limits.usd_per_month"),
    key("clients.*.key_hash"),
    key("clients.*.requests_per_minute"),
    key("clients.*.generations_per_minute"),
    key("clients.*.concurrent_generations"),
    key("clients.*.usd_per_day"),
    key("clients.*.usd_per_month"),
    key("prices.*.per_million_tokens"),
    key("prices.*.per_second"),
    key("prices.*.per_image"),
    key("prices.*.per_request"),
    key("prices.*.input_per_million"),
    key("prices.*.output_per_million"),
    key("console.enabled"),
    key("console.token_env"),
    key("server.max_connections"),
    key("server.header_timeout"),
    key("server.max_header_bytes"),
    key("log.format"),
    key("log.level"),
];

/// The key at `path`, with `*` in it.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The names that may stand in the section `section` (empty: at the top), each once.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let rest = match section {
            "" => Some(key.path),
            _ => key
                .path
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// The one of `known` that `word` was most likely meant to be, if it is near enough to say so: a
/// slip of the fingers away, or begun with all of `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word of the user's may be a megabyte long; no key is.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let rank = |name: &str| {
        let name = name.to_ascii_lowercase();
        let slips = strsim::osa_distance(&word, &name);
        if slips <= (name.len() / 3).max(1) {
            Some(slips)
        } else {
            (word.len() > 2 && name.starts_with(&word)).then_some(name.len())
        }
    };
    let ranked = known
        .into_iter()
        .filter_map(|name| Some((rank(name)?, name)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_named_once() {
        for (nth, key) in KEYS.iter().enumerate() {
            assert!(
                !KEYS[..nth].iter().any(|other| other.path == key.path),
                "{}",
                key.path
            );
            assert!(key.path.matches('*').count() <= 1, "{}", key.path);
        }
    }

    #[test]
    fn sections_know_their_names() {
        assert_eq!(names_in("tls"), ["cert_file", "key_file"]);
        assert_eq!(names_in("clients"), ["*"]);
        assert!(names_in("cache").contains(&"video"));
        assert_eq!(names_in("cache.video"), ["mode", "ttl", "unknown_outcome"]);
        assert!(names_in("").contains(&"listen") && names_in("").contains(&"prices"));
        assert!(names_in("listen").is_empty() && names_in("cach").is_empty());
    }

    #[test]
    fn the_nearest_is_near() {
        let table = [
            ("ttll", Some("ttl")),
            ("tl", Some("ttl")),
            ("Mode", Some("mode")),
            ("unknown-outcome", Some("unknown_outcome")),
            ("unknwon_outcome", Some("unknown_outcome")),
            ("unknown", Some("unknown_outcome")),
            ("un", None),
            ("price", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, names_in("cache.video")), expected, "{word}");
        }
        assert_eq!(nearest(&"t".repeat(1 << 20), names_in("cache.video")), None);
    }

    #[test]
    fn names_are_written_as_toml_takes_them() {
        assert_eq!(written("doubao-seedance-2-0"), "doubao-seedance-2-0");
        assert_eq!(written("grok-4.3"), "\"grok-4.3\"");
        assert_eq!(written("a\nb"), "\"a\\nb\"");
    }
}
