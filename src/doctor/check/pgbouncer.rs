//! A PgBouncer: whether its console admits pgsvid, whether its settings lead to the published files, and what it serves.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::time::{Instant, sleep};

use super::{exchangeable, files, pooled_servers, pooled_stranger};
use crate::companions::role_map::{Recognition, Workload};
use crate::config::Config;
use crate::consumers::Pooler;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::material::Material;
use crate::pgbouncer::{
    self, ClientTls, Console, Error, Included, Login, ServerSide, Settings, Unread,
};
use crate::survey::Lead;
use crate::text::shown;
use crate::verify::{Answer, Client, Expected, Facts, Proof, Target, Verdict};
use crate::{sql, timing, verify};

/// How long a rotation may take before its result counts as a failure. It usually takes milliseconds.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// How many roles a finding names.
const MOST_ROLES: usize = 3;
/// How often PgBouncer is probed in the meantime.
const LOOK: Duration = Duration::from_millis(200);

/// The section of each PgBouncer. `unusable` is what is wrong with the files of `[certificates]`, if it reads these.
pub(super) async fn section(
    config: &Config,
    pooler: &Pooler,
    on_disk: Option<&Material>,
    unusable: Option<&Finding>,
) -> Section {
    let mut section = Section::new(Group::Pgbouncer, pooler.name.clone());
    let settings = match ask(&pooler.console).await {
        Ok(settings) => {
            let is_ours = is_ours(pooler).await;
            section.extend(of_settings(pooler, &settings, is_ours));
            section.extend(pgbouncer::may_only_look(&settings, &pooler.console, is_ours));
            section.extend(in_place(pooler, &settings, unusable));
            section.extend(roles_by_name(config, &settings));
            if is_ours {
                let files = pgbouncer::deciding_files(&settings);
                section.extend(files.unread.as_ref().map(unjudged));
                let own = geteuid().as_raw();
                section.extend(exchangeable::of_server(files.found.into_iter(), own));
                section.extend(pooled_servers::findings(config, &settings, on_disk));
                section.extend(forced_roles(&settings));
                section.extend(pooled_stranger::finding(config, pooler, &settings, on_disk).await);
                section.extend(beside_postgresql(config).await);
            }
            Some(settings)
        }
        Err(error) => {
            section.add(refused(pooler, &error).await);
            // Nobody listens on its socket, so whatever answers is another server.
            if matches!(error, Error::NotRunning) && pooler.verify.target == Target::Auto {
                return section;
            }
            None
        }
    };
    section.extend(of_handshake(config, pooler, settings.as_ref(), on_disk).await);
    section
}

async fn ask(console: &sql::Settings) -> Result<Settings, Error> {
    let session = Console::connect(console).await?;
    let settings = session.settings().await;
    session.close().await;
    settings
}

/// The console admits its own user only: `check` as another user cannot tell whether `run` is admitted.
async fn refused(pooler: &Pooler, error: &Error) -> Finding {
    let found = pgbouncer::session(error, &pooler.console);
    let own = geteuid().as_raw();
    match (error, sql::listener(&pooler.console).await) {
        (Error::Refused(_), Ok((uid, _))) if uid != own => Finding::skipped(
            Code::PgbouncerConsoleRefused,
            format!("PgBouncer runs as uid {uid}, and its console admits only that user; this is uid {own}"),
        )
        .fix("run `pgsvid check` and `pgsvid run` as the user that PgBouncer runs as"),
        _ => found,
    }
}

/// Whether PgBouncer runs as this process's user. A file that another user names may be one that this user alone can read.
async fn is_ours(pooler: &Pooler) -> bool {
    sql::listener(&pooler.console).await.is_ok_and(|(uid, _)| uid == geteuid().as_raw())
}

fn of_settings(pooler: &Pooler, settings: &Settings, is_ours: bool) -> Vec<Finding> {
    let files = pgbouncer::tls_files(settings, &pooler.paths, &pooler.viewpoint);
    let concerns = pgbouncer::concerns(settings, &files, pooler.supply());
    let (version, mode) = (&settings.version, shown(settings.value("client_tls_sslmode")));
    let mut found = vec![Finding::ok(
        Code::PgbouncerSettings,
        format!("PgBouncer {version} shows pgsvid its settings; client_tls_sslmode is {mode}"),
    )];
    if concerns.iter().all(|it| it.severity != Severity::Failure)
        && settings.client_tls() != ClientTls::Off
    {
        found.push(Finding::ok(
            Code::PgbouncerSettings,
            "its client_tls_*_file settings lead to the published files",
        ));
    }
    found.extend(concerns);
    if let Some(part) = &pooler.part
        && files.client.iter().chain(&files.server).any(|file| file.lead == Lead::Generation)
    {
        let included = if is_ours {
            pgbouncer::included(settings.ini(), part, &pooler.viewpoint)
        } else {
            Included::Unknown
        };
        found.extend(pgbouncer::pasted(&included, part));
    }
    found.extend(pgbouncer::admission(settings, pgbouncer::rules(settings, is_ours).as_ref()));
    found.extend(pgbouncer::alone_on_a_port(settings).filter(|_| pooler.is_beside_another));
    found
}

