//! What errors of the console, settings and verdicts mean for PgBouncer, and what an operator should do. Nothing here uses the
//! network.

use std::path::Path;
use std::time::SystemTime;

use super::Error;
use super::ini::{BesidePart, Included, Unread};
use super::settings::{ClientTls, Settings, TlsFile, TlsFiles};
use crate::diagnose::{of_client, served_until};
use crate::sql;
use crate::survey::Lead;
use crate::verify::{self, Answer, Expected, Facts, Reception, Verdict, alert_name};
use pgsvid_base::finding::{Code, Finding, Severity};
use pgsvid_base::text::shown;

/// The name that the console gives to PgBouncer's own operating-system user.
const OWN: &str = "pgbouncer";
/// Where PgBouncer says why it has refused files.
const LOG: &str = "look for \"TLS configuration could not be reloaded\" in PgBouncer's log: the line above it names the reason";

/// What lets pgsvid reload PgBouncer.
const ADMINISTRATOR: &str = "leave pgbouncer.user out and run pgsvid as the user that PgBouncer runs as: over the Unix socket the console admits \
     its administrator only from the same user. With pgbouncer.user, name that user in admin_users of PgBouncer's ini";

/// The finding if the console lets the user look, but not reload. `is_own` says whether PgBouncer runs as this process's user: then
/// the name `pgbouncer` is its administrator's (PgBouncer: `admin.c`, `admin_pre_login`).
#[must_use]
pub fn may_only_look(
    settings: &Settings,
    console: &sql::Settings,
    is_own: bool,
) -> Option<Finding> {
    let user = console.user.as_str();
    let listed = settings.value("admin_users").split([',', ' ', '\t', '\n']);
    let is_administrator = (user == OWN && is_own) || listed.into_iter().any(|name| name == user);
    (!is_administrator).then(|| {
        Finding::failure(
            Code::PgbouncerConsoleRefused,
            format!(
                "PgBouncer's console lets user {} look, but not reload: the next rotation fails",
                shown(user)
            ),
        )
        .cause("admin_users of PgBouncer's ini does not name it")
        .fix(ADMINISTRATOR)
    })
}

/// The finding about an error of the console. If the finding has no remedy, waiting is enough.
#[must_use]
pub fn session(error: &Error, settings: &sql::Settings) -> Finding {
    let socket = settings.socket();
    let socket = socket.display();
    let found = |code, text: String| Finding::failure(code, text);
    match error {
        Error::NotRunning => {
            found(Code::PgbouncerNotRunning, format!("no process listens on {socket}")).fix(
                "start PgBouncer, or set pgbouncer.host and pgbouncer.port to unix_socket_dir and listen_port of its ini",
            )
        }
        Error::Silent(_) | Error::Lost(_) => found(Code::PgbouncerSilent, error.to_string()),
        Error::Forbidden => {
            found(Code::PgbouncerSocketForbidden, format!("may not connect to {socket}: permission denied"))
                .fix("run pgsvid as the user that PgBouncer runs as")
        }
        Error::Peer { uid } => found(Code::PgbouncerSocketOfOtherUser, error.to_string())
            .about(format!("uid {uid}"))
            .fix("if PgBouncer runs as that user, run pgsvid as the same user, too; otherwise find out who listens there"),
        Error::Refused(why) => {
            found(Code::PgbouncerConsoleRefused, error.to_string()).about(why).fix(ADMINISTRATOR)
        }
        Error::LongPath => found(Code::SocketPathLong, error.to_string())
            .fix("set unix_socket_dir of PgBouncer's ini and pgbouncer.host to a shorter path"),
        Error::Unexpected => found(Code::NotPgbouncer, format!("what listens on {socket} is not PgBouncer's console"))
            .fix("set pgbouncer.host and pgbouncer.port to unix_socket_dir and listen_port of PgBouncer's ini"),
    }
}

/// How PgBouncer gets each set, which decides what its ini should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply<'a> {
    /// By the names of the published files.
    Names,
    /// By the published part of the ini, which names each generation's own files; this is its path.
    Part(&'a Path),
    /// It reads the files of `[certificates]`, which another program writes.
    InPlace,
}

