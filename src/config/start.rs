//! What a configuration may say, but nobody may start with.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::address::BaseUrl;
use super::again::Running;
use super::problem::Problem;
use super::reading::Reading;
use super::resolved::{Config, Tls};
use crate::tls;

/// What would make a start with what was read unsafe or senseless, but for the echoes of problems
/// that it has already. Looks at files, opens no socket.
///
/// `running`: what is to go by it runs already. Where that asks for client keys, there may be none;
/// and it listens on where it does, whatever `listen` says now.
pub(super) fn problems(reading: &Reading, running: Option<&Running>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let config = &reading.loaded.config;
    let listen_is_certain = reading.is_certain("listen");
    let asks_for_keys = running.is_some_and(|running| running.asks_for_keys);
    if listen_is_certain && !asks_for_keys && reading.is_surely_empty("clients") {
        problems.extend(open_to_others(config));
    }
    let now = running.map(|running| running.listen);
    let next = listen_is_certain.then_some(config.listen);
    let base_url = &config.upstream.base_url;
    let mut listens = [now, next].into_iter().flatten();
    if listens.any(|listen| is_its_own_upstream(listen, base_url))
        && reading.is_certain("upstream.base_url")
    {
        let rule = "is where this proxy itself listens: name the real upstream";
        problems.push(Problem::about("upstream.base_url", rule));
    }
    if let Some(file) = &config.upstream.ca_file
        && let Err(error) = File::open(file)
    {
        let rule = format!("cannot read {}: {error}", file.display());
        problems.push(Problem::about("upstream.ca_file", rule));
    }
    if reading.is_certain("upstream.base_url") {
        let proxy = config
            .upstream
            .proxies
            .on_the_way_to(&config.upstream.base_url);
        problems.extend(proxy.err());
    }
    problems.extend(config.tls.iter().flat_map(identity));
    problems
}

/// SECURITY: without client keys everybody who reaches the proxy spends the account.
pub(super) fn open_to_others(config: &Config) -> Option<Problem> {
    if !config.clients.is_empty() || config.listen.ip().to_canonical().is_loopback() {
        return None;
    }
    let rule = format!(
        "{} can be reached from other machines and no client key is defined: \
         listen on 127.0.0.1:{}, or add a key with `reprise keys add NAME`",
        config.listen,
        config.listen.port()
    );
    Some(Problem::about("listen", rule))
}

/// What keeps the two files from being served with.
fn identity(tls: &Tls) -> Vec<Problem> {
    let flaws = tls::Identity::read(&tls.cert_file, &tls.key_file).err();
    flaws.into_iter().flatten().map(Problem::of).collect()
}

/// Whether requests would go round in a circle.
fn is_its_own_upstream(listen: SocketAddr, upstream: &BaseUrl) -> bool {
    if listen.port() == 0 || listen.port() != upstream.port() {
        return false;
    }
    let host = upstream.authority().host().trim_matches(['[', ']']);
    let address = if host.eq_ignore_ascii_case("localhost") {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        host.parse().ok()
    };
    address.is_some_and(|address| {
        let everywhere = listen.ip().is_unspecified();
        address == listen.ip()
            || (everywhere && (address.is_loopback() || address.is_unspecified()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// A name, the variables that are set, and how each problem begins.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

    #[test]
    fn unsafe_starts_are_refused() {
        let hash = format!("blake3:{}", blake3::hash(b"key").to_hex());
        let keyed = ("REPRISE_CLIENTS__ALICE__KEY_HASH", hash.as_str());
        let table: [Case<'_>; 10] = [
            ("defaults", &[], &[]),
            (
                "open on loopback",
                &[("REPRISE_LISTEN", "127.9.9.9:1")],
                &[],
            ),
            (
                "open on loopback, IPv6",
                &[("REPRISE_LISTEN", "[::1]:1")],
                &[],
            ),
            (
                "open on all",
                &[("REPRISE_LISTEN", "0.0.0.0:1")],
                &["listen: "],
            ),
            (
                "open on all, IPv6",
                &[("REPRISE_LISTEN", "[::]:1")],
                &["listen: "],
            ),
            (
                "keys on all",
                &[("REPRISE_LISTEN", "0.0.0.0:1"), keyed],
                &[],
            ),
            (
                "itself",
                &[("REPRISE_UPSTREAM", "http://localhost:8787/v1")],
                &["upstream.base_url: "],
            ),
            (
                "itself, and open",
                &[
                    ("REPRISE_UPSTREAM", "http://127.0.0.1:1/v1"),
                    ("REPRISE_LISTEN", "0.0.0.0:1"),
                ],
                &["listen: ", "upstream.base_url: "],
            ),
            (
                "a neighbour",
                &[("REPRISE_UPSTREAM", "http://127.0.0.1:8788/v1")],
                &[],
            ),
            (
                "no roots",
                &[("REPRISE_UPSTREAM__CA_FILE", "/no/such/file.pem")],
                &["upstream.ca_file: "],
            ),
        ];
        for (name, env, expected) in table {
            let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let home = [("HOME".to_owned(), "/nowhere".to_owned())];
            let sources = Sources {
                env: env.chain(home).collect(),
                ..Sources::default()
            };
            let reading = Reading::of(&sources);
            assert_eq!(reading.problems, [], "{name}");
            let lines: Vec<String> = problems(&reading, None)
                .iter()
                .map(Problem::to_string)
                .collect();
            assert_eq!(lines.len(), expected.len(), "{name}: {lines:?}");
            for (line, start) in lines.iter().zip(expected) {
                assert!(line.starts_with(start), "{name}: {line}");
            }
        }
    }
}
