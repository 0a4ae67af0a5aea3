//! PostgreSQL over SQL: one session that only queries; nothing is reloaded.

use std::collections::{BTreeMap, BTreeSet};

use super::exchangeable;
use super::expressions::{self, Expressions};
use super::not_started;
use super::own_user::own_user;
use super::tls_files::{self, Load};
use super::version_settings::versions;
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::sql::{
    self, AccessViews, AllOutgoing, Citus, HbaRule, OtherSettings, Replication, Role, RoleRights,
    Session, Superuser, TlsSettings,
};
use crate::survey::{self, Files, Loading, Reloaded, State};

/// How many groups are queried.
const MOST_GROUPS: usize = 500;

/// What one session has returned.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) settings: TlsSettings,
    pub(super) standing: RoleRights,
    /// `pg_hba.conf` and `pg_ident.conf` by their views; `None` if the role may not read them.
    pub(super) views: Option<AccessViews>,
    /// Why PostgreSQL could not show them although the role may read them: it cannot read the files.
    pub(super) views_refused: Option<String>,
    /// The files themselves, if readable.
    pub(super) files: Option<survey::Access>,
    /// The TLS settings from the next reload or start on, as far as the role or this user may see the files.
    pub(super) next: Option<TlsSettings>,
    /// Whether the files are in force.
    pub(super) loading: Loading,
    /// What the server's log says of its last reload, if that is known.
    pub(super) reloaded: Option<Reloaded>,
    /// What keeps PostgreSQL from loading its configuration files, if the role may see that.
    pub(super) configuration_errors: Vec<String>,
    /// pgsvid's user: its ID, and its name if it has one.
    pub(super) own_user: (u32, Option<String>),
    /// The groups of `pg_hba.conf`, and names of databases, that the role of `--as-client` is a member of; `None` without
    /// that option.
    pub(super) groups: Option<BTreeSet<String>>,
    /// The roles of `[[roles]]` that exist.
    pub(super) roles: BTreeMap<String, Role>,
    /// Roles that log in and can do everything, or can gain that, and whether there are more; or why they are unknown.
    pub(super) superusers: Result<(Vec<Superuser>, bool), String>,
    /// The replication connections, or why they are unknown; only their numbers are right if the role may not see them.
    pub(super) replication: Result<Replication, String>,
    /// What the server connects to by itself, or why that is unknown.
    pub(super) outgoing: Result<AllOutgoing, String>,
    /// What Citus says of its nodes, or why it did not answer; `None` without that extension in this database.
    pub(super) citus: Option<Result<Citus, sql::Error>>,
    /// Foreign servers with a user mapping whose options the session may not see, or why they are unknown.
    pub(super) hidden_mappings: Result<Vec<String>, String>,
    /// What the regular expressions of `pg_ident.conf` match.
    pub(super) expressions: Expressions,
}

/// The result of the queries; `None` if no PostgreSQL is configured.
pub(super) struct Sql(pub(super) Option<Result<Answers, sql::Error>>);

impl Answers {
    /// The roles that can do everything, as far as they are known.
    pub(super) fn known_superusers(&self) -> &[Superuser] {
        self.superusers.as_ref().map(|(found, _)| found.as_slice()).unwrap_or_default()
    }
}

impl Sql {
    pub(super) fn answers(&self) -> Option<&Answers> {
        self.0.as_ref()?.as_ref().ok()
    }

    /// Whether a process other than PostgreSQL listens on the socket: the files next to it may belong to that process, too.
    pub(super) fn foreign_listener(&self) -> Option<&sql::Error> {
        self.0.as_ref()?.as_ref().err().filter(|error| matches!(error, sql::Error::Peer { .. }))
    }

    /// Why there are no answers, for the texts of skipped findings.
    pub(super) fn why_silent(&self) -> &'static str {
        match self.0 {
            Some(Err(sql::Error::NotRunning)) => "PostgreSQL does not run",
            Some(Err(sql::Error::Silent(_))) => "PostgreSQL does not answer",
            _ => "pgsvid has no session with PostgreSQL",
        }
    }

    /// Whether nobody listens on the socket.
    pub(super) fn is_not_running(&self) -> bool {
        matches!(self.0, Some(Err(sql::Error::NotRunning)))
    }
}

/// The result if no PostgreSQL is configured.
pub(super) fn none() -> Sql {
    Sql(None)
}

/// Queries everything in one session.
pub(super) async fn ask(config: &Config, server: &Server, client: Option<&str>) -> Sql {
    let session = match Session::connect(&server.session).await {
        Ok(session) => session,
        Err(error) => return Sql(Some(Err(error))),
    };
    let answers = answers(&session, config, server, client).await;
    session.close().await;
    Sql(Some(answers))
}

