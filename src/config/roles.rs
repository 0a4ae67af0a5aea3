//! `[[roles]]`: SPIFFE IDs and templates of them become workloads, each with the role that it may log in as.
//!
//! Anything that would let in more than was written is refused. PostgreSQL does not check that, but follows the map.

use std::collections::BTreeMap;

use super::given::Resolver;
use super::{Error, File, ServerConfig, file, rules};
use crate::companions::role_map::{
    LONGEST_WORD, MAP, OwnLogin, Recognition, RoleMap, SHARED_SUBJECT, Workload,
};
use crate::material::unique_identifier;
use crate::sql::{Line, Mapping, is_anchored, parse_ident};

/// Most workloads that a configuration may expand to.
const MOST: usize = 10_000;
/// Longest name of a role, in bytes (PostgreSQL: `NAMEDATALEN`).
const LONGEST_ROLE: usize = 63;

/// The whole map: pgsvid's own login, the operator's lines, and the workloads.
pub(super) fn roles(
    resolver: &Resolver<'_>,
    file: &File,
    servers: &[ServerConfig],
) -> Result<RoleMap, Error> {
    let mut map = RoleMap { login: own_login(resolver, file, servers)?, ..RoleMap::default() };
    for text in file.files.ident_lines.iter().flatten() {
        own_line(text)
            .map_err(|why| resolver.in_file("files.ident_lines", format!("{text:?}: {why}")))?;
        map.lines.push(text.clone());
    }
    for (index, entry) in file.roles.iter().enumerate() {
        let failed = |why| {
            resolver.in_file("roles", format!("entry {} ({}): {why}", index + 1, entry.spiffe_id))
        };
        map.workloads.extend(expand(entry).map_err(failed)?);
        if map.workloads.len() > MOST {
            return Err(failed(format!("the templates expand to more than {MOST} workloads")));
        }
    }
    let has_map = !map.workloads.is_empty() || !map.lines.is_empty();
    if has_map && file.files.federated_bundles == Some(true) {
        return Err(resolver.in_file(
            "roles",
            "files.federated_bundles lets every federated authority issue a certificate with any of these subjects, \
             and PostgreSQL cannot tell them apart; turn it off, or leave the roles and files.ident_lines out",
        ));
    }
    distinct(&map.workloads).map_err(|why| resolver.in_file("roles", why))?;
    Ok(map)
}

/// pgsvid's own login: one map is published for all servers.
fn own_login(
    resolver: &Resolver<'_>,
    file: &File,
    servers: &[ServerConfig],
) -> Result<Option<OwnLogin>, Error> {
    // Found by name: --name may have chosen one of several tables, and a server that only a flag names has no table.
    let tables = &file.postgres.0;
    let table_of = |server: &ServerConfig| tables.iter().find(|table| table.name() == server.name);
    let logins = servers.iter().map(|server| login(resolver, file, table_of(server), server));
    let logins: Vec<OwnLogin> = logins.collect::<Result<_, _>>()?;
    let differ = logins
        .windows(2)
        .any(|pair| (&pair[0].os_user, &pair[0].role) != (&pair[1].os_user, &pair[1].role));
    if differ && file.files.ident.is_some() {
        return Err(resolver.in_file(
            "files.ident",
            "one map is published for all [[postgres]], but their user or os_user differ: give all the same, or leave files.ident out",
        ));
    }
    Ok(logins.into_iter().next())
}

/// pgsvid logs in by peer authentication, unless it has a password.
fn login(
    resolver: &Resolver<'_>,
    file: &File,
    table: Option<&file::Postgres>,
    ServerConfig { session, .. }: &ServerConfig,
) -> Result<OwnLogin, Error> {
    let given = table.and_then(|table| table.os_user.as_deref());
    // With a group the key must be root's; otherwise it must belong to PostgreSQL's user.
    let usual = if file.files.group.is_some() { "root" } else { "postgres" };
    let os_user = given.unwrap_or(usual);
    word(os_user).map_err(|why| resolver.in_file("postgres.os_user", why))?;
    // These two may come from a flag, a variable or the file.
    for (place, name) in
        [("postgres.user", &session.user), ("postgres.database", &session.database)]
    {
        word(name).map_err(|why| Error::Value { place: place.to_owned(), why })?;
    }
    role_name(&session.user)
        .map_err(|why| Error::Value { place: "postgres.user".to_owned(), why })?;
    Ok(OwnLogin {
        os_user: session.password_file.is_none().then(|| os_user.to_owned()),
        role: session.user.clone(),
        database: session.database.clone(),
    })
}

