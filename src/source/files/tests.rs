//! The source in paused time, over real files.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use dev_agent::{Authority, Entry, Flaw, Svid};
use tempfile::TempDir;

use super::*;
use crate::finding::Code;
use crate::material::Policy;

/// Files, what reads them, and what it has come to.
struct Stage {
    place: TempDir,
    authority: Authority,
    state: watch::Receiver<SourceState>,
    _stop: tokio_util::sync::DropGuard,
}

impl Stage {
    /// Over an empty directory.
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let settings = Settings {
            paths: Paths {
                certificate: at("tls.crt"),
                private_key: at("tls.key"),
                bundle: at("ca.crt"),
            },
            expectations: Expectations { policy: Policy::X509, ..Expectations::default() },
            published: None,
            renewal_percent: 67,
            is_silent: true,
            in_place: false,
        };
        let (source, state) = Source::new(settings, &Watching::blind());
        let stop = CancellationToken::new();
        tokio::spawn(source.run(stop.clone()));
        let authority = Authority::new("example.org", false).unwrap();
        Self { place, authority, state, _stop: stop.drop_guard() }
    }

    fn issue(&self) -> Svid {
        self.issue_with(|entry| entry)
    }

    fn issue_with(&self, change: impl FnOnce(Entry) -> Entry) -> Svid {
        let entry = Entry::new("spiffe://example.org/db").dns("db.example").with(Flaw::NoUri);
        self.authority.issue(&change(entry)).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = File::create(self.place.path().join(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn write_all(&self, svid: &Svid) {
        self.write("tls.crt", svid.chain_pem());
        self.write("tls.key", svid.key_pem());
        self.write("ca.crt", svid.bundle_pem());
    }

    fn current(&self) -> Option<String> {
        let state = self.state.borrow();
        let material = state.identity.material()?;
        Some(material.leaf().serial().to_string().replace(':', ""))
    }

    fn code(&self) -> Option<Code> {
        let state = self.state.borrow();
        let code = state.files().unwrap().trouble.as_ref().map(|trouble| trouble.code);
        assert_eq!(code.is_some(), state.rejected.is_some());
        code
    }

    /// Waits until this one is handed on, and nothing is wrong.
    async fn takes(&mut self, svid: &Svid) {
        let wanted = svid.serial_hex();
        let is_there = |state: &SourceState| {
            let material = state.identity.material();
            let serial = material.map(|it| it.leaf().serial().to_string().replace(':', ""));
            serial.as_ref() == Some(&wanted)
                && state.rejected.is_none()
                && state.files().unwrap().waiting.is_none()
        };
        let is_in_time =
            timeout(Duration::from_secs(120), self.state.wait_for(is_there)).await.is_ok();
        assert!(is_in_time, "{:?}", self.state.borrow());
    }

    /// Waits until that is said.
    async fn says(&mut self, code: Code) {
        let is_said = |state: &SourceState| {
            state.files().unwrap().trouble.as_ref().is_some_and(|trouble| trouble.code == code)
        };
        let is_in_time =
            timeout(Duration::from_secs(120), self.state.wait_for(is_said)).await.is_ok();
        assert!(is_in_time, "{:?}", self.state.borrow());
    }
}

#[tokio::test(start_paused = true)]
async fn z01_a_set_that_is_written_file_by_file_is_taken_when_it_is_complete_and_nothing_is_reported()
 {
    let mut stage = Stage::new();
    let first = stage.issue();
    stage.write_all(&first);
    stage.takes(&first).await;
    for _ in 0..5 {
        let before = stage.current();
        let next = stage.issue();
        stage.write("tls.key", next.key_pem());
        sleep(Duration::from_secs(4)).await;
        assert_eq!(stage.current(), before);
        stage.write("tls.crt", next.chain_pem());
        stage.takes(&next).await;
        assert_eq!(stage.state.borrow().rejections, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn z02_a_key_of_another_leaf_is_reported_after_a_while_and_the_set_before_stays() {
    let mut stage = Stage::new();
    let (first, next) = (stage.issue(), stage.issue());
    stage.write_all(&first);
    stage.takes(&first).await;
    stage.write("tls.key", next.key_pem());
    sleep(PATIENCE / 2).await;
    assert_eq!((stage.code(), stage.current()), (None, Some(first.serial_hex())));
    stage.says(Code::CertificatesPair).await;
    assert_eq!(stage.current(), Some(first.serial_hex()));
    assert_eq!(stage.state.borrow().rejections, 1);
    // It is counted once, however long it lasts.
    sleep(PATIENCE * 20).await;
    assert_eq!(stage.state.borrow().rejections, 1);
    stage.write("tls.crt", next.chain_pem());
    stage.takes(&next).await;
    assert_eq!(stage.code(), None);
}

#[tokio::test(start_paused = true)]
async fn f73_what_is_no_set_is_told_with_the_time_of_that_file_and_not_of_the_set_before() {
    let mut stage = Stage::new();
    let first = stage.issue();
    stage.write_all(&first);
    stage.takes(&first).await;
    let hour = Duration::from_secs(3600);
    stage.write_all(&stage.issue_with(|entry| entry.with(Flaw::Expired(hour))));
    let year = 366 * 24 * hour;
    let certificate = File::options().write(true).open(stage.place.path().join("tls.crt")).unwrap();
    certificate.set_modified(SystemTime::UNIX_EPOCH + 30 * year).unwrap();
    stage.says(Code::CertificatesExpired).await;
    let fix = {
        let now = stage.state.borrow();
        now.files().unwrap().trouble.clone().unwrap().fix.unwrap()
    };
    assert!(fix.contains("last written 2000-"), "{fix}");
}

#[tokio::test(start_paused = true)]
async fn z03_z06_z07_what_is_no_set_has_its_code_and_ends_with_the_set_that_follows() {
    let mut stage = Stage::new();
    stage.says(Code::CertificatesMissing).await;
    let good = stage.issue();
    stage.write_all(&good);
    stage.takes(&good).await;
    let other = Authority::new("example.org", false).unwrap().root_pem();
    let hour = Duration::from_secs(3600);
    let expired = stage.issue_with(|entry| entry.with(Flaw::Expired(hour)));
    let early = stage.issue_with(|entry| entry.with(Flaw::NotYetValid(hour)));
    let key = good.key_pem();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (name, text, code) in [
        ("ca.crt", other.as_bytes(), Code::CertificatesUnsigned),
        ("ca.crt", b"", Code::CertificatesFormat),
        ("tls.key", encrypted.as_bytes(), Code::CertificatesFormat),
        ("tls.key", &key.as_bytes()[..key.len() / 2], Code::CertificatesFormat),
        ("tls.key", &good.key, Code::CertificatesFormat),
        ("tls.crt", good.leaf(), Code::CertificatesFormat),
        ("tls.crt", b"words", Code::CertificatesFormat),
    ] {
        stage.write(name, text);
        stage.says(code).await;
        assert_eq!(stage.current(), Some(good.serial_hex()));
        stage.write_all(&good);
        stage.takes(&good).await;
    }
    for (bad, code) in [(expired, Code::CertificatesExpired), (early, Code::CertificatesEarly)] {
        stage.write_all(&bad);
        stage.says(code).await;
        assert_eq!(stage.current(), Some(good.serial_hex()));
    }
    std::fs::remove_file(stage.place.path().join("ca.crt")).unwrap();
    stage.says(Code::CertificatesMissing).await;
    symlink("/", stage.place.path().join("ca.crt")).unwrap();
    stage.says(Code::CertificatesUnreadable).await;
    std::fs::set_permissions(stage.place.path(), Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn z10_a_bundle_that_is_written_block_by_block_is_not_taken_before_it_is_complete() {
    let mut stage = Stage::new();
    let first = stage.issue();
    stage.write_all(&first);
    stage.takes(&first).await;
    // Each part of it vouches for the leaf.
    let mut bundle = first.bundle_pem();
    let others: Vec<String> = (0..20)
        .map(|number| Authority::new(&format!("{number}.example"), false).unwrap().root_pem())
        .collect();
    for other in &others {
        bundle.push_str(other);
        stage.write("ca.crt", &bundle);
        sleep(SETTLE_SILENT / 4).await;
        let now = stage.state.borrow();
        assert_eq!(now.identity.material().unwrap().authorities().count(), 1);
    }
    let is_whole = |state: &SourceState| {
        state.identity.material().is_some_and(|material| material.authorities().count() == 21)
    };
    timeout(Duration::from_secs(60), stage.state.wait_for(is_whole)).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn z10_files_that_keep_changing_are_reported() {
    let mut stage = Stage::new();
    let first = stage.issue();
    stage.write_all(&first);
    stage.takes(&first).await;
    let deadline = Instant::now() + PATIENCE * 6;
    let mut text = first.bundle_pem();
    while stage.code() != Some(Code::CertificatesUnsettled) {
        assert!(Instant::now() < deadline, "{:?}", stage.state.borrow());
        text.push('\n');
        stage.write("ca.crt", &text);
        sleep(SETTLE_SILENT / 2).await;
    }
    assert_eq!(stage.current(), Some(first.serial_hex()));
}
