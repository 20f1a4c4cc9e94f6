//! A network in CIDR form, for the lists of private networks that may be reached.

use std::fmt;
use std::net::IpAddr;

/// A network: an address and how many of its leading bits count (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of one address.
    pub fn of(address: IpAddr) -> Self {
        Self {
            prefix: if address.is_ipv4() { 32 } else { 128 },
            address,
        }
    }

    /// Reads `10.0.0.0/8`, `fd00::/8` or a single address.
    ///
    /// # Errors
    /// The rule that was broken, as words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const RULE: &str = "must be a network such as \"10.0.0.0/8\" or \"fd00::/8\"";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| RULE.to_owned())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| RULE.to_owned())?
            }
            Some(_) => return Err(RULE.to_owned()),
        };
        if prefix > widest {
            return Err(format!("{RULE}; at most /{widest} here"));
        }
        let network = Self { address, prefix };
        let first = network.first();
        if first == address {
            Ok(network)
        } else {
            // One digit wrong in a list that opens private networks is worth a question.
            Err(format!(
                "must be the network's first address: {first}/{prefix}"
            ))
        }
    }

    /// Whether `address` lies in this network. An IPv4 address written as an IPv6 one counts as
    /// the IPv4 address that it is (RFC 4291 §2.5.5.2).
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = if self.address.is_ipv4() {
            address.to_canonical()
        } else {
            address
        };
        address.is_ipv4() == self.address.is_ipv4()
            && Self {
                address,
                prefix: self.prefix,
            }
            .first()
                == self.address
    }

    /// The address with all bits behind the prefix at zero.
    fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix.min(32)))
                    .unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix.min(128)))
                    .unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let table = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.168.1.7", Some("192.168.1.7/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("fd00::/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("::/0", Some("::/0")),
            ("10.0.0.1/8", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/999999999999", None),
            ("10.0.0/8", None),
            ("localhost", None),
            ("", None),
        ];
        for (text, expected) in table {
            let read = Network::parse(text).ok().map(|n| n.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        let hint = Network::parse("10.0.0.1/8").unwrap_err();
        assert!(hint.ends_with("10.0.0.0/8"), "{hint}");
    }

    #[test]
    fn networks_hold_their_addresses() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "fd00::1", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "fe00::1", true),
            ("::1", "::2", false),
            ("192.168.1.7", "192.168.1.8", false),
        ];
        for (network, address, expected) in table {
            let held = Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap());
            assert_eq!(held, expected, "{address} in {network}");
        }
    }
}