/// The settings that keep PgBouncer from using the published files, and, as warnings, those that let a rotation disturb it.
#[must_use]
pub fn concerns(settings: &Settings, files: &TlsFiles, supply: Supply<'_>) -> Vec<Finding> {
    let is_elsewhere = |file: &&TlsFile| match file.lead {
        Lead::Published => false,
        Lead::Generation => !matches!(supply, Supply::Part(_)),
        _ => true,
    };
    let (mut wrong, mut other) = (Vec::new(), Vec::new());
    if settings.client_tls() != ClientTls::Off {
        let is_needed = |file: &&TlsFile| {
            file.setting != "client_tls_ca_file"
                || settings.client_tls() == ClientTls::WithCertificate
                || file.lead != Lead::Unset
        };
        wrong.extend(files.client.iter().filter(is_needed).filter(is_elsewhere));
    }
    let mut mix = None;
    if settings.shows_a_certificate() {
        let named = files.server.iter().filter(|file| file.lead != Lead::Unset);
        let (missing, elsewhere): (Vec<_>, Vec<_>) =
            named.clone().filter(is_elsewhere).partition(|file| file.lead == Lead::Missing);
        if missing.is_empty() && elsewhere.is_empty() && files.keep_paths_towards_postgresql() {
            mix = Some(may_mix(settings, supply));
        }
        wrong.extend(missing);
        // Another certificate towards PostgreSQL may be intended, but not one that does not exist.
        other.extend(elsewhere);
    }
    let wrong = elsewhere(&wrong, supply);
    let other = elsewhere(&other, supply).map(|it| Finding { severity: Severity::Warning, ..it });
    wrong.into_iter().chain(other).chain(mix).collect()
}

/// The finding about paths that do not lead to the published files after each publication; `None` if there are none.
fn elsewhere(files: &[&TlsFile], supply: Supply<'_>) -> Option<Finding> {
    let texts: Vec<String> = files.iter().map(|file| led(file)).collect();
    let settings: Vec<&str> = files.iter().map(|file| file.setting).collect();
    let found = Finding::failure(Code::PgbouncerSettingElsewhere, texts.join("; "))
        .about(settings.join(" "));
    let fix = match (supply, files) {
        (_, []) => return None,
        (Supply::Part(part), _) => format!(
            "write `%include {}` in the section [pgbouncer] of its ini, remove all client_tls_*_file and server_tls_*_file lines there, \
             and reload PgBouncer",
            part.display()
        ),
        (_, [file]) => {
            let TlsFile { setting, wanted, .. } = file;
            format!("set {setting} = {wanted} in PgBouncer's ini, and reload PgBouncer")
        }
        _ => "write the lines that `pgsvid setup pgbouncer-ini` prints into the section [pgbouncer] of PgBouncer's ini, instead of \
              its client_tls_*_file and server_tls_*_file lines and of a `%include` of an earlier pgbouncer_tls.ini, and reload PgBouncer"
            .to_owned(),
    };
    Some(found.fix(fix))
}

/// Where the path of a setting leads, if that is not the published file.
fn led(TlsFile { setting, named, lead, .. }: &TlsFile) -> String {
    match lead {
        Lead::Generation => {
            format!(
                "{setting} names one generation, {named}: after the next rotation it is an old one"
            )
        }
        Lead::Unset => format!("{setting} is not set"),
        Lead::Missing => format!("{setting} names {named}, and no such file can be seen from here"),
        Lead::Published | Lead::Elsewhere => format!("{setting} names another file, {named}"),
    }
}

