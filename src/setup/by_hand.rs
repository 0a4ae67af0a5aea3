//! How to undo a set-up that somebody has made by hand: examined on the server, and printed as commands for the
//! administrator.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::apply::Examined;
use super::server_files::ServerFiles;
use super::values::SSL;
use super::{Error, Settings, block};
use crate::sql::{
    Administration, HbaRule, Line, Mapping, Session, Setting, parse_hba, parse_ident, statements,
};
use crate::text::{argument, harmless, shown};

/// One step.
struct Step {
    why: String,
    command: String,
}

/// A description of a set-up by hand, and the commands that undo it, in an order in which PostgreSQL can be started at any
/// time; empty if there is none.
pub(super) async fn text(settings: &Settings, examined: &Examined) -> Result<String, Error> {
    let mut steps = tls(settings, examined);
    steps.extend(lines(settings, examined));
    let session = &settings.server.session;
    if !steps.is_empty() {
        steps.push(Step {
            why: "PostgreSQL reloads its files".to_owned(),
            command: session.psql("SELECT pg_catalog.pg_reload_conf()"),
        });
    }
    let role = &session.user;
    if examined.server.roles.contains_key(role) {
        steps.extend(role_goes(settings, &examined.session, role).await?);
    }
    if steps.is_empty() {
        return Ok(String::new());
    }
    let mut text = String::from(
        "  by hand  this server was set up by hand; these commands, run in order as PostgreSQL's user, undo it:\n",
    );
    let mut number = 0;
    if settings.is_run() {
        number += 1;
        let _ = writeln!(
            text,
            "  {number}. stop `pgsvid run`, and make sure that nothing starts it again"
        );
    }
    for Step { why, command } in &steps {
        number += 1;
        let _ = writeln!(text, "  {number}. {}\n     {}", harmless(why), harmless(command));
    }
    Ok(text)
}

/// The steps that remove `ssl` and the settings that name the published files: then TLS is off, and PostgreSQL starts.
fn tls(settings: &Settings, Examined { server, .. }: &Examined) -> Vec<Step> {
    let now = [
        &server.tls.certificate,
        &server.tls.private_key,
        &server.tls.authorities,
        &server.tls.ssl,
    ];
    let wanted = settings.wanted();
    let is_ours =
        |((name, wanted), now): &((&str, String), &Setting)| *name != SSL && *wanted == now.value;
    let ours: Vec<(&str, &Setting)> = wanted
        .clone()
        .into_iter()
        .zip(now)
        .filter(is_ours)
        .map(|((name, _), now)| (name, now))
        .collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let session = &settings.server.session;
    let mut steps = Vec::new();
    // `ssl` comes first, because PostgreSQL does not start with it and an incomplete set of the other settings.
    let names: Vec<&str> = [SSL].into_iter().chain(ours.iter().map(|(name, _)| *name)).collect();
    let altered: Vec<String> = names
        .iter()
        .filter(|name| server.altered.contains_key(**name))
        .map(|name| statements::alter_system_reset(name))
        .collect();
    let files: BTreeSet<&str> = ours
        .iter()
        .map(|(_, now)| *now)
        .chain([&server.tls.ssl])
        .filter_map(|now| now.file.as_deref())
        .filter(|file| !file.ends_with("postgresql.auto.conf"))
        .collect();
    for file in files {
        let names = names.join("|");
        steps.push(Step {
            why: format!(
                "TLS is off without these lines; restore in {file} what was there before (Debian's: ssl = on, ssl_cert_file = \
                 '/etc/ssl/certs/ssl-cert-snakeoil.pem', ssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key')"
            ),
            command: format!(
                "sed -i --follow-symlinks -E {} {}",
                argument(format!("s/^[[:space:]]*({names})([[:space:]]|=)/#&/")),
                argument(file)
            ),
        });
    }
    if !altered.is_empty() {
        steps.push(Step {
            why: "ALTER SYSTEM has set them, too".to_owned(),
            command: altered
                .iter()
                .map(|statement| session.psql(statement))
                .collect::<Vec<_>>()
                .join(" && "),
        });
    }
    if ours.iter().any(|(_, now)| now.source.as_deref() == Some("command line")) {
        steps.push(Step {
            why: "the postmaster's command line (-c) sets them: start PostgreSQL without these options".to_owned(),
            command: session.psql("SHOW ssl_cert_file"),
        });
    }
    steps
}

