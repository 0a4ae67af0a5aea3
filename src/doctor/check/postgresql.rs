//! PostgreSQL over SQL: one session, asked without trying; nothing is reloaded.

use std::collections::{BTreeMap, BTreeSet};

use super::expressions::{self, Expressions};
use super::{own_user::own_user, ways};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::sql::{
    self, AccessViews, HbaRule, OtherSettings, Role, Session, Standing, Superuser, TlsSettings,
    statements,
};
use crate::survey::{self, Files, Loading, Reload, State};

/// How many groups are asked for.
const MOST_GROUPS: usize = 500;
/// From here on slots can be reserved for a role.
const RESERVED_CONNECTIONS: u32 = 160_000;

/// What one session has shown.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) settings: TlsSettings,
    pub(super) standing: Standing,
    /// `pg_hba.conf` and `pg_ident.conf` by their views; `None` if the role may not read them.
    pub(super) views: Option<AccessViews>,
    /// Why PostgreSQL could not show them, although the role may read them: it cannot read the files.
    pub(super) views_refused: Option<String>,
    /// The files themselves, where they can be read.
    pub(super) files: Option<survey::Access>,
    /// Whether files are what is in force.
    pub(super) loading: Loading,
    /// What keeps PostgreSQL from loading its configuration files, if the role may see that.
    pub(super) configuration_errors: Vec<String>,
    /// pgsvid's user: its number, and its name if it has one.
    pub(super) own_user: (u32, Option<String>),
    /// Of the role of `--as-client`: those groups of `pg_hba.conf` and databases' names that it is a member of; `None` if nobody
    /// asked.
    pub(super) groups: Option<BTreeSet<String>>,
    /// The roles of `[[roles]]` that exist.
    pub(super) roles: BTreeMap<String, Role>,
    /// Roles that log in and may do everything, or may make themselves such, and whether there are more.
    pub(super) superusers: (Vec<Superuser>, bool),
    /// What the regular expressions of `pg_ident.conf` match.
    pub(super) expressions: Expressions,
}

/// What came of asking; `None` if no PostgreSQL takes part.
pub(super) struct Sql(pub(super) Option<Result<Answers, sql::Error>>);

impl Sql {
    pub(super) fn answers(&self) -> Option<&Answers> {
        self.0.as_ref()?.as_ref().ok()
    }

    /// Another process than PostgreSQL listens on the socket: what lies beside it may be that one's, too.
    pub(super) fn stranger(&self) -> Option<&sql::Error> {
        self.0.as_ref()?.as_ref().err().filter(|error| matches!(error, sql::Error::Peer { .. }))
    }

    /// Whether nobody listens on the socket.
    pub(super) fn is_not_running(&self) -> bool {
        matches!(self.0, Some(Err(sql::Error::NotRunning)))
    }
}

/// No PostgreSQL takes part.
pub(super) fn none() -> Sql {
    Sql(None)
}

/// Asks everything in one session.
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
    // A plain role sees few of them; the files say what the next reload or start will take.
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
        // A plain role is not told that ALTER SYSTEM overrides postgresql.conf.
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
    let configuration_errors =
        if settings.may_read_errors { session.configuration_errors().await? } else { Vec::new() };
    let mappings = files.as_ref().and_then(|files| files.mappings.as_ref());
    let mappings = mappings.or(views.as_ref().and_then(|views| views.mappings.as_ref()));
    let groups = match client {
        Some(role) => {
            let rules = files.as_ref().map(|files| &files.rules);
            let rules = rules.or(views.as_ref().map(|views| &views.rules));
            let mut named: BTreeSet<&str> =
                rules.into_iter().flatten().flat_map(HbaRule::groups).collect();
            // For samerole.
            let service = config.service.as_ref().and_then(|service| service.options.get("dbname"));
            named.extend(service.map(String::as_str));
            named.extend(["postgres", server.session.database.as_str()]);
            let named: Vec<&str> = named.into_iter().take(MOST_GROUPS).collect();
            Some(session.groups(role, &named).await?.into_iter().collect())
        }
        None => None,
    };
    let roles = session.roles(&config.roles.roles()).await?;
    let superusers = session.superusers().await?;
    // Last, since the server may be busy with them for a while.
    let own_user = own_user(config);
    let mappings = mappings.into_iter().flatten();
    let expressions = expressions::try_all(session, config, mappings, own_user.1.as_deref()).await;
    Ok(Answers {
        settings,
        standing,
        views,
        views_refused,
        files,
        loading,
        configuration_errors,
        own_user,
        groups,
        roles,
        superusers,
        expressions,
    })
}