/// What is wrong with an ini whose settings name the files of one generation, where `part` should be included.
#[must_use]
pub fn pasted(included: &Included, part: &Path) -> Option<Finding> {
    let part = part.display();
    let found = |text| Finding::failure(Code::PgbouncerSettingElsewhere, text);
    Some(match included {
        Included::Yes(beside) => return set_again(beside, &part.to_string()),
        Included::No => found(format!(
            "PgBouncer's ini names the files of one generation, and does not include {part}: after the next rotation they are old"
        ))
        .fix(format!("write %include {part} in the section [pgbouncer] instead, and reload PgBouncer")),
        Included::Missing(path) => {
            let path = path.display();
            found(format!("PgBouncer's ini includes {path}, which does not exist: PgBouncer refuses the ini at its next reload"))
                .fix(format!("correct the path; the published part is {part}"))
        }
        Included::Unknown => Finding::skipped(
            Code::PgbouncerSettingElsewhere,
            format!("whether PgBouncer's ini includes {part}: it cannot be read from here"),
        )
        .fix("run `pgsvid check` where the ini is, as a user who can read it"),
    })
}

/// Lines below the include win, and name the files of one generation.
fn set_again(beside: &BesidePart, part: &str) -> Option<Finding> {
    if !beside.again.is_empty() {
        let names = beside.again.join(", ");
        let text = format!(
            "PgBouncer's ini sets {names} below the line that includes {part}: after the next rotation PgBouncer would still use the old files"
        );
        let fix = format!("remove these lines ({part} sets the same), and reload PgBouncer");
        return Some(Finding::failure(Code::PgbouncerSettingElsewhere, text).fix(fix));
    }
    let Unread { path, why } = beside.unread.as_ref()?;
    let path = path.display();
    let text =
        format!("whether {path}, which PgBouncer's ini includes, sets these files again: {why}");
    let fix = "write absolute paths after %include, and run `pgsvid check` where these files are, as a user who can read them";
    Some(Finding::skipped(Code::PgbouncerSettingElsewhere, text).fix(fix))
}

/// The finding about a PgBouncer with the same port as another one, if it does not share the port (`so_reuseport`): only one of
/// them can listen there. `None` if it shares the port.
#[must_use]
pub fn alone_on_a_port(settings: &Settings) -> Option<Finding> {
    let (_, port) = settings.listens_on();
    let found = Finding::failure(
        Code::PgbouncerPortTaken,
        format!(
            "so_reuseport is off, and another [[pgbouncer]] has port {port}, too: only one of them listens there"
        ),
    );
    let fix =
        "set so_reuseport = 1 in each ini, or give each its own listen_port, and restart PgBouncer";
    (!settings.shares_its_port()).then(|| found.fix(fix))
}

fn may_mix(settings: &Settings, supply: Supply<'_>) -> Finding {
    let fix = match supply {
        Supply::Names => {
            "set files.pgbouncer = \"pgbouncer_tls.ini\", restart pgsvid, and include that file in PgBouncer's ini instead of its \
             server_tls_*_file settings (docs/pgbouncer.md)"
                .to_owned()
        }
        Supply::Part(part) => format!(
            "write `%include {}` in the section [pgbouncer] of its ini instead of its server_tls_*_file settings, and reload PgBouncer",
            part.display()
        ),
        Supply::InPlace => {
            "let pgsvid publish the sets: set files.directory and files.pgbouncer, and let PgBouncer's ini include that file \
             (docs/certificates.md); otherwise keep server_login_retry = 1 in the ini"
                .to_owned()
        }
    };
    Finding::warning(
        Code::PgbouncerFilesMix,
        "PgBouncer opens certificate and key for PostgreSQL one after the other: during a rotation they may be of different sets",
    )
    .cause(format!(
        "after one such error no client can use the pool for server_login_retry, {}",
        settings.login_retry()
    ))
    .fix(fix)
}

/// The finding about a PgBouncer that reads the files of `[certificates]` where they are, while they are no usable set: PostgreSQL
/// keeps what it has loaded, but PgBouncer opens them at each connection. `why` is what is wrong with them.
#[must_use]
pub fn unusable_in_place(why: &Finding) -> Finding {
    Finding::failure(
        Code::PgbouncerFilesUnusable,
        "PgBouncer opens the files of [certificates] at each connection to PostgreSQL, and they cannot be used: clients of the pool wait, \
         then read `client_login_timeout (server down)`",
    )
    .because_of(why.clone())
}

