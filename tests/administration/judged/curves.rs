//! F58, F59 and F68: names of key exchanges and of TLS 1.3's suites, each judged as the server at hand does. PostgreSQL 18 has
//! lists of them (`ssl_groups`, `ssl_tls13_ciphers`), earlier ones a single curve.

use serde_json::Value;
use test_support::{Mark, Setup};

use crate::judged::tls_settings::is_refused;
use crate::judged::{PGSVID, admin, check, found, one, start};

const HBA: &str = "hostssl all localhost 127.0.0.1/32 cert";
const CURVES: [&str; 16] = [
    "prime256v1",
    "secp256r1",
    "P-256",
    "X25519",
    "prime256v1 ",
    "secp384",
    "nosuch",
    "",
    // OpenSSL has these, and TLS has not: PostgreSQL goes on with OpenSSL's default.
    "prime239v1",
    "brainpoolP320r1",
    "secp112r1",
    "SM2",
    "Oakley-EC2N-3",
    // TLS has these, and clients do not offer them.
    "secp256k1",
    "sect283k1",
    "brainpoolP384r1",
];
const GROUPS: [&str; 22] = [
    "X25519:prime256v1",
    "secp256r1",
    "x25519",
    "P-521",
    "SECP384R1",
    " prime256v1 ",
    "X25519 : prime256v1",
    "prime256v1:prime256v1",
    "X448",
    "ffdhe2048",
    "X25519MLKEM768",
    "X25519:",
    "prime256v1, secp384r1",
    "P256",
    "auto",
    "DEFAULT",
    "nosuch",
    "X25519:nosuch",
    "",
    "secp256k1",
    "K-233",
    "secp256k1:brainpoolP256r1",
];
const SUITES: [&str; 13] = [
    "TLS_AES_128_CCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256",
    "",
    "TLS_AES_256_GCM_SHA384",
    " TLS_AES_128_GCM_SHA256 : TLS_AES_256_GCM_SHA384 ",
    "TLS_AES_256_GCM_SHA384:",
    "TLS_AES_256_GCM_SHA384:NOSUCH",
    "TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "tls_aes_256_gcm_sha384",
    "HIGH",
    "NOSUCH",
    ":",
];

/// Lines of configuration of which the last decides, and which are right before it.
fn settings(version: u32) -> Vec<String> {
    let of = |name: &str, values: &[&str]| -> Vec<String> {
        values.iter().map(|value| format!("{name} = '{value}'")).collect()
    };
    if version < 18 {
        return of("ssl_ecdh_curve", &CURVES);
    }
    let suites = of("ssl_tls13_ciphers", &SUITES)
        .into_iter()
        .map(|line| format!("ssl_groups = 'X25519'\n{line}"));
    of("ssl_groups", &GROUPS).into_iter().chain(suites).collect()
}

fn right(version: u32) -> &'static str {
    if version < 18 {
        "ssl_ecdh_curve = 'prime256v1'"
    } else {
        "ssl_groups = 'X25519:prime256v1'\nssl_tls13_ciphers = ''"
    }
}

fn connects(setup: &Setup) -> bool {
    let psql = setup.cluster.client(setup.files.path(), "localhost", "");
    psql.script("SELECT 1").run().status.success()
}

fn fails(report: &Value, code: &str) -> bool {
    !found(report, "failure", code).is_empty()
}

/// Each value on a real server: what it refuses is a failure, what keeps clients out is another, and all else is well.
#[test]
fn f59_names_of_groups_and_suites_are_judged_as_the_server_judges_them() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(HBA)).create();
    start(&setup);
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let version = setup.cluster.version();
    let (mut refused, mut kept_out) = (0, 0);
    for lines in settings(version) {
        assert!(!is_refused(&setup, right(version)));
        let is_refused = is_refused(&setup, &lines);
        let report = check(&setup, &[]);
        let told = ["ssl-setting-refused", "ssl-reload-refused"].map(|code| fails(&report, code));
        assert_eq!(told.contains(&true), is_refused, "{lines}: {report:#}");
        if is_refused {
            refused += 1;
            continue;
        }
        let connects = connects(&setup);
        kept_out += u32::from(!connects);
        // No word for a server that works; and where clients cannot connect, no all-clear.
        assert!(!(connects && fails(&report, "ssl-groups-uncommon")), "{lines}: {report:#}");
        assert!(!(connects && fails(&report, "ssl-suites-uncommon")), "{lines}: {report:#}");
        assert!(connects || report["summary"]["failure"] != 0, "{lines}: {report:#}");
        if lines.contains("secp256k1") {
            assert!(fails(&report, "ssl-groups-uncommon"), "{lines}: {report:#}");
        }
    }
    assert!(refused >= 6 && kept_out >= 1, "{refused} {kept_out}");
}

/// What the daemon says of a name that OpenSSL does not know, where its role may see the settings.
#[test]
fn f59_the_daemon_names_the_setting_whose_word_openssl_does_not_know() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(HBA)).create();
    let pgsvid = setup.start();
    let version = setup.cluster.version();
    let inherit = if version >= 16 { " WITH INHERIT TRUE" } else { "" };
    admin(&setup, &format!("GRANT pg_read_all_settings TO pgsvid{inherit}"));
    let lines: &[&str] = if version < 18 {
        &["ssl_ecdh_curve = 'secp256r1'"]
    } else {
        &["ssl_groups = 'X25519:nosuch'", "ssl_tls13_ciphers = 'HIGH'"]
    };
    let mut mark = Mark::default();
    for line in lines {
        assert!(is_refused(&setup, &format!("{}\n{line}", right(version))), "{line}");
        setup.agent.rotate().unwrap();
        let name = line.split(' ').next().unwrap();
        let (told, after) = pgsvid.event_after(mark, "not-in-force");
        mark = after;
        assert_eq!(told["code"], "ssl-setting-refused", "{told:#}");
        assert!(told["cause"].as_str().unwrap().contains(name), "{told:#}");
        // The remedy names the setting, and setting it back helps.
        assert!(told["fix"].as_str().unwrap().contains(name), "{told:#}");
        assert!(!is_refused(&setup, right(version)));
    }
}

/// Clients cannot connect, and the printed line lets them.
#[test]
fn f68_suites_and_groups_that_no_client_offers_are_a_failure_and_the_printed_line_ends_it() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(HBA)).create();
    start(&setup);
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let version = setup.cluster.version();
    let all: &[(&str, &str)] = if version < 18 {
        &[("ssl_ecdh_curve = 'secp256k1'", "ssl-groups-uncommon")]
    } else {
        &[
            ("ssl_groups = 'secp256k1'", "ssl-groups-uncommon"),
            ("ssl_tls13_ciphers = 'TLS_AES_128_CCM_SHA256'", "ssl-suites-uncommon"),
            (
                "ssl_tls13_ciphers = 'TLS_AES_128_CCM_8_SHA256:TLS_AES_128_CCM_SHA256'",
                "ssl-suites-uncommon",
            ),
        ]
    };
    for (line, code) in all {
        assert!(!is_refused(&setup, &format!("{}\n{line}", right(version))), "{line}");
        assert!(!connects(&setup), "{line}");
        let report = check(&setup, &[]);
        let fix = one(&report, "failure", code)["fix"].as_str().unwrap();
        let printed = fix.strip_prefix("put ").unwrap().split(" into ").next().unwrap();
        assert!(!is_refused(&setup, printed), "{printed}");
        assert!(connects(&setup), "{printed}");
        assert!(!fails(&check(&setup, &[]), code), "{printed}");
    }
}