/// The workloads of one entry: one, or one for each combination of values.
fn expand(entry: &file::Workload) -> Result<Vec<Workload>, String> {
    let recognised = match (entry.by.as_deref(), entry.cn.as_deref()) {
        (Some("uid"), None) => None,
        (None, Some(name)) => Some(name),
        (Some(_), Some(_)) => return Err("it has both by and cn; leave one out".to_owned()),
        (Some(by), None) => {
            return Err(format!(
                "by = {by:?} is not known; write by = \"uid\", or cn = \"<the CN>\""
            ));
        }
        (None, None) => {
            return Err("it does not say how PostgreSQL recognises the workload; write by = \"uid\" (SPIRE's credential \
                 composer uniqueid must be on), or cn = \"<the first DNS name of its entry>\""
                .to_owned());
        }
    };
    let no_values = BTreeMap::new();
    let values = entry.values.as_ref().unwrap_or(&no_values);
    let role = match &entry.role {
        Some(role) => role.as_str(),
        None if values.contains_key("role") => "{role}",
        None => return Err("it names no role; write role = \"<name>\"".to_owned()),
    };
    check_values(entry, values)?;
    choices(values)?
        .iter()
        .map(|choice| {
            let id = fill(&entry.spiffe_id, choice)?;
            rules::spiffe_id(&id)?;
            let role = fill(role, choice)?;
            role_name(&role)?;
            let by = match recognised {
                None => Recognition::UniqueIdentifier(unique_identifier(&id)),
                Some(name) => Recognition::CommonName(common_name(fill(name, choice)?)?),
            };
            let workload = Workload { spiffe_id: id, role, by };
            let length = workload.expression().len();
            if length > LONGEST_WORD {
                return Err(format!(
                    "its line for pg_ident.conf would have a word of {length} bytes, more than the {LONGEST_WORD} \
                     that PostgreSQL 15 reads; use a shorter cn"
                ));
            }
            Ok(workload)
        })
        .collect()
}

/// Fails unless the SPIFFE ID uses each list, no list is empty, and each value is a path segment or a part of one.
fn check_values(
    entry: &file::Workload,
    values: &BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    for (name, list) in values {
        if !entry.spiffe_id.contains(&format!("{{{name}}}")) {
            return Err(format!("values.{name} is not used: the SPIFFE ID has no {{{name}}}"));
        }
        if list.is_empty() {
            return Err(format!("values.{name} is empty, so there would be no workload"));
        }
        if let Some(value) =
            list.iter().find(|value| value.is_empty() || value.contains(['/', '{', '}']))
        {
            return Err(format!("values.{name}: {value:?} is not a part of one path segment"));
        }
    }
    Ok(())
}

type Choice<'a> = BTreeMap<&'a str, &'a str>;

fn choices(values: &BTreeMap<String, Vec<String>>) -> Result<Vec<Choice<'_>>, String> {
    let mut choices = vec![Choice::new()];
    for (name, list) in values {
        if choices.len().saturating_mul(list.len()) > MOST {
            return Err(format!("the template expands to more than {MOST} workloads"));
        }
        choices = choices
            .iter()
            .flat_map(|choice| {
                list.iter().map(|value| {
                    let mut choice = choice.clone();
                    choice.insert(name, value);
                    choice
                })
            })
            .collect();
    }
    Ok(choices)
}