/// Judges what was seen. Anybody who answers at the address can send an alert, so an alert proves nothing.
#[must_use]
pub fn judge(facts: &Facts, expected: &Expected, now: SystemTime) -> Verdict {
    match &facts.answer {
        Answer::Refused(_) => Verdict::Unreachable,
        _ => verify::judge(facts, expected, now),
    }
}

/// The meaning of a verdict, and what an operator should do. If there are [`concerns`], they are more exact.
#[must_use]
pub fn explain(verdict: Verdict, facts: &Facts, now: SystemTime) -> Finding {
    let address = &facts.address;
    let finding = |code, text: String, cause: &str, fix: &str| {
        Finding::failure(code, text).cause(cause).fix(fix)
    };
    match verdict {
        Verdict::Current => Finding::ok(
            Code::VerdictCurrent,
            format!("PgBouncer at {address} serves the published certificate"),
        ),
        Verdict::Unverifiable => finding(
            Code::VerdictUnverifiable,
            "the files are published, but pgsvid cannot see what PgBouncer serves".to_owned(),
            "verification is off (pgbouncer.verify = \"none\"), or PgBouncer has no TCP listener (listen_addr)",
            "let PgBouncer listen on 127.0.0.1 (listen_addr), and restart it, so that pgsvid can verify every rotation",
        ),
        Verdict::Unreachable => {
            let reason = match &facts.answer {
                Answer::Nothing(reason) => reason.clone(),
                Answer::Refused(alert) => {
                    format!(
                        "it ended the handshake with the alert {} before it showed a certificate",
                        alert_name(*alert)
                    )
                }
                Answer::TooLarge => {
                    "one message of its TLS handshake has more than 64 KiB".to_owned()
                }
                Answer::Plaintext | Answer::Served(_) => "nobody answered".to_owned(),
            };
            let fix = "start PgBouncer, or set pgbouncer.verify to the address where it listens; its log says why it ends a handshake";
            let text = format!("cannot see what PgBouncer at {address} serves");
            finding(Code::VerdictUnreachable, text, &reason, fix).about(reason.as_str())
        }
        Verdict::Plaintext => finding(
            Code::VerdictPlaintext,
            format!(
                "PgBouncer at {address} has TLS turned off: clients connect unencrypted or not at all"
            ),
            "client_tls_sslmode is disable",
            "set client_tls_sslmode and the client_tls_*_file settings in PgBouncer's ini; if clients need no TLS, set \
             pgbouncer.verify = \"none\"",
        ),
        Verdict::Expired => finding(
            Code::VerdictExpired,
            format!(
                "PgBouncer at {address} serves a certificate that expired{}",
                served_until(facts, now)
            ),
            "PgBouncer has refused the files of later rotations, or reads other files",
            LOG,
        ),
        Verdict::Foreign => finding(
            Code::VerdictForeign,
            format!("the server at {address} serves a certificate that is not pgsvid's"),
            "it is another server, or client_tls_cert_file of PgBouncer's ini names another file",
            "set pgbouncer.verify to PgBouncer's own address, or let client_tls_cert_file, client_tls_key_file and \
             client_tls_ca_file name the published files",
        ),
        Verdict::StillOld => finding(
            Code::VerdictStillOld,
            format!(
                "PgBouncer at {address} has not loaded the new files, and still serves{}",
                served_until(facts, now)
            ),
            "it could not load them; or another PgBouncer that shares the port (so_reuseport) has not been reloaded",
            LOG,
        ),
        Verdict::OldAuthorities => {
            let (object, cause) = if refuses_the_leaf(facts) {
                (
                    "key of an authority",
                    "it does not accept the published certificate from a client: it has another authority of the same name",
                )
            } else {
                (
                    "names of authorities",
                    "client_tls_ca_file does not name the published bundle, or could not be loaded",
                )
            };
            finding(
                Code::VerdictOldAuthorities,
                format!("PgBouncer at {address} serves the new certificate, but trusts other authorities"),
                cause,
                "set client_tls_ca_file to the published bundle; pgsvid reloads again by itself",
            )
            .about(object)
        }
        login => of_client(login, address),
    }
}

