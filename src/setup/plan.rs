//! Turns facts about the server into the steps that set it up. It does nothing else, so that the plan can be shown before
//! anything is done.

use std::path::{Path, PathBuf};

use super::block::{self, Marks};
use super::server_files::LARGEST;
use super::values::{SSL, setting};
use super::{Settings, clients, foreign_grants, managed, text};
use crate::companions::role_map::{OwnLogin, can_include};
use crate::sql::{Administration, Setting, statements};
use crate::text::harmless;

/// The steps, and what is left to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in this order.
    pub steps: Vec<Step>,
    /// What somebody has to do by hand, because setup does not do it.
    pub by_hand: Vec<String>,
    /// Notes for the administrator. The steps can be carried out whether or not somebody acts on them.
    pub notes: Vec<String>,
    /// The statement that restores `ssl`, which is off while other settings change; `None` if no setting changes, or if `ssl`
    /// is a step of its own.
    pub ssl_again: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A statement, and the one that undoes it.
    Sql {
        /// What to execute.
        statement: String,
        /// The statement that undoes it.
        undo: String,
    },
    /// A setting of the whole server.
    Setting {
        /// Its name.
        name: &'static str,
        /// The new value.
        value: String,
        /// The value in force now, for people.
        now: String,
    },
    /// A marked block in a file.
    File {
        /// The file, as the server sees it.
        path: PathBuf,
        /// Its text now.
        before: String,
        /// Its new text.
        after: String,
        /// The new lines.
        lines: String,
    },
}

/// `pg_hba.conf` or `pg_ident.conf` as it is now.
pub(super) struct FileNow {
    /// The path that the server names.
    pub(super) path: PathBuf,
    /// Its text, or why it cannot be read.
    pub(super) text: Result<String, String>,
    /// Why it cannot be replaced, if it cannot.
    pub(super) fixed: Option<String>,
}

/// The facts that a plan is made from.
pub(super) struct Facts {
    /// The server.
    pub(super) server: Administration,
    /// Whether the settings of certificate, key and CA file already lead to the published files, by any path.
    pub(super) published: [bool; 3],
    /// `pg_hba.conf` and `pg_ident.conf`.
    pub(super) files: [FileNow; 2],
    /// Whether an earlier run was interrupted while it changed settings.
    pub(super) altering: bool,
}

/// The steps that set the server up. `pg_hba.conf` and `pg_ident.conf` are only edited with `edit`.
///
/// Fails if somebody has damaged the marks of an earlier block.
pub(super) fn plan(
    settings: &Settings,
    facts: &Facts,
    edit: bool,
) -> Result<Plan, (PathBuf, Marks)> {
    let mut plan = Plan::default();
    role(&mut plan, settings, &facts.server);
    tls(&mut plan, settings, facts);
    access(&mut plan, settings, facts, edit)?;
    workloads(&mut plan, settings, &facts.server);
    let hba = &facts.files[0];
    let written = plan.steps.iter().find_map(|step| match step {
        Step::File { path, after, .. } if *path == hba.path => Some(after.as_str()),
        _ => None,
    });
    let hba = written.or(hba.text.as_ref().ok().map(String::as_str));
    plan.notes.extend(clients::missing(settings, &facts.server.tls, hba));
    Ok(plan)
}

/// The lines that `pg_ident.conf` needs, depending on whether it can include files.
fn ident_lines(settings: &Settings, version_number: u32) -> String {
    let includes = can_include(version_number);
    match settings.published_map().filter(|_| includes) {
        // pgsvid's own line stays here: without it no reload would ever read the included file.
        Some(map) => {
            let own = settings.roles.login.as_ref().and_then(OwnLogin::ident_line);
            let own = own.map(|line| format!("{line}\n")).unwrap_or_default();
            format!("{own}{}\n", text::include(&map))
        }
        None => settings.roles.ident(),
    }
}

