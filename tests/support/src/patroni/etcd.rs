//! A single etcd, Patroni's store.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Account, Directory, LIMIT, Program, eventually, ports};

/// An etcd that keeps nothing. It ends when the value is dropped.
pub struct Etcd {
    port: u16,
    tls: Option<PathBuf>,
    arguments: Vec<String>,
    program: Mutex<Option<Program>>,
    _directory: Directory,
}

impl Etcd {
    /// Starts an etcd without TLS.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts an etcd that shows the certificate in this directory, and demands one of the same authority.
    #[track_caller]
    pub fn with_tls(files: &Path) -> Self {
        Self::start_with(Some(files))
    }

    #[track_caller]
    fn start_with(tls: Option<&Path>) -> Self {
        let (directory, port, peers) = (Directory::new(), ports::free(), ports::free());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let mut arguments = vec![
            format!("--data-dir={}", directory.join("data").display()),
            format!("--listen-client-urls={client}"),
            // A name of its certificate.
            format!("--advertise-client-urls={scheme}://localhost:{port}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        if let Some(files) = tls.map(Path::display) {
            arguments.extend([
                format!("--cert-file={files}/svid.pem"),
                format!("--key-file={files}/svid_key.pem"),
                format!("--trusted-ca-file={files}/svid_bundle.pem"),
                "--client-cert-auth".to_owned(),
            ]);
        }
        let tls = tls.map(Path::to_owned);
        let etcd = Self { port, tls, arguments, program: Mutex::new(None), _directory: directory };
        etcd.restart();
        etcd
    }

    /// Starts it again with the same data: it reads its trusted authorities only then.
    #[track_caller]
    pub fn restart(&self) {
        let mut running = self.program.lock().unwrap();
        if let Some(program) = running.take() {
            program.terminate(LIMIT);
        }
        let arguments = self.arguments.iter().map(String::as_str);
        *running = Some(Program::spawn_as(Account::server(), program("etcd"), arguments, &[]));
        eventually(LIMIT, "etcd listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Sets a key of an etcd without TLS.
    #[track_caller]
    pub fn put(&self, key: &str, value: &str) {
        let request = format!(
            "import base64, http.client, json\n\
             def text(it): return base64.b64encode(it.encode()).decode()\n\
             etcd = http.client.HTTPConnection('127.0.0.1', {})\n\
             etcd.request('POST', '/v3/kv/put', json.dumps({{'key': text('{key}'), 'value': text('{value}')}}))\n\
             assert etcd.getresponse().status == 200\n",
            self.port
        );
        // The one that Debian's Patroni needs; another may be out of reach for the servers' user.
        let put = Program::spawn("/usr/bin/python3", ["-c", &request], &[]);
        assert!(put.wait_exit(LIMIT).success(), "{}", put.standard_error());
    }

    /// The section for Patroni's configuration.
    pub fn section(&self) -> String {
        let Some(files) = self.tls.as_ref().map(|files| files.display()) else {
            return format!("etcd3:\n  host: 127.0.0.1:{}\n", self.port);
        };
        format!(
            "etcd3:\n  host: localhost:{}\n  protocol: https\n  cacert: {files}/svid_bundle.pem\n  cert: {files}/svid.pem\n  \
             key: {files}/svid_key.pem\n",
            self.port
        )
    }
}

/// A program that is installed, or that `scripts/test` has unpacked.
pub(super) fn program(name: &str) -> PathBuf {
    let target = env::current_exe().expect("knows its path");
    let unpacked = target.ancestors().filter(|it| it.ends_with("debug") || it.ends_with("release"));
    let unpacked = unpacked.filter_map(Path::parent).map(|target| target.join("tools"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(unpacked)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no {name}: run scripts/test"))
}
