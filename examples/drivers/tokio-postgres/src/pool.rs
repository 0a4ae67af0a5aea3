use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, Pool};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect as Rustls;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A pool whose connections live so long.
pub fn open_pool(mut config: Config, files: PathBuf, lifetime: Duration) -> Result<Pool, Error> {
    // The default connects without TLS to a server that offers none.
    config.ssl_mode(SslMode::Require);
    let young = Hook::sync_fn(move |_, metrics| {
        if metrics.age() < lifetime { Ok(()) } else { Err(HookError::message("old")) }
    });
    Ok(Pool::builder(Manager::new(config, Newest(files))).max_size(4).pre_recycle(young).build()?)
}

/// Reads the files for each connection.
#[derive(Clone)]
struct Newest(PathBuf);

impl MakeTlsConnect<Socket> for Newest {
    type Stream = <Rustls as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <Rustls as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Error> {
        let mut rustls = Rustls::new(configuration(&self.0)?);
        Ok(MakeTlsConnect::<Socket>::make_tls_connect(&mut rustls, host)?)
    }
}

/// The three files in one directory, so that they are of one rotation.
fn configuration(files: &Path) -> Result<ClientConfig, Error> {
    let current = files.join("..data").canonicalize()?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(current.join("svid_bundle.pem"))? {
        roots.add(root?)?;
    }
    let chain =
        CertificateDer::pem_file_iter(current.join("svid.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(current.join("svid_key.pem"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}
