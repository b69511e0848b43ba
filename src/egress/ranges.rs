//! Which addresses are public. Pure; the tables follow the IANA special-purpose registries (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Machines of cloud providers that hand out credentials to whoever asks: closed even inside an opened range.
const METADATA: [IpAddr; 13] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // Amazon's, for containers
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // Amazon's, for pods
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),    // Tencent's
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),   // Scaleway's
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure's, in a public range
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba's
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle's
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),    // Amazon's, for pods
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),     // Scaleway's
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // OpenStack's
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),    // Google's
];

/// Closed IPv4 ranges: base, bits, what they are.
const CLOSED_V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8, "an unspecified address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's shared address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "a reserved address"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmark address"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::BROADCAST, 32, "the broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// IPv6 ranges that carry an IPv4 address inside: an operator's range does not open them, or it would open IPv4 unseen.
const CARRIERS: [(Ipv6Addr, u32, &str); 6] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "an IPv4-mapped address"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "an IPv4-translated address"),
    (v6(0, 0, 0), 96, "an IPv4-compatible address"),
    (v6(0x64, 0xff9b, 1), 48, "a local NAT64 address"),
    (v6(0x2001, 0, 0), 32, "a Teredo address"),
    (v6(0x2002, 0, 0), 16, "a 6to4 address"),
];

/// The well-known NAT64 prefix: opened by an operator, it is as open as the IPv4 address inside.
const NAT64: (Ipv6Addr, u32) = (v6(0x64, 0xff9b, 0), 96);

/// Closed IPv6 ranges; all that is not global unicast (`2000::/3`) is closed besides.
const CLOSED_V6: [(Ipv6Addr, u32, &str); 7] = [
    (v6(0xfc00, 0, 0), 7, "a unique-local address"),
    (v6(0xfe80, 0, 0), 10, "a link-local address"),
    (v6(0xfec0, 0, 0), 10, "a site-local address"),
    (v6(0xff00, 0, 0), 8, "a multicast address"),
    (v6(0x2001, 0, 0), 23, "a reserved address"),
    (v6(0x2001, 0xdb8, 0), 32, "a documentation address"),
    (v6(0x3fff, 0, 0), 20, "a documentation address"),
];

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Anybody may call it.
    Public,
    /// Closed, unless the operator opens a range that holds it.
    Closed(&'static str),
    /// Closed, and no range opens it.
    Barred(&'static str),
    /// A NAT64 address, closed like [`Sort::Closed`]; opened, it is judged again as the IPv4 address inside.
    Nat64(Ipv4Addr),
}

/// Judges one address, as it would be connected to.
pub(super) fn sort(address: IpAddr) -> Sort {
    if METADATA.contains(&address) {
        return Sort::Barred("a metadata service of a cloud provider");
    }
    match address {
        IpAddr::V4(address) => sort_v4(address),
        IpAddr::V6(address) => sort_v6(address),
    }
}

fn sort_v4(address: Ipv4Addr) -> Sort {
    let found = CLOSED_V4.iter().find(|(base, bits, _)| (address.to_bits() ^ base.to_bits()).leading_zeros() >= *bits);
    found.map_or(Sort::Public, |(_, _, what)| Sort::Closed(what))
}

fn sort_v6(address: Ipv6Addr) -> Sort {
    let within = |base: &Ipv6Addr, bits: u32| (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits;
    if address.is_loopback() {
        return Sort::Closed("a loopback address");
    }
    if address.is_unspecified() {
        return Sort::Closed("an unspecified address");
    }
    if within(&NAT64.0, NAT64.1) {
        let [.., a, b, c, d] = address.octets();
        return Sort::Nat64(Ipv4Addr::new(a, b, c, d));
    }
    if let Some((_, _, what)) = CARRIERS.iter().find(|(base, bits, _)| within(base, *bits)) {
        return Sort::Barred(what);
    }
    if let Some((_, _, what)) = CLOSED_V6.iter().find(|(base, bits, _)| within(base, *bits)) {
        return Sort::Closed(what);
    }
    if within(&v6(0x2000, 0, 0), 3) { Sort::Public } else { Sort::Closed("a reserved address") }
}
