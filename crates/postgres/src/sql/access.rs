//! `pg_hba.conf` and `pg_ident.conf`: who may log in, and as which role (PostgreSQL: `hba.c`).
//!
//! Read from the files where possible, because the view hides `clientname=DN`. Otherwise from `pg_hba_file_rules` and
//! `pg_ident_file_mappings`, which also list errors.

use super::address::Address;
use super::words::{Field, KEYWORDS, WORD_IN_A_FILE, bare, lines, list_file, single};

/// One line of `pg_hba.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaRule {
    /// Line, from 1.
    pub line: u32,
    /// The file's name, if there are several files.
    pub file: Option<String>,
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc` or `hostnogssenc`.
    pub kind: String,
    /// Databases; a quoted keyword keeps its quotes.
    pub databases: Vec<String>,
    /// Users; a quoted keyword keeps its quotes.
    pub users: Vec<String>,
    /// The clients that it matches; `None` for `local`.
    pub address: Option<Address>,
    /// The authentication method; in a `local` line `peer` for `ident`, as in `hba.c`.
    pub method: String,
    /// `name=value`, without quotation marks around it.
    pub options: Vec<String>,
    /// Whether quotation marks are known. `pg_hba_file_rules` drops them, so `all` may be the keyword or a name. If false, such
    /// a line is assumed to let in everything that the keyword means, and to hide no later line.
    pub quotes_known: bool,
}

impl Default for HbaRule {
    fn default() -> Self {
        Self {
            line: 0,
            file: None,
            kind: String::new(),
            databases: Vec::new(),
            users: Vec::new(),
            address: None,
            method: String::new(),
            options: Vec::new(),
            quotes_known: true,
        }
    }
}

/// One line of `pg_ident.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Line, from 1.
    pub line: u32,
    /// The file that contains it, if that is not the file of `ident_file` itself.
    pub file: Option<String>,
    /// The map's name.
    pub map: String,
    /// The name in the certificate, or a regular expression after a slash.
    pub system_user: String,
    /// The role that the name may log in as.
    pub role: String,
}

/// A line that PostgreSQL refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// `pg_hba.conf` or `pg_ident.conf`
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// PostgreSQL's message, shortened and escaped.
    pub error: String,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, error } = self;
        write!(f, "{file} line {line} is wrong: {error}")
    }
}

/// Whether any of the answers is true; `None` if that is unknown.
fn any(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all_told = true;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => all_told = false,
        }
    }
    all_told.then_some(false)
}

/// Whether a word is this name; `None` for groups, lists in files and regular expressions.
fn is_name(word: &str, name: &str) -> Option<bool> {
    (!word.starts_with(['+', '@', '/'])).then(|| bare(word) == name)
}

impl HbaRule {
    /// The value of an option. If it occurs several times, PostgreSQL uses the last (`hba.c`, `parse_hba_auth_opt`).
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// The map from names to roles. An empty name means none (`hba.c`, `check_usermap`).
    #[must_use]
    pub fn map(&self) -> Option<&str> {
        self.option("map").filter(|map| !map.is_empty())
    }

    /// The groups whose members the line matches.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let of_group = |word: &'_ String| word.starts_with('+') && word.len() > 1;
        self.users.iter().filter(move |word| of_group(word)).map(|word| bare(&word[1..]))
    }

    /// Whether the line matches this role; `None` if pgsvid cannot tell, as with groups, lists in files, and regular
    /// expressions (PostgreSQL 16 and later).
    #[must_use]
    pub fn is_about(&self, role: &str) -> Option<bool> {
        any(self.users.iter().map(|word| match word.as_str() {
            "all" => Some(true),
            word => is_name(word, role),
        }))
    }

    /// Whether the line certainly matches this role. Only the users are compared: its databases ([`Self::decided_databases`])
    /// and its address must match, too, before it hides later lines.
    #[must_use]
    pub fn decides_about(&self, role: &str) -> bool {
        self.users
            .iter()
            .any(|word| self.is_sure(word) && (word == "all" || is_name(word, role) == Some(true)))
    }

    /// The databases that the line certainly matches, as written: names, and keywords if quotation marks are known.
    pub fn decided_databases(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(String::as_str).filter(|word| self.is_sure(word))
    }

    /// Whether the meaning of a word is certain: it is no keyword, or quotation marks are known.
    #[must_use]
    pub fn is_sure(&self, word: &str) -> bool {
        self.quotes_known || !KEYWORDS.contains(&word)
    }

    /// Whether the line matches a connection of this role to this database; `None` if pgsvid cannot tell, as in
    /// [`Self::is_about`]. `replication` does not match: replication connections have no database.
    #[must_use]
    pub fn is_for(&self, database: &str, role: &str) -> Option<bool> {
        any(self.databases.iter().map(|word| match word.as_str() {
            "all" => Some(true),
            "sameuser" => Some(role == database),
            "samerole" | "samegroup" => None,
            "replication" => Some(false),
            word => is_name(word, database),
        }))
    }

    /// Whether it matches clients with TLS.
    #[must_use]
    pub fn matches_tls(&self) -> bool {
        matches!(self.kind.as_str(), "host" | "hostssl" | "hostnogssenc")
    }

    /// Whether it requires a valid client certificate.
    #[must_use]
    pub fn wants_certificate(&self) -> bool {
        self.method == "cert"
            || matches!(self.option("clientcert"), Some("verify-full" | "verify-ca"))
    }

    /// Whether a client over TCP can log in as any role: the method is `trust`, or `ident`, which only asks the client's own
    /// machine; and the certificate's name is not compared with the role (`clientcert=verify-full`).
    #[must_use]
    pub fn lets_in_as_any_role(&self) -> bool {
        self.kind != "local"
            && matches!(self.method.as_str(), "trust" | "ident")
            && self.option("clientcert") != Some("verify-full")
    }
}

