//! Why PostgreSQL refuses the role that reloads over the socket, in terms of `pg_hba.conf` and `pg_ident.conf`.

use super::access::place;
use super::map_file::MapFile;
use super::session::session;
use crate::sql::{self, Admission, Error, HbaRule, Mapping, Refusal, Settings, system_user, word};
use crate::survey::Access;
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// The role that the operating-system user `postgres` gets by the method `peer` without a map.
const SUPERUSER: &str = "postgres";

/// Whether lines of `pg_hba.conf` or `pg_ident.conf` may be the cause.
fn may_be_caused_by_lines(error: &Error, settings: &Settings) -> bool {
    matches!(error, Error::NoLogin(_))
        || matches!(
            Refusal::of(error, settings),
            Some(Refusal::Peer | Refusal::Line | Refusal::Rejected | Refusal::Unclear)
        )
}

/// Why a session was refused, if lines of these files may be the cause. Only then `look` is called to read them. `None` if the
/// files add nothing to what [`session`](super::session()) returns.
#[must_use]
pub fn deciding_line(
    error: &Error,
    settings: &Settings,
    look: impl FnOnce() -> Option<Access>,
) -> Option<Finding> {
    if !may_be_caused_by_lines(error, settings) {
        return None;
    }
    let found = own_login(&look()?, settings)?;
    Some(Finding { code: session(error, settings).code, ..found })
}

/// Whether the connection limit of the role or of the database prevents the session. Waiting hardly helps: the limit may be 0, and
/// only pgsvid logs in as the role.
#[must_use]
pub fn is_limited(error: &Error, settings: &Settings) -> bool {
    matches!(Refusal::of(error, settings), Some(Refusal::RoleLimit | Refusal::DatabaseLimit))
}

/// The line that decides, and what is missing; `None` if these files do not show it.
fn own_login(access: &Access, settings: &Settings) -> Option<Finding> {
    let own = sql::own_name()?;
    let hba = access.hba.display().to_string();
    if access.nul.is_some() || !access.unclear.is_empty() {
        return None;
    }
    let mappings = access.mappings.as_ref()?;
    let mut about = Vec::new();
    for rule in access.rules.iter().filter(|rule| rule.kind == "local") {
        match (rule.is_for(&settings.database, &settings.user), rule.is_about(&settings.user)) {
            (Some(false), _) | (_, Some(false)) => {}
            (Some(true), Some(true)) => about.push(rule),
            // pgsvid cannot tell whether this line decides.
            _ if about.is_empty() => return None,
            _ => {}
        }
    }
    let admits = |rule: &HbaRule| admits(rule, mappings, &own, settings);
    let Settings { user, database, .. } = settings;
    let Some(first) = about.first() else {
        let text =
            format!("no line of {hba} is about role {user} in database {database} over the socket");
        return Some(found(text, Admission::of_both(), settings, access));
    };
    let here = place(&hba, first);
    if admits(first)? {
        let text = format!(
            "{here} lets role {user} in, but PostgreSQL has not loaded the files since they were changed"
        );
        return Some(found(text, Admission { line: false, map: None }, settings, access));
    }
    // The map gives the superuser to others, and not to pgsvid's user: no line of another map is to end that.
    if *user == SUPERUSER
        && first.method == "peer"
        && let Some(map) = first.map()
        && let others = users_of(mappings, map, user)
        && !others.is_empty()
    {
        let others = shown(&others.join(" or "));
        let ident = access.ident.display();
        let text = format!(
            "{here} uses map {map} of {ident}, which lets only {others} log in as role {user}"
        );
        let fix = format!("run this command as {others}");
        return Some(Finding::failure(Code::RoleLoginRefused, text).fix(fix));
    }
    // The right line exists, but does not decide.
    if let Some(later) = about.iter().skip(1).find(|rule| admits(rule) == Some(true)) {
        let text = format!(
            "the order of the lines is wrong: {here} decides about role {user}, and {}, which lets it in, stands below it",
            place(&hba, later)
        );
        return Some(found(text, Admission { line: true, map: None }, settings, access));
    }
    if first.method == "peer"
        && settings.password_file.is_none()
        && let Some(map) = first.map()
    {
        let text = format!(
            "{here} uses map {map} of {}, which has no line that lets the operating-system user {own} log in as role {user}",
            access.ident.display()
        );
        return Some(found(text, Admission { line: false, map: Some(map) }, settings, access));
    }
    let asks = match first.method.as_str() {
        "peer" => {
            format!("requires an operating-system user of that name, but pgsvid runs as {own}")
        }
        "reject" => "rejects it".to_owned(),
        method => format!("asks for {method}"),
    };
    let text = format!("{here} decides about role {user}, and {asks}");
    Some(found(text, Admission::of_both(), settings, access))
}

