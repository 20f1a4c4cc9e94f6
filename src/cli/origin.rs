//! Where clients reach the proxy, as the first lines say it.

use super::admin;
use crate::app::App;
use crate::clock::Clock;
use crate::tls::Identity;

/// The two addresses of the first lines, and what is doubtful about them.
pub(super) struct Origin {
    /// What is listened on: `http://0.0.0.0:8787`.
    pub(super) listening: String,
    /// What a client of this machine can use, and over TLS will believe:
    /// `https://reprise.lan:8787`.
    pub(super) reachable: String,
    /// Why clients may refuse it all the same.
    pub(super) doubts: Vec<String>,
}

impl Origin {
    /// `allowed_hosts` are further names of the proxy, as the configuration has them.
    pub(super) fn of(app: &App, allowed_hosts: &[String]) -> Self {
        let (addr, reachable) = (app.addr(), admin::reachable(app.addr()));
        let Some(identity) = app.identity() else {
            return Self {
                listening: format!("http://{addr}"),
                reachable: format!("http://{reachable}"),
                doubts: Vec::new(),
            };
        };
        let late = identity.untimely(Clock::system().now());
        let late = late.map(|why| format!("clients refuse the certificate: {why}"));
        let host = believed(&identity, reachable.ip().to_string(), allowed_hosts);
        let unnamed = host.is_none().then(|| {
            format!(
                "the certificate is for {}, and not for {}: clients that ask for that refuse it; \
                 list the name they use in allowed_hosts, and have it in the certificate",
                names(&identity),
                reachable.ip()
            )
        });
        let reachable = match host {
            Some(host) => format!("https://{host}:{}", reachable.port()),
            None => format!("https://{reachable}"),
        };
        Self {
            listening: format!("https://{addr}"),
            reachable,
            doubts: late.into_iter().chain(unnamed).collect(),
        }
    }
}

/// The host by which a client can ask for it, of those that are served.
fn believed(identity: &Identity, ip: String, allowed_hosts: &[String]) -> Option<String> {
    let written = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip
    };
    let local = written
        .trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.is_loopback())
        .then(|| "localhost".to_owned());
    let named = allowed_hosts.iter().map(|host| name(host).to_owned());
    std::iter::once(written)
        .chain(local)
        .chain(named)
        .find(|host| identity.is_for(host))
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        Some(_) | None => host,
    }
}

fn names(identity: &Identity) -> String {
    match identity.names() {
        [] => "no name at all".to_owned(),
        names => names.join(", "),
    }
}
