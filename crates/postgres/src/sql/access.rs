//! `pg_hba.conf` and `pg_ident.conf`: who may log in, and as whom (PostgreSQL: `hba.c`).
//!
//! Read from the files where they can be read, because the view hides `clientname=DN`; else from
//! `pg_hba_file_rules` and `pg_ident_file_mappings`, which also know the errors.

use super::address::Address;
use super::words::{Field, WORD_IN_A_FILE, bare, lines, list_file, single};

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

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, error } = self;
        write!(f, "{file} line {line} is wrong: {error}")
    }
}

/// Whether any is true; `None` if that cannot be told.
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

/// Whether a word is that name; `None` for groups, lists in files and regular expressions.
fn is_name(word: &str, name: &str) -> Option<bool> {
    (!word.starts_with(['+', '@', '/'])).then(|| bare(word) == name)
}

impl HbaRule {
    /// The value of an option. Of several, PostgreSQL takes the last (`hba.c`, `parse_hba_auth_opt`).
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// The map by which names become roles. An empty name is none (`hba.c`, `check_usermap`).
    #[must_use]
    pub fn map(&self) -> Option<&str> {
        self.option("map").filter(|map| !map.is_empty())
    }

    /// The groups whose members the line is about.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let of_group = |word: &'_ String| word.starts_with('+') && word.len() > 1;
        self.users.iter().filter(move |word| of_group(word)).map(|word| bare(&word[1..]))
    }

    /// Whether the line is about that role; `None` if it cannot be told from here, as of groups, lists in files, and regular
    /// expressions (PostgreSQL 16 and later).
    #[must_use]
    pub fn is_about(&self, role: &str) -> Option<bool> {
        any(self.users.iter().map(|word| match word.as_str() {
            "all" => Some(true),
            word => is_name(word, role),
        }))
    }

    /// The same for that role's connection to a database, which is none for replication.
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

/// What a line of either file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<T> {
    /// A rule or a mapping.
    Entry(T),
    /// A file, or a directory of files, whose lines belong here.
    Include(Include),
    /// A line that is not understood: its number, from 1, and why. PostgreSQL refuses most of them.
    Unclear(u32, &'static str),
}

/// An `include` line (PostgreSQL 16 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Line, from 1.
    pub line: u32,
    /// The path, as it stands.
    pub path: String,
    /// Whether it may be missing.
    pub if_exists: bool,
    /// Whether it is a directory of files.
    pub directory: bool,
}

/// The lines of a `pg_hba.conf`, all but comments and empty ones.
#[must_use]
pub fn parse_hba(text: &str) -> Vec<Line<HbaRule>> {
    lines(text).into_iter().map(|(line, fields)| read(line, &fields, hba_line)).collect()
}

/// The lines of a `pg_ident.conf`, in the same way.
#[must_use]
pub fn parse_ident(text: &str) -> Vec<Line<Mapping>> {
    lines(text).into_iter().map(|(line, fields)| read(line, &fields, ident_line)).collect()
}

/// The words of a file that a list names by `@`; `Err` says why they are not known.
///
/// # Errors
/// If it includes another file in a way that belongs into `pg_hba.conf`.
pub fn parse_list(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    for (line, fields) in lines(text) {
        if include::<()>(line, &fields).is_some() {
            return Err("it has a line that includes another file");
        }
        words.extend(fields.into_iter().flatten());
    }
    Ok(words)
}

fn read<T>(
    line: u32,
    fields: &[Field],
    entry: fn(u32, &[Field]) -> Result<T, &'static str>,
) -> Line<T> {
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
                [mask, rest @ ..] if Address::has_mask_beside(place) => (Some(single(mask)?), rest),
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
    // On a socket that is what it is (`hba.c`, `parse_hba_line`).
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
    };
    possible(&rule)?;
    Ok(rule)
}

/// What is said of values that `clientcert` had before PostgreSQL 14.
const OLD_CLIENTCERT: &str = "clientcert has no such value since PostgreSQL 14: verify-ca is what 1 was, verify-full compares the \
    name, too, and for 0 or no-verify leave it out";

/// Whether method, options and kind of connection go together (`hba.c`, `parse_hba_line` and `parse_hba_auth_opt`). What values
/// LDAP, RADIUS and OAuth need is left out.
fn possible(rule: &HbaRule) -> Result<(), &'static str> {
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
        _ => return Err("its method is none that PostgreSQL has"),
    }
    for option in &rule.options {
        let (name, value) = option.split_once('=').ok_or("one of its options is no name=value")?;
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
            return Err("one of its options is none that PostgreSQL has, or not possible there");
        }
    }
    Ok(())
}

fn ident_line(line: u32, fields: &[Field]) -> Result<Mapping, &'static str> {
    let [map, system_user, role, more @ ..] = fields else {
        return Err("it has less than three words: map, system user and role");
    };
    // What goes on counts for nothing, but has to be readable.
    if more.iter().flatten().any(|word| list_file(word).is_some()) {
        return Err(WORD_IN_A_FILE);
    }
    Ok(Mapping {
        line,
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
        assert!(rule.believes_clients());
    }
}
