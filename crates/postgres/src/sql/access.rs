//! `pg_hba.conf` and `pg_ident.conf`: who may log in, and as whom (PostgreSQL: `hba.c`).
//!
//! Read from the files where they can be read, because the view of PostgreSQL 15 hides `clientname=DN`; else from
//! `pg_hba_file_rules` and `pg_ident_file_mappings`, which also know the errors.

use std::iter::Peekable;
use std::net::IpAddr;
use std::str::Chars;

/// One line of `pg_hba.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HbaRule {
    /// Line, from 1.
    pub line: u32,
    /// The file's name, where several take part.
    pub file: Option<String>,
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc` or `hostnogssenc`.
    pub kind: String,
    /// Databases; a quoted keyword keeps its quotes.
    pub databases: Vec<String>,
    /// Users; a quoted keyword keeps its quotes.
    pub users: Vec<String>,
    /// Whom it concerns; `None` for `local`.
    pub address: Option<Address>,
    /// The method.
    pub method: String,
    /// `name=value`, as they stand.
    pub options: Vec<String>,
}

/// Whom a line concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `all`
    All,
    /// A network.
    Network(IpAddr, u8),
    /// `samehost`, `samenet` or a host name.
    Named(String),
}

/// One line of `pg_ident.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Line, from 1.
    pub line: u32,
    /// The map's name.
    pub map: String,
    /// The name as the certificate has it; with a slash in front a regular expression.
    pub system_user: String,
    /// The role that it may be.
    pub role: String,
}

/// What PostgreSQL has against a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// `pg_hba.conf` or `pg_ident.conf`
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Its words, shortened and escaped.
    pub error: String,
}

impl HbaRule {
    /// The value of an option. Of several, PostgreSQL takes the last (`hba.c`, `parse_hba_auth_opt`).
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether a client with TLS can meet it.
    #[must_use]
    pub fn admits_tls(&self) -> bool {
        matches!(self.kind.as_str(), "host" | "hostssl" | "hostnogssenc")
    }

    /// Whether it asks for a valid client certificate.
    #[must_use]
    pub fn wants_certificate(&self) -> bool {
        self.method == "cert"
            || matches!(self.option("clientcert"), Some("verify-full" | "verify-ca"))
    }

    /// Whether a client over TCP is any role that it likes: nobody is asked, or a service of the client's own machine, and no
    /// name of a certificate is compared with the role's.
    #[must_use]
    pub fn believes_clients(&self) -> bool {
        self.kind != "local"
            && matches!(self.method.as_str(), "trust" | "ident")
            && self.option("clientcert") != Some("verify-full")
    }
}

impl Address {
    /// Whether `address` is one of them; `None` if that cannot be told from here.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Network(network, bits) => {
                Some(covers((*network, *bits), (address, width(address))))
            }
            Self::Named(_) => None,
        }
    }

    /// Whether it holds everything that `other` holds.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Network(network, bits), Self::Network(inner, inner_bits)) => {
                covers((*network, *bits), (*inner, *inner_bits))
            }
            (one, other) => one == other,
        }
    }

    /// Whether only this machine is meant.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::All => false,
            Self::Network(network, bits) => network.is_loopback() && *bits >= 8,
            Self::Named(name) => name == "samehost" || name == "localhost",
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn covers((outer, bits): (IpAddr, u8), (inner, inner_bits): (IpAddr, u8)) -> bool {
    let shifted = |address: u128, width: u8| match width.checked_sub(bits) {
        Some(shift) => address.checked_shr(shift.into()).unwrap_or(0),
        None => address,
    };
    bits <= inner_bits
        && match (outer, inner) {
            (IpAddr::V4(outer), IpAddr::V4(inner)) => {
                shifted(outer.to_bits().into(), 32) == shifted(inner.to_bits().into(), 32)
            }
            (IpAddr::V6(outer), IpAddr::V6(inner)) => {
                shifted(outer.to_bits(), 128) == shifted(inner.to_bits(), 128)
            }
            _ => false,
        }
}

