//! Which workload may log in as which PostgreSQL role: the lines for `pg_ident.conf`, and the lines for `pg_hba.conf` that
//! use them.
//!
//! PostgreSQL never examines a SPIFFE ID. It compares the certificate's subject (`cert clientname=DN`, since 14) in the form
//! of RFC 2253: the last attribute first (PostgreSQL: `be-secure-openssl.c`). One map serves both ways of recognising a
//! workload, because the first line of `pg_hba.conf` that matches decides, and no second line is tried.

use std::fmt::Write as _;

/// The map of workloads.
pub const MAP: &str = "spiffe";
/// The map that lets the operating-system user of pgsvid log in as pgsvid's role.
pub const PEER_MAP: &str = "pgsvid";
/// What SPIRE writes into every subject, in PostgreSQL's form: all workloads share it.
pub const SHARED_SUBJECT: &str = "O=SPIRE,C=US";
/// Longest word that PostgreSQL 14 and 15 read, in bytes; later versions read longer ones (PostgreSQL: `hba.c`, `MAX_TOKEN`).
pub const LONGEST_WORD: usize = 253;

/// First version of PostgreSQL whose `pg_ident.conf` can include files.
pub const INCLUDES: u32 = 16;

/// Whether `pg_ident.conf` can include files, by `server_version_num`.
#[must_use]
pub fn can_include(version_number: u32) -> bool {
    version_number >= INCLUDES * 10_000
}

/// How PostgreSQL recognises a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recognition {
    /// By the x500UniqueIdentifier of its subject, 32 hexadecimal digits; it may also have a CN.
    UniqueIdentifier(String),
    /// By its CN, the first DNS name of its registration entry: letters, digits, `.`, `-` and `_`.
    CommonName(String),
}

/// A workload, and a role that it may log in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its SPIFFE ID.
    pub spiffe_id: String,
    /// The role.
    pub role: String,
    /// How PostgreSQL recognises it.
    pub by: Recognition,
}

/// How pgsvid itself logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLogin {
    /// The operating-system user, by its name on PostgreSQL's machine; `None` for a login with a password.
    pub os_user: Option<String>,
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
}

/// All lines of `pg_ident.conf` for pgsvid and the workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleMap {
    /// How pgsvid logs in, if a PostgreSQL is configured.
    pub login: Option<OwnLogin>,
    /// The workloads, in the order of the configuration.
    pub workloads: Vec<Workload>,
    /// The operator's own lines.
    pub lines: Vec<String>,
}

impl Workload {
    /// The system user of its line: a regular expression, anchored on both sides.
    #[must_use]
    pub fn expression(&self) -> String {
        match &self.by {
            Recognition::UniqueIdentifier(uid) => {
                format!("/^x500UniqueIdentifier={uid},(CN=[^,]*,)?{SHARED_SUBJECT}$")
            }
            Recognition::CommonName(name) => format!(
                "/^(x500UniqueIdentifier=[0-9a-f]*,)?CN={},{SHARED_SUBJECT}$",
                name.replace('.', "[.]")
            ),
        }
    }

    /// Its line of `pg_ident.conf`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{MAP}  \"{}\"  \"{}\"", self.expression(), self.role)
    }
}

impl OwnLogin {
    /// Its line of `pg_ident.conf`; `None` for a login with a password.
    #[must_use]
    pub fn ident_line(&self) -> Option<String> {
        let os_user = self.os_user.as_ref()?;
        Some(format!("{PEER_MAP}  \"{os_user}\"  \"{}\"", self.role))
    }

    /// Its line of `pg_hba.conf`.
    #[must_use]
    pub fn hba_line(&self) -> String {
        let method = match &self.os_user {
            Some(_) => format!("peer map={PEER_MAP}"),
            None => "scram-sha-256".to_owned(),
        };
        format!("local  \"{}\"  \"{}\"  {method}", self.database, self.role)
    }
}

impl RoleMap {
    /// The lines for `pg_ident.conf`, each with a comment that gives its reason.
    #[must_use]
    pub fn ident(&self) -> String {
        let mut text = String::new();
        if let Some(own) = self.login.as_ref().and_then(OwnLogin::ident_line) {
            add(
                &mut text,
                "The operating-system user that runs pgsvid, and the role that it logs in as.",
            );
            line(&mut text, &own);
        }
        if !self.lines.is_empty() {
            add(&mut text, "Lines of files.ident_lines.");
            for own in &self.lines {
                line(&mut text, own);
            }
        }
        for workload in &self.workloads {
            add(&mut text, &workload.spiffe_id);
            line(&mut text, &workload.line());
        }
        text
    }

