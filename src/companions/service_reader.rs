//! Reads a connection service file as libpq does (PostgreSQL: `fe-connect.c`, `parseServiceFile`).

use super::service_file::LONGEST_LINE;

/// Keywords of libpq 18, each with the first version that knows it if that is later than 13.
const KEYWORDS: [(&str, u32); 49] = [
    ("user", 0),
    ("password", 0),
    ("passfile", 0),
    ("channel_binding", 0),
    ("connect_timeout", 0),
    ("dbname", 0),
    ("host", 0),
    ("hostaddr", 0),
    ("port", 0),
    ("client_encoding", 0),
    ("options", 0),
    ("application_name", 0),
    ("fallback_application_name", 0),
    ("keepalives", 0),
    ("keepalives_idle", 0),
    ("keepalives_interval", 0),
    ("keepalives_count", 0),
    ("tcp_user_timeout", 0),
    ("sslmode", 0),
    ("sslcompression", 0),
    ("sslcert", 0),
    ("sslkey", 0),
    ("sslpassword", 0),
    ("sslrootcert", 0),
    ("sslcrl", 0),
    ("sslcrldir", 14),
    ("sslsni", 14),
    ("sslcertmode", 16),
    ("sslnegotiation", 17),
    ("sslkeylogfile", 18),
    ("requirepeer", 0),
    ("require_auth", 16),
    ("ssl_min_protocol_version", 0),
    ("ssl_max_protocol_version", 0),
    ("min_protocol_version", 18),
    ("max_protocol_version", 18),
    ("gssencmode", 0),
    ("krbsrvname", 0),
    ("gsslib", 0),
    ("gssdelegation", 16),
    ("replication", 0),
    ("target_session_attrs", 0),
    ("load_balance_hosts", 16),
    ("scram_client_key", 18),
    ("scram_server_key", 18),
    ("oauth_issuer", 18),
    ("oauth_client_id", 18),
    ("oauth_client_secret", 18),
    ("oauth_scope", 18),
];

/// One line of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line, from 1.
    pub line: usize,
    /// The keyword.
    pub keyword: String,
    /// The value, raw.
    pub value: String,
}

/// Why libpq cannot use the section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// `definition of service "…" not found`
    #[error("it has no section [{}]", .0.escape_debug())]
    NoSection(String),
    /// `line … too long in service file`
    #[error("line {line} has {length} bytes, more than the {LONGEST_LINE} that libpq reads")]
    TooLong {
        /// Line, from 1.
        line: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// `syntax error in service file`
    #[error("line {line} is not a keyword=value that libpq knows: {text:?}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Its first word.
        text: String,
    },
}

/// The entries of a section. Of equal keywords the first one counts, and of equal section names the first section.
///
/// A line with a zero byte is refused: libpq would read only half of it.
pub fn section(file: &[u8], name: &str) -> Result<Vec<Entry>, Unreadable> {
    let mut entries: Option<Vec<Entry>> = None;
    for (number, raw) in (1..).zip(file.split_inclusive(|byte| *byte == b'\n')) {
        // The end of the line counts, too.
        if raw.len() > LONGEST_LINE + 1 {
            let length = raw.strip_suffix(b"\n").unwrap_or(raw).len();
            return Err(Unreadable::TooLong { line: number, length });
        }
        let line = trimmed(raw);
        let syntax = || Unreadable::Syntax { line: number, text: beginning(line) };
        if raw.contains(&0) {
            return Err(syntax());
        }
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(heading) = line.strip_prefix(b"[") {
            if entries.is_some() {
                break;
            }
            if heading.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"]")) {
                entries = Some(Vec::new());
            }
            continue;
        }
        let Some(entries) = &mut entries else { continue };
        let at = line.iter().position(|byte| *byte == b'=').ok_or_else(syntax)?;
        let keyword = String::from_utf8_lossy(&line[..at]).into_owned();
        if since(&keyword).is_none() {
            return Err(syntax());
        }
        if !entries.iter().any(|entry| entry.keyword == keyword) {
            let value = String::from_utf8_lossy(&line[at + 1..]).into_owned();
            entries.push(Entry { line: number, keyword, value });
        }
    }
    entries.ok_or_else(|| Unreadable::NoSection(name.to_owned()))
}

/// Without the characters that C's `isspace` accepts: fewer than in Unicode, and more than in Rust's ASCII.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

/// The first word of a line, without what is behind it, which may be a password.
fn beginning(line: &[u8]) -> String {
    const LONGEST: usize = 40;
    let end = line.iter().position(|byte| b"= \t".contains(byte)).unwrap_or(line.len());
    let word = line.get(..end.min(LONGEST)).unwrap_or_default();
    let more = if word.len() < line.len() { "…" } else { "" };
    String::from_utf8_lossy(word).into_owned() + more
}

/// The first libpq that knows a keyword; 0 if all relevant versions do, `None` if none does.
#[must_use]
pub fn since(keyword: &str) -> Option<u32> {
    KEYWORDS.iter().find(|(known, _)| *known == keyword).map(|(_, since)| *since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_as_libpq_does() {
        let longest = format!("[db]\nhost={}", "x".repeat(1017));
        assert!(section(longest.as_bytes(), "db").is_ok(), "without an end of the line");
        let text = "host=ignored\n[other]\nhost=x\n[db]\n# comment\n host=a b # c\nhost=second\n\nsslmode=verify-full\n[db]\nport=1\n";
        let entries = section(text.as_bytes(), "db").unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.line, entry.keyword.as_str(), entry.value.as_str()))
            .collect();
        assert_eq!(seen, [(6, "host", "a b # c"), (9, "sslmode", "verify-full")]);
    }

    #[test]
    fn what_libpq_refuses_is_refused() {
        for (text, error) in [
            ("", Unreadable::NoSection("db".to_owned())),
            ("\u{feff}[db]\nhost=x", Unreadable::NoSection("db".to_owned())),
            ("[database]\nhost=x", Unreadable::NoSection("db".to_owned())),
            ("[db]\nhost = x", Unreadable::Syntax { line: 2, text: "host…".to_owned() }),
            ("[db]\nhosts=x", Unreadable::Syntax { line: 2, text: "hosts…".to_owned() }),
            ("[db]\nhost", Unreadable::Syntax { line: 2, text: "host".to_owned() }),
            (
                &format!("[db]\nhost={}\n", "x".repeat(1017)),
                Unreadable::TooLong { line: 2, length: 1022 },
            ),
            // Measured on 15: a carriage return counts, and so does the end of the line if there is one.
            (
                &format!("[db]\nhost={}\r\n", "x".repeat(1016)),
                Unreadable::TooLong { line: 2, length: 1022 },
            ),
            // Removed in libpq 14.
            ("[db]\ntty=x", Unreadable::Syntax { line: 2, text: "tty…".to_owned() }),
            // Unicode has more blanks than libpq.
            ("[db]\n\u{a0}host=x", Unreadable::Syntax { line: 2, text: "\u{a0}host…".to_owned() }),
            ("[db]\nhost=a\0b", Unreadable::Syntax { line: 2, text: "host…".to_owned() }),
        ] {
            assert_eq!(section(text.as_bytes(), "db"), Err(error), "{text:?}");
        }
    }
}
