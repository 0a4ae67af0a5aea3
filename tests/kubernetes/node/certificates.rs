//! O15: a certificate of cert-manager in a Secret, which is replaced while it is mounted. The test writes the Secret.

use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::eventually;
use crate::kubectl::apply;
use crate::namespace::Namespace;

/// The Secret `dbserver-tls` with another certificate, as cert-manager writes it.
fn secret(namespace: &str, authority: &CertifiedIssuer<'_, KeyPair>) -> serde_json::Value {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["dbserver-svc".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, authority).unwrap();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "dbserver-tls", "namespace": namespace},
        "stringData": {"tls.crt": leaf.pem(), "tls.key": key.serialize_pem(), "ca.crt": authority.pem()},
    })
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "databases");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn o16_a_mounted_secret_of_cert_manager_is_replaced_and_postgresql_serves_it() {
    let authority = authority();
    // Nobody acts on its Certificates here.
    let namespace = Namespace::with_example("certificates", "cert-manager", |_| ());
    apply(&[secret(namespace.name(), &authority)]).unwrap();
    namespace.rolled_out("statefulset/dbserver");
    let before = namespace.database();
    for count in 2..=3 {
        apply(&[secret(namespace.name(), &authority)]).unwrap();
        let written = Instant::now();
        eventually("PostgreSQL serves the next certificate", || {
            namespace.events("rotated").iter().filter(|it| it["verdict"] == "current").count()
                >= count
        });
        println!(
            "a Secret that is mounted: served {:.0?} after it was replaced",
            written.elapsed()
        );
    }
    let after = namespace.database();
    assert_eq!((after.uid(), after.since()), (before.uid(), before.since()));
    assert_eq!([after.restarts("pgsvid"), after.restarts("postgres")], [0, 0]);
}