fn role(plan: &mut Plan, settings: &Settings, server: &Administration) {
    let role = &settings.server.session.user;
    let mut steps = Vec::new();
    let mut sql = |statement: String, undo: String| steps.push(Step::Sql { statement, undo });
    let existing = server.roles.get(role);
    match existing.map(|role| role.can_log_in) {
        None => sql(statements::create_role(role), statements::drop_role(role)),
        Some(false) => sql(statements::let_log_in(role), statements::forbid_login(role)),
        Some(true) => {}
    }
    if !server.may_reload {
        sql(statements::grant_reload(role), statements::revoke_reload(role));
    }
    if server.has_reserve == Some(false) {
        sql(statements::grant_reserve(role), statements::revoke_reserve(role));
    }
    if server.in_recovery && !steps.is_empty() {
        plan.by_hand.push(format!(
            "this server is a standby: role {role} and its grants must be created on its primary, where `pgsvid setup \
             apply` does it"
        ));
    } else {
        plan.steps.extend(steps);
    }
    if existing.is_some() {
        plan.notes.extend(foreign_grants::notes(settings, &server.related));
    }
}

/// Whether the postmaster's command line sets this setting.
fn is_given(setting: &Setting) -> bool {
    setting.source.as_deref() == Some("command line")
}

fn tls(plan: &mut Plan, settings: &Settings, facts: &Facts) {
    let Facts { server, published, altering, .. } = facts;
    let tls = &server.tls;
    let now = [&tls.certificate, &tls.private_key, &tls.authorities, &tls.ssl];
    let [certificate, private_key, authorities] = *published;
    let differing: Vec<_> = settings
        .wanted()
        .into_iter()
        .zip(now)
        .zip([certificate, private_key, authorities, false])
        .filter(|(((name, value), now), published)| {
            // The value in the file takes effect with the next reload.
            let pending = server.altered.get(*name).filter(|altered| **altered != now.value);
            let pending = pending.filter(|_| !is_given(now));
            *altering
                || pending.is_some_and(|pending| pending != value)
                || (now.value != *value && !published)
        })
        .map(|(differing, _)| differing)
        .collect();
    if *altering {
        plan.notes.push(
            "an earlier setup was interrupted while it changed settings: all of them are set again, including ssl".to_owned(),
        );
    }
    if let Some(manager) = server.manager.filter(|_| !differing.is_empty()) {
        plan.by_hand.push(managed::instructions(settings, manager));
        return;
    }
    let (fixed, free): (Vec<_>, Vec<_>) = differing.into_iter().partition(|(_, now)| is_given(now));
    if !fixed.is_empty() {
        let options: Vec<String> = fixed
            .iter()
            .map(|((name, value), _)| {
                format!("-c {name}={}", statements::configuration_value(value))
            })
            .collect();
        plan.by_hand.push(format!(
            "the postmaster's command line overrides every file: start PostgreSQL with {}, or without these options",
            options.join(" ")
        ));
        // The other settings are useless without these.
        return;
    }
    if !free.is_empty() && free.iter().all(|((name, _), _)| *name != SSL) {
        plan.ssl_again = Some(setting(SSL, server.altered.get(SSL).map(String::as_str)));
    }
    plan.steps.extend(free.into_iter().map(|((name, value), now)| Step::Setting {
        name,
        value,
        now: now.value.clone(),
    }));
}

