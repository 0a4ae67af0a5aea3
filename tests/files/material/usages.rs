//! F27: what a leaf may be used for, by its extended key usage, keyUsage and nsCertType, and by those of the authorities above it; each
//! time with what `openssl verify -purpose` says.

use std::process::Command;

use pgsvid::material::{AllowedUses, Certificate, ForbiddenBy, Usage, certificates, verify_path};
use pgsvid::timing;
use test_support::{Directory, openssl};

const SIGNATURE: &str = "keyUsage=critical,digitalSignature";
const SIGNS: &str = "keyUsage=critical,keyCertSign";

/// Certificates in files, made by OpenSSL.
struct Place(Directory);

impl Place {
    fn new() -> Self {
        let place = Self(Directory::new());
        let root = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout root.key -out root.pem -days 2 \
                    -subj /CN=root -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
        place.openssl(root);
        place
    }

    fn openssl(&self, arguments: &str) -> bool {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        output.status.success()
    }

    /// A certificate with these extensions.
    fn issue(&self, name: &str, issuer: &str, extensions: &[&str]) -> Certificate {
        self.0.write(&format!("{name}.ext"), extensions.join("\n") + "\n", 0o600);
        assert!(self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        )));
        assert!(self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -out {name}.pem -days 1 -extfile {name}.ext"
        )));
        self.read(name)
    }

    fn read(&self, name: &str) -> Certificate {
        let pem = std::fs::read(self.0.join(&format!("{name}.pem"))).unwrap();
        let der = openssl(&["x509", "-outform", "DER"], pem);
        certificates(&der, 1).unwrap().remove(0)
    }

    fn verifies(&self, purpose: &str, name: &str, issuer: &str) -> bool {
        let untrusted =
            if issuer == "root" { String::new() } else { format!("-untrusted {issuer}.pem") };
        self.openssl(&format!("verify -purpose {purpose} -CAfile root.pem {untrusted} {name}.pem"))
    }
}

#[test]
fn f27_what_a_leaf_may_be_used_for_is_what_openssl_says() {
    let place = Place::new();
    let root = place.read("root");
    let leaf = |more: &[&'static str]| {
        [
            &["subjectAltName=URI:spiffe://example.org/db", "basicConstraints=critical,CA:FALSE"],
            more,
        ]
        .concat()
    };
    let usage = "extendedKeyUsage";
    let extended = |purposes: &'static str| -> &'static str {
        Box::leak(format!("{usage}={purposes}").into_boxed_str())
    };
    for (name, extensions, servers, clients) in [
        ("none", leaf(&[SIGNATURE]), true, true),
        ("both", leaf(&[SIGNATURE, extended("serverAuth,clientAuth")]), true, true),
        ("server", leaf(&[SIGNATURE, extended("serverAuth")]), true, false),
        ("client", leaf(&[SIGNATURE, extended("clientAuth")]), false, true),
        // It satisfies no purpose of OpenSSL's.
        ("any", leaf(&[SIGNATURE, extended("anyExtendedKeyUsage")]), false, false),
        ("gated", leaf(&[SIGNATURE, extended("msSGC")]), true, false),
        ("other", leaf(&[SIGNATURE, extended("codeSigning")]), false, false),
        ("encipherment", leaf(&["keyUsage=critical,keyEncipherment"]), true, false),
        ("agreement", leaf(&["keyUsage=critical,keyAgreement"]), true, true),
        ("repudiation", leaf(&["keyUsage=critical,nonRepudiation"]), false, false),
        ("nsserver", leaf(&[SIGNATURE, "nsCertType=server"]), true, false),
        ("nsclient", leaf(&[SIGNATURE, "nsCertType=client"]), false, true),
    ] {
        let certificate = place.issue(name, "root", &extensions);
        assert_eq!(place.verifies("sslserver", name, "root"), servers, "{name}");
        assert_eq!(place.verifies("sslclient", name, "root"), clients, "{name}");
        let allowed_uses = AllowedUses::of_leaf(&certificate);
        let wanted = |may: bool| (!may).then_some(ForbiddenBy::Leaf);
        assert_eq!(
            allowed_uses,
            AllowedUses { servers: wanted(servers), clients: wanted(clients) },
            "{name}"
        );
        judged(&certificate, &[], &root, servers, clients, ForbiddenBy::Leaf);
    }
}

#[test]
fn f27_the_extended_key_usage_of_an_authority_counts_for_what_is_below_it() {
    let place = Place::new();
    let root = place.read("root");
    for (name, usage, servers, clients) in [
        ("plain", "", true, true),
        ("servers", "extendedKeyUsage=serverAuth", true, false),
        ("clients", "extendedKeyUsage=clientAuth", false, true),
        ("others", "extendedKeyUsage=codeSigning", false, false),
        ("anything", "extendedKeyUsage=anyExtendedKeyUsage", false, false),
    ] {
        let extensions = ["basicConstraints=critical,CA:TRUE", SIGNS, usage];
        let above = place.issue(name, "root", &extensions);
        let below = format!("by-{name}");
        let names = "subjectAltName=URI:spiffe://example.org/db";
        let leaf = place.issue(&below, name, &[names, SIGNATURE]);
        assert_eq!(place.verifies("sslserver", &below, name), servers, "{name}");
        assert_eq!(place.verifies("sslclient", &below, name), clients, "{name}");
        judged(&leaf, &[above], &root, servers, clients, ForbiddenBy::Authority);
    }
}

/// One that is for servers or for clients is accepted, and it is known which.
#[track_caller]
fn judged(
    leaf: &Certificate,
    above: &[Certificate],
    root: &Certificate,
    servers: bool,
    clients: bool,
    by: ForbiddenBy,
) {
    let verify = |usage| verify_path(leaf, above, std::slice::from_ref(root), usage, timing::now());
    assert_eq!(verify(Usage::Server).is_ok(), servers);
    assert_eq!(verify(Usage::Client).is_ok(), clients);
    let any = verify(Usage::Any);
    assert_eq!(any.is_ok(), servers || clients);
    if let Ok(sound) = any {
        let wanted = |may: bool| (!may).then_some(by);
        assert_eq!(
            sound.allowed_uses,
            AllowedUses { servers: wanted(servers), clients: wanted(clients) }
        );
    }
}
