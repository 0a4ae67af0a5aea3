//! PostgreSQL over SQL: one session, asked without trying; nothing is reloaded.

use std::collections::BTreeMap;

use super::expressions::{self, Expressions};
use super::{own_user::own_user, ways};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::sql::{self, AccessViews, Role, Session, Standing, Superuser, TlsSettings, statements};
use crate::survey::{self, Files, Loading, State};
use crate::text::argument;

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
pub(super) async fn ask(config: &Config, server: &Server) -> Sql {
    let session = match Session::connect(&server.session).await {
        Ok(session) => session,
        Err(error) => return Sql(Some(Err(error))),
    };
    let answers = answers(&session, config, server).await;
    session.close().await;
    Sql(Some(answers))
}

async fn answers(
    session: &Session,
    config: &Config,
    server: &Server,
) -> Result<Answers, sql::Error> {
    let settings = session.tls_settings().await?;
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
    section.extend(versions(tls, standing));
    section
}

fn unreachable(error: &sql::Error, settings: &sql::Settings) -> Finding {
    let Finding { code, text, fix, .. } = diagnose::session(error, settings);
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
        sql::Error::Refused { code, .. } if code.code() == "53300" => format!(
            "free a slot: all of max_connections or of the role's CONNECTION LIMIT are taken; psql -U postgres -c {}{}",
            argument(format!(
                "ALTER ROLE {} CONNECTION LIMIT 3",
                statements::identifier(&settings.user)
            )),
            settings.psql_options()
        ),
        _ => fix.unwrap_or_else(|| "wait, and run check again".to_owned()),
    };
    let finding = Finding::failure(code, text.clone()).fix(fix);
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
        findings.extend(diagnose::refused(&files));
    }
    findings
}

fn versions(tls: &TlsSettings, standing: &Standing) -> Vec<Finding> {
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
            .fix(format!(
                "reserved_connections = 1 in postgresql.conf, a restart, and: {}",
                statements::grant_reserve(&standing.role)
            )),
        );
    }
    findings
}
