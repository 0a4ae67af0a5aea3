//! P07, by table: facts about the files, and the resulting findings. `tests/postgresql/refused` proves that PostgreSQL
//! agrees.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dev_agent::{Authority, DevAgent, Entry, KeyType, Svid};
use pgsvid::diagnose;
use pgsvid::finding::Finding;
use pgsvid::material::Certificate;
use pgsvid::sql::{self, Setting, TlsSettings};
use pgsvid::survey::{self, Viewpoint};
use pgsvid::survey::{Content, FileFacts, Files, Present, PublishedPaths, State};
use test_support::Directory;

/// PostgreSQL's uid in the tables.
const SERVER: u32 = 999;
/// What is to be done about a file of another user's, which is not to be touched as root.
const NAME_THE_PUBLISHED: &str = "set ssl_key_file to the published file, then reload";

#[test]
fn p07_owner_and_mode_of_a_key() {
    let taken = [(SERVER, 0o400), (SERVER, 0o600), (SERVER, 0o700), (0, 0o640), (0, 0o440)];
    for (uid, mode) in taken {
        let files = files(|files| key(files, uid, mode));
        assert_eq!(diagnose::refused(&files), [], "{uid} {mode:o}");
    }
    for (uid, mode, cause, fix) in [
        (
            SERVER,
            0o640,
            "mode 0640; PostgreSQL accepts a key of uid 999 with 0600 at most",
            "setpriv --reuid=999 chmod 0600 /c/k",
        ),
        (
            SERVER,
            0o604,
            "mode 0604; PostgreSQL accepts a key of uid 999 with 0600 at most",
            "setpriv --reuid=999 chmod 0600 /c/k",
        ),
        (
            SERVER,
            0o200,
            "mode 0200: PostgreSQL cannot read it",
            "setpriv --reuid=999 chmod 0600 /c/k",
        ),
        (
            0,
            0o660,
            "mode 0660; PostgreSQL accepts a key of uid 0 with 0640 at most",
            NAME_THE_PUBLISHED,
        ),
        (
            0,
            0o644,
            "mode 0644; PostgreSQL accepts a key of uid 0 with 0640 at most",
            NAME_THE_PUBLISHED,
        ),
        (0, 0o600, "belongs to root with mode 0600: PostgreSQL cannot read it", NAME_THE_PUBLISHED),
        (1001, 0o600, "owned by uid 1001, PostgreSQL runs as uid 999", NAME_THE_PUBLISHED),
        (1001, 0o644, "owned by uid 1001, PostgreSQL runs as uid 999", NAME_THE_PUBLISHED),
    ] {
        let files = files(|files| key(files, uid, mode));
        assert_one(&files, cause, fix);
    }
    // Of pgsvid's own key something else is to be done.
    for (uid, fix) in [(1001, "run pgsvid as uid 999"), (0, "set files.group")] {
        let files = files(|files| {
            key(files, uid, 0o600);
            files.private_key.published = true;
        });
        assert_one(&files, "", fix);
    }
    // Without a socket nobody knows whose server it is.
    let files = files(|files| {
        key(files, 1001, 0o644);
        files.server_uid = None;
    });
    assert_eq!(diagnose::refused(&files), []);
}

#[test]
fn p07_state_and_content_of_each_file() {
    type At = fn(&mut Files) -> &mut FileFacts;
    let all: [(&str, &str, At); 3] = [
        ("ssl_cert_file", "/c/c", |files| &mut files.certificate),
        ("ssl_key_file", "/c/k", |files| &mut files.private_key),
        ("ssl_ca_file", "/c/a", |files| &mut files.authorities),
    ];
    for (setting, path, at) in all {
        for (state, cause) in [
            (State::Missing, "does not exist, or is a link to nothing"),
            (State::NotRegular, "is not a regular file"),
            (State::Closed, "lies below a directory that pgsvid may not enter"),
            (with(Content::Empty), "is empty"),
            (with(Content::NoPem), "holds no PEM"),
            (with(Content::Broken), "is cut short or damaged"),
        ] {
            let files = files(|files| at(files).state = state);
            let cause = format!("{path} ({setting}) {cause}");
            assert_one(&files, &cause, &format!("set {setting} to the published file"));
        }
        let unseen = files(|files| at(files).state = State::OutOfSight);
        assert_eq!(diagnose::refused(&unseen), [], "nothing is said of what cannot be seen");
        let unset = files(|files| at(files).state = State::NotSet);
        if setting == "ssl_ca_file" {
            assert_eq!(diagnose::refused(&unset), [], "a server without client certificates");
        } else {
            assert_one(&unset, &format!("{setting} is empty"), &format!("set {setting} to"));
        }
    }
    let passphrase = files(|files| files.private_key.state = with(Content::Passphrase));
    assert_one(
        &passphrase,
        "/c/k (ssl_key_file) has a passphrase, but PostgreSQL cannot ask for one during a reload",
        "",
    );
}

