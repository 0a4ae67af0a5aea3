//! PostgreSQL over TLS: what is served, by the judgement that `run` makes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::files;
use super::postgresql::Sql;
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::{Details, Material};
use crate::text::shown;
use crate::verify::{
    self, Answer, Client, Expected, Facts, Proof, Reception, Served, Target, Verdict,
};
use crate::{survey, timing};

/// How long a rotation may be under way before what is served is a failure. It takes milliseconds, as a rule.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// How long all addresses but the first that answers may take.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// How many addresses are looked at.
const MOST_HOSTS: usize = 16;
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// Probes the server, and again for a while if it serves something older than is published. What is on disk includes
/// `files.extra_authorities`.
pub(super) async fn section(
    config: &Config,
    server: &Server,
    sql: &Sql,
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
        section.add(Finding::skipped(Code::VerdictUnverifiable, format!("what is served cannot be seen: {why}")).fix(
            "let PostgreSQL listen on 127.0.0.1, with postgres.verify = \"auto\", to have every rotation proven",
        ));
        return section;
    };
    if sql.is_not_running() && server.verify.target == Target::Auto {
        let mut section = Section::new(Group::Tls, "");
        section.add(Finding::skipped(Code::PostgresqlNotRunning, "PostgreSQL is not running"));
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
        // The set may be another one by now.
        if let Ok(examined) = files::examine(config)
            && let Some(material) = files::material(&examined)
        {
            on_disk = Some(material.clone());
        }
        facts = probe(&hosts, port, on_disk.as_ref()).await;
    }
    let mut section = Section::new(Group::Tls, facts.address.clone());
    match &on_disk {
        Some(material) => {
            section.extend(judged(&facts, material, server, sql));
            section.extend(unseen(config, &facts, material, server, sql));
            section.extend(refused_as_a_client(&facts, material, sql));
            section.extend(elsewhere(&hosts, port, &facts, material, sql).await);
        }
        None => section.extend(unjudged(&facts)),
    }
    if let Answer::Served(served) = &facts.answer
        && served.authorities.is_none()
    {
        section.add(
            Finding::warning(
                Code::ClientCertificatesUnasked,
                "the server asks clients for no certificate: none can log in by one",
            )
            .fix("set ssl_ca_file to the published bundle, then reload"),
        );
    }
    section
}

async fn probe(hosts: &[String], port: u16, on_disk: Option<&Material>) -> Facts {
    let client = on_disk.and_then(|material| Client::of(material, timing::now()));
    verify::probe(hosts, port, client.as_ref()).await
}

fn judge(facts: &Facts, material: &Material, sql: &Sql) -> Verdict {
    let clients = sql.answers().map(|answers| survey::clients(&answers.settings));
    let expected =
        Expected::of(material, &[], Vec::new()).with_clients(clients.unwrap_or_default());
    verify::judge(facts, &expected, timing::now())
}

/// Whether it may be that PostgreSQL has only not loaded the set yet.
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
                ", and takes it from a client: the signing authority's key is the published one"
            }
            Proof::Names | Proof::Nothing => "",
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
    let failure = diagnose::explain(verdict, facts, timing::now());
    // The same look at the files and the settings that `run` takes after a refusal.
    let mut causes = Vec::new();
    if let Some(answers) = sql.answers() {
        let files =
            survey::files(&answers.settings, &server.session, &server.paths, &server.viewpoint);
        causes = diagnose::concerns(&answers.settings, &files, &server.paths, &server.session);
        causes.extend(diagnose::refused(&files));
    }
    vec![match causes.into_iter().next() {
        Some(found) if verdict != Verdict::Unreachable => {
            failure.because_of(found)
        }
        _ if is_behind(verdict) => failure
            .cause(
                "the files look right from here: PostgreSQL refused them earlier, or was not told to reload, or takes another setting \
                 of TLS not",
            )
            .fix(format!(
                "{}, then check again; if it stays, look for \"SSL configuration was not reloaded\" in the server log",
                reload(server)
            ))
            .command(reload(server)),
        _ => failure,
    }]
}