fn access(
    plan: &mut Plan,
    settings: &Settings,
    facts: &Facts,
    edit: bool,
) -> Result<(), (PathBuf, Marks)> {
    let Facts { server, files: [hba, ident], .. } = facts;
    let mut left_alone = Vec::new();
    let published = settings.published_map();
    let powerful: Vec<&str> = settings
        .roles
        .roles()
        .into_iter()
        .filter(|role| server.roles.get(*role).is_some_and(|role| role.superuser))
        .collect();
    if edit && !powerful.is_empty() {
        plan.by_hand.push(format!(
            "{}: the superuser {} could no longer log in over TCP without a certificate; add what `pgsvid setup hba` and \
             `pgsvid setup ident` print yourself, or leave the role out",
            named(&hba.path),
            powerful.join(", ")
        ));
        return Ok(());
    }
    // The map first: pg_hba.conf must not name a map that does not exist yet.
    for (FileNow { path, text, fixed }, lines, is_present) in [
        (
            ident,
            ident_lines(settings, server.tls.version_number),
            block::contains_mappings as fn(&str, &str) -> bool,
        ),
        (hba, settings.roles.hba(), block::begins_with_rules),
    ] {
        // Up to PostgreSQL 15 the published map may be the whole file, which `run` writes.
        if Some(path) == published.as_ref() {
            continue;
        }
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                left_alone.push(format!(
                    "{} (it cannot be read here: {})",
                    named(path),
                    harmless(why)
                ));
                continue;
            }
        };
        let marked = |marks| (path.clone(), marks);
        let without = block::without(text).map_err(marked)?;
        let has_block = without != *text;
        let after =
            if lines.is_empty() { without } else { block::with(text, &lines).map_err(marked)? };
        if after == *text || (!has_block && is_present(text, &lines)) {
            continue;
        }
        if !edit || server.manager.is_some() {
            left_alone.push(named(path));
            continue;
        }
        if after.len() as u64 > LARGEST {
            left_alone.push(format!(
                "{} (with these lines it would be larger than {} MiB, and no later setup would read it)",
                named(path),
                LARGEST / (1024 * 1024)
            ));
            continue;
        }
        if let Some(why) = fixed {
            left_alone.push(format!("{} ({why})", named(path)));
            continue;
        }
        plan.steps.push(Step::File { path: path.clone(), before: text.clone(), after, lines });
    }
    if left_alone.is_empty() {
        return Ok(());
    }
    let left_alone = left_alone.join(" and ");
    match server.manager {
        Some(_) => plan.by_hand.push(format!(
            "{left_alone}: not changed, either; `pgsvid setup hba` and `pgsvid setup ident` print the lines"
        )),
        None if edit => plan.by_hand.push(format!(
            "{left_alone}: add what `pgsvid setup hba` and `pgsvid setup ident` print"
        )),
        None => plan.notes.push(format!(
            "{left_alone}: not changed, and without lines for pgsvid; add what `pgsvid setup hba` and `pgsvid setup \
             ident` print, or let --hba write it"
        )),
    }
    Ok(())
}

fn workloads(plan: &mut Plan, settings: &Settings, server: &Administration) {
    for role in settings.roles.roles() {
        let name = statements::identifier(role);
        match server.roles.get(role).map(|role| role.can_log_in) {
            None => plan.notes.push(format!(
                "role {role} of [[roles]] does not exist yet: CREATE ROLE {name} LOGIN, and grant it what it may do"
            )),
            Some(false) => plan.notes.push(format!(
                "role {role} of [[roles]] may not log in: ALTER ROLE {name} LOGIN"
            )),
            Some(true) => {}
        }
    }
    let Some(map) = settings.published_map() else { return };
    if !server.sees.contains(&map) {
        plan.notes.push(format!(
            "the map {} is not published yet, or PostgreSQL cannot see it: until `pgsvid run` or `pgsvid fetch` has published \
             it, no workload can log in through it",
            map.display()
        ));
    }
    if !can_include(server.tls.version_number) && server.ident_file != map {
        plan.notes.push(format!(
            "this PostgreSQL's pg_ident.conf cannot include {map}, so a change of [[roles]] needs another `setup apply \
             --hba`; or set ident_file = '{map}' (a restart), with all other lines in files.ident_lines",
            map = map.display()
        ));
    }
}

/// A path from the server, escaped so that it cannot start a new line.
pub(super) fn named(path: &Path) -> String {
    harmless(&path.display().to_string()).into_owned()
}

