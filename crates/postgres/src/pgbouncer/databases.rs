//! The servers that the section `[databases]` of PgBouncer's ini names.

/// PostgreSQL's port where a database names none (PgBouncer: `parse_database`).
const USUAL_PORT: u16 = 5432;

/// A server of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The database's name for clients; `*` is every other one.
    pub database: String,
    /// A name or an address; never a socket's directory.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// A database whose clients are all the same role in PostgreSQL (`user=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForcedRole {
    /// The database's name for clients; `*` is every other one.
    pub database: String,
    /// The role.
    pub role: String,
}

/// The lines of that section, as they come.
#[derive(Default)]
pub(super) struct Databases {
    is_inside: bool,
    /// The servers so far.
    pub(super) backends: Vec<Backend>,
    /// The databases with a role of their own so far.
    pub(super) forced: Vec<ForcedRole>,
}

impl Databases {
    /// Takes the next line. A database that comes again replaces the earlier one.
    pub(super) fn take(&mut self, line: &str) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            self.is_inside = section.trim_end().trim_end_matches(']') == "databases";
        } else if self.is_inside
            && !line.starts_with([';', '#', '%'])
            && let Some((name, settings)) = line.split_once('=')
        {
            let name = name.trim().trim_matches('"').to_owned();
            let settings = pairs(settings);
            self.backends.retain(|it| it.database != name);
            self.backends.extend(backends(&name, &settings));
            self.forced.retain(|it| it.database != name);
            if let Some(role) = value(&settings, "user") {
                self.forced.push(ForcedRole { database: name, role: role.to_owned() });
            }
        }
    }
}

/// The servers of one database: `host` may be a list. Without a host PgBouncer uses a Unix socket.
fn backends(database: &str, settings: &[(String, String)]) -> Vec<Backend> {
    let port = value(settings, "port").and_then(|port| port.parse().ok()).unwrap_or(USUAL_PORT);
    let hosts = value(settings, "host").unwrap_or_default().split(',').map(str::trim);
    hosts
        .filter(|host| !host.is_empty() && !host.starts_with(['/', '@']))
        .map(|host| Backend { database: database.to_owned(), host: host.to_owned(), port })
        .collect()
}

/// The value of a word; the last one counts.
fn value<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
    settings.iter().rfind(|it| it.0 == name).map(|it| it.1.as_str())
}

/// The words `name=value`; a value in single quotes ends at the quote that is not doubled (PgBouncer: `cstr_get_pair`).
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((name, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let mut text = String::new();
        if let Some(quoted) = value.strip_prefix('\'') {
            let mut letters = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, letter)) = letters.next() {
                if letter == '\'' && letters.next_if(|(_, next)| *next == '\'').is_none() {
                    end = at + 1;
                    break;
                }
                text.push(letter);
            }
            rest = &quoted[end..];
        } else {
            let end = value.find(char::is_whitespace).unwrap_or(value.len());
            value[..end].clone_into(&mut text);
            rest = &value[end..];
        }
        found.push((name.trim().to_owned(), text));
        rest = rest.trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, String, u16)> {
        let mut databases = Databases::default();
        for line in text.lines() {
            databases.take(line);
        }
        databases.backends.into_iter().map(|it| (it.database, it.host, it.port)).collect()
    }

    #[test]
    fn q19_the_servers_of_an_ini_are_read_as_pgbouncer_reads_them() {
        let found = of("\
a = host=before_any_section
[databases]
; b = host=comment
 one = host=db port=6000 dbname='it''s here' user=x
two=host = 'a , b'
three = dbname=x
four = host=/run/postgresql port=1
* = host=127.0.0.1
one = host=db2 
[pgbouncer]
listen_addr = host=no
[databases]
\"five\" = port=7 host=::1
");
        let found: Vec<_> =
            found.iter().map(|(name, host, port)| (name.as_str(), host.as_str(), *port)).collect();
        assert_eq!(
            found,
            [
                ("two", "a", 5432),
                ("two", "b", 5432),
                ("*", "127.0.0.1", 5432),
                ("one", "db2", 5432),
                ("five", "::1", 7),
            ]
        );
        let mut databases = Databases::default();
        for line in
            "[databases]\none = user=a\ntwo = host=h user='b c'\none = host=h\n* = auth_user=x"
                .lines()
        {
            databases.take(line);
        }
        let forced = ForcedRole { database: "two".to_owned(), role: "b c".to_owned() };
        assert_eq!(databases.forced, [forced]);
        for odd in ["[databases]\nx = host='open", "[databases]\nx = ''=", "[databases]\n==="] {
            of(odd);
        }
    }
}