async fn answers(
    session: &Session,
    config: &Config,
    server: &Server,
    client: Option<&str>,
) -> Result<Answers, sql::Error> {
    let mut settings = session.tls_settings().await?;
    // A plain role sees few of them; the files contain what the next reload or start will use.
    if !settings.others.complete
        && let Some(values) = survey::other_settings(&server.session)
    {
        settings.others = OtherSettings { values, complete: true };
    }
    for (name, setting) in [
        ("ssl", &mut settings.ssl),
        ("ssl_cert_file", &mut settings.certificate),
        ("ssl_key_file", &mut settings.private_key),
        ("ssl_ca_file", &mut settings.authorities),
    ] {
        // A plain role does not see that ALTER SYSTEM overrides postgresql.conf.
        if setting.file.is_none() && setting.source.as_deref() == Some("configuration file") {
            let file = survey::set_in(&server.session, name);
            setting.file = file.map(|file| file.display().to_string());
        }
    }
    let standing = session.standing().await?;
    let (views, views_refused) = match session.access().await {
        Err(error) if error.is_about_a_file() => (None, Some(error.to_string())),
        views => (views?, None),
    };
    let files = survey::access(&server.session, Some(&standing));
    let loading = survey::loading(&server.session, &standing, files.as_ref());
    let reloaded = survey::last_reload(&server.session, &standing);
    let configuration_errors =
        if settings.may_read_errors { session.configuration_errors().await? } else { Vec::new() };
    let in_files = if settings.may_read_errors {
        Some(session.tls_settings_in_files().await?)
    } else {
        survey::tls_settings_in_files(&server.session)
    };
    let next =
        in_files.map(|found| settings.with(found)).filter(|_| configuration_errors.is_empty());
    let mappings = files.as_ref().and_then(|files| files.mappings.as_ref());
    let mappings = mappings.or(views.as_ref().and_then(|views| views.mappings.as_ref()));
    let groups = match client {
        Some(role) => {
            let rules = files.as_ref().map(|files| &files.rules);
            let rules = rules.or(views.as_ref().map(|views| &views.rules));
            let mut named: BTreeSet<&str> =
                rules.into_iter().flatten().flat_map(HbaRule::groups).collect();
            // `samerole` compares the database's name with the role's groups.
            let service = config.service().and_then(|service| service.options.get("dbname"));
            named.extend(service.map(String::as_str));
            named.extend([role, server.session.database.as_str()]);
            let named: Vec<&str> = named.into_iter().take(MOST_GROUPS).collect();
            Some(session.groups(role, &named).await?.into_iter().collect())
        }
        None => None,
    };
    let roles = session.roles(&config.roles.roles()).await?;
    // An administrator may have revoked the right to read one of these views. The other answers are still useful.
    let superusers = session.superusers().await.map_err(|error| error.to_string());
    let replication = session.replication().await.map_err(|error| error.to_string());
    let outgoing = session.outgoing().await.map_err(|error| error.to_string());
    let hidden_mappings = session.hidden_mappings().await.map_err(|error| error.to_string());
    // Last, because the server may be busy with them for a time.
    let own_user = own_user(config);
    let mappings = mappings.into_iter().flatten();
    let expressions = expressions::try_all(session, config, mappings, own_user.1.as_deref()).await;
    // An unreachable node takes longer than a statement may take.
    let citus = session.citus().await.transpose();
    Ok(Answers {
        settings,
        standing,
        views,
        views_refused,
        files,
        next,
        loading,
        reloaded,
        configuration_errors,
        own_user,
        groups,
        roles,
        superusers,
        replication,
        outgoing,
        citus,
        hidden_mappings,
        expressions,
    })
}

/// `unusable` is what is wrong with the files of `[certificates]`, if PostgreSQL reads these.
pub(super) fn section(server: &Server, sql: &Sql, unusable: Option<&Finding>) -> Section {
    let settings = &server.session;
    let place = format!("{}:{}", settings.host.display(), settings.port);
    let answers = match &sql.0 {
        Some(Ok(answers)) => answers,
        Some(Err(error)) => {
            let mut section = Section::new(Group::Postgresql, place);
            section.add(
                not_started::finding(error, settings, unusable)
                    .unwrap_or_else(|| unreachable(error, settings)),
            );
            return section;
        }
        None => return Section::new(Group::Postgresql, place),
    };
    let Answers { settings: tls, standing, .. } = answers;
    let mut section = Section::new(Group::Postgresql, format!("{place}, version {}", tls.version));
    let standby = if standing.in_recovery { ", a standby" } else { "" };
    if standing.may_reload {
        section.add(Finding::ok(
            Code::ReloadPrivilege,
            format!(
                "role {} may call pg_reload_conf() in database {}{standby}",
                standing.role, settings.database
            ),
        ));
    } else {
        section.add(diagnose::session(&sql::Error::no_grant(), settings));
    }
    section.extend(session_rights(server, tls));
    section.extend(files(server, answers));
    section.extend(versions(settings, tls, standing));
    section
}

