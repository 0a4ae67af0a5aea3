//! The commands and signals that follow a publication.

use std::path::Path;
use std::time::Duration;

use super::file::{File, HookTable};
use super::given::Resolver;
use super::keys::{self, Key};
use super::{Error, rules};
use crate::hooks::{Action, Hook, MOST, SIGNALS, Table, User, When, signal};
use crate::publish::Place;
use crate::verify::Target;

/// Longest time that a hook may take.
const LONGEST: Duration = Duration::from_secs(3600);
/// The prefix of pgsvid's own environment variables.
const OURS: &str = "PGSVID_";

/// What a hook needs to know of a PostgreSQL or a PgBouncer.
pub(super) struct Consumer<'a> {
    pub(super) name: &'a str,
    /// The addresses at which it is verified.
    pub(super) target: &'a Target,
}

/// All hooks, in the order of the file. `others` are the names of clients and of `[[served]]`,
/// which prove nothing that a hook waits for.
pub(super) fn hooks(
    resolver: &Resolver<'_>,
    file: &File,
    place: &Place,
    consumers: &[Consumer<'_>],
    others: &[&str],
) -> Result<Vec<Hook>, Error> {
    if file.hooks.len() > MOST {
        return Err(resolver.in_file(
            "hooks",
            format!("there are more than {MOST} [[hooks]]; let one run a script"),
        ));
    }
    let mut names: Vec<&str> = consumers.iter().map(|it| it.name).collect();
    names.extend(others);
    let mut hooks = Vec::new();
    let has_tokens = !file.jwt.is_empty() || file.jwt_bundle.is_some();
    for table in &file.hooks {
        let hook = hook(resolver, table, place, consumers, has_tokens)?;
        if names.contains(&table.name.as_str()) {
            let why = format!(
                "something else has the name {:?}: give each hook, PostgreSQL, PgBouncer, client and [[served]] its own, and leave the name patroni to Patroni",
                table.name
            );
            return Err(resolver.in_file(keys::HOOKS_NAME.name, why));
        }
        names.push(&table.name);
        hooks.push(hook);
    }
    Table::new(&hooks).map_err(|why| resolver.in_file("hooks", why))?;
    Ok(hooks)
}

fn hook(
    resolver: &Resolver<'_>,
    table: &HookTable,
    place: &Place,
    consumers: &[Consumer<'_>],
    has_tokens: bool,
) -> Result<Hook, Error> {
    let wrong = |key: &'static Key, why: String| resolver.in_file(key.name, why);
    rules::name(&table.name).map_err(|why| wrong(&keys::HOOKS_NAME, why))?;
    let timeout = table.timeout.as_deref().unwrap_or(keys::HOOKS_TIMEOUT.default_text());
    let timeout = rules::interval(timeout).and_then(|timeout| {
        if timeout > LONGEST { Err("it is longer than an hour".to_owned()) } else { Ok(timeout) }
    });
    let user = table.user.as_deref().map(user).transpose();
    let when = when(table, consumers, has_tokens).map_err(|why| wrong(&keys::HOOKS_WHEN, why))?;
    if when == When::Jwt && table.barrier == Some(true) {
        let why = "no set waits for a hook that follows a token; leave it out".to_owned();
        return Err(wrong(&keys::HOOKS_BARRIER, why));
    }
    Ok(Hook {
        name: table.name.clone(),
        action: action(resolver, table)?,
        when,
        timeout: timeout.map_err(|why| wrong(&keys::HOOKS_TIMEOUT, why))?,
        barrier: table.barrier.unwrap_or(false),
        user: user.map_err(|why| wrong(&keys::HOOKS_USER, why))?,
        environment: environment(table).map_err(|why| wrong(&keys::HOOKS_ENVIRONMENT, why))?,
        directory: place.base().to_owned(),
        number: None,
    })
}

fn action(resolver: &Resolver<'_>, table: &HookTable) -> Result<Action, Error> {
    let wrong = |key: &'static Key, why: &str| resolver.in_file(key.name, why);
    match (&table.command, &table.signal) {
        (Some(command), None) => {
            if table.pid_file.is_some() || table.process.is_some() {
                let why = "a hook with a command has no pid_file and no process; leave them out";
                return Err(wrong(&keys::HOOKS_COMMAND, why));
            }
            let Some(program) = command.first() else {
                return Err(wrong(
                    &keys::HOOKS_COMMAND,
                    "it is empty; write [\"/path/to/program\"]",
                ));
            };
            rules::absolute(Path::new(program)).map_err(|why| wrong(&keys::HOOKS_COMMAND, &why))?;
            if command.iter().any(|argument| argument.contains('\0')) {
                return Err(wrong(&keys::HOOKS_COMMAND, "an argument holds the character NUL"));
            }
            Ok(Action::Command(command.clone()))
        }
        (None, Some(name)) => {
            let Some((name, _)) = signal(name) else {
                let known: Vec<_> = SIGNALS.iter().map(|(name, _)| *name).collect();
                let why = format!("{name:?} is none of {}", known.join(", "));
                return Err(wrong(&keys::HOOKS_SIGNAL, &why));
            };
            let Some(pid_file) = &table.pid_file else {
                let why = "a signal needs hooks.pid_file, the file with the number of the process";
                return Err(wrong(&keys::HOOKS_SIGNAL, why));
            };
            rules::absolute(pid_file).map_err(|why| wrong(&keys::HOOKS_PID_FILE, &why))?;
            if let Some(process) = &table.process {
                rules::file_name(process).map_err(|why| wrong(&keys::HOOKS_PROCESS, &why))?;
            }
            let (pid_file, process) = (pid_file.clone(), table.process.clone());
            Ok(Action::Signal { signal: name.to_owned(), pid_file, process })
        }
        _ => {
            let why = format!(
                "the hook {:?} needs either a command, or a signal and a pid_file",
                table.name
            );
            Err(wrong(&keys::HOOKS_COMMAND, &why))
        }
    }
}

fn when(table: &HookTable, consumers: &[Consumer<'_>], has_tokens: bool) -> Result<When, String> {
    match table.when.as_deref().unwrap_or(keys::HOOKS_WHEN.default_text()) {
        "published" => Ok(When::Published),
        "proven" if consumers.is_empty() => Err(
            "no PostgreSQL or PgBouncer is configured that could be proven to serve anything; write \"published\""
                .to_owned(),
        ),
        "proven" => match consumers.iter().find(|it| *it.target == Target::Nowhere) {
            Some(server) => Err(format!(
                "{} is never verified (its verify is \"none\"), so nothing is ever proven; write \"published\"",
                server.name
            )),
            None => Ok(When::Proven),
        },
        "jwt" if has_tokens => Ok(When::Jwt),
        "jwt" => Err("there is no [[jwt]] and no [jwt_bundle] that it could follow; write \"published\"".to_owned()),
        other => Err(format!("{other:?} is none of \"published\", \"proven\" and \"jwt\"")),
    }
}

fn environment(table: &HookTable) -> Result<Vec<(String, String)>, String> {
    let given = table.environment.iter().flatten();
    given
        .map(|(name, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(format!(
                    "{name:?} is no name of a variable: write letters, digits and _"
                ));
            }
            if name.starts_with(OURS) {
                return Err(format!("pgsvid itself sets the variables that begin with PGSVID_; give {name} another name"));
            }
            if value.contains('\0') {
                return Err(format!("the value of {name} holds the character NUL"));
            }
            Ok((name.clone(), value.clone()))
        })
        .collect()
}

/// A user with its groups, as they are now.
fn user(text: &str) -> Result<User, String> {
    Ok(User::look_up(text, rules::user(text)?))
}

#[cfg(test)]
mod tests;
