//! PostgreSQL's settings do not name the published files.

use dev_agent::Authority;

use crate::night::Night;
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] =
    &[&ANOTHER_FILE, &SSL_OFF, &ALTER_SYSTEM, &ANOTHER_AUTHORITY, &NO_AUTHORITIES];

const ANOTHER_FILE: Fault = Fault {
    id: "N37",
    name: "postgresql.conf names another certificate",
    make: |night| {
        let svid = night.setup.agent.svid();
        let copy = night.setup.other.write("copy.pem", svid.chain_pem(), 0o644);
        let key = night.setup.other.write("copy-key.pem", svid.key_pem(), 0o600);
        night.setup.cluster.set_conf(&format!(
            "ssl_cert_file = '{}'\nssl_key_file = '{}'",
            copy.display(),
            key.display()
        ));
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    findings: &["ssl-setting-elsewhere"],
    check: Some(("failure", "ssl-setting-elsewhere")),
    failures: 2,
    remedy: Remedy::Done(configure_all),
    by_itself: false,
    ..USUAL
};

const SSL_OFF: Fault = Fault {
    id: "N38",
    name: "ssl is off",
    make: |night| {
        night.setup.cluster.set_conf("ssl = off");
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "plaintext",
    findings: &["ssl-off"],
    check: Some(("failure", "ssl-off")),
    remedy: Remedy::Configure,
    ..USUAL
};

const ALTER_SYSTEM: Fault = Fault {
    id: "N39",
    name: "ALTER SYSTEM goes before postgresql.conf",
    make: |night| {
        night.sql("ALTER SYSTEM SET ssl = off");
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "plaintext",
    findings: &["ssl-off"],
    check: Some(("failure", "ssl-off")),
    remedy: Remedy::Paste,
    ..USUAL
};

const ANOTHER_AUTHORITY: Fault = Fault {
    id: "N40",
    name: "the authority in ssl_ca_file was replaced",
    make: |night| {
        let other = Authority::new("example.org", false).unwrap().root_pem();
        let file = night.setup.other.write("ca.pem", other, 0o644);
        night.setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::Degraded,
    verdict: "old-authorities",
    findings: &["ssl-setting-elsewhere"],
    check: Some(("failure", "ssl-setting-elsewhere")),
    remedy: Remedy::Configure,
    ..USUAL
};

const NO_AUTHORITIES: Fault = Fault {
    id: "N61",
    name: "ssl_ca_file is empty, and a line of pg_hba.conf asks for certificates",
    // Whether a line does only who may read the file knows.
    configuration: "[sandbox]\nenabled = false\n",
    make: |night| {
        night.setup.cluster.set_hba(
            "local postgres pgsvid peer map=pgsvid\nlocal all all peer\nhostssl all all 127.0.0.1/32 cert",
        );
        night.setup.cluster.set_conf("ssl_ca_file = ''");
        night.reload();
        night.renew();
    },
    log: Some(("WARN", "settings-lead-elsewhere")),
    word: Word::Degraded,
    findings: &["client-certificates-not-requested"],
    check: Some(("failure", "client-certificates-not-requested")),
    remedy: Remedy::Paste,
    by_itself: false,
    ..USUAL
};

/// Each setting that is found to lead elsewhere.
fn configure_all(night: &mut Night, _: &serde_json::Value) {
    let (report, _) = night.check();
    let found = crate::night::findings(&report);
    for found in found.into_iter().filter(|found| found["code"] == "ssl-setting-elsewhere") {
        let fix = found["fix"].as_str().unwrap();
        let setting = fix.strip_prefix("put ").unwrap();
        let (setting, _) = setting.split_once(" into postgresql.conf, then reload").unwrap();
        night.setup.cluster.set_conf(setting);
    }
    night.reload();
}

#[test]
fn n37_postgresql_conf_names_another_certificate() {
    walk(&ANOTHER_FILE);
}

#[test]
fn n38_ssl_is_off() {
    walk(&SSL_OFF);
}

#[test]
fn n39_alter_system_goes_before_postgresql_conf() {
    walk(&ALTER_SYSTEM);
}

#[test]
fn n40_the_authority_in_ssl_ca_file_was_replaced() {
    walk(&ANOTHER_AUTHORITY);
}

#[test]
fn n61_ssl_ca_file_is_empty_and_a_line_asks_for_certificates() {
    walk(&NO_AUTHORITIES);
}