/// The finding whether the role may end sessions; `None` unless the configuration demands that.
fn session_rights(server: &Server, tls: &TlsSettings) -> Option<Finding> {
    server.sessions.end_after?;
    Some(diagnose::session_rights(tls, &server.session, true).unwrap_or_else(|| {
        let role = &server.session.user;
        let text = format!("role {role} may end sessions that have outlived their certificate");
        Finding::ok(Code::SessionRights, text)
    }))
}

/// The reason why pgsvid cannot request a reload, if there is one.
pub(super) fn cannot_reload(server: &Server, sql: &Sql) -> Option<Finding> {
    let settings = &server.session;
    match sql.0.as_ref()? {
        Err(error) => Some(unreachable(error, settings)),
        Ok(answers) => (!answers.standing.may_reload)
            .then(|| diagnose::session(&sql::Error::no_grant(), settings)),
    }
}

fn unreachable(error: &sql::Error, settings: &sql::Settings) -> Finding {
    // If the files are readable, they show which line decides.
    if let Some(found) = diagnose::deciding_line(error, settings, || survey::access(settings, None))
    {
        return found;
    }
    let Finding { code, text, fix, command, .. } = diagnose::session(error, settings);
    let said = error.to_string();
    let socket = settings.socket();
    let fix = match error {
        sql::Error::NotRunning => {
            let found = if socket.exists() { "nobody listens on" } else { "there is no" };
            let found =
                Finding::failure(code, text).cause(format!("{found} {}", socket.display())).fix(
                    "start PostgreSQL, or fix postgres.host and postgres.port (--postgres, --port): they name the \
                 socket",
                );
            return diagnose::looked_around(found, &survey::neighbours(settings));
        }
        sql::Error::Silent(_) => {
            "check whether the postmaster is stopped (state T in ps) or overloaded".to_owned()
        }
        _ => fix.unwrap_or_else(|| "wait, and run check again".to_owned()),
    };
    let mut finding = Finding::failure(code, text.clone()).fix(fix);
    finding.command = command;
    if said == text { finding } else { finding.cause(said) }
}

/// The files with each one that this user cannot reach marked as published, and a skipped finding about each of these. Such a
/// file may be a link to the published one, so it is neither a failure nor an all-clear; the handshake shows what is served.
pub(super) fn out_of_sight(files: &Files) -> (Files, Vec<Finding>) {
    let mut judged = files.clone();
    let mut findings = Vec::new();
    for (name, facts) in [
        ("ssl_cert_file", &mut judged.certificate),
        ("ssl_key_file", &mut judged.private_key),
        ("ssl_ca_file", &mut judged.authorities),
    ] {
        if !facts.published && matches!(facts.state, State::OutOfSight | State::Closed) {
            facts.published = true;
            findings.push(
                Finding::skipped(
                    Code::SslSettings,
                    format!(
                        "whether {name} = {} leads to the published file: pgsvid cannot examine it from here",
                        facts.named
                    ),
                )
                .fix("run check as PostgreSQL's uid"),
            );
        }
    }
    (judged, findings)
}

/// Whether the settings lead to the published files, and to which other files they lead.
fn files(server: &Server, answers: &Answers) -> Vec<Finding> {
    let tls = &answers.settings;
    let files = survey::files(tls, &server.session, &server.paths, &server.viewpoint);
    let (judged, mut findings) = out_of_sight(&files);
    findings.splice(..0, diagnose::concerns(tls, &judged, &server.paths, &server.session));
    if findings.is_empty() {
        findings.push(Finding::ok(
            Code::SslSettings,
            "ssl is on; ssl_cert_file, ssl_key_file and ssl_ca_file name the published files",
        ));
    }
    let foreign = [&files.certificate, &files.private_key, &files.authorities]
        .iter()
        .any(|facts| !facts.published);
    let revocation = survey::revocation(tls, &server.session, &server.viewpoint);
    if let Some(uid) = files.server_uid {
        let all = [&files.certificate, &files.private_key, &files.authorities].into_iter();
        let named = all.filter(|facts| !facts.published).filter_map(|facts| facts.path.clone());
        let access = answers.files.iter().flat_map(|files| files.files.clone());
        let sources = answers.loading.sources.iter().flatten().cloned();
        let paths = named.chain(access).chain(sources).chain(revocation.paths.clone());
        findings.extend(exchangeable::of_server(paths, uid));
    }
    findings.extend(diagnose::revocation(&revocation));
    findings.extend(revocation.unseen.iter().map(|(setting, value)| {
        Finding::skipped(Code::CrlHoldsCertificate, format!(
            "whether {value} ({setting}) holds a certificate, which would be trusted as an authority: pgsvid cannot read it from here"
        ))
        .fix("run check as PostgreSQL's uid")
    }));
    let load = Load {
        settings: tls,
        standing: &answers.standing,
        loading: &answers.loading,
        reloaded: answers.reloaded.as_ref(),
    };
    findings.extend(tls_files::loaded(server, load, &files));
    if foreign {
        // Faults of the published files are reported where those are examined.
        findings.extend(diagnose::refused_files(&files));
    }
    findings.extend(tls_files::other_settings(server, load, &files));
    findings
}
