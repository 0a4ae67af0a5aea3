//! What `pg_reload_conf()` returns, and what PostgreSQL serves after it: the figures of the README and of docs/postgresql.md.

use std::fs;
use std::os::unix::fs::symlink;

use dev_agent::{Authority, Entry, Svid};
use test_support::{Cluster, Directory, LIMIT, openssl};

/// How many kinds of files and settings PostgreSQL has to refuse.
const CASES: usize = 42;
const RELOADS: usize = 100;
/// Connections after each reload.
const CONNECTIONS: usize = 5;

const FILES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
const CERTIFICATE: &str = FILES[0];
const KEY: &str = FILES[1];
const BUNDLE: &str = FILES[2];

#[test]
fn a_reload_is_true_in_each_case_in_which_postgresql_refuses_the_files() {
    let stage = Stage::new();
    let before = stage.cluster.served();
    let mut cases = 0;
    for file in FILES {
        for (kind, spoil) in KINDS {
            spoil(&stage, file);
            stage.refuses(&format!("{file} {kind}"));
            cases += 1;
        }
    }
    let others: [(&str, &dyn Fn()); 12] = [
        ("the certificate's file holds the key", &|| stage.write(CERTIFICATE, &stage.good(KEY))),
        ("another certificate", &|| stage.write(CERTIFICATE, stage.other.chain_pem().as_bytes())),
        ("the root before the leaf", &|| {
            let leaf = stage.good(CERTIFICATE);
            stage.write(CERTIFICATE, &[stage.good(BUNDLE), leaf].concat());
        }),
        ("the key's file holds the certificate", &|| stage.write(KEY, &stage.good(CERTIFICATE))),
        ("another key", &|| stage.write(KEY, stage.other.key_pem().as_bytes())),
        ("a key with a passphrase", &|| {
            let encrypted = ["pkcs8", "-topk8", "-passout", "pass:secret"];
            stage.write(KEY, &openssl(&encrypted, stage.good(KEY)));
        }),
        ("a key that its group may read", &|| stage.mode(KEY, 0o640)),
        ("a key that everybody may read", &|| stage.mode(KEY, 0o644)),
        ("the bundle holds a key", &|| stage.write(BUNDLE, &stage.good(KEY))),
        ("a lowest version above the highest", &|| {
            stage.set("ssl_max_protocol_version", "TLSv1.2");
            stage.set("ssl_min_protocol_version", "TLSv1.3");
        }),
        ("an unknown curve", &|| stage.set("ssl_ecdh_curve", "no-curve")),
        ("a revocation list that does not exist", &|| stage.set("ssl_crl_file", "none.crl")),
    ];
    for (name, spoil) in others {
        spoil();
        stage.refuses(name);
        cases += 1;
    }
    assert_eq!(cases, CASES);
    assert_eq!(stage.cluster.served(), before, "none of the files was loaded");

    // The answer is the same for files that PostgreSQL loads.
    stage.publish(&stage.other);
    assert_eq!(stage.reload(), "t");
    assert_ne!(stage.cluster.served(), before);
    for page in ["README.md", "docs/postgresql.md"] {
        assert!(page_of(page).contains(&format!("{CASES} cases")), "{page}");
    }
}

#[test]
fn connections_after_a_reload_has_returned_get_the_new_certificate() {
    let stage = Stage::new();
    for number in 0..RELOADS {
        // Each set has an authority of its own, and the client trusts no other.
        let svid = issue();
        stage.publish(&svid);
        let root = stage.files.write("trusted.pem", svid.bundle_pem(), 0o644);
        let connect = format!(
            "\\c \"hostaddr=127.0.0.1 port={} user=postgres dbname=postgres sslmode=verify-ca sslrootcert={}\"\n",
            stage.cluster.port(),
            root.display()
        );
        let script = format!("SELECT pg_reload_conf();\n{}", connect.repeat(CONNECTIONS));
        let psql = stage.cluster.psql().user("postgres").database("postgres").script(&script);
        let output = psql.run();
        assert!(output.status.success(), "{number}: {}", output.stderr);
    }
    let figure = format!("none of {} got the old one", RELOADS * CONNECTIONS);
    assert!(page_of("docs/postgresql.md").contains(&figure), "{figure}");
}

