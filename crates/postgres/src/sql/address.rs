//! Addresses in `pg_hba.conf`: which clients a line matches (PostgreSQL: `hba.c`, `check_ip` and `check_hostname`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::words::bare;

/// The clients that a line matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `all`
    All,
    /// `samehost`: the server's own addresses.
    SameHost,
    /// `samenet`: the networks that the server's interfaces are in.
    SameNet,
    /// An address and a mask: all addresses that have the same bits as this one wherever the mask has a one. The ones need not
    /// come first. All other bits of this address are zero. An IPv4 mask has 32 bits.
    Network(IpAddr, u128),
    /// A host, or, with a leading dot, all hosts whose names end with this text.
    Name(String),
}

impl Address {
    /// A network by the length of its prefix.
    #[must_use]
    pub fn network(address: IpAddr, bits: u8) -> Self {
        Self::masked(address, ones(address, bits))
    }

    /// PostgreSQL takes `10.1.2.3/8` for `10.0.0.0/8`.
    fn masked(address: IpAddr, mask: u128) -> Self {
        let bits = bits_of(address) & mask;
        let address = match address {
            // An IPv4 mask has no more than 32 bits.
            IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            IpAddr::V6(_) => Ipv6Addr::from(bits).into(),
        };
        Self::Network(address, mask)
    }

    /// Whether the next field of the line is the mask of this word.
    pub(super) fn has_mask_in_next_field(word: &str) -> bool {
        numeric(bare(word)).is_some()
    }

    /// An address from the file, with the mask in the next field.
    pub(super) fn parse(word: &str, mask: Option<&str>) -> Result<Self, &'static str> {
        let text = match word {
            "all" => return Ok(Self::All),
            "samehost" => return Ok(Self::SameHost),
            "samenet" => return Ok(Self::SameNet),
            word => bare(word),
        };
        // Whether such an address is valid depends on the server's interfaces.
        if text.split_once('%').is_some_and(|(ip, _)| numeric(ip).is_some()) {
            return Err("its address names an interface (%)");
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let ip = numeric(ip).ok_or("its address has a mask, but is not numeric")?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(ip));
            return bits.map(|bits| Self::network(ip, bits)).ok_or("its mask is not possible");
        }
        if let Some(ip) = numeric(text) {
            let mask = mask.ok_or("it ends before its mask")?;
            let mask = numeric(bare(mask)).filter(|mask| width(*mask) == width(ip));
            return mask
                .map(|mask| Self::masked(ip, bits_of(mask)))
                .ok_or("its mask does not fit its address");
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// An address of `pg_hba_file_rules`, with the mask of its `netmask`.
    pub(super) fn in_view(text: &str, mask: Option<&str>) -> Self {
        match (text, numeric(text).zip(mask.and_then(numeric))) {
            ("all", _) => Self::All,
            ("samehost", _) => Self::SameHost,
            ("samenet", _) => Self::SameNet,
            (_, Some((ip, mask))) => Self::masked(ip, bits_of(mask)),
            (text, None) => Self::Name(text.to_owned()),
        }
    }

    /// Whether it matches `address`; `None` if pgsvid cannot tell.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Network(network, mask) => {
                let all = ones(address, width(address));
                Some(covers((*network, *mask), (address, all)))
            }
            // Of 127.0.0.0/8 the loopback interface has only 127.0.0.1 as its own address, unless others were added.
            Self::SameHost if address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST => {
                Some(true)
            }
            Self::SameNet if address.is_loopback() => Some(true),
            Self::SameHost | Self::SameNet | Self::Name(_) => None,
        }
    }

    /// Whether it matches everything that `other` matches.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Network(network, mask), Self::Network(inner, inner_mask)) => {
                covers((*network, *mask), (*inner, *inner_mask))
            }
            (one, other) => one == other,
        }
    }

    /// Whether some of the others together match everything that this one matches.
    #[must_use]
    pub fn is_within(&self, others: &[&Self]) -> bool {
        if others.iter().any(|other| other.includes(self)) {
            return true;
        }
        let Self::Network(network, mask) = self else { return false };
        let bits = mask.count_ones();
        let prefix = u8::try_from(bits).ok().filter(|bits| *mask == ones(*network, *bits));
        let Some(prefix) = prefix.filter(|prefix| *prefix < width(*network)) else { return false };
        // Only smaller networks can match a part, and it takes two of them.
        let inner: Vec<&Self> =
            others.iter().copied().filter(|other| self.includes(other)).collect();
        let halves = [*network, half(*network, prefix)].map(|half| Self::network(half, prefix + 1));
        inner.len() > 1 && halves.iter().all(|half| half.is_within(&inner))
    }

    /// Whether it matches only this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::All | Self::SameNet => false,
            Self::SameHost => true,
            Self::Network(..) => {
                Self::network([127, 0, 0, 0].into(), 8).includes(self)
                    || Self::network(Ipv6Addr::LOCALHOST.into(), 128).includes(self)
            }
            Self::Name(name) => name == "localhost",
        }
    }
}

