//! Which addresses are nobody's on the public internet; pure.
//!
//! The lists are IANA's registries of special-purpose addresses (RFC 6890 and what was added since).
//! Of IPv6 the rule is turned round: public is what lies in the global unicast block and in no
//! exception of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of IPv4 addresses, how many of its bits count, and what it is for.
type Block4 = (Ipv4Addr, u32, &'static str);
/// The same of IPv6.
type Block6 = (Ipv6Addr, u32, &'static str);

const RESERVED4: [Block4; 18] = [
    (Ipv4Addr::UNSPECIFIED, 8, "local"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    // 169.254.169.254 among them, where clouds hand out credentials.
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "reserved"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    // A public number, and every Azure machine's own host behind it.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "metadata"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// What does not lie in the global unicast block, by name where it has one.
const OUTSIDE6: [Block6; 7] = [
    (Ipv6Addr::UNSPECIFIED, 128, "local"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "private"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
    (Ipv6Addr::UNSPECIFIED, 0, "reserved"),
];

/// Exceptions within it. `2001::/23` holds Teredo, whose inner addresses are written in disguise.
const INSIDE6: [Block6; 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "documentation",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "documentation",
    ),
];

const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Why `address` is not one of the public internet, as an adjective; `None`: it is one.
///
/// An IPv6 address that stands for an IPv4 address (mapped, RFC 4291; compatible, the same;
/// 6to4, RFC 3056; NAT64, RFC 6052) is judged as that one: packets to it end up there.
pub(super) fn kind_of(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => kind_of_v4(v4),
        IpAddr::V6(v6) => match inner(v6) {
            Some(v4) => kind_of_v4(v4),
            None => kind_of_v6(v6),
        },
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |(first, prefix, _): &&Block4| {
        let ignored = 32 - *prefix;
        address.to_bits() >> ignored == first.to_bits() >> ignored
    };
    RESERVED4.iter().find(within).map(|(_, _, kind)| *kind)
}

fn kind_of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let (first, prefix) = GLOBAL_UNICAST;
    let exceptions: &[Block6] = if lies_in(address, first, prefix) {
        &INSIDE6
    } else {
        &OUTSIDE6
    };
    let found = exceptions
        .iter()
        .find(|(first, prefix, _)| lies_in(address, *first, *prefix));
    found.map(|(_, _, kind)| *kind)
}

fn lies_in(address: Ipv6Addr, first: Ipv6Addr, prefix: u32) -> bool {
    let top = |bits: u128| bits.checked_shr(128 - prefix).unwrap_or(0);
    top(address.to_bits()) == top(first.to_bits())
}

/// The IPv4 address that an IPv6 address stands for.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        // SIIT's form of a mapped address (RFC 7915).
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_block_has_its_edges() {
        let table = [
            ("0.0.0.0", "local"),
            ("0.255.255.255", "local"),
            ("1.0.0.0", ""),
            ("9.255.255.255", ""),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("11.0.0.0", ""),
            ("100.63.255.255", ""),
            ("100.64.0.0", "shared"),
            ("100.100.100.200", "shared"),
            ("100.127.255.255", "shared"),
            ("100.128.0.0", ""),
            ("126.255.255.255", ""),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("128.0.0.0", ""),
            ("168.63.129.15", ""),
            ("168.63.129.16", "metadata"),
            ("168.63.129.17", ""),
            ("169.253.255.255", ""),
            ("169.254.169.254", "link-local"),
            ("169.255.0.0", ""),
            ("172.15.255.255", ""),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", ""),
            ("191.255.255.255", ""),
            ("192.0.0.192", "reserved"),
            ("192.0.1.0", ""),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "reserved"),
            ("192.167.255.255", ""),
            ("192.168.255.255", "private"),
            ("192.169.0.0", ""),
            ("198.17.255.255", ""),
            ("198.19.255.255", "reserved"),
            ("198.20.0.0", ""),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", ""),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "local"),
            ("::1", "loopback"),
            ("::2", "local"),
            ("::ffff:8.8.8.8", ""),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0:10.0.0.1", "private"),
            ("::10.0.0.1", "private"),
            ("64:ff9b::8.8.8.8", ""),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b:1::10.0.0.1", "reserved"),
            ("100::1", "reserved"),
            ("1fff:ffff::1", "reserved"),
            ("2001::1", "reserved"),
            ("2001:1ff:ffff::", "reserved"),
            ("2001:200::", ""),
            ("2001:db8::1", "documentation"),
            ("2001:4860:4860::8888", ""),
            ("2002:0a00:0001::1", "private"),
            ("2002:0808:0808::1", ""),
            ("2606:4700::1111", ""),
            ("3fff:fff::1", "documentation"),
            ("3fff:1000::1", ""),
            ("4000::", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ];
        for (address, expected) in table {
            let found = kind_of(address.parse().unwrap()).unwrap_or_default();
            assert_eq!(found, expected, "{address}");
        }
    }

    /// What the standard library knows to be none of the public internet's.
    fn std_refuses(v4: Ipv4Addr) -> bool {
        v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_multicast()
            || v4.is_broadcast()
            || v4.is_documentation()
            || v4.is_unspecified()
    }

    proptest! {
        #[test]
        fn an_address_in_disguise_is_judged_as_what_it_is(bits: u32, rest: u64) {
            let v4 = Ipv4Addr::from_bits(bits);
            let plain = kind_of(v4.into());
            prop_assert!(plain.is_some() || !std_refuses(v4), "{}", v4);
            let low = u128::from(bits);
            let disguises = [
                v4.to_ipv6_mapped().to_bits(),
                (0xffff << 48) | low,
                (0x0064_ff9b << 96) | low,
                (0x2002 << 112) | (low << 80) | u128::from(rest),
            ];
            for disguise in disguises {
                let v6 = Ipv6Addr::from_bits(disguise);
                prop_assert_eq!(kind_of(v6.into()), plain, "{}", v6);
            }
            if bits > 1 {
                prop_assert_eq!(kind_of(v4.to_ipv6_compatible().into()), plain);
            }
        }

        #[test]
        fn nothing_outside_of_global_unicast_is_public(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            let public = kind_of(v6.into()).is_none();
            prop_assert!(!public || bits >> 125 == 1 || inner(v6).is_some(), "{}", v6);
            let std = v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast();
            prop_assert!(!(public && std), "{}", v6);
        }

        #[test]
        fn no_block_has_a_hole(block in 0..RESERVED4.len(), inside: u32) {
            let (first, prefix, kind) = RESERVED4[block];
            let below = inside.checked_shr(prefix).unwrap_or(0);
            let address = Ipv4Addr::from_bits(first.to_bits() | below);
            prop_assert_eq!(kind_of(address.into()), Some(kind));
        }
    }
}