/// The steps that remove the lines which let the role log in.
fn lines(settings: &Settings, Examined { server, place, .. }: &Examined) -> Vec<Step> {
    let role = &settings.server.session.user;
    let read = |path: &Path| place.file(path)?.ok()?.read().ok();
    let entry = |number: u32| format!("{number}s/^/#/");
    let mut steps = Vec::new();
    let mut comment = |path: &Path, numbers: Vec<String>| {
        if !numbers.is_empty() {
            steps.push(Step {
                why: format!(
                    "the lines that let {role} log in become comments; those of clients (cert) stay"
                ),
                command: format!(
                    "sed -i --follow-symlinks {} {}",
                    argument(numbers.join(";")),
                    argument(path)
                ),
            });
        }
    };
    let numbers = rules_of(role, &read(&server.hba_file).unwrap_or_default());
    comment(&server.hba_file, numbers.into_iter().map(entry).collect());
    let numbers = mappings_of(role, &read(&server.ident_file).unwrap_or_default());
    comment(&server.ident_file, numbers.into_iter().map(entry).collect());
    steps
}

/// The numbers of the lines of a `pg_hba.conf` that let only this role log in over the socket.
fn rules_of(role: &str, text: &str) -> Vec<u32> {
    let is_its = |rule: &HbaRule| rule.kind == "local" && rule.users == [role];
    let rules = parse_hba(text).into_iter().filter_map(|line| match line {
        Line::Entry(own) if is_its(&own) => Some(own.line),
        _ => None,
    });
    rules.collect()
}

/// The numbers of the lines of a `pg_ident.conf` that let a user log in as this role.
fn mappings_of(role: &str, text: &str) -> Vec<u32> {
    let mappings = parse_ident(text).into_iter().filter_map(|line| match line {
        Line::Entry(Mapping { line, role: mapped, .. }) if mapped == role => Some(line),
        _ => None,
    });
    mappings.collect()
}

/// The lines that let the role log in and that `setup apply` has not written, each with its file and its number once setup's block
/// is gone.
pub(super) fn foreign_lines(
    settings: &Settings,
    server: &Administration,
    place: &ServerFiles,
) -> Vec<String> {
    let role = &settings.server.session.user;
    let of = |path: &Path, find: fn(&str, &str) -> Vec<u32>| {
        let text = place.file(path).and_then(|file| file.ok()?.read().ok()).unwrap_or_default();
        let text = block::without(&text).unwrap_or_default();
        let named = shown(&path.display().to_string());
        let told = find(role, &text).into_iter().map(|number| {
            let line = text.lines().nth(number.saturating_sub(1) as usize).unwrap_or_default();
            format!(
                "{named} line {number}, {}: setup has not written it; remove it by hand if nothing else needs it",
                shown(line)
            )
        });
        told.collect::<Vec<_>>()
    };
    let mut found = of(&server.hba_file, rules_of);
    found.extend(of(&server.ident_file, mappings_of));
    found
}

/// The command that drops a role which has rights in databases.
pub(super) async fn dropping(settings: &Settings, session: &Session) -> Option<String> {
    let steps = role_goes(settings, session, &settings.server.session.user).await.ok()?;
    let commands: Vec<String> = steps.into_iter().map(|step| step.command).collect();
    Some(format!(
        "it has rights, or owns something; this removes all of that, and drops the role: {}",
        commands.join(" && ")
    ))
}

/// The steps that drop a role: one with rights cannot be dropped, and each database has its own rights.
async fn role_goes(settings: &Settings, session: &Session, role: &str) -> Result<Vec<Step>, Error> {
    let place = &settings.server.session;
    let databases = session.databases_of(role).await.map_err(Error::Examination)?;
    let mut steps: Vec<Step> = databases
        .iter()
        .map(|database| Step {
            why: format!(
                "removes the rights of {role} in database {database}, and what it owns there"
            ),
            command: place.psql_in(database, &[statements::drop_owned(role)]),
        })
        .collect();
    steps.push(Step {
        why: format!("drops role {role}"),
        command: place.psql(&statements::drop_role(role)),
    });
    Ok(steps)
}