pub(super) fn section(server: &Server, sql: &Sql) -> Section {
    let settings = &server.session;
    let place = format!("{}:{}", settings.host.display(), settings.port);
    let answers = match &sql.0 {
        Some(Ok(answers)) => answers,
        Some(Err(error)) => {
            let mut section = Section::new(Group::Postgresql, place);
            section.add(unreachable(error, settings));
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
    section.extend(files(server, answers));
    section.extend(versions(settings, tls, standing));
    section
}

fn unreachable(error: &sql::Error, settings: &sql::Settings) -> Finding {
    let Finding { code, text, fix, command, .. } = diagnose::session(error, settings);
    let said = error.to_string();
    let socket = settings.socket();
    let fix = match error {
        sql::Error::NotRunning => {
            let found = if socket.exists() { "nobody listens on" } else { "there is no" };
            return Finding::failure(code, text).cause(format!("{found} {}", socket.display())).fix(
                "start PostgreSQL, or mend postgres.host and postgres.port (--postgres, --port): they name the \
                 socket",
            );
        }
        sql::Error::Silent(_) => {
            "see whether the postmaster is stopped (state T in ps) or overloaded".to_owned()
        }
        sql::Error::Refused { code, .. } if code.code() == "53300" => {
            let role = statements::identifier(&settings.user);
            let command = settings.psql(&format!("ALTER ROLE {role} CONNECTION LIMIT 3"));
            return Finding::failure(Code::ConnectionSlots, text)
                .cause(said)
                .fix("free a slot: all of max_connections or of the role's CONNECTION LIMIT are taken")
                .command(command);
        }
        _ => fix.unwrap_or_else(|| "wait, and run check again".to_owned()),
    };
    let mut finding = Finding::failure(code, text.clone()).fix(fix);
    finding.command = command;
    if said == text { finding } else { finding.cause(said) }
}

/// A file that this user cannot get at may be a link to the published one: that is no failure, and not said to be well. The handshake
/// tells what is served. Returns the others as they are.
fn out_of_sight(files: &Files) -> (Files, Vec<Finding>) {
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
                        "whether {name} = {} leads to the published file: it cannot be looked at from here",
                        facts.named
                    ),
                )
                .fix("run check as PostgreSQL's uid"),
            );
        }
    }
    (judged, findings)
}

/// Whether the settings lead to the published files, and what other files they lead to.
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
        findings.extend(ways::of_server(paths, uid));
    }
    findings.extend(diagnose::revocation(&revocation));
    findings.extend(revocation.unseen.iter().map(|(setting, value)| {
        Finding::skipped(Code::CrlHoldsCertificate, format!(
            "whether a certificate is in {value} ({setting}), which would be an authority: it cannot be read from here"
        ))
        .fix("run check as PostgreSQL's uid")
    }));
    if foreign {
        // What is wrong with the published ones is said where they are examined.
        findings.extend(diagnose::refused_files(&files));
    }
    findings.extend(other_settings(server, answers, &files));
    findings
}

/// The other settings of TLS, and what came of the last reload.
fn other_settings(server: &Server, answers: &Answers, files: &survey::Files) -> Vec<Finding> {
    let tls = &answers.settings;
    let mut findings = diagnose::refused_settings(files);
    let reload = survey::last_reload(&server.session);
    if reload == Some(Reload::Taken) && answers.loading.configuration.is_empty() {
        // It has: OpenSSL 1.1.1 takes a list of ciphers with none for TLS 1.2. What a start alone needs is another matter.
        let at_a_start = |found: &Finding| {
            found.object.as_ref().is_some_and(|object| object.starts_with(diagnose::AT_A_START))
        };
        findings.retain(at_a_start);
    }
    if let Some(Reload::Refused(reason)) = &reload {
        findings.push(
            Finding::failure(
                Code::SslReloadRefused,
                format!("PostgreSQL refused what it should have loaded for TLS at its last reload: {reason}"),
            )
            .cause(
                "its log says so. It goes on with the certificate, authorities and settings that it had loaded before, and may not \
                 start again",
            )
            .fix("correct what the reason names, then")
            .command(server.session.psql("SELECT pg_catalog.pg_reload_conf()")),
        );
    }
    if !findings.is_empty() {
        return findings;
    }
    if !tls.others.complete && reload.is_none() {
        findings.push(
            Finding::skipped(
                Code::SslSettingUnknown,
                format!(
                    "whether PostgreSQL takes its other settings of TLS, such as ssl_ciphers: role {} may not see them, and neither \
                     configuration files nor log can be read from here",
                    server.session.user
                ),
            )
            .fix("run check as PostgreSQL's uid, or as a superuser: --user postgres"),
        );
    }
    let doubtful = diagnose::doubtful(files);
    if !doubtful.is_empty() && reload.is_none() {
        findings.push(
            Finding::skipped(
                Code::SslSettingUnknown,
                format!(
                    "whether PostgreSQL's OpenSSL takes {}: that depends on how it was built, and the server's log cannot be read from \
                     here",
                    doubtful.join(", ")
                ),
            )
            .fix("after a reload see that the server log has no \"SSL configuration was not reloaded\""),
        );
    }
    findings
}

fn versions(server: &sql::Settings, tls: &TlsSettings, standing: &Standing) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(minimum @ ("" | "TLSv1" | "TLSv1.1")) = standing.setting("ssl_min_protocol_version")
    {
        findings.push(
            Finding::warning(
                Code::SslMinProtocolVersion,
                format!(
                    "ssl_min_protocol_version is {minimum:?}: old and weak protocols are taken"
                ),
            )
            .fix("put ssl_min_protocol_version = 'TLSv1.2' into postgresql.conf, then reload"),
        );
    }
    if standing.setting("ssl_sni") == Some("on") {
        findings.push(
            Finding::warning(
                Code::SslSni,
                "ssl_sni is on: for the names in pg_hosts.conf other files are served than the \
                 three settings say",
            )
            .fix("name the published files in pg_hosts.conf, too, or set ssl_sni = off"),
        );
    }
    let reserved = standing.setting("reserved_connections").unwrap_or("0") != "0"
        && standing.reserved_slots == Some(true);
    if tls.version_number >= RESERVED_CONNECTIONS && !reserved && !standing.superuser {
        findings.push(
            Finding::ok(
                Code::ReservedConnections,
                "no connection slot is reserved for pgsvid: while clients take all of them, \
                 a reload waits",
            )
            .fix("reserved_connections = 1 in postgresql.conf, a restart, and")
            .command(server.psql(&statements::grant_reserve(&standing.role))),
        );
    }
    findings
}