/// Makes one of the files unusable.
type Spoil = fn(&Stage, &str);

/// What can be wrong with each of the three files.
const KINDS: [(&str, Spoil); 10] = [
    ("does not exist", |stage, file| fs::remove_file(stage.files.join(file)).unwrap()),
    ("is empty", |stage, file| stage.write(file, b"")),
    ("is no PEM", |stage, file| stage.write(file, b"not a certificate\n")),
    ("is cut off", |stage, file| {
        let good = stage.good(file);
        stage.write(file, &good[..good.len() / 3]);
    }),
    ("has lost its last line", |stage, file| {
        let good = String::from_utf8(stage.good(file)).unwrap();
        stage.write(file, good.replace("-----END", "").as_bytes());
    }),
    ("has a wrong character", |stage, file| {
        let mut good = stage.good(file);
        good[40] = b'*';
        stage.write(file, &good);
    }),
    ("is DER", |stage, file| {
        let command = if file == KEY { "pkey" } else { "x509" };
        stage.write(file, &openssl(&[command, "-outform", "DER"], stage.good(file)));
    }),
    ("is a directory", |stage, file| {
        fs::remove_file(stage.files.join(file)).unwrap();
        stage.files.subdirectory(file);
    }),
    ("is a link to nothing", |stage, file| {
        fs::remove_file(stage.files.join(file)).unwrap();
        symlink("nothing", stage.files.join(file)).unwrap();
    }),
    ("may be read by nobody", |stage, file| stage.mode(file, 0)),
];

/// A PostgreSQL with plain TLS files, which no pgsvid touches.
struct Stage {
    files: Directory,
    cluster: Cluster,
    good: Svid,
    other: Svid,
}

impl Stage {
    fn new() -> Self {
        let (files, good, other) = (Directory::new(), issue(), issue());
        publish(&files, &good);
        let cluster = Cluster::builder()
            .tls_files(files.path())
            .hba("hostssl all postgres 127.0.0.1/32 trust")
            .start();
        Self { files, cluster, good, other }
    }

    fn good(&self, file: &str) -> Vec<u8> {
        let text = match file {
            CERTIFICATE => self.good.chain_pem(),
            KEY => self.good.key_pem(),
            _ => self.good.bundle_pem(),
        };
        text.as_bytes().to_vec()
    }

    fn publish(&self, svid: &Svid) {
        publish(&self.files, svid);
    }

    fn write(&self, file: &str, content: &[u8]) {
        self.files.write(file, content, 0o600);
    }

    fn mode(&self, file: &str, mode: u32) {
        self.files.write(file, self.good(file), mode);
    }

    fn set(&self, name: &str, value: &str) {
        self.admin(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    }

    fn admin(&self, statement: &str) -> String {
        self.cluster.sql("postgres", "postgres", statement)
    }

    /// The answer, which comes without a notice.
    fn reload(&self) -> String {
        let psql = self.cluster.psql().user("postgres").database("postgres");
        let output = psql.script("SELECT pg_reload_conf()").run();
        assert_eq!(output.stderr, "");
        output.stdout
    }

    /// The reload is true, PostgreSQL refuses the files, and nothing but its log shows that. Restores files and settings.
    fn refuses(&self, case: &str) {
        let loaded = "SELECT pg_conf_load_time()";
        let (mark, time) = (self.cluster.log_mark(), self.admin(loaded));
        assert_eq!(self.reload(), "t", "{case}");
        self.cluster.wait_for_log(mark, LIMIT, "SSL configuration was not reloaded");
        assert_ne!(self.admin(loaded), time, "{case}: the time of the load advances all the same");
        for file in FILES {
            let path = self.files.join(file);
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
        }
        self.publish(&self.good);
        self.admin("ALTER SYSTEM RESET ALL");
    }
}

fn publish(files: &Directory, svid: &Svid) {
    files.write(CERTIFICATE, svid.chain_pem(), 0o644);
    files.write(KEY, svid.key_pem(), 0o600);
    files.write(BUNDLE, svid.bundle_pem(), 0o644);
}

fn issue() -> Svid {
    let entry = Entry::new("spiffe://example.org/db").dns("localhost");
    Authority::new("example.org", false).unwrap().issue(&entry).unwrap()
}

fn page_of(name: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(name)).unwrap()
}
