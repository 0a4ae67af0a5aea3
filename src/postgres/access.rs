//! `pg_hba.conf` and `pg_ident.conf`: who may log in, and as whom (PostgreSQL: `hba.c`).
//!
//! Read from the files where they can be read, because the view of PostgreSQL 15 hides `clientname=DN`; else from
//! `pg_hba_file_rules` and `pg_ident_file_mappings`, which also know the errors.

use std::net::IpAddr;

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
    /// The value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
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

/// An address as the file or the view has it, with its netmask where it stands apart.
pub(super) fn address(text: &str, netmask: Option<&str>) -> Address {
    if text == "all" {
        return Address::All;
    }
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, bits.parse().ok()),
        None => (text, netmask.and_then(|mask| mask.parse().ok()).map(prefix)),
    };
    match ip.parse::<IpAddr>() {
        Ok(ip) => Address::Network(ip, bits.unwrap_or(width(ip))),
        Err(_) => Address::Named(text.to_owned()),
    }
}

fn prefix(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    u8::try_from(ones).unwrap_or(128)
}

/// What a line of either file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<T> {
    /// A rule or a mapping.
    Entry(T),
    /// A file, or a directory of files, whose lines belong here.
    Include(String),
}

/// The lines of a `pg_hba.conf`. Those that PostgreSQL would refuse are passed over: it says so itself.
#[must_use]
pub fn parse_hba(text: &str) -> Vec<Line<HbaRule>> {
    let mut rules = Vec::new();
    for (line, fields) in lines(text) {
        let words: Vec<String> = fields.iter().map(|field| field.join(",")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut rule = HbaRule { line, ..HbaRule::default() };
        let rest = match words.as_slice() {
            ["include" | "include_if_exists" | "include_dir", path, ..] => {
                rules.push(Line::Include(bare(path).to_owned()));
                continue;
            }
            ["local", _, _, rest @ ..] => rest,
            [_, _, _, place, mask, rest @ ..] if mask.parse::<IpAddr>().is_ok() => {
                rule.address = Some(address(bare(place), Some(mask)));
                rest
            }
            [_, _, _, place, rest @ ..] => {
                rule.address = Some(address(bare(place), None));
                rest
            }
            _ => continue,
        };
        let [method, options @ ..] = rest else { continue };
        words[0].clone_into(&mut rule.kind);
        rule.databases.clone_from(&fields[1]);
        rule.users.clone_from(&fields[2]);
        bare(method).clone_into(&mut rule.method);
        rule.options = options.iter().map(|option| option.replace('"', "")).collect();
        rules.push(Line::Entry(rule));
    }
    rules
}

/// The lines of a `pg_ident.conf`, in the same way.
#[must_use]
pub fn parse_ident(text: &str) -> Vec<Line<Mapping>> {
    let mut mappings = Vec::new();
    for (line, fields) in lines(text) {
        let words: Vec<String> =
            fields.iter().map(|field| bare(&field.join(",")).to_owned()).collect();
        match words.as_slice() {
            [word, path] if word.starts_with("include") => {
                mappings.push(Line::Include(path.clone()));
            }
            [map, system_user, role] => mappings.push(Line::Entry(Mapping {
                line,
                map: map.clone(),
                system_user: system_user.clone(),
                role: role.clone(),
            })),
            _ => {}
        }
    }
    mappings
}

fn bare(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

/// The fields of each line with its number; a field is a list of words. A word that was quoted keeps its quotes
/// where they change its meaning, or hold a comma or a blank.
fn lines(text: &str) -> Vec<(u32, Vec<Vec<String>>)> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, first)) = lines.next() {
        let mut line = first.to_owned();
        while line.ends_with('\\') {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next);
        }
        let fields = fields(&line);
        if !fields.is_empty() {
            found.push((number, fields));
        }
    }
    found
}

fn fields(line: &str) -> Vec<Vec<String>> {
    let mut fields: Vec<Vec<String>> = Vec::new();
    let (mut word, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut goes_on = false;
    let mut end = |word: &mut String, was_quoted: &mut bool, goes_on: &mut bool| {
        if word.is_empty() && !*was_quoted {
            return;
        }
        let special = ["all", "sameuser", "samerole", "replication"].contains(&word.as_str())
            || word.starts_with(['+', '@', '/'])
            || word.contains([',', ' ']);
        let text = std::mem::take(word);
        let text = if std::mem::take(was_quoted) && special { format!("\"{text}\"") } else { text };
        match fields.last_mut() {
            Some(field) if *goes_on => field.push(text),
            _ => fields.push(vec![text]),
        }
        *goes_on = false;
    };
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '#' if !quoted => break,
            ',' if !quoted => {
                end(&mut word, &mut was_quoted, &mut goes_on);
                goes_on = true;
            }
            c if c.is_whitespace() && !quoted => end(&mut word, &mut was_quoted, &mut goes_on),
            c => word.push(c),
        }
    }
    end(&mut word, &mut was_quoted, &mut goes_on);
    fields
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
