//! Patroni: what its REST API serves, whether pgsvid waits long enough for it, and which of PostgreSQL's files it overwrites.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::files;
use crate::config::Config;
use crate::consumers::RestApi;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::files::read;
use crate::material::Material;
use crate::patroni::{self, Error};
use crate::survey::Access;
use crate::text::shown;
use crate::timing;
use crate::verify::{self, Answer, Client, Expected, Facts, Served, Verdict};

/// How often Patroni is probed while it may still have to load a set.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is probed at most.
const WAIT: Duration = Duration::from_secs(30);
/// Largest file whose first line is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How many loops of Patroni should fit into the time that pgsvid waits.
const LOOPS: u64 = 3;
/// Longest `patroni.loads_within`, in seconds.
const LONGEST: u64 = RestApi::LONGEST.as_secs();

/// The section of Patroni. `access` are the files of the PostgreSQL that Patroni manages, as far as they can be read.
pub(super) async fn section(
    config: &Config,
    api: &RestApi,
    access: Option<&Access>,
    on_disk: Option<&Material>,
) -> Section {
    let mut section = Section::new(Group::Patroni, api.verify.target.to_string());
    let (hosts, port) = api.place();
    let answers = match on_disk {
        None => {
            section.add(Finding::skipped(
                Code::VerdictUnverifiable,
                "nothing is published yet, so there is nothing to compare with what Patroni serves",
            ));
            None
        }
        Some(material) => {
            let (facts, verdict, material) = look(config, api, material).await;
            let found = patroni::explain(verdict, &facts, None, timing::now());
            let is_mute =
                verdict == Verdict::Unreachable && matches!(facts.answer, Answer::Nothing(_));
            let is_silent = is_mute && is_silent((&hosts, port)).await;
            section.add(if is_silent {
                patroni::not_asked(&Error::Silent, &facts.address)
            } else {
                found
            });
            matches!(facts.answer, Answer::Served(_)).then_some(material)
        }
    };
    if let Some(material) = answers {
        let client = Client::of(&material, timing::now());
        let wait = patroni::loop_wait((&hosts, port), client.as_ref()).await;
        section.extend(admitted(api, (&hosts, port), client.as_ref(), &material).await);
        drop(client);
        verify::wipe_stack();
        section.add(match wait {
            Ok(wait) => of_loop_wait(wait, api.loads_within, api.part.is_some()),
            Err(error) => {
                let found = patroni::not_asked(&error, &api.verify.target.to_string());
                Finding { severity: Severity::Skipped, ..found }
            }
        });
    }
    if api.part.is_none() {
        section.add(mix());
    }
    section.extend(access.into_iter().flat_map(owned));
    section
}

/// Whether it accepts connections and answers nothing, twice in a row: at one probe it may have been slow for a moment.
async fn is_silent((hosts, port): (&[String], u16)) -> bool {
    for _ in 0..2 {
        if !matches!(patroni::why_unanswered((hosts, port)).await, Error::Silent) {
            return false;
        }
    }
    true
}

/// Probes it, and again while it may still have to load the set.
async fn look(config: &Config, api: &RestApi, material: &Material) -> (Facts, Verdict, Material) {
    let (begun, mut material) = (Instant::now(), material.clone());
    let (hosts, port) = api.place();
    loop {
        let client = Client::of(&material, timing::now());
        let facts = api.verify.probe(&hosts, port, client.as_ref()).await;
        drop(client);
        verify::wipe_stack();
        let expected = Expected::of(&material, &[], Vec::new());
        let verdict = patroni::judge(&facts, &expected, timing::now());
        if verdict != Verdict::StillOld || begun.elapsed() >= api.loads_within.min(WAIT) {
            return (facts, verdict, material);
        }
        sleep(LOOK).await;
        // Another set may have been published by now.
        if let Some(newer) = files::newest(config) {
            material = newer;
        }
    }
}

/// Who may change the cluster: anyone, or any workload with a certificate; and whether pgsvid may, which needs that for each
/// reload. Patroni itself is asked, because it ignores a password that it does not demand.
async fn admitted(
    api: &RestApi,
    place: (&[String], u16),
    client: Option<&Client>,
    material: &Material,
) -> Vec<Finding> {
    let anyone = patroni::may_change(place, None, None, |_| true).await;
    let workload = patroni::may_change(place, client, None, |_| true).await;
    let mut found: Vec<Finding> = open(&anyone, &workload).into_iter().collect();
    let own = match &api.credentials {
        None => workload,
        given => {
            let is_trusted = |served: &Served| RestApi::is_own(served, material);
            patroni::may_change(place, client, given.as_ref(), is_trusted).await
        }
    };
    if let Err(error) = own {
        let refused = patroni::not_asked(&error, &api.verify.target.to_string());
        found.push(match &error {
            Error::Unauthorized | Error::Forbidden => refused,
            // Another user than the one that runs pgsvid.
            Error::PasswordFile { cause, .. } if cause.kind() != ErrorKind::PermissionDenied => {
                refused
            }
            _ => Finding { severity: Severity::Skipped, ..refused },
        });
    }
    found
}