fn fill(template: &str, choice: &Choice<'_>) -> Result<String, String> {
    let mut text = template.to_owned();
    for (name, value) in choice {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    match text.find(['{', '}']) {
        None => Ok(text),
        Some(_) => Err(format!(
            "{template:?} has a placeholder without values; write values = {{ <name> = [\"…\"] }}"
        )),
    }
}

/// Fails unless the name can be a role in `pg_ident.conf`. PostgreSQL 16 and later read a leading slash as a regular expression,
/// even in quotes, and `\1` would refer to a group of pgsvid's expressions.
///
/// Some names cannot be roles (PostgreSQL: `rolespec`, `IsReservedName`).
fn role_name(role: &str) -> Result<(), String> {
    word(role)?;
    if ["public", "none"].contains(&role) || role.starts_with("pg_") {
        return Err(format!("{role:?} is reserved by PostgreSQL and cannot name a role"));
    }
    if role.len() > LONGEST_ROLE {
        return Err(format!("role {role:?} has more than {LONGEST_ROLE} bytes"));
    }
    Ok(())
}

/// A text that can be put between quotation marks in the files, and has no special meaning there.
fn word(text: &str) -> Result<(), String> {
    let strange = text.contains(['"', '\\', '$']) || text.chars().any(char::is_control);
    if text.is_empty() || text.starts_with('/') || strange || text.len() > LONGEST_WORD {
        return Err(format!(
            "{text:?} cannot be written into pg_ident.conf and pg_hba.conf as a name: it is empty or very long, \
             begins with a slash, or holds a quotation mark, a backslash, a dollar or a control character"
        ));
    }
    Ok(())
}

fn common_name(name: String) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(format!(
            "cn = {name:?} is not a DNS name; SPIRE uses the first DNS name of the entry as the CN"
        ));
    }
    Ok(name)
}

/// Fails if PostgreSQL could not distinguish two workloads, or if one is written twice.
fn distinct(workloads: &[Workload]) -> Result<(), String> {
    let mut known: BTreeMap<&Recognition, &str> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for Workload { spiffe_id, role, by } in workloads {
        let other = known.entry(by).or_insert(spiffe_id);
        if other != spiffe_id
            && let Recognition::CommonName(name) = by
        {
            return Err(format!(
                "{other} and {spiffe_id} would both be recognised by cn = {name:?}: PostgreSQL could not tell them apart; \
                 use by = \"uid\""
            ));
        }
        if !seen.insert((spiffe_id, role)) {
            return Err(format!("{spiffe_id} is given role {role} twice"));
        }
    }
    Ok(())
}

/// Fails unless the text, which the operator wrote, is one mapping that does not admit everybody.
///
/// Only PostgreSQL's own engine can tell what a regular expression matches, and `check` asks it. Here only its form is checked:
/// it must be anchored, and must begin with literal text of a name, or map to `\1`.
fn own_line(text: &str) -> Result<(), String> {
    if text.contains(['\n', '\r'])
        || text.ends_with('\\')
        || !text.matches('"').count().is_multiple_of(2)
    {
        return Err("it is not one whole line: it has a line break, a backslash at its end or an open quotation mark; \
                    write one whole line in each text"
            .to_owned());
    }
    let parsed = parse_ident(text);
    let [Line::Entry(Mapping { map, system_user, role, .. })] = parsed.as_slice() else {
        let why = match parsed.as_slice() {
            [Line::Unclear(_, why)] => format!(": {why}"),
            _ => String::new(),
        };
        return Err(format!(
            "it is not a line of pg_ident.conf{why}; write `<map> \"<system user>\" <role>`"
        ));
    };
    if role.starts_with('/') || role == "all" || role.starts_with('+') {
        return Err(format!("{role} is more than one role; name one"));
    }
    if system_user == SHARED_SUBJECT {
        return Err(format!(
            "{SHARED_SUBJECT} is the subject of every workload without a DNS name; name one workload"
        ));
    }
    let Some(expression) = system_user.strip_prefix('/') else { return Ok(()) };
    let inside = expression.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let Some(inside) = inside.filter(|_| is_anchored(expression)) else {
        return Err("the regular expression is not anchored as a whole, so it matches other names, too; write /^…$, \
                    and a line for each alternative"
            .to_owned());
    };
    // With `\1` each name gets the role that it contains. Without it, all names that the expression matches would get the same
    // role.
    if role.contains("\\1") || names_somebody(map, inside) {
        return Ok(());
    }
    Err(format!(
        "it lets many names log in as role {role}: name one of them, such as /^CN=alice,OU=.*,O=Example$ or \
         /^x500UniqueIdentifier=<32 hex>,.*$"
    ))
}