#[test]
fn p07_a_pair_that_does_not_match() {
    let other = files(|files| files.private_key.state = with(pem(None, Some(b"other"))));
    assert_one(&other, "the key in /c/k does not belong to the certificate in /c/c", "");
    // A key that only PostgreSQL may read says nothing.
    let unreadable = files(|files| files.private_key.state = with(Content::Unreadable));
    assert_eq!(diagnose::refused(&unreadable), []);
}

#[test]
fn p07_what_a_sandbox_withholds_is_reported_once_for_all_files() {
    let withheld = files(|files| {
        files.certificate.state = with(Content::OutsideSandbox);
        files.private_key.state = with(Content::OutsideSandbox);
    });
    assert_one(
        &withheld,
        "pgsvid's sandbox does not let it read /c/c, /c/k",
        "let the settings name the published files, then reload; pgsvid check sees more, because it has no sandbox",
    );
}

#[test]
fn p07_two_causes_are_two_findings() {
    let files = files(|files| {
        files.certificate.state = State::Missing;
        files.authorities.state = with(Content::Empty);
    });
    assert_eq!(diagnose::refused(&files).len(), 2);
}

#[test]
fn p13_settings_that_lead_elsewhere_and_who_set_them() {
    let published = PublishedPaths {
        certificate: "/svids/svid.pem".into(),
        private_key: "/svids/svid_key.pem".into(),
        bundle: "/svids/svid_bundle.pem".into(),
    };
    let settings = TlsSettings {
        ssl: setting("on"),
        certificate: setting("/svids/svid.pem"),
        private_key: setting("/svids/svid_key.pem"),
        authorities: setting("/svids/svid_bundle.pem"),
        ..TlsSettings::default()
    };
    let files = files(|_| {});
    let concerns = |change: &dyn Fn(&mut TlsSettings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        let socket = sql::Settings {
            host: "/var/run/postgresql".into(),
            port: 5432,
            user: "pgsvid".to_owned(),
            database: "postgres".to_owned(),
            password_file: None,
            require_peer: None,
            purpose: sql::Purpose::Reload,
        };
        let found = diagnose::concerns(&settings, &files, &published, &socket);
        let remedy = |found: &Finding| {
            let command = found.command.as_deref().map(str::to_owned);
            // No command changes an option that the postmaster was started with.
            assert_eq!(command.is_none(), found.text.contains("(-c)"), "{found:?}");
            found.advice().or(command).unwrap()
        };
        let found = found.into_iter();
        found.map(|found| (found.text.clone(), remedy(&found))).collect::<Vec<_>>()
    };
    let one = |cause: &str, fix: &str| vec![(cause.to_owned(), fix.to_owned())];
    assert_eq!(concerns(&|_| {}), []);
    assert_eq!(
        concerns(&|settings| settings.ssl.value = "off".to_owned()),
        one(
            "ssl is off",
            "put ssl = on into postgresql.conf, then reload; or run a command, which overrides the files"
        )
    );
    assert_eq!(
        concerns(&|settings| {
            settings.ssl.value = "off".to_owned();
            settings.ssl.file = Some("/data/postgresql.auto.conf".to_owned());
        }),
        one(
            "ssl is off, set by ALTER SYSTEM (postgresql.auto.conf)",
            "sudo -u postgres psql -U postgres -d template1 -c 'ALTER SYSTEM SET ssl = on' \
             -c 'SELECT pg_catalog.pg_reload_conf()'"
        )
    );
    assert_eq!(
        concerns(&|settings| {
            settings.private_key.value = "/other/key".to_owned();
            settings.private_key.source = Some("command line".to_owned());
        }),
        one(
            "ssl_key_file is /other/key, set by the postmaster's command line (-c), not /svids/svid_key.pem",
            "start PostgreSQL with -c ssl_key_file=/svids/svid_key.pem, or without -c ssl_key_file"
        )
    );
    assert_eq!(
        concerns(&|settings| settings.authorities.value.clear()),
        one(
            "ssl_ca_file is empty: the published bundle is unused, and PostgreSQL asks for no client certificate",
            "put ssl_ca_file = '/svids/svid_bundle.pem' into postgresql.conf, then reload; or run a command, which overrides the files"
        )
    );
}