    /// The lines for `pg_hba.conf`, to be put above its general lines.
    #[must_use]
    pub fn hba(&self) -> String {
        let mut text = String::new();
        if let Some(login) = &self.login {
            add(&mut text, "pgsvid itself, over the Unix socket.");
            line(&mut text, &login.hba_line());
        }
        let roles = self.roles();
        if roles.is_empty() {
            return text;
        }
        add(
            &mut text,
            "The roles of workloads: over TCP only by certificate, and never without TLS.",
        );
        for role in &roles {
            line(
                &mut text,
                &format!("hostssl    all  \"{role}\"  all  cert clientname=DN map={MAP}"),
            );
            line(&mut text, &format!("hostnossl  all  \"{role}\"  all  reject"));
        }
        text
    }

    /// The file that is published beside the certificates.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        format!(
            "# Written by pgsvid. Edit [[roles]] and files.ident_lines in its configuration instead.\n{}",
            self.ident()
        )
        .into_bytes()
    }

    /// The regular expressions of the operator's own lines, without the slash.
    #[must_use]
    pub fn expressions(&self) -> Vec<String> {
        let expression = |line: &String| {
            let (_, after) = line.split_once(|c: char| c.is_whitespace())?;
            let word = after.trim_start();
            let word = match word.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next()?,
                None => word.split(char::is_whitespace).next()?,
            };
            word.strip_prefix('/').map(str::to_owned)
        };
        self.lines.iter().filter_map(expression).collect()
    }

    /// The roles of the workloads, each once.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = Vec::new();
        for workload in &self.workloads {
            if !roles.contains(&workload.role.as_str()) {
                roles.push(&workload.role);
            }
        }
        roles
    }
}

fn add(text: &mut String, comment: &str) {
    let _ = writeln!(text, "# {comment}");
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(role: &str, by: Recognition) -> Workload {
        Workload { spiffe_id: format!("spiffe://example.org/{role}"), role: role.to_owned(), by }
    }

    fn map() -> RoleMap {
        RoleMap {
            login: Some(OwnLogin {
                os_user: Some("postgres".to_owned()),
                role: "pgsvid".to_owned(),
                database: "postgres".to_owned(),
            }),
            workloads: vec![
                workload("app", Recognition::UniqueIdentifier("05".repeat(16))),
                workload("web", Recognition::CommonName("web.example".to_owned())),
                workload("app", Recognition::CommonName("app".to_owned())),
            ],
            lines: vec!["corp \"CN=alice,O=Example\" alice".to_owned()],
        }
    }

    #[test]
    fn ident_lines_are_anchored_and_quoted() {
        let lines: Vec<String> = map().ident().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "# The operating-system user that runs pgsvid, and the role that it logs in as.",
                "pgsvid  \"postgres\"  \"pgsvid\"",
                "# Lines of files.ident_lines.",
                "corp \"CN=alice,O=Example\" alice",
                "# spiffe://example.org/app",
                "spiffe  \"/^x500UniqueIdentifier=05050505050505050505050505050505,(CN=[^,]*,)?O=SPIRE,C=US$\"  \"app\"",
                "# spiffe://example.org/web",
                "spiffe  \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web[.]example,O=SPIRE,C=US$\"  \"web\"",
                "# spiffe://example.org/app",
                "spiffe  \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=app,O=SPIRE,C=US$\"  \"app\"",
            ]
        );
    }

    #[test]
    fn hba_lines_name_each_role_once() {
        let hba = map().hba();
        let lines: Vec<&str> = hba.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "local  \"postgres\"  \"pgsvid\"  peer map=pgsvid",
                "hostssl    all  \"app\"  all  cert clientname=DN map=spiffe",
                "hostnossl  all  \"app\"  all  reject",
                "hostssl    all  \"web\"  all  cert clientname=DN map=spiffe",
                "hostnossl  all  \"web\"  all  reject",
            ]
        );
    }

    #[test]
    fn the_operators_expressions_are_found() {
        let lines = ["corp \"/^CN=a b$\" alice", "names  /^(.*)$ \\1", "pgsvid postgres pgsvid"];
        let map = RoleMap { lines: lines.map(str::to_owned).to_vec(), ..RoleMap::default() };
        assert_eq!(map.expressions(), ["^CN=a b$", "^(.*)$"]);
    }

    #[test]
    fn without_anything_there_is_nothing_to_say() {
        let none = RoleMap::default();
        assert_eq!((none.ident(), none.hba()), (String::new(), String::new()));
    }
}
