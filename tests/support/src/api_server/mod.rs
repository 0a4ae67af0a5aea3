//! An API server of Kubernetes that keeps Secrets and Leases in memory, and misbehaves on demand.
//!
//! It is for faults that no real one has. What a real one does is tested with a real one (`scripts/test-kubernetes`).

mod answers;
mod objects;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

use crate::{Directory, eventually};

/// How the server answers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Each request with this HTTP status.
    Status(u16),
    /// Each request about a Lease with this HTTP status.
    Leases(u16),
    /// Each write of the Secret with this name by a refusal.
    Name(&'static str),
    /// Each watch with this HTTP status.
    Watches(u16),
    /// Each write with this HTTP status; it is a fault of one field (`FieldValueTooLong`).
    TooLong,
    /// RBAC grants nothing.
    Forbidden,
    /// Not at all.
    Silent,
    /// By something that is not JSON.
    Garbage,
    /// By bytes without end.
    Endless,
    /// Each read of the Secret `s` with the number N by the N-th text, and each watch by its first 100,000 bytes,
    /// without an end of line.
    Bodies(&'static [&'static str]),
    /// Each request by headers of that many bytes.
    Headers(usize),
    /// Each watch by events without end.
    Flood,
    /// Each watch by an event that is longer than anybody reads, then as it should.
    LongEvent,
    /// Each write is stored with other contents.
    Altering,
}

/// A running server. It ends with the value.
pub struct ApiServer {
    address: SocketAddr,
    /// The files with the authority and the token.
    pub files: Directory,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    events: broadcast::Sender<(String, Value)>,
}

#[derive(Default)]
pub(crate) struct State {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    token: String,
    fault: Fault,
    /// Method and path of each request, without those of watches.
    requests: Vec<String>,
    /// The path and the leaf of each Secret that was written, the oldest first.
    written: Vec<(String, Value)>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The path of a Secret.
fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

/// The path of a Lease.
fn lease_path(namespace: &str, name: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
}

impl ApiServer {
    /// Starts a server at a free port of 127.0.0.1.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Directory::new())
    }

    fn start_at(address: SocketAddr, files: Directory) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("binds the API server");
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&files);
        let state = State { token: "the-token".to_owned(), ..State::default() };
        files.write("token", "the-token", 0o644);
        let events = broadcast::channel(1024).0;
        let shared = Arc::new(Shared { state: Mutex::new(state), events });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let server = answers::serve(listener, acceptor, Arc::clone(&shared));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = server => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, files, shared, stop: Some(stop) }
    }

    /// The port at which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The table `[kubernetes]` for it, with the own namespace `own`.
    pub fn table(&self) -> String {
        format!(
            "[kubernetes]\nserver = 'https://{}'\nca_file = '{}'\ntoken_file = '{}'\nnamespace = 'own'\n",
            self.address,
            self.files.join("ca.pem").display(),
            self.files.join("token").display(),
        )
    }

    /// Changes how it answers.
    pub fn fault(&self, fault: Fault) {
        self.shared.state().fault = fault;
    }

    /// Accepts only this token from now on; the file is not changed.
    pub fn accept_only(&self, token: &str) {
        token.clone_into(&mut self.shared.state().token);
    }

    /// A Secret; `None` if it does not exist.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Value> {
        self.shared.state().objects.get(&path(namespace, name)).cloned()
    }

    /// The bytes of a field of a Secret; `None` if there is none.
    pub fn field(&self, namespace: &str, name: &str, key: &str) -> Option<Vec<u8>> {
        let secret = self.secret(namespace, name)?;
        STANDARD.decode(secret["data"][key].as_str()?).ok()
    }

    /// Puts a Secret there, as another manager that only updates.
    pub fn put(&self, namespace: &str, name: &str, data: &Value) {
        let mut state = self.shared.state();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": name, "namespace": namespace, "uid": format!("uid-{}", state.version) },
            "data": data,
        });
        state.store(&self.shared, &path(namespace, name), object, "ADDED");
    }

    /// Changes a Secret, as somebody with an editor does.
    #[track_caller]
    pub fn edit(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.shared.state();
        let path = path(namespace, name);
        let mut object = state.objects.get(&path).expect("the Secret exists").clone();
        let before = object["data"].clone();
        change(&mut object);
        // An update takes a field from those who have applied it.
        let changed: Vec<String> = before
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| object["data"].get(key) != Some(value))
            .map(|(key, _)| format!("f:{key}"))
            .collect();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = entry["fieldsV1"]["f:data"].as_object_mut() {
                fields.retain(|key, _| !changed.contains(key));
            }
        }
        state.store(&self.shared, &path, object, "MODIFIED");
    }

    /// Deletes a Secret.
    pub fn delete(&self, namespace: &str, name: &str) {
        let mut state = self.shared.state();
        let path = path(namespace, name);
        if let Some(object) = state.objects.remove(&path) {
            state.version += 1;
            let _ = self.shared.events.send((path, json!({ "type": "DELETED", "object": object })));
        }
    }

    /// Puts a Lease there, held by somebody else.
    pub fn put_lease(&self, namespace: &str, name: &str, holder: &str, seconds: u64) {
        let mut state = self.shared.state();
        let object = json!({
            "metadata": { "name": name, "namespace": namespace, "uid": format!("uid-{}", state.version) },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds },
        });
        state.store(&self.shared, &lease_path(namespace, name), object, "ADDED");
    }

    /// Labels a Lease: it has another version then.
    pub fn label_lease(&self, namespace: &str, name: &str) {
        let mut state = self.shared.state();
        let path = lease_path(namespace, name);
        if let Some(mut object) = state.objects.get(&path).cloned() {
            object["metadata"]["labels"] = json!({ "version": state.version.to_string() });
            state.store(&self.shared, &path, object, "MODIFIED");
        }
    }

    /// Deletes a Lease.
    pub fn delete_lease(&self, namespace: &str, name: &str) {
        self.shared.state().objects.remove(&lease_path(namespace, name));
    }

    /// The requests so far, without watches: `GET /api/…`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// The Secrets that were written, the oldest first: the path, and the object as it was stored.
    pub fn written(&self) -> Vec<(String, Value)> {
        self.shared.state().written.clone()
    }

    /// Waits until a Secret has a field, and returns its bytes.
    #[track_caller]
    pub fn wait_for_field(&self, namespace: &str, name: &str, key: &str) -> Vec<u8> {
        let limit = Duration::from_secs(30);
        eventually(limit, format!("{namespace}/{name} has {key}"), || {
            self.field(namespace, name, key).is_some()
        });
        self.field(namespace, name, key).unwrap_or_default()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn acceptor(files: &Directory) -> TlsAcceptor {
    let authority = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = parameters.self_signed(&authority).unwrap();
    files.write("ca.pem", root.pem(), 0o644);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "api".to_owned()]).unwrap();
    leaf.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let leaf = leaf.signed_by(&key, &Issuer::new(parameters, &authority)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