/// The survey sees what OpenSSL would see.
#[test]
fn p07_survey_of_contents() {
    let place = Place::new();
    let svid = place.issue(KeyType::EcP256);
    let (chain, key) = (svid.chain_pem(), svid.key_pem());
    let prose = "Bag Attributes\n    friendlyName: db\n";
    for (name, text, content) in [
        ("empty", String::new(), Content::Empty),
        ("no PEM", "hello\n".to_owned(), Content::NoPem),
        ("cut", chain[..chain.len() - 40].to_owned(), Content::Broken),
        ("cut key", key[..key.len() - 40].to_owned(), Content::Broken),
        ("cut second", format!("{chain}{}", &chain[..200]), Content::Broken),
        ("bad base64", chain.replace("MII", "M?I"), Content::Broken),
        ("passphrase", key.replace("PRIVATE", "ENCRYPTED PRIVATE"), Content::Passphrase),
        ("certificate", chain.clone(), of(&svid, true, false)),
        ("key", key.clone(), of(&svid, false, true)),
        ("prose", format!("{prose}{chain}"), of(&svid, true, false)),
        ("CRLF", chain.replace('\n', "\r\n"), of(&svid, true, false)),
        ("both", format!("{key}{chain}"), of(&svid, true, true)),
        ("both, the other way round", format!("{chain}{prose}{key}"), of(&svid, true, true)),
    ] {
        let State::Present(found) = place.look(&place.write(text)) else { panic!("{name}") };
        assert_eq!(found.content, content, "{name}");
    }
    for kind in [KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
        let svid = place.issue(kind);
        let State::Present(found) = place.look(&place.write(svid.key_pem() + &svid.chain_pem()))
        else {
            panic!("{kind:?}")
        };
        assert_eq!(found.content, of(&svid, true, true), "{kind:?}");
    }
}

#[test]
fn p07_survey_of_states() {
    let place = Place::new();
    let directory = &place.directory;
    symlink("..data/svid.pem", directory.join("dangling")).unwrap();
    symlink("loop", directory.join("loop")).unwrap();
    fs::create_dir(directory.join("directory")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, directory.join("fifo"), 0o600.into()).unwrap();
    let file = place.write("text".to_owned());
    for (path, state) in [
        (directory.join("missing"), State::Missing),
        (directory.join("missing/deeper"), State::Missing),
        (directory.join("dangling"), State::Missing),
        (directory.join("loop"), State::Missing),
        (file.join("below-a-file"), State::Missing),
        (directory.join("directory"), State::NotRegular),
        (directory.join("fifo"), State::NotRegular),
        (PathBuf::new(), State::NotSet),
        // Relative to a data directory that no lock file tells.
        (PathBuf::from("server.crt"), State::OutOfSight),
    ] {
        assert_eq!(place.look(&path), state, "{}", path.display());
    }
    directory.write(".s.PGSQL.5432.lock", format!("1\n{directory}\n"), 0o600);
    // Nor by a lock file alone, which others may have made.
    assert_eq!(place.look(Path::new("text")), State::OutOfSight);
    // Published files are known by any path that leads through the link that a publication replaces.
    fs::create_dir(directory.join("..v1")).unwrap();
    fs::rename(&file, directory.join("..v1/text")).unwrap();
    symlink("..v1", directory.join("..data")).unwrap();
    symlink("..data/text", &file).unwrap();
    symlink(&file, directory.join("link")).unwrap();
    assert!(place.survey(&directory.join("link")).certificate.published);
    assert!(!place.survey(&directory.join("fifo")).certificate.published);
}

#[test]
fn p26_survey_where_postgresql_mounts_the_directory_elsewhere() {
    let place = Place::new();
    place.write("text".to_owned());
    let facts = place.survey(Path::new("/certs/text")).certificate;
    assert_eq!(facts.path, Some(place.directory.join("text")));
    assert!(facts.published, "{facts:?}");
}

/// A directory with a socket, which tells whose the server is.
struct Place {
    directory: Directory,
    agent: DevAgent,
}