/// A line of either file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<T> {
    /// A rule or a mapping.
    Entry(T),
    /// A file, or a directory of files, whose lines belong here.
    Include(Include),
    /// A line that pgsvid does not understand: its number, from 1, and the reason. PostgreSQL refuses most such lines.
    Unclear(u32, &'static str),
}

/// An `include` line (PostgreSQL 16 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Line, from 1.
    pub line: u32,
    /// The path as written, without quotation marks; if relative, it starts at the directory of the including file.
    pub path: String,
    /// Whether the file may be missing.
    pub if_exists: bool,
    /// Whether it is a directory of files.
    pub directory: bool,
}

/// The lines of a `pg_hba.conf`, without comments and empty lines.
#[must_use]
pub fn parse_hba(text: &str) -> Vec<Line<HbaRule>> {
    lines(text).into_iter().map(|(line, fields)| read(line, &fields, hba_line)).collect()
}

/// The lines of a `pg_ident.conf`, without comments and empty lines.
#[must_use]
pub fn parse_ident(text: &str) -> Vec<Line<Mapping>> {
    lines(text).into_iter().map(|(line, fields)| read(line, &fields, ident_line)).collect()
}

/// The words of a file that `pg_hba.conf` names in a list of databases or users (`@file`).
///
/// # Errors
/// If a line is an `include` directive, or has bytes that are not UTF-8. The error is the reason, for messages.
pub fn parse_list(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    for (line, fields) in lines(text) {
        if include::<()>(line, &fields).is_some() {
            return Err("it has a line that includes another file");
        }
        if fields.iter().any(is_not_utf8) {
            return Err(NOT_UTF8);
        }
        words.extend(fields.into_iter().flatten());
    }
    Ok(words)
}

/// Why a line with bytes that are not UTF-8 cannot be judged: PostgreSQL compares bytes, pgsvid compares text.
const NOT_UTF8: &str = "it is not written in UTF-8, so its names cannot be compared with those of roles, databases and maps";

/// Whether the field has bytes that are not UTF-8: reading a file as text replaces them.
fn is_not_utf8(field: &Field) -> bool {
    field.iter().any(|word| word.contains(char::REPLACEMENT_CHARACTER))
}

fn read<T>(
    line: u32,
    fields: &[Field],
    entry: fn(u32, &[Field]) -> Result<T, &'static str>,
) -> Line<T> {
    if fields.iter().any(is_not_utf8) {
        return Line::Unclear(line, NOT_UTF8);
    }
    if let Some(include) = include(line, fields) {
        return include;
    }
    match entry(line, fields) {
        Ok(entry) => Line::Entry(entry),
        Err(why) => Line::Unclear(line, why),
    }
}

fn include<T>(line: u32, fields: &[Field]) -> Option<Line<T>> {
    let [directive, path] = fields else { return None };
    let (directive, path) = (directive.first()?.as_str(), path.first()?);
    if !["include", "include_if_exists", "include_dir"].contains(&directive) {
        return None;
    }
    if list_file(path).is_some() {
        return Some(Line::Unclear(line, WORD_IN_A_FILE));
    }
    Some(Line::Include(Include {
        line,
        path: bare(path).to_owned(),
        if_exists: directive == "include_if_exists",
        directory: directive == "include_dir",
    }))
}