/// The other addresses that answer: the first one that does is judged above, and clients may meet any.
async fn elsewhere(
    hosts: &[String],
    port: u16,
    first: &Facts,
    material: &Material,
    sql: &Sql,
) -> Vec<Finding> {
    let looks = hosts.iter().take(MOST_HOSTS).map(async |host| {
        let facts = probe(std::slice::from_ref(host), port, Some(material));
        timeout(ELSEWHERE, facts).await.ok()
    });
    let mut findings = Vec::new();
    for facts in join_all(looks).await.into_iter().flatten() {
        let verdict = judge(&facts, material, sql);
        if facts.address != first.address
            && !matches!(verdict, Verdict::Current | Verdict::Unreachable)
        {
            findings.push(diagnose::explain(verdict, &facts, timing::now()));
        }
    }
    findings
}

fn reload(server: &Server) -> String {
    server.session.psql("SELECT pg_catalog.pg_reload_conf()")
}

/// Whether the server refuses the published leaf from a client for the sake of its revocation lists: it then refuses every client of
/// that authority, as with a directory that is empty, or not there (OpenSSL: `X509_V_FLAG_CRL_CHECK_ALL`).
fn refused_as_a_client(facts: &Facts, material: &Material, sql: &Sql) -> Option<Finding> {
    let Answer::Served(served) = &facts.answer else { return None };
    let Reception::Refused(alert) = served.reception else { return None };
    let settings = &sql.answers()?.settings;
    if !settings.revocation || judge(facts, material, sql) != Verdict::Current {
        return None;
    }
    let named = [
        ("ssl_crl_file", &settings.revocation_file),
        ("ssl_crl_dir", &settings.revocation_directory),
    ];
    let set: Vec<String> = named
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} = '{}'", shown(value)))
        .collect();
    let set = set.join(", ");
    let authority = Details::of(material.leaf()).issuer;
    Some(
        Finding::failure(
            Code::ClientCertificatesRefused,
            format!("PostgreSQL refuses the published certificate from a client ({alert:?}), and so the clients of its authority"),
        )
        .about(set.clone())
        .cause(format!(
            "with {set} it wants a valid revocation list of each authority on the way to the root, such as {}; or this certificate is \
             on one",
            shown(&authority)
        ))
        .fix(
            "put a list of each authority there (in a directory as <hash>.r0, the hash from `openssl crl -noout -hash`), or set both \
             settings to '', then reload",
        ),
    )
}

/// What a handshake does not show of the authorities. It shows the names of all, and the key of the one that has signed the leaf.
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
    let written = files::examine(config).ok().and_then(|examined| examined.written_at);
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
    let mut names = BTreeSet::new();
    let namesake = material.authorities().find(|authority| !names.insert(authority.subject()));
    if let Some(namesake) = namesake {
        findings.push(
            Finding::skipped(Code::LoadedAuthorities, format!(
                "which authorities of the name {} PostgreSQL has loaded: the published bundle has several, and a handshake shows \
                 names alone",
                shown(&namesake.distinguished_name())
            ))
            .fix(
                "after a reload see that the server log has no \"SSL configuration was not reloaded\"",
            ),
        );
    }
    findings
}

/// Without a published set there is nothing to compare with.
fn unjudged(facts: &Facts) -> Vec<Finding> {
    match &facts.answer {
        Answer::Served(served) => vec![Finding::skipped(
            Code::NothingPublished,
            format!(
                "{}, serves serial {}{}; nothing is published that it could be compared with",
                protocol(served),
                served.leaf.serial().short(),
                asks(served)
            ),
        )],
        Answer::Plaintext => vec![
            Finding::failure(Code::VerdictPlaintext, "PostgreSQL has TLS turned off")
                .fix("set ssl = on in postgresql.conf once a set is published, then reload"),
        ],
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

/// `TLS 1.3, TLS_AES_256_GCM_SHA384`, as people and other programs write it.
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