/// An address as the file or the view has it, with its netmask where it stands apart. What PostgreSQL would take for no
/// network is a name.
pub(super) fn address(text: &str, netmask: Option<&str>) -> Address {
    if text == "all" {
        return Address::All;
    }
    let text = bare(text);
    let network = match text.split_once('/') {
        Some((ip, bits)) => {
            numeric(ip).zip(bits.parse().ok()).filter(|(ip, bits)| *bits <= width(*ip))
        }
        None => numeric(text).and_then(|ip| match netmask {
            Some(mask) => prefix(ip, numeric(mask)?).map(|bits| (ip, bits)),
            None => Some((ip, width(ip))),
        }),
    };
    match network {
        Some((ip, bits)) => Address::Network(ip, bits),
        None => Address::Named(text.to_owned()),
    }
}

/// An address in any form that PostgreSQL takes for one: `getaddrinfo` with `AI_NUMERICHOST`, which knows the old short, octal
/// and hexadecimal forms of IPv4 as well, such as `0` and `127.1` (`inet_aton(3)`).
fn numeric(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let number = |part: &str| {
        let (digits, radix) = match (part.strip_prefix("0x").or(part.strip_prefix("0X")), part) {
            (Some(digits), _) => (digits, 16),
            (None, part) if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
            (None, part) => (part, 10),
        };
        // `from_str_radix` would take a sign.
        let plain = digits.chars().all(|c| c.is_digit(radix));
        plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    // Each but the last is one byte; the last fills what is left.
    let room = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?).filter(|room| *room > 0)?;
    if first.iter().any(|byte| *byte > 255) || (room < 32 && *last >> room != 0) {
        return None;
    }
    let start = first.iter().enumerate().map(|(at, byte)| byte << (24 - 8 * at)).sum::<u32>();
    Some(IpAddr::V4((start | last).into()))
}

/// The length of a netmask for such an address, if its ones come first.
fn prefix(address: IpAddr, mask: IpAddr) -> Option<u8> {
    let (ones, all) = match (address, mask) {
        (IpAddr::V4(_), IpAddr::V4(mask)) => {
            (mask.to_bits().leading_ones(), mask.to_bits().count_ones())
        }
        (IpAddr::V6(_), IpAddr::V6(mask)) => {
            (mask.to_bits().leading_ones(), mask.to_bits().count_ones())
        }
        _ => return None,
    };
    u8::try_from(ones).ok().filter(|_| ones == all)
}

/// What a line of either file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<T> {
    /// A rule or a mapping.
    Entry(T),
    /// A file, or a directory of files, whose lines belong here.
    Include(String),
}

/// The lines of a `pg_hba.conf`. Those that PostgreSQL would refuse for their form are passed over: it says so itself.
#[must_use]
pub fn parse_hba(text: &str) -> Vec<Line<HbaRule>> {
    lines(text).into_iter().filter_map(|(line, fields)| hba_line(line, &fields)).collect()
}

fn hba_line(line: u32, fields: &[Field]) -> Option<Line<HbaRule>> {
    if let Some(include) = include(fields) {
        return Some(Line::Include(include));
    }
    let [kind, databases, users, rest @ ..] = fields else { return None };
    let kind = single(kind)?;
    let (address, rest) = match (kind, rest) {
        ("local", rest) => (None, rest),
        ("host" | "hostssl" | "hostnossl" | "hostgssenc" | "hostnogssenc", [place, rest @ ..]) => {
            let place = single(place)?;
            if numeric(bare(place)).is_some() {
                // An address without a length has its mask beside it.
                let (mask, rest) = rest.split_first()?;
                let mask = bare(single(mask)?);
                numeric(mask)?;
                (Some(address(place, Some(mask))), rest)
            } else {
                (Some(address(place, None)), rest)
            }
        }
        _ => return None,
    };
    let (method, options) = rest.split_first()?;
    Some(Line::Entry(HbaRule {
        line,
        file: None,
        kind: kind.to_owned(),
        databases: databases.clone(),
        users: users.clone(),
        address,
        method: bare(single(method)?).to_owned(),
        options: options.iter().flatten().map(|option| bare(option).to_owned()).collect(),
    }))
}

/// The lines of a `pg_ident.conf`, in the same way.
#[must_use]
pub fn parse_ident(text: &str) -> Vec<Line<Mapping>> {
    lines(text).into_iter().filter_map(|(line, fields)| ident_line(line, &fields)).collect()
}

fn ident_line(line: u32, fields: &[Field]) -> Option<Line<Mapping>> {
    if let Some(include) = include(fields) {
        return Some(Line::Include(include));
    }
    let [map, system_user, role, ..] = fields else { return None };
    Some(Line::Entry(Mapping {
        line,
        map: bare(single(map)?).to_owned(),
        system_user: bare(single(system_user)?).to_owned(),
        role: bare(single(role)?).to_owned(),
    }))
}