fn hba_line(line: u32, fields: &[Field]) -> Result<HbaRule, &'static str> {
    let [kind, databases, users, rest @ ..] = fields else {
        return Err("it ends before its method");
    };
    let kind = single(kind)?;
    let (address, rest) = match (kind, rest) {
        ("local", rest) => (None, rest),
        ("host" | "hostssl" | "hostnossl" | "hostgssenc" | "hostnogssenc", [place, rest @ ..]) => {
            let place = single(place)?;
            let (mask, rest) = match rest {
                [mask, rest @ ..] if Address::has_mask_in_next_field(place) => {
                    (Some(single(mask)?), rest)
                }
                rest => (None, rest),
            };
            (Some(Address::parse(place, mask)?), rest)
        }
        ("host" | "hostssl" | "hostnossl" | "hostgssenc" | "hostnogssenc", []) => {
            return Err("it ends before its address");
        }
        _ => {
            return Err(
                "it begins with none of local, host, hostssl, hostnossl, hostgssenc, hostnogssenc",
            );
        }
    };
    let (method, options) = rest.split_first().ok_or("it ends before its method")?;
    // On a socket ident means peer (`hba.c`, `parse_hba_line`).
    let method = match (single(method)?, kind) {
        ("ident", "local") => "peer",
        (method, _) => method,
    };
    if options.iter().flatten().any(|option| list_file(option).is_some()) {
        return Err(WORD_IN_A_FILE);
    }
    let rule = HbaRule {
        line,
        file: None,
        kind: kind.to_owned(),
        databases: databases.clone(),
        users: users.clone(),
        address,
        method: method.to_owned(),
        options: options.iter().flatten().map(|option| bare(option).to_owned()).collect(),
        quotes_known: true,
    };
    check_combination(&rule)?;
    Ok(rule)
}

/// Why a line with a value of `clientcert` from before PostgreSQL 14 is refused.
const OLD_CLIENTCERT: &str = "PostgreSQL 14 and later refuse this value of clientcert: instead of 1 write verify-ca, or verify-full to compare the name, too; \
    instead of 0 or no-verify leave clientcert out";

/// Whether PostgreSQL allows this combination of method, options and kind of connection (`hba.c`, `parse_hba_line` and
/// `parse_hba_auth_opt`). The values that LDAP, RADIUS and OAuth need are not checked.
fn check_combination(rule: &HbaRule) -> Result<(), &'static str> {
    let (kind, method) = (rule.kind.as_str(), rule.method.as_str());
    match (method, kind) {
        ("cert", kind) if kind != "hostssl" => {
            return Err("cert is possible in hostssl lines only");
        }
        ("peer", kind) if kind != "local" => return Err("peer is possible in local lines only"),
        ("gss", "local") => return Err("gss is not possible in local lines"),
        (
            "trust" | "reject" | "scram-sha-256" | "md5" | "password" | "ident" | "peer" | "gss"
            | "pam" | "ldap" | "radius" | "cert" | "oauth",
            _,
        ) => {}
        _ => return Err("PostgreSQL has no such method"),
    }
    for option in &rule.options {
        let (name, value) = option.split_once('=').ok_or("one of its options is not name=value")?;
        let fits = match name {
            "map" => ["ident", "peer", "gss", "cert", "oauth"].contains(&method),
            "clientcert" => {
                kind == "hostssl"
                    && (value == "verify-full" || (value == "verify-ca" && method != "cert"))
            }
            "clientname" => kind == "hostssl" && ["CN", "DN"].contains(&value),
            "pamservice" | "pam_use_hostname" => method == "pam",
            "krb_realm" | "include_realm" => method == "gss",
            "issuer" | "scope" | "validator" | "delegate_ident_mapping" => method == "oauth",
            name if name.starts_with("ldap") => method == "ldap",
            name if name.starts_with("radius") => method == "radius",
            _ => false,
        };
        // PostgreSQL 13 and older had these values.
        if name == "clientcert" && ["0", "1", "no-verify"].contains(&value) {
            return Err(OLD_CLIENTCERT);
        }
        if !fits {
            return Err("PostgreSQL does not have one of its options, or does not allow it there");
        }
    }
    Ok(())
}