/// The failure if it opens the files of `[certificates]` at each connection to PostgreSQL, and they are no usable set.
fn in_place(pooler: &Pooler, settings: &Settings, unusable: Option<&Finding>) -> Option<Finding> {
    let files = pgbouncer::tls_files(settings, &pooler.paths, &pooler.viewpoint);
    let opens = pooler.in_place
        && settings.shows_a_certificate()
        && files.server.iter().any(|file| matches!(file.lead, Lead::Published | Lead::Missing));
    unusable.filter(|_| opens).map(pgbouncer::unusable_in_place)
}

/// Who can write a file is not known without its path, nor what it includes.
fn unjudged(unread: &Unread) -> Finding {
    let (path, why) = (shown(&unread.path.display().to_string()), &unread.why);
    Finding::skipped(
        Code::FileExchangeable,
        format!("who can replace the files that decide which clients PgBouncer lets in: {path}: {why}"),
    )
    .fix("name PgBouncer's ini, what it includes and its auth_*file settings by absolute paths, and run `pgsvid check` where they are")
}

/// PgBouncer compares the DNS names and the CN (libtls: `tls_peer_cert_contains_name`), and PostgreSQL sees only PgBouncer's certificate: the identifier of a workload has no effect.
fn roles_by_name(config: &Config, settings: &Settings) -> Option<Finding> {
    if !matches!(settings.value("auth_type"), "cert" | "hba") {
        return None;
    }
    let by_identifier =
        |workload: &&Workload| matches!(workload.by, Recognition::UniqueIdentifier(_));
    let workloads = config.roles.workloads.iter().filter(by_identifier);
    let roles: BTreeSet<String> = workloads.map(|workload| shown(&workload.role)).collect();
    let named: Vec<String> = roles.iter().take(MOST_ROLES).cloned().collect();
    let more = if roles.len() > MOST_ROLES { ", …" } else { "" };
    (!roles.is_empty()).then(|| {
        Finding::warning(
            Code::PgbouncerRolesByName,
            format!(
                "at PgBouncer's port, by = \"uid\" of [[roles]] has no effect for {}{more}: each certificate with that CN, or with that DNS name, can be that role",
                named.join(", ")
            ),
        )
        .cause("PgBouncer compares the CN and every DNS name, and PostgreSQL sees the certificate of PgBouncer")
        .fix(
            "if others could get a certificate with that CN or DNS name: leave these roles out of PgBouncer's auth_file, and let their workloads \
             connect to PostgreSQL directly",
        )
    })
}

/// PgBouncer checks which role a client may be, and then logs in to PostgreSQL as another one.
fn forced_roles(settings: &Settings) -> Option<Finding> {
    if !matches!(settings.value("auth_type"), "cert" | "hba") {
        return None;
    }
    let forced = pgbouncer::forced_roles(settings);
    let named = forced.iter().take(MOST_ROLES);
    let named: Vec<String> =
        named.map(|it| format!("{} ({})", shown(&it.database), shown(&it.role))).collect();
    let more = if forced.len() > MOST_ROLES { ", …" } else { "" };
    let ini = shown(&settings.ini().display().to_string());
    (!forced.is_empty()).then(|| {
        Finding::warning(
            Code::PgbouncerForcedRole,
            format!(
                "every client of these databases of PgBouncer's is the same role in PostgreSQL, whatever its certificate says: {}{more}",
                named.join(", ")
            ),
        )
        .cause(format!("[databases] of {ini} has user= for them"))
        .fix(
            "if each client is to be its own role: remove user= there, let PostgreSQL admit PgBouncer's certificate as the clients' \
             roles, and `systemctl restart pgbouncer` (after a reload 1.18 keeps the role for databases of the line *)",
        )
    })
}

