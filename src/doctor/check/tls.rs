//! PostgreSQL over TLS: what it serves, judged in the same way as `run` does.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::elsewhere::elsewhere;
use super::files;
use super::postgresql::{self, Sql};
use super::unproven;
use super::verdict::{judge, probe};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts};
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::material::Material;
use crate::text::shown;
use crate::verify::{Answer, Facts, Proof, Reception, Served, Target, Verdict, WRONG_CURVE};
use crate::{survey, timing};

/// How long a rotation may take before its result counts as a failure. It usually takes milliseconds.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// How often the server is probed in the meantime.
const LOOK: Duration = Duration::from_millis(200);

/// Probes the server, and again for a time if it serves something older than the published set. The set on disk includes
/// `files.extra_authorities`.
pub(super) async fn section(
    config: &Config,
    server: &Server,
    sql: &Sql,
    access: Option<&AccessFacts>,
    on_disk: Option<&Material>,
) -> Section {
    let answers = sql.answers();
    let known =
        answers.map(|answers| (answers.settings.listen_addresses.as_str(), answers.settings.port));
    let Some((hosts, port)) = server.verify.target.hosts(known, server.session.port) else {
        let mut section = Section::new(Group::Tls, "");
        let why = if server.verify.target == Target::Nowhere {
            "postgres.verify is \"none\""
        } else {
            "PostgreSQL has no TCP listener (listen_addresses is empty)"
        };
        section.add(Finding::skipped(Code::VerdictUnverifiable, format!("pgsvid cannot see what PostgreSQL serves: {why}")).fix(
            "let PostgreSQL listen on 127.0.0.1, with postgres.verify = \"auto\", so that pgsvid can verify every rotation",
        ));
        return section;
    };
    if sql.is_not_running() && server.verify.target == Target::Auto {
        let mut section = Section::new(Group::Tls, "");
        section.add(Finding::skipped(
            Code::PostgresqlNotRunning,
            "the served certificate is not examined while nobody listens on PostgreSQL's socket",
        ));
        return section;
    }
    if answers.is_none() && server.claims.is_some() {
        let mut section = Section::new(Group::Tls, "");
        section.add(Finding::skipped(
            Code::VerdictUnverifiable,
            format!(
                "pgsvid cannot see what PostgreSQL serves: it could not ask where PostgreSQL listens, and another table's server may answer at port {port}"
            ),
        ).fix("fix the login, or name each PostgreSQL's own address in postgres.verify, then check again"));
        return section;
    }
    let mut on_disk = on_disk.cloned();
    let mut facts = probe(&hosts, port, on_disk.as_ref()).await;
    let begun = Instant::now();
    while let Some(material) = &on_disk
        && is_behind(judge(&facts, material, sql))
        && begun.elapsed() < UNDER_WAY
    {
        sleep(LOOK).await;
        // Another set may have been published by now.
        on_disk = files::newest(config).or(on_disk);
        facts = probe(&hosts, port, on_disk.as_ref()).await;
    }
    let mut section = Section::new(Group::Tls, facts.address.clone());
    match &on_disk {
        Some(material) => {
            section.extend(judged(&facts, material, server, sql));
            section.extend(unseen(config, &facts, material, server, sql));
            section.extend(refused_as_a_client(&facts, material, server, sql));
            section.extend(elsewhere(server, &hosts, port, &facts, material, sql).await);
        }
        None => section.extend(unjudged(&facts, server, sql)),
    }
    if let Answer::Served(served) = &facts.answer
        && served.authorities.is_none()
    {
        section.add(unasked(access, server, sql));
    }
    section
}

