//! Every key there is: the one list that file, environment, resolver and documentation agree on.

use Stand::Built;

/// Whether this version does what a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It does.
    Built,
    /// Not yet; setting it is told at start.
    #[allow(
        dead_code,
        reason = "no key stands so now; one of the next feature may"
    )]
    Later,
    /// MONEY: not yet, and going on without it would cost money or safety; setting it is an error.
    #[allow(
        dead_code,
        reason = "no key stands so now; one of the next feature may"
    )]
    Refused,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its path, with dots between levels; `*` stands for a name that the user chooses.
    pub(super) path: &'static str,
    /// Whether this version does what it asks for.
    pub(super) stand: Stand,
    /// What it would do, for the lines that say it is not done yet.
    pub(super) does: &'static str,
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

const fn key(path: &'static str, stand: Stand, does: &'static str) -> Key {
    Key { path, stand, does }
}

/// The list. A feature that is built turns its keys to `Built` here, and nowhere else.
#[rustfmt::skip] // one key, one line
pub(super) const KEYS: &[Key] = &[
    key("listen", Built, "where clients reach the proxy"),
    key("data_dir", Built, "where everything is kept"),
    key("public_url", Built, "the address in links that the proxy hands out"),
    key("allowed_hosts", Built, "further hosts that are served"),
    key("allowed_origins", Built, "browser origins that may call"),
    key("shutdown_grace", Built, "how long requests may end after a signal"),
    key("tls.cert_file", Built, "serves HTTPS"),
    key("tls.key_file", Built, "serves HTTPS"),
    key("upstream.base_url", Built, "the upstream"),
    key("upstream.api_key_env", Built, "the variable with the upstream key"),
    key("upstream.api_key_file", Built, "the file with the upstream key"),
    key("upstream.connect_timeout", Built, "how long a connection may take"),
    key("upstream.response_timeout", Built, "how long the head of an answer may take"),
    key("upstream.idle_timeout", Built, "how long a body may be silent"),
    key("upstream.ca_file", Built, "further certificates to trust"),
    key("cache.scope", Built, "between whom generations are shared"),
    key("cache.max_request_body", Built, "the largest generation request"),
    key("cache.max_size", Built, "how much is kept before the least used go"),
    key("cache.min_free", Built, "the disk that is left free"),
    key("cache.video.mode", Built, "which are kept"),
    key("cache.video.ttl", Built, "how long they are kept"),
    key("cache.video.unknown_outcome", Built, "what follows an unknown outcome"),
    key("cache.images.mode", Built, "which are kept"),
    key("cache.images.ttl", Built, "how long they are kept"),
    key("cache.images.unknown_outcome", Built, "what follows an unknown outcome"),
    key("cache.audio.mode", Built, "which are kept"),
    key("cache.audio.ttl", Built, "how long they are kept"),
    key("cache.audio.unknown_outcome", Built, "what follows an unknown outcome"),
    key("cache.embeddings.mode", Built, "which are kept"),
    key("cache.embeddings.ttl", Built, "how long they are kept"),
    key("cache.embeddings.unknown_outcome", Built, "what follows an unknown outcome"),
    key("cache.chat.mode", Built, "which are kept"),
    key("cache.chat.ttl", Built, "how long they are kept"),
    key("cache.chat.unknown_outcome", Built, "what follows an unknown outcome"),
    key("jobs.poll_interval", Built, "asks for running jobs by itself"),
    key("jobs.min_poll_interval", Built, "how often upstream is polled at most"),
    key("jobs.deadline", Built, "gives up silent jobs"),
    key("media.archive", Built, "keeps the bytes behind result links"),
    key("media.links", Built, "points result links to the kept copy"),
    key("media.link_lifetime", Built, "tells when upstream's links are dead"),
    key("media.max_file", Built, "the largest file that is kept"),
    key("media.allow", Built, "private networks that result links may point to"),
    key("callbacks.deliver", Built, "calls back those who joined or hit"),
    key("callbacks.allow", Built, "private networks that callbacks may reach"),
    key("callbacks.secret_env", Built, "signs callbacks"),
    key("callbacks.attempts", Built, "how often a callback is tried"),
    key("limits.requests_per_minute", Built, "limits the requests of a client"),
    key("limits.generations_per_minute", Built, "limits the paid requests of a client"),
    key("limits.concurrent_generations", Built, "limits the paid requests at once"),
    key("limits.usd_per_day", Built, "limits the dollars of a day"),
    key("limits.usd_per_month", Built, "limits the dollars of a month"),
    key("clients.*.key_hash", Built, "lets a client in"),
    key("clients.*.requests_per_minute", Built, "limits the requests of a client"),
    key("clients.*.generations_per_minute", Built, "limits the paid requests of a client"),
    key("clients.*.concurrent_generations", Built, "limits the paid requests at once"),
    key("clients.*.usd_per_day", Built, "limits the dollars of a day"),
    key("clients.*.usd_per_month", Built, "limits the dollars of a month"),
    key("prices.*.per_million_tokens", Built, "counts dollars spent and saved"),
    key("prices.*.per_second", Built, "counts dollars spent and saved"),
    key("prices.*.per_image", Built, "counts dollars spent and saved"),
    key("prices.*.per_request", Built, "counts dollars spent and saved"),
    key("prices.*.input_per_million", Built, "counts dollars spent and saved"),
    key("prices.*.output_per_million", Built, "counts dollars spent and saved"),
    key("console.enabled", Built, "serves the page at / and the admin API"),
    key("console.token_env", Built, "the variable with the admin token"),
    key("server.max_connections", Built, "limits the connections at once"),
    key("server.header_timeout", Built, "limits how long a request's head may take"),
    key("server.max_header_bytes", Built, "limits the head of a request"),
    key("log.format", Built, "the form of a log line"),
    key("log.level", Built, "what is logged"),
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