fn ident_line(line: u32, fields: &[Field]) -> Result<Mapping, &'static str> {
    let [map, system_user, role, more @ ..] = fields else {
        return Err("it has fewer than three words: map, system user and role");
    };
    // Further words have no effect, but must be readable.
    if more.iter().flatten().any(|word| list_file(word).is_some()) {
        return Err(WORD_IN_A_FILE);
    }
    Ok(Mapping {
        line,
        file: None,
        map: bare(single(map)?).to_owned(),
        system_user: bare(single(system_user)?).to_owned(),
        role: bare(single(role)?).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries<T>(lines: Vec<Line<T>>) -> Vec<Result<T, String>> {
        let entry = |line| match line {
            Line::Entry(entry) => Ok(entry),
            Line::Include(include) => Err(include.path),
            Line::Unclear(_, why) => Err(why.to_owned()),
        };
        lines.into_iter().map(entry).collect()
    }

    #[test]
    fn hba_lines_are_read_as_postgresql_does() {
        let mut rules = entries(parse_hba(
            "# comment\n\
             local all postgres peer map=admin\n\
             hostssl \"all\",app all 10.0.0.0/8 cert clientname=DN map=spiffe # comment\n\
             hostssl all all 192.168.1.0 255.255.255.0 scram-sha-256 \\\n  clientcert=verify-full\n\
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
        let network = Address::network([192, 168, 1, 0].into(), 24);
        assert_eq!(rules[2].address, Some(network));
        assert_eq!((rules[3].method.as_str(), rules[3].line), ("reject", 6));
        assert_eq!(rules[3].users, ["\"a b\"", "+dba"]);
    }

    #[test]
    fn a76_no_line_is_passed_over() {
        for line in [
            "hosts all all all cert",
            "host,local all all all cert",
            "host all all 10.0.0.0 cert",
            "host all all 10.0.0.0/33 cert",
            "host all all db.example/8 md5",
            "host all all all md5,peer",
            "host all all all",
            "host all all",
            "local all all",
            "local",
            "local all all telepathy",
            "local all all md5 clientcert",
            "local all all md5 colour=green",
            "local all all cert",
            "local all all gss",
            "host all all all cert",
            "host all all all peer",
            "host all all all md5 clientcert=verify-full",
            "hostssl all all all cert clientcert=verify-ca",
            "hostssl all all all md5 clientcert=1",
            "hostssl all all all cert clientname=cn",
            "hostssl all all all scram-sha-256 map=m",
            "@kinds all all all cert",
            "host all all @places trust",
            "host all all all @methods",
            "hostssl all all all cert @options",
            "include @file",
        ] {
            let read = parse_hba(line);
            assert!(matches!(read[..], [Line::Unclear(1, _)]), "{line}: {read:?}");
        }
        for line in ["m", "m a", "m a,b c", "m a b @c", "@m a b", "m @a b", "m a @b"] {
            let read = parse_ident(line);
            assert!(matches!(read[..], [Line::Unclear(1, _)]), "{line}: {read:?}");
        }
        assert_eq!(entries(parse_ident("m a b c\n")).len(), 1);
        assert_eq!(parse_hba("# a comment\n\n , \n"), []);
    }

    #[test]
    fn a79_quotation_marks_change_keywords_and_not_regular_expressions() {
        for (users, role, is_about) in [
            ("all", "svc", Some(true)),
            ("\"all\"", "svc", Some(false)),
            ("\"all\"", "all", Some(true)),
            ("app,svc", "svc", Some(true)),
            ("+dba", "svc", None),
            ("+dba,svc", "svc", Some(true)),
            ("\"+dba\"", "svc", Some(false)),
            ("/^s", "svc", None),
            ("\"/^s\"", "svc", None),
            ("@file", "svc", None),
            ("\"@file\"", "svc", Some(false)),
            ("sameuser", "svc", Some(false)),
            ("\"\"\"svc\"\"\"", "svc", Some(false)),
            ("\"\"\"svc\"\"\"", "\"svc\"", Some(true)),
        ] {
            let mut read = entries(parse_hba(&format!("local all {users} trust")));
            assert_eq!(read.remove(0).unwrap().is_about(role), is_about, "{users} {role}");
        }
        for (databases, database, is_for) in [
            ("sameuser", "svc", Some(true)),
            ("sameuser", "app", Some(false)),
            ("\"sameuser\"", "svc", Some(false)),
            ("samerole", "app", None),
            ("samegroup", "app", None),
            ("replication", "replication", Some(false)),
            ("/^a", "app", None),
            ("app", "app", Some(true)),
        ] {
            let mut read = entries(parse_hba(&format!("local {databases} all trust")));
            assert_eq!(read.remove(0).unwrap().is_for(database, "svc"), is_for, "{databases}");
        }
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
    fn of_an_option_that_comes_again_the_last_counts() {
        let mut rules = entries(parse_hba(
            "hostssl all all all trust clientcert=verify-full clientcert=verify-ca\n",
        ));
        let rule = rules.pop().unwrap().unwrap();
        assert_eq!(rule.option("clientcert"), Some("verify-ca"));
        assert!(rule.lets_in_as_any_role());
    }
}