impl Place {
    fn new() -> Self {
        let directory = Directory::new();
        let socket = directory.join(".s.PGSQL.5432");
        UnixListener::bind(&socket).unwrap();
        let owner = fs::metadata(directory.path()).unwrap();
        chown(socket, Some(owner.uid()), Some(owner.gid())).unwrap();
        let agent = DevAgent::builder(directory.join("agent.sock")).start().unwrap();
        Self { directory, agent }
    }

    fn issue(&self, kind: KeyType) -> Svid {
        self.agent.issue(&Entry::new("spiffe://example.org/db").key_type(kind)).unwrap()
    }

    fn write(&self, text: String) -> PathBuf {
        self.directory.write("text", text, 0o644)
    }

    fn look(&self, path: &Path) -> State {
        self.survey(path).certificate.state
    }

    fn survey(&self, certificate: &Path) -> Files {
        let settings = TlsSettings {
            certificate: setting(certificate.to_str().unwrap()),
            ..TlsSettings::default()
        };
        let socket = sql::Settings {
            host: self.directory.path().to_owned(),
            port: 5432,
            user: "pgsvid".to_owned(),
            database: "postgres".to_owned(),
            password_file: None,
            require_peer: None,
            purpose: pgsvid::sql::Purpose::Reload,
        };
        let published = PublishedPaths {
            certificate: "/certs/text".into(),
            private_key: "/certs/key".into(),
            bundle: "/certs/bundle".into(),
        };
        let viewpoint = Viewpoint {
            directory: self.directory.path().to_owned(),
            seen_as: "/certs".into(),
            data_directory: None,
        };
        let files = survey::files(&settings, &socket, &published, &viewpoint);
        let owner = fs::metadata(self.directory.path()).unwrap().uid();
        assert_eq!(files.server_uid, Some(owner));
        files
    }
}

/// Three files of the server's that belong together, at other paths than pgsvid's, and changed.
fn files(change: impl FnOnce(&mut Files)) -> Files {
    let facts = |path: &str, content| FileFacts {
        named: path.to_owned(),
        path: Some(path.into()),
        published: false,
        state: with(content),
    };
    let unset =
        || FileFacts { named: String::new(), path: None, published: false, state: State::NotSet };
    let mut files = Files {
        certificate: facts("/c/c", pem(Some(b"public"), None)),
        private_key: facts("/c/k", pem(None, Some(b"public"))),
        authorities: facts("/c/a", pem(Some(b"authority"), None)),
        revocation_lists: unset(),
        parameters: unset(),
        others: Vec::new(),
        version: 150_018,
        psql: sql::Psql::default(),
        server_uid: Some(SERVER),
    };
    change(&mut files);
    files
}

fn with(content: Content) -> State {
    let modified = SystemTime::UNIX_EPOCH;
    State::Present(Present { uid: SERVER, gid: SERVER, mode: 0o600, modified, content })
}

fn key(files: &mut Files, uid: u32, mode: u32) {
    let State::Present(present) = &mut files.private_key.state else { panic!("it is there") };
    (present.uid, present.mode) = (uid, mode);
}

fn pem(leaf_key: Option<&[u8]>, private_key: Option<&[u8]>) -> Content {
    let certificate = || {
        let authority = Authority::new("example.org", false).unwrap();
        Certificate::parse(authority.root()).unwrap().fingerprint()
    };
    Content::Pem {
        leaf: leaf_key.map(|_| certificate()),
        leaf_key: leaf_key.map(<[u8]>::to_vec),
        private_key: private_key.map(<[u8]>::to_vec),
        trusted_alone: false,
    }
}

/// What a file holds with the certificate, the key, or both.
fn of(svid: &Svid, certificate: bool, key: bool) -> Content {
    let leaf = Certificate::parse(svid.leaf()).unwrap();
    let public = leaf.public_key().to_vec();
    Content::Pem {
        leaf: certificate.then(|| leaf.fingerprint()),
        leaf_key: certificate.then(|| public.clone()),
        private_key: key.then_some(public),
        trusted_alone: false,
    }
}

fn setting(value: &str) -> Setting {
    Setting { value: value.to_owned(), ..Setting::default() }
}

#[track_caller]
fn assert_one(files: &Files, cause: &str, fix: &str) {
    let findings = diagnose::refused(files);
    let [finding] = findings.as_slice() else { panic!("not one finding: {findings:?}") };
    assert!(finding.text.contains(cause), "{finding:?} lacks {cause:?}");
    assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding:?} lacks {fix:?}");
}