/// The path of an `include` line (PostgreSQL 16 and later).
fn include(fields: &[Field]) -> Option<String> {
    let [directive, path] = fields else { return None };
    let is_include = ["include", "include_if_exists", "include_dir"].contains(&single(directive)?);
    is_include.then(|| single(path).map(|path| bare(path).to_owned()))?
}

/// The words of a list. A word that was quoted keeps its quotes where they change its meaning, or hold a comma or a blank.
type Field = Vec<String>;

fn single(field: &Field) -> Option<&str> {
    match field.as_slice() {
        [word] => Some(word),
        _ => None,
    }
}

fn bare(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

/// The fields of each line, with its number. A line that ends with a backslash goes on in the next one; a backslash that
/// such a joint brings to the end does not (PostgreSQL: `hba.c`, `tokenize_auth_file`).
fn lines(text: &str) -> Vec<(u32, Vec<Field>)> {
    let mut found = Vec::new();
    let mut physical = (1..).zip(text.split('\n'));
    while let Some((number, first)) = physical.next() {
        let mut line = first.trim_end_matches('\r').to_owned();
        let mut joint = 0;
        while line.len() > joint && line.ends_with('\\') {
            line.pop();
            joint = line.len();
            let Some((_, next)) = physical.next() else { break };
            line.push_str(next.trim_end_matches('\r'));
        }
        // For C, a text ends there.
        let fields = fields(line.split('\0').next().unwrap_or_default());
        if !fields.is_empty() {
            found.push((number, fields));
        }
    }
    found
}

fn fields(line: &str) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut rest = line.chars().peekable();
    let mut goes_on = false;
    while let Some(word) = next_word(&mut rest) {
        match fields.last_mut() {
            Some(field) if goes_on => field.push(word.text),
            _ => fields.push(vec![word.text]),
        }
        goes_on = word.ends_with_comma;
    }
    fields
}

struct Word {
    text: String,
    ends_with_comma: bool,
}