/// The operating-system users that a map lets log in as this role, by lines without expressions.
fn users_of(mappings: &[Mapping], map: &str, role: &str) -> Vec<String> {
    let is_plain = |it: &&Mapping| !it.system_user.starts_with('/');
    let lines = mappings.iter().filter(|it| it.map == map && it.role == role).filter(is_plain);
    lines.map(|it| it.system_user.clone()).collect()
}

/// What to do if `setup`, which works as PostgreSQL's user, is not let in as the superuser, because a map of `pg_ident.conf` gives
/// that role to other users: the line to add for that time, who reloads, and how. `None` if these files do not show that.
#[must_use]
pub fn superuser_of_others(access: &Access, settings: &Settings) -> Option<String> {
    let own = sql::own_name()?;
    let mappings = access.mappings.as_ref()?;
    let is_about = |rule: &&HbaRule| {
        let (database, role) = (&settings.database, &settings.user);
        rule.kind == "local"
            && rule.is_for(database, role) != Some(false)
            && rule.is_about(role) != Some(false)
    };
    let first = access.rules.iter().find(is_about)?;
    let map = first.map().filter(|_| first.method == "peer")?;
    let users = users_of(mappings, map, &settings.user);
    let other = users.iter().find(|user| **user != own)?;
    let (map, role) = (word(map), word(&settings.user));
    Some(format!(
        "map {map} of {ident} lets {other} log in as {role}, and setup works as PostgreSQL's user, {own}: for the time of setup {add}, \
         reload as {other} (psql -U {role} -d template1 -c 'SELECT pg_catalog.pg_reload_conf()'{options}), run setup again, then remove the \
         line in the same way",
        ident = access.ident.display(),
        add = map_file(access).add(&[&format!("{map} {} {role}", system_user(&own))]),
        other = shown(other),
        own = system_user(&own),
        options = settings.psql_options(),
    ))
}

/// Whether the line lets this process's user in; `None` if pgsvid cannot tell.
fn admits(rule: &HbaRule, mappings: &[Mapping], own: &str, settings: &Settings) -> Option<bool> {
    let wanted = &settings.user;
    match (rule.method.as_str(), settings.password_file.is_some()) {
        ("trust", _) | ("scram-sha-256" | "md5" | "password", true) => Some(true),
        ("peer", false) => {
            let Some(map) = rule.map() else { return Some(own == wanted) };
            let mut lines = mappings.iter().filter(|mapping| mapping.map == map);
            let mut is_unknown = false;
            let listed = lines.any(|mapping| {
                is_unknown |=
                    mapping.system_user.starts_with('/') || mapping.role.starts_with(['+', '/']);
                mapping.system_user == own && (mapping.role == *wanted || mapping.role == "all")
            });
            if listed { Some(true) } else { (!is_unknown).then_some(false) }
        }
        _ => Some(false),
    }
}

fn map_file(access: &Access) -> MapFile {
    MapFile { path: access.ident.clone(), published: access.published.clone() }
}

fn found(text: String, missing: Admission<'_>, settings: &Settings, access: &Access) -> Finding {
    let [line, mapping] = settings.admitting_lines(missing.map.unwrap_or("pgsvid"));
    let ident = map_file(access);
    let mut steps = Vec::new();
    // The command that adds the lines writes into the file itself, which pgsvid would restore.
    let mut by_command = true;
    if missing.map.is_some() && settings.password_file.is_none() {
        // The operating-system user `postgres` logs in as this role without a map so far. The new line of pg_hba.conf names a
        // map, so that user needs a line in the map, too.
        let own = format!("pgsvid {SUPERUSER} {SUPERUSER}");
        let mut lines = vec![mapping.as_str()];
        if missing.line && settings.user == SUPERUSER {
            lines.push(&own);
        }
        steps.push(ident.add(&lines));
        by_command = !ident.publishes_itself();
    }
    if missing.line {
        steps.push(format!("put `{line}` above all other lines of pg_hba.conf"));
    }
    let shorter = if settings.user == SUPERUSER {
        "reload"
    } else {
        "reload; `pgsvid setup apply --hba` with this configuration does the same"
    };
    steps.push(shorter.to_owned());
    let finding = Finding::failure(Code::RoleLoginRefused, text).fix(steps.join(", then "));
    if by_command { finding.command(settings.let_in(missing)) } else { finding }
}