/// The console makes its administrator the user that PgBouncer runs as, outside of pgsvid's sandbox.
async fn beside_postgresql(config: &Config) -> Option<Finding> {
    let own = geteuid().as_raw();
    for server in &config.rotation.servers {
        if sql::listener(&server.session).await.is_ok_and(|(uid, _)| uid == own) {
            return Some(
                Finding::warning(
                    Code::PgbouncerConsole,
                    "anyone who takes over pgsvid can also write files and run code as PostgreSQL's user, outside of pgsvid's sandbox",
                )
                .cause("PgBouncer runs as that user, and its console lets its administrator change every setting, such as logfile")
                .fix(
                    "if you do not accept that risk: run PgBouncer as a user of its own, with a pgsvid of its own as that user (a configuration with \
                     [pgbouncer] and without [postgres]); see docs/pgbouncer.md, \"What the console lets an intruder do\"",
                ),
            );
        }
    }
    None
}

/// Probes it, and again for a time if it serves something older than the published set.
async fn of_handshake(
    config: &Config,
    pooler: &Pooler,
    settings: Option<&Settings>,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let known = settings.map(Settings::listens_on);
    let Some((hosts, port)) = pooler.verify.target.hosts(known, pooler.console.port) else {
        let facts = Facts { address: String::new(), answer: Answer::Nothing(String::new()) };
        let found = pgbouncer::explain(Verdict::Unverifiable, &facts, timing::now());
        return vec![Finding { severity: Severity::Skipped, ..found }];
    };
    let Some(mut material) = on_disk.cloned() else {
        return vec![Finding::skipped(
            Code::VerdictUnverifiable,
            if pooler.in_place {
                "the files of [certificates] are no usable set, so there is nothing to compare with what PgBouncer serves"
            } else {
                "nothing is published yet, so there is nothing to compare with what PgBouncer serves"
            },
        )];
    };
    if pooler.is_beside_another && settings.is_none_or(|it| !it.shares_its_port()) {
        return vec![Finding::skipped(
            Code::VerdictUnverifiable,
            "what PgBouncer serves: another table has the same port, so another process may answer there",
        )];
    }
    let begun = Instant::now();
    loop {
        let client = Client::of(&material, timing::now());
        let facts = pooler.verify.probe(&hosts, port, client.as_ref()).await;
        drop(client);
        verify::wipe_stack();
        let verdict = judge(&facts, &material, settings);
        let is_behind = matches!(verdict, Verdict::StillOld | Verdict::OldAuthorities);
        if !is_behind || begun.elapsed() >= UNDER_WAY {
            let mut found = judged(&facts, verdict, settings);
            if let Some(login) = &pooler.login {
                found.push(server_side(login, verdict, (&hosts, port), &material).await);
            }
            return found;
        }
        sleep(LOOK).await;
        // Another set may have been published by now.
        if let Some(newer) = files::newest(config) {
            material = newer;
        }
    }
}

/// What it shows to PostgreSQL, by a login through it.
async fn server_side(
    login: &Login,
    verdict: Verdict,
    place: (&[String], u16),
    material: &Material,
) -> Finding {
    if verdict != Verdict::Current {
        // PgBouncer admits no client with a set that it does not serve.
        return ServerSide::Unproven.finding(login);
    }
    let seen = login.try_through(place, material, &[]).await;
    verify::wipe_stack();
    seen.finding(login)
}

fn judge(facts: &Facts, material: &Material, settings: Option<&Settings>) -> Verdict {
    let expected = Expected::of(material, &[], Vec::new());
    let expected = expected.with_clients(Settings::clients(settings));
    pgbouncer::judge(facts, &expected, timing::now())
}

fn judged(facts: &Facts, verdict: Verdict, settings: Option<&Settings>) -> Vec<Finding> {
    let mut found = vec![pgbouncer::explain(verdict, facts, timing::now())];
    if verdict == Verdict::Current && Settings::clients(settings).asks {
        let text = match facts.proof() {
            Some(Proof::Issuer) => {
                "PgBouncer names no authority: only the one that signed the certificate is proven to be trusted"
            }
            Some(Proof::Nothing) => {
                "PgBouncer names no authority, so nothing shows which ones it trusts"
            }
            _ => return found,
        };
        found.push(
            Finding::skipped(Code::PgbouncerAuthoritiesUnproven, text)
                .cause("PgBouncer 1.18 sends no names of authorities; 1.25 does (measured)")
                .fix("if the bundle has one authority, nothing needs to be done; use a newer PgBouncer before that authority is replaced"),
        );
    }
    found
}
