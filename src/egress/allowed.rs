//! Which addresses may be gone to: those of the public internet, and networks that were allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refusal;
use super::destination::Destination;
use super::reserved;
use crate::config::Network;

/// The private networks that may be reached all the same, and the key of proxy.toml that lists
/// them, for the words of a refusal.
#[derive(Clone, Debug)]
pub struct Allowed {
    networks: Vec<Network>,
    key: &'static str,
}

impl Allowed {
    /// Allows `networks` beside the public internet; `key` is where they stand in proxy.toml, such
    /// as `media.allow`.
    pub fn new(networks: Vec<Network>, key: &'static str) -> Self {
        Self { networks, key }
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// What kind of address it is.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        match reserved::kind_of(address) {
            Some(kind) if !self.holds(address) => Err(Refusal::Private {
                kind,
                address: address.to_canonical(),
                key: self.key,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a destination may be gone to as far as its letters tell: an address, however it is
    /// written, or a name of this machine. Any other name is judged once it is resolved.
    ///
    /// # Errors
    /// What it is.
    pub fn check_letters(&self, to: &Destination) -> Result<(), Refusal> {
        if let Some(address) = to.literal() {
            return self.check(address);
        }
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        if to.is_localhost() && !loopback.into_iter().any(|address| self.holds(address)) {
            return Err(Refusal::Localhost {
                name: to.host().to_owned(),
                key: self.key,
            });
        }
        Ok(())
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(allow: &[&str], link: &str) -> String {
        let networks = allow.iter().map(|text| Network::parse(text).unwrap());
        let allowed = Allowed::new(networks.collect(), "media.allow");
        let to = Destination::parse(link).unwrap();
        allowed
            .check_letters(&to)
            .map_or_else(|refusal| refusal.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn private_by_its_letters() {
        let loopback = "loopback address 127.0.0.1; allow it with media.allow";
        let table = [
            (
                "http://10.0.0.1/",
                "private address 10.0.0.1; allow it with media.allow",
            ),
            ("http://127.0.0.1/", loopback),
            ("http://127.0.0.1./", loopback),
            ("http://127.1/", loopback),
            ("http://2130706433/", loopback),
            ("http://0x7f000001/", loopback),
            ("http://0X7F.0.0.1/", loopback),
            ("http://017700000001/", loopback),
            ("http://0177.0.0.01/", loopback),
            ("http://%31%32%37.0.0.1/", loopback),
            ("http://１２７.0.0.1/", loopback),
            ("http://127。0。0。1/", loopback),
            ("http://[::ffff:127.0.0.1]/", loopback),
            (
                "http://[::1]/",
                "loopback address ::1; allow it with media.allow",
            ),
            (
                "http://0/",
                "local address 0.0.0.0; allow it with media.allow",
            ),
            (
                "http://[::]/",
                "local address ::; allow it with media.allow",
            ),
            (
                "http://169.254.169.254/",
                "link-local address 169.254.169.254; allow it with media.allow",
            ),
            (
                "http://[fd00:ec2::254]/",
                "private address fd00:ec2::254; allow it with media.allow",
            ),
            (
                "http://[64:ff9b::a00:1]/",
                "private address 64:ff9b::a00:1; allow it with media.allow",
            ),
            (
                "http://localhost/",
                "the name localhost means this machine; allow loopback addresses with media.allow",
            ),
            (
                "http://LocalHost.:80/",
                "the name localhost. means this machine; allow loopback addresses with media.allow",
            ),
            (
                "http://a.localhost/",
                "the name a.localhost means this machine; allow loopback addresses with media.allow",
            ),
            ("http://8.8.8.8/", "fine"),
            ("http://134744072/", "fine"),
            ("http://localhost.example/", "fine"),
            ("http://notlocalhost/", "fine"),
            ("http://10.0.0.1.example/", "fine"),
            ("http://[2606:4700::1111]/", "fine"),
        ];
        for (link, expected) in table {
            assert_eq!(judged(&[], link), expected, "{link}");
        }
    }

    #[test]
    fn what_is_allowed_is_fine_in_every_spelling() {
        let lan = &["10.0.0.0/8", "127.0.0.0/8"];
        for link in [
            "http://10.1.2.3/",
            "http://[::ffff:10.1.2.3]/",
            "http://2130706433/",
            "http://localhost/",
        ] {
            assert_eq!(judged(lan, link), "fine", "{link}");
        }
        for link in ["http://192.168.0.1/", "http://[::1]/", "http://[fe80::1]/"] {
            assert_ne!(judged(lan, link), "fine", "{link}");
        }
        assert_eq!(judged(&["::1"], "http://localhost/"), "fine");
    }
}