/// The server cannot verify a client's certificate, and does not ask for one.
fn unasked(access: Option<&AccessFacts>, server: &Server, sql: &Sql) -> Finding {
    let keeps_out = access.and_then(|facts| {
        let rule =
            facts.rules.iter().find(|rule| rule.matches_tls() && rule.wants_certificate())?;
        Some((rule.line, &facts.hba))
    });
    let finding = match keeps_out {
        Some((line, hba)) => Finding::failure(
            Code::ClientCertificatesUnasked,
            format!(
                "the server does not ask clients for a certificate, but line {line} of {hba} lets nobody in without one"
            ),
        ),
        None => Finding::warning(
            Code::ClientCertificatesUnasked,
            "the server does not ask clients for a certificate, so none can log in with one",
        ),
    };
    let empty = sql.answers().and_then(|answers| {
        let tls = &answers.settings;
        let files = survey::files(tls, &server.session, &server.paths, &server.viewpoint);
        let concerns = diagnose::concerns(tls, &files, &server.paths, &server.session);
        concerns.into_iter().find(|found| found.code == Code::SslSettingEmpty)
    });
    match empty {
        Some(Finding { fix, command, .. }) => Finding { fix, command, ..finding },
        None => finding.fix("set ssl_ca_file to the published bundle, then reload"),
    }
}

/// Whether PostgreSQL may simply not have loaded the set yet.
fn is_behind(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::StillOld | Verdict::OldAuthorities)
}

fn judged(facts: &Facts, material: &Material, server: &Server, sql: &Sql) -> Vec<Finding> {
    let verdict = judge(facts, material, sql);
    if verdict == Verdict::Current
        && let Answer::Served(served) = &facts.answer
    {
        let takes = match served.proof() {
            Proof::Key => {
                "; PostgreSQL also accepts the published certificate from a client, so it has loaded the authority that signed it"
            }
            Proof::Names | Proof::Issuer | Proof::Nothing => "",
        };
        return vec![Finding::ok(
            Code::VerdictCurrent,
            format!(
                "{}, serves the published certificate{}{takes}",
                protocol(served),
                asks(served)
            ),
        )];
    }
    if verdict == Verdict::Unverifiable {
        let settings = sql.answers().map(|answers| &answers.settings);
        return vec![diagnose::no_common_tls(facts, settings, &server.session)];
    }
    if verdict == Verdict::StillOld
        && let Some(why) = postgresql::cannot_reload(server, sql)
    {
        // One cause, one failure: it is reported above.
        return vec![follows(diagnose::never_read(facts, why, timing::now()))];
    }
    let failure = diagnose::explain(verdict, facts, timing::now());
    // The same examination of files and settings that `run` makes after a refusal.
    let mut causes = Vec::new();
    if let Some(answers) = sql.answers() {
        let files =
            survey::files(&answers.settings, &server.session, &server.paths, &server.viewpoint);
        causes = diagnose::concerns(&answers.settings, &files, &server.paths, &server.session);
        // A wrong setting is already a failure above.
        if let Some(found) = causes.iter().find(|found| found.severity == Severity::Failure)
            && verdict != Verdict::Unreachable
        {
            return vec![follows(failure.because_of(found.clone()))];
        }
        causes.extend(diagnose::refused(&files));
    }
    vec![match causes.into_iter().next() {
        Some(found) if verdict != Verdict::Unreachable => {
            failure.because_of(found)
        }
        _ if is_behind(verdict) => failure
            .cause(
                "the files look right from here: PostgreSQL refused them earlier, or was not told to reload, or refuses another setting \
                 of TLS",
            )
            .fix(format!(
                "{}, then check again; if it stays, look for \"SSL configuration was not reloaded\" in the server log",
                reload(server)
            ))
            .command(reload(server)),
        _ => failure,
    }]
}

/// A finding that only follows from a failure above.
fn follows(found: Finding) -> Finding {
    let fix = Some("fix the failure above, which causes this".to_owned());
    Finding { severity: Severity::Warning, fix, command: None, ..found }
}

fn reload(server: &Server) -> String {
    server.session.psql("SELECT pg_catalog.pg_reload_conf()")
}

/// The finding if the server refuses the published leaf as a client's certificate: because of the curve of its key, or because
/// of the server's revocation lists. With lists it may refuse every client of that authority, as with a directory that is empty
/// or missing (OpenSSL: `X509_V_FLAG_CRL_CHECK_ALL`).
fn refused_as_a_client(
    facts: &Facts,
    material: &Material,
    server: &Server,
    sql: &Sql,
) -> Option<Finding> {
    let Answer::Served(found) = &facts.answer else { return None };
    let Reception::Refused(alert) = found.reception else { return None };
    if alert == WRONG_CURVE {
        let settings = sql.answers().map(|answers| (&answers.settings, &server.session));
        return Some(diagnose::wrong_curve(settings, material.leaf()));
    }
    let settings = &sql.answers()?.settings;
    if !settings.revocation || judge(facts, material, sql) != Verdict::Current {
        return None;
    }
    Some(diagnose::refused_by_lists(settings, alert, material.leaf()))
}