/// The finding about a published certificate that is served, but has expired: no file is wrong. `why` gives the reason why no
/// newer one is published, and its remedy.
#[must_use]
pub fn outlived(facts: &Facts, why: Finding, now: SystemTime) -> Finding {
    Finding::failure(
        Code::PublishedExpired,
        format!(
            "PgBouncer at {} serves the published certificate, which has expired{}",
            facts.address,
            served_until(facts, now)
        ),
    )
    .because_of(why)
}

fn refuses_the_leaf(facts: &Facts) -> bool {
    matches!(&facts.answer, Answer::Served(served) if matches!(served.reception, Reception::Refused(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let text = |text: &str| Some(text.to_owned());
        let mut rows = vec![vec![text("listen_port"), text("6432")]];
        rows.extend(pairs.iter().map(|(name, value)| vec![text(name), text(value)]));
        Settings::parse("1.18.0".to_owned(), &rows).unwrap()
    }

    fn files(client: [Lead; 3], server: [Lead; 3]) -> TlsFiles {
        let file = |(setting, lead): (&'static str, Lead)| TlsFile {
            setting,
            named: "/a".to_owned(),
            wanted: "/b".to_owned(),
            lead,
        };
        let [certificate, key, authorities] = client;
        let client = [
            ("client_tls_cert_file", certificate),
            ("client_tls_key_file", key),
            ("client_tls_ca_file", authorities),
        ];
        let [certificate, key, authorities] = server;
        let server = [
            ("server_tls_cert_file", certificate),
            ("server_tls_key_file", key),
            ("server_tls_ca_file", authorities),
        ];
        TlsFiles { client: client.map(file), server: server.map(file) }
    }

    const UNSET: [Lead; 3] = [Lead::Unset; 3];
    const PUBLISHED: [Lead; 3] = [Lead::Published; 3];

    fn codes(found: &[Finding]) -> Vec<(Code, bool)> {
        found.iter().map(|it| (it.code, it.severity == Severity::Failure)).collect()
    }

    #[test]
    fn q15_an_alert_of_anybody_at_the_address_is_no_answer() {
        use rustls::AlertDescription;
        let authority = dev_agent::Authority::new("example.org", false).unwrap();
        let svid = authority.issue(&dev_agent::Entry::new("spiffe://example.org/db")).unwrap();
        let leaf = pgsvid_material::Certificate::parse(svid.leaf()).unwrap();
        let now = leaf.not_before() + std::time::Duration::from_secs(11);
        let material = test_support::checked(&svid, now);
        let expected = Expected::of(&material, &[], Vec::new());
        for answer in [
            Answer::Refused(AlertDescription::HandshakeFailure),
            Answer::Refused(AlertDescription::UnknownCA),
            Answer::Nothing("nobody listens there".to_owned()),
        ] {
            let facts = Facts { address: "127.0.0.1:6432".to_owned(), answer };
            assert_eq!(judge(&facts, &expected, SystemTime::UNIX_EPOCH), Verdict::Unreachable);
            let found = explain(Verdict::Unreachable, &facts, SystemTime::UNIX_EPOCH);
            assert_eq!(found.code, Code::VerdictUnreachable);
            assert!(found.cause.is_some() && found.fix.is_some(), "{found:?}");
        }
    }

    #[test]
    fn files_towards_clients_count_where_tls_is_on_and_the_ca_where_it_is_asked_for() {
        let of = |mode: &str, client| {
            concerns(
                &settings(&[("client_tls_sslmode", mode)]),
                &files(client, UNSET),
                Supply::Names,
            )
        };
        assert_eq!(codes(&of("disable", [Lead::Elsewhere; 3])), []);
        assert_eq!(codes(&of("require", PUBLISHED)), []);
        let without_ca = [Lead::Published, Lead::Published, Lead::Unset];
        assert_eq!(codes(&of("require", without_ca)), []);
        let wrong = (Code::PgbouncerSettingElsewhere, true);
        assert_eq!(codes(&of("verify-full", without_ca)), [wrong]);
        for lead in [Lead::Elsewhere, Lead::Missing, Lead::Generation] {
            assert_eq!(codes(&of("require", [lead; 3])), [wrong], "{lead:?}");
        }
    }

    #[test]
    fn a_part_of_the_ini_in_each_generation_makes_paths_of_a_generation_right() {
        let on = settings(&[
            ("client_tls_sslmode", "require"),
            ("server_tls_sslmode", "verify-full"),
            ("server_tls_cert_file", "/a"),
        ]);
        let pinned = files([Lead::Generation; 3], [Lead::Generation; 3]);
        assert_eq!(codes(&concerns(&on, &pinned, Supply::Part(Path::new("/part")))), []);
        let stable = files(PUBLISHED, PUBLISHED);
        assert_eq!(
            codes(&concerns(&on, &stable, Supply::Part(Path::new("/part")))),
            [(Code::PgbouncerFilesMix, false)]
        );
        let others = files(PUBLISHED, [Lead::Elsewhere; 3]);
        let wrong = (Code::PgbouncerSettingElsewhere, false);
        let gone = files(PUBLISHED, [Lead::Published, Lead::Missing, Lead::Published]);
        assert_eq!(
            codes(&concerns(&on, &gone, Supply::Names)),
            [(Code::PgbouncerSettingElsewhere, true)]
        );
        assert_eq!(codes(&concerns(&on, &others, Supply::Part(Path::new("/part")))), [wrong]);
    }

    #[test]
    fn q04_a_remedy_fits_the_way_pgbouncer_gets_its_sets_and_the_pause_is_its_own() {
        let with = |retry: &str| {
            settings(&[
                ("client_tls_sslmode", "require"),
                ("server_tls_sslmode", "verify-full"),
                ("server_tls_cert_file", "/a"),
                ("server_login_retry", retry),
            ])
        };
        let one = |retry: &str, supply| {
            let mut found = concerns(&with(retry), &files(PUBLISHED, PUBLISHED), supply);
            assert_eq!(codes(&found), [(Code::PgbouncerFilesMix, false)]);
            let found = found.remove(0);
            (found.cause.unwrap_or_default(), found.fix.unwrap_or_default())
        };
        let (cause, fix) = one("1", Supply::InPlace);
        assert!(cause.ends_with(" 1 s"), "{cause}");
        assert!(fix.contains("files.directory"), "{fix}");
        let (cause, fix) = one("15", Supply::Names);
        assert!(cause.ends_with(" 15 s") && fix.contains("files.pgbouncer"), "{cause} {fix}");
        let (_, fix) = one("15", Supply::Part(Path::new("/part")));
        assert!(fix.contains("%include /part") && !fix.contains("files.pgbouncer"), "{fix}");
    }

    #[test]
    fn q26_six_wrong_paths_are_one_failure_and_one_warning_with_a_remedy_each() {
        let on = settings(&[
            ("client_tls_sslmode", "verify-full"),
            ("server_tls_sslmode", "verify-full"),
            ("server_tls_cert_file", "/a"),
        ]);
        let elsewhere = files([Lead::Elsewhere; 3], [Lead::Elsewhere; 3]);
        for supply in [Supply::Names, Supply::InPlace] {
            let found = concerns(&on, &elsewhere, supply);
            let code = Code::PgbouncerSettingElsewhere;
            assert_eq!(codes(&found), [(code, true), (code, false)]);
            let text = &found[0].text;
            assert!(text.contains("client_tls_key_file") && !text.contains("server_"), "{text}");
            let fix = found[0].fix.as_deref().unwrap_or_default();
            assert!(
                fix.contains("`pgsvid setup pgbouncer-ini`") && fix.contains("%include"),
                "{fix}"
            );
        }
    }
}