fn open(anyone: &Result<(), Error>, workload: &Result<(), Error>) -> Option<Finding> {
    let fix = "set restapi.authentication and verify_client: required on each node, and patroni.username and patroni.password_file here; at least set \
               allowlist: [127.0.0.1] and allowlist_include_members: true in restapi (docs/patroni.md)";
    if anyone.is_ok() {
        let text = "anyone who reaches Patroni's REST API can change this cluster and run programs as Patroni's user";
        let cause = "it accepts a change of its configuration without a certificate and without a password; a request can set callbacks and archive_command";
        return Some(Finding::failure(Code::PatroniOpen, text).cause(cause).fix(fix));
    }
    if let Err(error) = workload {
        // Without a password nobody is admitted, from any address.
        if matches!(error, Error::Unauthorized) {
            return None;
        }
        let text = "who may change this cluster by Patroni's REST API: it does not admit pgsvid itself, which so cannot see whether those that it \
                    admits need a password";
        return Some(Finding::skipped(Code::PatroniOpen, text).cause(error.to_string()).fix(fix));
    }
    let text = "any workload with a certificate of the published authorities can change this cluster and run programs as Patroni's user, \
                from each address that restapi.allowlist admits";
    let cause = "it accepts a change of its configuration without a password; a request can set callbacks and archive_command";
    Some(Finding::warning(Code::PatroniOpen, text).cause(cause).fix(fix))
}

/// `in_sets` means that Patroni reads the paths of one set, which cannot mix with the next.
fn of_loop_wait(wait: Duration, within: Duration, in_sets: bool) -> Finding {
    let (wait, within) = (wait.as_secs(), within.as_secs());
    // The number may come from any server, and be as large as it likes: it must not overflow.
    let needed = wait.saturating_mul(LOOPS);
    if within >= needed {
        let text = format!(
            "Patroni executes a reload within {wait} s (loop_wait), and pgsvid waits for {within} s"
        );
        return Finding::ok(Code::PatroniLoopWait, text);
    }
    let cause = if in_sets {
        "a loop can take longer; then the set is reported as `still-old`"
    } else {
        "a loop can take longer; if the next set comes in between, Patroni may read parts of both"
    };
    let fix = if needed > LONGEST {
        format!("set loop_wait to {} at most: patronictl edit-config", LONGEST / LOOPS)
    } else {
        format!("set patroni.loads_within = \"{needed}s\", and restart pgsvid")
    };
    Finding::warning(
        Code::PatroniLoopWait,
        format!("Patroni executes a reload within {wait} s (loop_wait), and pgsvid waits for {within} s only"),
    )
    .cause(cause)
    .fix(fix)
}

fn mix() -> Finding {
    Finding::warning(
        Code::PatroniFilesMix,
        "Patroni opens the certificate and the key of its REST API one after the other: if somebody reloads Patroni during a rotation, it may read the certificate of one set and the key of another",
    )
    .cause("after one such error the REST API is dead until Patroni is restarted, and another reload hangs Patroni")
    .fix("set files.patroni = \"pgsvid.yml\", restart pgsvid, and follow docs/patroni.md, step 2: start Patroni with a directory that has a link to that file, and remove certfile, keyfile and cafile from restapi")
}

/// The section about a Patroni that manages the PostgreSQL with these files, but is not configured; `None` if nothing shows one.
pub(super) fn unwatched(access: &Access) -> Option<Section> {
    let owned = owned(access);
    if owned.is_empty() {
        return None;
    }
    let mut section = Section::new(Group::Patroni, "not configured");
    section.add(
        Finding::warning(
            Code::PatroniUnwatched,
            "Patroni manages this PostgreSQL, and [patroni] is not configured",
        )
        .cause(
            "if restapi.certfile is set, a reload of Patroni while certificate and key do not belong together ends its REST API, and the next \
             one hangs it: a replica is promoted while the old primary goes on writing. Helpers that replace files one by one, and a signal \
             to Patroni after each renewal, can cause that",
        )
        .fix("if restapi.certfile is set, add a [patroni] table (it needs files.directory), and let no hook or helper reload Patroni (docs/patroni.md)"),
    );
    section.extend(owned);
    Some(section)
}

/// The files that Patroni overwrites. Its `postgresql.conf` lies beside `pg_hba.conf`.
fn owned(access: &Access) -> Vec<Finding> {
    let settings = access.hba.with_file_name("postgresql.conf");
    let keys: [(&Path, &str); 3] =
        [(&settings, "parameters"), (&access.hba, "pg_hba"), (&access.ident, "pg_ident")];
    let owned = keys.into_iter().filter(|(path, _)| is_marked(path));
    owned
        .map(|(path, key)| {
            let path = path.display().to_string();
            let text = format!(
                "Patroni overwrites {}: change postgresql.{key} of Patroni's configuration instead",
                shown(&path)
            );
            Finding::ok(Code::PatroniOwnsFile, text).about(path)
        })
        .collect()
}

fn is_marked(path: &Path) -> bool {
    read(path, LARGEST).is_ok_and(|text| patroni::is_marked(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_loops_should_fit_into_the_time_that_pgsvid_waits() {
        let of = |wait, within| {
            of_loop_wait(Duration::from_secs(wait), Duration::from_secs(within), true)
        };
        let severity = |wait, within| of(wait, within).severity;
        assert_eq!(severity(10, 30), Severity::Ok);
        assert_eq!(severity(10, 29), Severity::Warning);
        assert_eq!(severity(60, 30), Severity::Warning);
        // A remedy that the configuration accepts.
        let fix = |wait| of(wait, 30).fix.unwrap();
        assert!(fix(200).contains("loads_within = \"600s\""));
        for wait in [201, u64::MAX] {
            assert!(fix(wait).contains("loop_wait to 200"));
        }
    }
}