/// The next word of a line. Blanks and commas before it are passed over; within quotation marks two of them stand for
/// one, and what is not letters counts as such (PostgreSQL: `hba.c`, `next_token`).
fn next_word(rest: &mut Peekable<Chars<'_>>) -> Option<Word> {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\r');
    while rest.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
    let mut text = String::new();
    let (mut within, mut just_closed) = (false, false);
    let (mut begins_quoted, mut any_quote, mut ends_with_comma) = (false, false, false);
    while let Some(c) = rest.next_if(|c| within || !is_blank(*c)) {
        match c {
            '"' => {
                if just_closed {
                    text.push('"');
                }
                just_closed = within && !just_closed;
                within = !within;
                begins_quoted |= text.is_empty();
                any_quote = true;
                continue;
            }
            '#' if !within => {
                rest.by_ref().for_each(drop);
                break;
            }
            ',' if !within => {
                ends_with_comma = true;
                break;
            }
            c => text.push(c),
        }
        just_closed = false;
    }
    if text.is_empty() && !any_quote {
        return None;
    }
    let special = ["all", "sameuser", "samerole", "replication"].contains(&text.as_str())
        || text.starts_with(['+', '@', '/'])
        || text.contains([',', ' ']);
    let text = if begins_quoted && special { format!("\"{text}\"") } else { text };
    Some(Word { text, ends_with_comma })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries<T>(lines: Vec<Line<T>>) -> Vec<Result<T, String>> {
        let entry = |line| match line {
            Line::Entry(entry) => Ok(entry),
            Line::Include(path) => Err(path),
        };
        lines.into_iter().map(entry).collect()
    }

    #[test]
    fn hba_lines_are_read_as_postgresql_does() {
        let mut rules = entries(parse_hba(
            "# comment\n\
             local all postgres peer map=admin\n\
             hostssl \"all\",app all 10.0.0.0/8 cert clientname=DN map=spiffe # comment\n\
             host all all 192.168.1.0 255.255.255.0 scram-sha-256 \\\n  clientcert=verify-full\n\
             host all \"a b\",+dba ::1/128 \"reject\"\n\
             include_if_exists more.conf\n",
        ));
        assert_eq!(rules.pop().unwrap().unwrap_err(), "more.conf");
        let rules: Vec<HbaRule> = rules.into_iter().map(Result::unwrap).collect();
        assert_eq!(rules.len(), 4);
        assert_eq!(rules[1].line, 3);
        assert_eq!(rules[1].databases, ["\"all\"", "app"]);
        assert_eq!(rules[1].option("clientname"), Some("DN"));
        assert_eq!(rules[1].option("map"), Some("spiffe"));
        assert!(rules[2].wants_certificate());
        assert_eq!(rules[2].address, Some(address("192.168.1.0/24", None)));
        assert_eq!((rules[3].method.as_str(), rules[3].line), ("reject", 6));
        assert_eq!(rules[3].users, ["\"a b\"", "+dba"]);
    }

    /// What `tests/postgresql/foreign_files.rs` shows to PostgreSQL itself, and where this reader once differed.
    #[test]
    fn words_end_where_postgresql_ends_them() {
        for (text, wanted) in [
            ("a b", &["a", "b"][..]),
            ("a, b ,c", &["a|b", "c"]),
            (",,a,,b", &["a|b"]),
            ("\"a\"\"b\" \"\" c\"d e\"f", &["a\"b", "", "cd ef"]),
            ("\"all\" al\"l\"", &["\"all\"", "all"]),
            ("a\u{a0}b\u{b}c", &["a\u{a0}b\u{b}c"]),
            ("a#b c", &["a"]),
            ("\"a b", &["\"a b\""]),
        ] {
            let read: Vec<String> = fields(text).iter().map(|field| field.join("|")).collect();
            assert_eq!(read, wanted, "{text:?}");
        }
        let joined = lines("a\\\r\nb\\\n\nc\\\\\n\nd\0e\n");
        let read: Vec<(u32, &str)> =
            joined.iter().map(|(line, fields)| (*line, fields[0][0].as_str())).collect();
        assert_eq!(read, [(1, "ab"), (4, "c\\"), (6, "d")]);
    }

    #[test]
    fn lines_that_postgresql_refuses_for_their_form_are_passed_over() {
        for line in [
            "hosts all all all cert",
            "host,local all all all cert",
            "host all all 10.0.0.0 cert",
            "host all all all cert,peer",
            "host all all all",
            "local all all",
        ] {
            assert_eq!(parse_hba(line), [], "{line}");
        }
        for (place, mask, wanted) in [
            ("10.0.0.0/33", None, Address::Named("10.0.0.0/33".to_owned())),
            ("10.0.0.0", Some("255.0.255.0"), Address::Named("10.0.0.0".to_owned())),
            ("10.0.0.0", Some("255.0.0.0"), Address::Network([10, 0, 0, 0].into(), 8)),
            ("\"all\"", None, Address::Named("all".to_owned())),
        ] {
            assert_eq!(address(place, mask), wanted, "{place}");
        }
        assert_eq!(entries(parse_ident("m a,b c\nm a\n")), []);
        assert_eq!(entries(parse_ident("m a b c\n")).len(), 1);
    }

    #[test]
    fn ident_lines_keep_distinguished_names_whole() {
        let text = "spiffe \"x500UniqueIdentifier=05,O=SPIRE,C=US\" app1\nnames /^(.*)$ \\1\n";
        let mappings: Vec<Mapping> =
            entries(parse_ident(text)).into_iter().map(Result::unwrap).collect();
        assert_eq!(mappings[0].system_user, "x500UniqueIdentifier=05,O=SPIRE,C=US");
        assert_eq!(mappings[0].role, "app1");
        assert_eq!((mappings[1].system_user.as_str(), mappings[1].line), ("/^(.*)$", 2));
    }

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
        let rules =
            entries(parse_hba("host all all 0.0.0.0 0 trust\nhostnossl all all 0 0x0 trust\n"));
        for rule in rules.into_iter().map(Result::unwrap) {
            assert_eq!(rule.address, Some(address("0.0.0.0/0", None)));
            assert_eq!(rule.method, "trust");
        }
    }

    #[test]
    fn of_an_option_that_comes_again_the_last_counts() {
        let mut rules = entries(parse_hba(
            "hostssl all all all trust clientcert=verify-full clientcert=verify-ca\n",
        ));
        let rule = rules.pop().unwrap().unwrap();
        assert_eq!(rule.option("clientcert"), Some("verify-ca"));
        assert!(rule.believes_clients());
    }

    #[test]
    fn addresses_include_each_other() {
        let of = |text| address(text, None);
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
}