/// The first address of the second half of a network.
fn half(network: IpAddr, prefix: u8) -> IpAddr {
    match network {
        IpAddr::V4(network) => {
            let bit = 1_u32.checked_shl(u32::from(31 - prefix.min(31))).unwrap_or(0);
            Ipv4Addr::from(u32::from(network) | bit).into()
        }
        IpAddr::V6(network) => {
            let bit = 1_u128.checked_shl(u32::from(127 - prefix.min(127))).unwrap_or(0);
            Ipv6Addr::from(u128::from(network) | bit).into()
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A mask with this many leading ones.
fn ones(address: IpAddr, bits: u8) -> u128 {
    let all = if address.is_ipv4() { u32::MAX.into() } else { u128::MAX };
    all & !all.checked_shr(bits.into()).unwrap_or(0)
}

/// Whether the one network contains all of the other: every bit that its mask requires is also fixed in the other.
fn covers((outer, mask): (IpAddr, u128), (inner, inner_mask): (IpAddr, u128)) -> bool {
    width(outer) == width(inner)
        && mask & !inner_mask == 0
        && (bits_of(outer) ^ bits_of(inner)) & mask == 0
}

/// An address in any form that PostgreSQL accepts: `getaddrinfo` with `AI_NUMERICHOST`, which also knows the old short, octal
/// and hexadecimal forms of IPv4, such as `0` and `127.1` (`inet_aton(3)`).
#[must_use]
pub fn numeric(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let number = |part: &str| {
        let (digits, radix) = match (part.strip_prefix("0x").or(part.strip_prefix("0X")), part) {
            (Some(digits), _) => (digits, 16),
            (None, part) if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
            (None, part) => (part, 10),
        };
        // `from_str_radix` would accept a sign.
        let plain = digits.chars().all(|c| c.is_digit(radix));
        plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    // Each number but the last is one byte; the last fills the rest.
    let room = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?).filter(|room| *room > 0)?;
    if first.iter().any(|byte| *byte > 255) || (room < 32 && *last >> room != 0) {
        return None;
    }
    let start = first.iter().enumerate().map(|(at, byte)| byte << (24 - 8 * at)).sum::<u32>();
    Some(IpAddr::V4((start | last).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_all_forms_that_the_c_library_takes() {
        for (text, wanted) in [
            ("0", Some("0.0.0.0")),
            ("127.1", Some("127.0.0.1")),
            ("10.1.258", Some("10.1.1.2")),
            ("0x7f.1", Some("127.0.0.1")),
            ("0177.0.0.1", Some("127.0.0.1")),
            ("4294967295", Some("255.255.255.255")),
            ("::1", Some("::1")),
            ("256.1", None),
            ("1.2.3.4.5", None),
            ("1.16777216", None),
            ("08", None),
            ("0x", None),
            ("+1", None),
            ("1..2", None),
            ("a.example", None),
            ("", None),
        ] {
            assert_eq!(numeric(text), wanted.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_include_each_other() {
        let of = |text| Address::parse(text, None).unwrap();
        for (outer, inner, includes) in [
            ("all", "10.0.0.0/8", true),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.2.3/32", true),
            ("10.1.2.3/32", "10.0.0.0/8", false),
            ("0.0.0.0/0", "::/0", false),
            ("::/0", "fd00::/8", true),
            ("0.0.0.0/0", "all", false),
            ("samenet", "samenet", true),
            ("samenet", "10.0.0.0/8", false),
        ] {
            assert_eq!(of(outer).includes(&of(inner)), includes, "{outer} {inner}");
        }
        assert_eq!(of("10.0.0.0/8").holds("10.255.0.1".parse().unwrap()), Some(true));
        assert_eq!(of("db.example").holds("10.255.0.1".parse().unwrap()), None);
    }
    #[test]
    fn a77_masks_are_taken_first_and_need_not_begin_with_ones() {
        let of = |text: &str| {
            let (place, mask) = text.split_once(' ').map_or((text, None), |(a, b)| (a, Some(b)));
            Address::parse(place, mask)
        };
        for (one, other) in [
            ("0 0x0", "0.0.0.0/0"),
            ("10.0.0.0 255.0.0.0", "10.0.0.0/8"),
            ("::1 ffff::", "::1/16"),
            ("\"10.0.0.0/8\"", "10.0.0.0/+8"),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
        for (network, client, holds) in [
            ("10.1.2.3/8", "10.200.0.1", true),
            ("10.0.0.1 255.0.0.255", "10.9.9.1", true),
            ("10.0.0.1 255.0.0.255", "10.9.9.2", false),
            ("1.2.3.4/0", "9.9.9.9", true),
            ("::ffff:127.0.0.1/128", "127.0.0.1", false),
            ("::/0", "127.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(
                of(network).unwrap().holds(client.parse().unwrap()),
                Some(holds),
                "{network}"
            );
        }
        for wrong in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "::1/129",
            "10.0.0.0 ffff::",
            "::1 255.0.0.0",
            "10.0.0.0 x",
            "db.example/8",
            "fe80::1%lo/64",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(of("\"all\""), Ok(Address::Name("all".to_owned())));
        assert_eq!(of("\"samehost\""), Ok(Address::Name("samehost".to_owned())));
    }

    /// A one after the prefix made both halves of a network equal to the second half.
    #[test]
    fn b64_bits_behind_the_mask_count_for_nothing() {
        let of = |text| Address::parse(text, None).unwrap();
        assert_eq!(of("127.200.0.1/8"), of("127.0.0.0/8"));
        assert_eq!(of("fd00::1/8"), of("fd00::/8"));
        let upper = [of("127.128.0.0/9"), of("127.200.0.0/16")];
        let upper: Vec<&Address> = upper.iter().collect();
        assert!(!of("127.200.0.1/8").is_within(&upper));
        let both = [of("127.0.0.0/9"), of("127.128.0.0/9")];
        assert!(of("127.200.0.1/8").is_within(&both.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn a77_only_what_no_other_machine_can_have_is_local() {
        for (text, local) in [
            ("127.0.0.1/32", true),
            ("127.9.9.9/8", true),
            ("127.0.0.1/7", false),
            ("127.0.0.1/0", false),
            ("10.0.0.1/32", false),
            ("::1/128", true),
            ("::1/127", false),
            // All of ::/8: translated IPv4 addresses (64:ff9b::/96) are part of it.
            ("::1/8", false),
            ("::ffff:127.0.0.1/128", false),
            ("all", false),
            ("samehost", true),
            ("\"samehost\"", false),
            ("samenet", false),
            ("localhost", true),
            (".localhost", false),
        ] {
            assert_eq!(Address::parse(text, None).unwrap().is_local(), local, "{text}");
        }
        let odd = Address::parse("127.0.0.1", Some("255.0.0.255")).unwrap();
        assert!(odd.is_local());
        assert!(!Address::parse("127.0.0.1", Some("127.0.0.255")).unwrap().is_local());
    }
}