impl Step {
    /// Whether the step changes this setting.
    pub(super) fn alters(&self, setting: &str) -> bool {
        matches!(self, Self::Setting { name, .. } if *name == setting)
    }
}

impl Plan {
    /// Whether there is something to do.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether settings will be changed.
    pub(super) fn alters_settings(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Setting { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Parts};
    use crate::sql::{Manager, Related, Role, TlsSettings};
    use std::collections::{BTreeMap, BTreeSet};

    fn settings() -> Settings {
        let flags = Flags {
            directory: Some("/svids".to_owned()),
            postgres: Some("/run/postgresql".to_owned()),
            ..Flags::default()
        };
        let parts = Parts::load(&flags, &BTreeMap::new()).unwrap();
        Settings {
            server: parts.server().unwrap(),
            place: parts.place.unwrap(),
            expectations: parts.expectations,
            roles: parts.roles,
            ident: parts.ident,
            superuser: "postgres".to_owned(),
        }
    }

    /// A server without any set-up.
    fn facts() -> Facts {
        let setting = |value: &str| Setting { value: value.to_owned(), ..Setting::default() };
        Facts {
            published: [false; 3],
            files: [
                ("/data/pg_hba.conf", "local all all peer\nhostssl all app all cert\n"),
                ("/data/pg_ident.conf", ""),
            ]
            .map(|(path, text)| FileNow {
                path: path.into(),
                text: Ok(text.to_owned()),
                fixed: None,
            }),
            altering: false,
            server: Administration {
                tls: TlsSettings {
                    ssl: setting("off"),
                    certificate: setting("server.crt"),
                    private_key: setting("server.key"),
                    authorities: setting(""),
                    version_number: 150_018,
                    ..TlsSettings::default()
                },
                data_directory: PathBuf::from("/data"),
                hba_file: PathBuf::from("/data/pg_hba.conf"),
                ident_file: PathBuf::from("/data/pg_ident.conf"),
                started: 0,
                in_recovery: false,
                manager: None,
                altered: BTreeMap::new(),
                roles: BTreeMap::new(),
                related: Related::default(),
                may_reload: false,
                has_reserve: None,
                sees: BTreeSet::new(),
            },
        }
    }

    /// How many steps are SQL, settings and files.
    fn count(plan: &Plan) -> [usize; 3] {
        let mut count = [0; 3];
        for step in &plan.steps {
            count[match step {
                Step::Sql { .. } => 0,
                Step::Setting { .. } => 1,
                Step::File { .. } => 2,
            }] += 1;
        }
        count
    }

    #[test]
    fn a_new_server_gets_everything_in_order_and_a_finished_one_nothing() {
        let mut facts = facts();
        facts.server.has_reserve = Some(false);
        let plan = plan(&settings(), &facts, true).unwrap();
        assert_eq!(count(&plan), [3, 4, 2]);
        let mut names = plan.steps.iter().filter_map(|step| match step {
            Step::Setting { name, .. } => Some(*name),
            _ => None,
        });
        assert_eq!(names.next_back(), Some("ssl"));
        let first = plan.steps.iter().find_map(|step| match step {
            Step::File { path, .. } => Some(path.as_path()),
            _ => None,
        });
        assert_eq!(first, Some(Path::new("/data/pg_ident.conf")));

        for step in &plan.steps {
            if let Step::File { path, after, .. } = step {
                let file = facts.files.iter_mut().find(|file| file.path == *path).unwrap();
                file.text = Ok(after.clone());
            }
        }
        facts.published = [true; 3];
        facts.server.tls.ssl.value = "on".to_owned();
        let role = Role { can_log_in: true, superuser: false };
        facts.server.roles.insert("pgsvid".to_owned(), role);
        (facts.server.may_reload, facts.server.has_reserve) = (true, Some(true));
        assert_eq!(super::plan(&settings(), &facts, true).unwrap(), Plan::default());
    }

    #[test]
    fn what_others_are_in_charge_of_is_left_to_them() {
        for manager in [Manager::Patroni, Manager::CloudNativePg, Manager::Somebody] {
            let mut facts = facts();
            facts.server.manager = Some(manager);
            let plan = plan(&settings(), &facts, true).unwrap();
            // The manager owns the configuration; setup still creates the role and its grant.
            assert_eq!((count(&plan), plan.by_hand.len()), ([2, 0, 0], 2), "{manager:?}");
        }
        let mut facts = facts();
        facts.server.in_recovery = true;
        let plan = plan(&settings(), &facts, false).unwrap();
        assert_eq!((count(&plan), plan.by_hand.len()), ([0, 4, 0], 1));
        assert!(plan.by_hand[0].contains("is a standby"), "{plan:?}");
    }

    #[test]
    fn a20_what_the_server_names_begins_no_line_of_the_plan() {
        let mut facts = facts();
        facts.server.tls.ssl.value = "off\n  done     forged".to_owned();
        for (file, text) in
            facts.files.iter_mut().zip([Ok(String::new()), Err("no\n  done     forged".to_owned())])
        {
            file.path = PathBuf::from("/data/x\n  done     forged");
            file.text = text;
        }
        let text = plan(&settings(), &facts, true).unwrap().text();
        assert!(text.contains("forged"), "{text}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("done ")), "{text}");
    }

    #[test]
    fn a53_a_file_that_no_later_setup_would_read_is_not_written() {
        let mut facts = facts();
        let full = "# x\n".repeat(usize::try_from(LARGEST / 4).unwrap());
        facts.files[0].text = Ok(full);
        let plan = plan(&settings(), &facts, true).unwrap();
        assert_eq!(count(&plan)[2], 1);
        assert!(plan.by_hand[0].contains("would be larger than 4 MiB"), "{:?}", plan.by_hand);
    }

    #[test]
    fn of_a_set_all_is_altered_or_nothing() {
        let mut facts = facts();
        facts.server.tls.private_key.source = Some("command line".to_owned());
        let plan = plan(&settings(), &facts, false).unwrap();
        assert_eq!(count(&plan), [2, 0, 0]);
        assert!(plan.by_hand[0].contains("-c ssl_key_file='/svids/svid_key.pem'"), "{plan:?}");
    }

    #[test]
    fn a51_settings_that_were_cut_off_or_are_pending_are_altered_with_any_loaded_value() {
        let mut facts = facts();
        facts.published = [true; 3];
        facts.server.tls.ssl.value = "on".to_owned();
        assert_eq!(count(&plan(&settings(), &facts, false).unwrap())[1], 0);
        facts.server.altered.insert("ssl".to_owned(), "off".to_owned());
        assert_eq!(count(&plan(&settings(), &facts, false).unwrap())[1], 1);
        facts.server.tls.ssl.source = Some("command line".to_owned());
        let given = plan(&settings(), &facts, false).unwrap();
        assert_eq!((count(&given)[1], given.by_hand.len()), (0, 0), "{given:?}");
        facts.server.tls.ssl.source = None;
        facts.altering = true;
        let plan = plan(&settings(), &facts, false).unwrap();
        assert_eq!((count(&plan)[1], plan.notes.len()), (4, 2), "{plan:?}");
    }

    #[test]
    fn files_that_cannot_be_edited_are_for_hands() {
        let mut facts = facts();
        facts.files[0].text = Err("permission denied".to_owned());
        facts.files[1].fixed = Some("it belongs to uid 0".to_owned());
        let plan = plan(&settings(), &facts, true).unwrap();
        assert_eq!(count(&plan)[2], 0);
        let [left_alone] = plan.by_hand.as_slice() else { panic!("{plan:?}") };
        for file in ["/data/pg_hba.conf (it cannot be read here", "/data/pg_ident.conf (it belongs"]
        {
            assert!(left_alone.contains(file), "{left_alone}");
        }
    }
}