/// Whether the beginning of an expression literally names somebody: in the map of workloads a CN or a whole
/// x500UniqueIdentifier, elsewhere anything.
fn names_somebody(map: &str, expression: &str) -> bool {
    let literal = |text: &str| -> usize {
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_@ =,".contains(*c);
        text.replace("[.]", "-").replace("\\.", "-").chars().take_while(plain).count()
    };
    if map != MAP {
        return literal(expression) > 0;
    }
    let rest = expression.strip_prefix("(x500UniqueIdentifier=[0-9a-f]*,)?").unwrap_or(expression);
    let value = |attribute: &str, least: usize| {
        rest.strip_prefix(attribute).is_some_and(|value| {
            let length = literal(value);
            // A repetition after the text would make the text's last character optional.
            let goes_on = value.chars().nth(length);
            length > least || (length == least && !matches!(goes_on, Some('*' | '?' | '{')))
        })
    };
    value("CN=", 1) || value("x500UniqueIdentifier=", 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> file::Workload {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_template_expands_to_exact_ids() {
        let entry = entry(
            r#"
            spiffe_id = "spiffe://example.org/ns/{namespace}/sa/{role}"
            by = "uid"
            values = { namespace = ["a", "b"], role = ["reports", "billing"] }
            "#,
        );
        let seen: Vec<_> = expand(&entry)
            .unwrap()
            .into_iter()
            .map(|workload| (workload.spiffe_id, workload.role, workload.by))
            .collect();
        let id =
            |namespace: &str, role: &str| format!("spiffe://example.org/ns/{namespace}/sa/{role}");
        let expected: Vec<_> =
            [("a", "reports"), ("a", "billing"), ("b", "reports"), ("b", "billing")]
                .into_iter()
                .map(|(namespace, role)| {
                    let id = id(namespace, role);
                    let by = Recognition::UniqueIdentifier(unique_identifier(&id));
                    (id, role.to_owned(), by)
                })
                .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_reported() {
        let id = r#"spiffe_id = "spiffe://example.org/x""#;
        for (text, words) in [
            (format!("{id}\nrole = 'x'"), "does not say how"),
            (format!("{id}\nrole = 'x'\nby = 'cn'"), "by = \"cn\" is not known"),
            (format!("{id}\nrole = 'x'\nby = 'uid'\ncn = 'x'"), "both by and cn"),
            (format!("{id}\nby = 'uid'"), "names no role"),
            (format!("{id}\nby = 'uid'\nrole = '/x'"), "begins with a slash"),
            (format!("{id}\nby = 'uid'\nrole = 'x\\1'"), "a backslash"),
            (format!("{id}\nby = 'uid'\nrole = 'a\"b'"), "a quotation mark"),
            (format!("{id}\nby = 'uid'\nrole = 'public'"), "is reserved"),
            (format!("{id}\nby = 'uid'\nrole = 'pg_monitor'"), "is reserved"),
            (format!("{id}\nby = 'uid'\nrole = '{}'", "x".repeat(64)), "more than 63 bytes"),
            (format!("{id}\ncn = 'a b'\nrole = 'x'"), "is not a DNS name"),
            (format!("{id}\ncn = ''\nrole = 'x'"), "is not a DNS name"),
            (format!("{id}\ncn = 'a,O=SPIRE'\nrole = 'x'"), "is not a DNS name"),
            (format!("{id}\ncn = '{}'\nrole = 'x'", "a".repeat(201)), "more than the 253"),
            (format!("{id}\nby = 'uid'\nrole = 'x'\nvalues = {{ a = ['b'] }}"), "values.a is not used"),
            ("spiffe_id = 'spiffe://example.org/{a}'\nrole = 'x'\nby = 'uid'".to_owned(), "without values"),
            (
                "spiffe_id = 'spiffe://example.org/{a}'\nrole = 'x'\nby = 'uid'\nvalues = { a = [] }".to_owned(),
                "values.a is empty",
            ),
            (
                "spiffe_id = 'spiffe://example.org/{a}'\nrole = 'x'\nby = 'uid'\nvalues = { a = ['b/c'] }".to_owned(),
                "not a part of one path segment",
            ),
            ("spiffe_id = 'spiffe://example.org/a b'\nrole = 'x'\nby = 'uid'".to_owned(), "not a SPIFFE ID"),
            ("spiffe_id = 'spiffe://example.org'\nrole = 'x'\nby = 'uid'".to_owned(), "has no path"),
        ] {
            let said = expand(&entry(&text)).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_template_must_not_explode() {
        let list = format!("[{}]", vec!["'x'"; 101].join(","));
        let text = format!(
            "spiffe_id = 'spiffe://example.org/{{a}}/{{b}}'\nrole = 'x'\nby = 'uid'\nvalues = {{ a = {list}, b = {list} }}"
        );
        assert!(expand(&entry(&text)).unwrap_err().contains("more than 10000"));
    }

    #[test]
    fn workloads_that_look_the_same_are_refused() {
        let workload = |id: &str, role: &str, by: Recognition| Workload {
            spiffe_id: id.to_owned(),
            role: role.to_owned(),
            by,
        };
        let cn = |name: &str| Recognition::CommonName(name.to_owned());
        let said =
            distinct(&[workload("a", "x", cn("n")), workload("b", "y", cn("n"))]).unwrap_err();
        assert!(said.contains("could not tell them apart"), "{said}");
        let said =
            distinct(&[workload("a", "x", cn("n")), workload("a", "x", cn("n"))]).unwrap_err();
        assert!(said.contains("twice"), "{said}");
        // One workload may have two roles.
        assert!(distinct(&[workload("a", "x", cn("n")), workload("a", "y", cn("n"))]).is_ok());
    }

    #[test]
    fn lines_that_would_admit_everybody_are_refused() {
        for (line, words) in [
            ("spiffe \"O=SPIRE,C=US\" app", "every workload without a DNS name"),
            ("spiffe /CN=app app", "not anchored"),
            ("spiffe /^CN=app app", "not anchored"),
            ("spiffe \"/^CN=app\\$\" app", "not anchored"),
            ("spiffe /^.*$ app", "lets many names log in as role app"),
            ("spiffe /^(.+)$ app", "lets many names log in as role app"),
            ("spiffe \"/^O=SPIRE,C=US$\" app", "lets many names log in as role app"),
            ("spiffe \"/^.*O=SPIRE,C=US$\" app", "lets many names log in as role app"),
            ("spiffe \"/^(.*,)?O=SPIRE,C=US$\" app", "lets many names log in as role app"),
            ("spiffe \"/^CN=alice|.*$\" app", "not anchored as a whole"),
            (r#"spiffe "/^CN=alice\(|.*$" app"#, "not anchored as a whole"),
            (r#"spiffe "/^CN=alice[(]|.*$" app"#, "not anchored as a whole"),
            ("spiffe /^[^x]*$ app", "lets many names log in as role app"),
            ("spiffe /^(.*)(.*)$ app", "lets many names log in as role app"),
            ("spiffe /^.*?$ app", "lets many names log in as role app"),
            (
                "spiffe \"/^x500UniqueIdentifier=[0-9a-f]*,O=SPIRE,C=US$\" app",
                "lets many names log in as role app",
            ),
            ("spiffe \"/^x500UniqueIdentifier=0*$\" app", "lets many names log in as role app"),
            ("spiffe \"/^CN=a*$\" app", "lets many names log in as role app"),
            ("corp /^.*$ app", "lets many names log in as role app"),
            ("spiffe \"CN=alice,O=Example\" \"/^.*$\"", "more than one role"),
            ("spiffe \"CN=alice,O=Example\" all", "more than one role"),
            ("spiffe @/etc/passwd app", "a file (@)"),
            ("spiffe \"CN=alice app", "is not one whole line"),
            ("spiffe CN=alice app \\", "is not one whole line"),
            ("spiffe app", "not a line of pg_ident.conf"),
            ("# nothing", "not a line of pg_ident.conf"),
            ("include_if_exists more.conf", "not a line of pg_ident.conf"),
            ("a b c\nd e f", "a line break"),
        ] {
            let said = own_line(line).unwrap_err();
            assert!(said.contains(words), "{line}: {said}");
        }
        for line in [
            "corp \"CN=alice,O=Example\" alice",
            "names \"/^(.*)[.]db[.]example$\" \"\\1\"",
            "names /^(.*)$ \\1",
            "spiffe \"/^CN=alice,OU=.*,O=Example$\" alice",
            "spiffe \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web[.]example,O=SPIRE,C=US$\" web",
            "spiffe \"/^x500UniqueIdentifier=05050505050505050505050505050505,.*$\" app",
            "pgsvid postgres pgsvid # a comment",
        ] {
            own_line(line).unwrap();
        }
    }
}