/// Skipped findings about what a handshake does not show of the authorities that PostgreSQL has loaded. It shows the names of
/// all, and the key of the one that signed the leaf.
fn unseen(
    config: &Config,
    facts: &Facts,
    material: &Material,
    server: &Server,
    sql: &Sql,
) -> Vec<Finding> {
    let asks = matches!(&facts.answer, Answer::Served(found) if found.authorities.is_some());
    if !asks || judge(facts, material, sql) != Verdict::Current {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let loaded = sql.answers().and_then(|answers| answers.standing.loaded);
    let written = files::written_at(config);
    if let (Some(loaded), Some(written)) = (loaded, written)
        && (loaded < written
            || sql.answers().is_some_and(|answers| answers.loading.future.is_some()))
    {
        findings.push(
            Finding::skipped(Code::LoadedAuthorities, format!(
                "whether PostgreSQL has loaded the authorities of this set: it last loaded its files at {}, and the set was \
                 written at {}",
                timing::utc(loaded),
                timing::utc(written)
            ))
            .fix(format!("{}, then check again", reload(server)))
            .command(reload(server)),
        );
    }
    findings.extend(written.and_then(|written| {
        let since = unproven::first_published(written, material.leaf().not_before());
        unproven::possibly_refused_reload(server, sql, since)
    }));
    let mut names = BTreeSet::new();
    let namesake = material.authorities().find(|authority| !names.insert(authority.subject()));
    if let Some(namesake) = namesake {
        findings.push(
            Finding::skipped(Code::LoadedAuthorities, format!(
                "which authorities of the name {} PostgreSQL has loaded: the published bundle has several, and a handshake shows \
                 names only",
                shown(&namesake.distinguished_name())
            ))
            .fix(
                "after a reload, check that the server log has no \"SSL configuration was not reloaded\"",
            ),
        );
    }
    findings
}

/// Without a published set there is nothing to compare.
fn unjudged(facts: &Facts, server: &Server, sql: &Sql) -> Vec<Finding> {
    match &facts.answer {
        Answer::Served(found) => vec![Finding::skipped(
            Code::NothingPublished,
            format!(
                "{}, serves serial {}{}; there is no valid published set to compare it with",
                protocol(found),
                found.leaf.serial().short(),
                asks(found)
            ),
        )],
        Answer::Plaintext => vec![
            Finding::failure(Code::VerdictPlaintext, "PostgreSQL has TLS turned off")
                .fix("set ssl = on in postgresql.conf once a set is published, then reload"),
        ],
        Answer::Refused(_) => {
            let settings = sql.answers().map(|answers| &answers.settings);
            vec![diagnose::no_common_tls(facts, settings, &server.session)]
        }
        Answer::TooLarge => vec![diagnose::explain(Verdict::Unreachable, facts, timing::now())],
        Answer::Nothing(reason) => {
            vec![
                Finding::failure(Code::VerdictUnreachable, "cannot see what PostgreSQL serves")
                    .cause(reason.as_str())
                    .fix(
                        "start PostgreSQL, or set postgres.verify to the address where it listens",
                    ),
            ]
        }
    }
}

/// `TLS 1.3, TLS_AES_256_GCM_SHA384`, in the common form.
fn protocol(served: &Served) -> String {
    let protocol = served.protocol.replace("TLSv", "TLS ").replace('_', ".");
    format!("{protocol}, {}", served.cipher.replace("TLS13_", "TLS_"))
}

fn asks(served: &Served) -> String {
    match served.authorities.as_ref().map(Vec::len) {
        Some(1) => ", asks clients for certificates of 1 authority".to_owned(),
        Some(count) => format!(", asks clients for certificates of {count} authorities"),
        None => String::new(),
    }
}
