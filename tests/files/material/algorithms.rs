//! F01, F02: signature algorithms of authorities. pgsvid accepts whatever PostgreSQL's OpenSSL accepts.

use pgsvid::material::{Certificate, Material, Offer, Rejection, certificates};
use test_support::{Directory, openssl};
use zeroize::Zeroizing;

use crate::material::offers::{ID, check};
use crate::material::openssl::{Question, Questions};

/// An authority's key, and how it signs, as arguments of `openssl`.
struct Kind {
    key: &'static [&'static str],
    signs: &'static [&'static str],
}

const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
const K256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
const RSA: &[&str] = &["rsa:2048"];
/// The salt is as long as the digest: what TLS has.
const PSS_OF_TLS: &[&str] =
    &["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
const PSS: &[&str] = &["-sigopt", "rsa_padding_mode:pss"];

/// A root, an intermediate and a leaf, all signed so.
fn offer(kind: &Kind) -> Offer {
    let directory = Directory::new();
    let config = directory.write(
        "openssl.cnf",
        format!(
            "[req]\nprompt = no\ndistinguished_name = name\n[name]\nCN = db\n\
             [root]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
             [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
             authorityKeyIdentifier = keyid\n\
             [leaf]\nkeyUsage = critical, digitalSignature\nauthorityKeyIdentifier = keyid\n\
             subjectAltName = URI:{ID}, DNS:db.example.org\nextendedKeyUsage = serverAuth, clientAuth\n"
        ),
        0o644,
    );
    let config = config.to_str().unwrap();
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let [root_key, root, authority_key, authority, leaf_key] =
        ["root.key", "root.pem", "authority.key", "authority.pem", "leaf.key"].map(file);
    let newkey = [&["-newkey"], kind.key, &["-nodes"]].concat();
    let run = |arguments: &[&[&str]], input: &[u8]| openssl(&arguments.concat(), input);
    run(
        &[
            &["req", "-x509", "-config", config, "-extensions", "root", "-subj", "/CN=root"],
            &newkey,
            kind.signs,
            &["-keyout", &root_key, "-out", &root],
        ],
        b"",
    );
    let request = run(
        &[
            &["req", "-new", "-config", config, "-subj", "/CN=authority"],
            &newkey,
            &["-keyout", &authority_key],
        ],
        b"",
    );
    let sign = |request: &[u8], by: [&str; 2], section: &str| {
        let issuer = [
            "x509",
            "-req",
            "-CA",
            by[0],
            "-CAkey",
            by[1],
            "-extfile",
            config,
            "-extensions",
            section,
            "-set_serial",
            "7",
        ];
        run(&[&issuer, kind.signs], request)
    };
    let signed = sign(&request, [&root, &root_key], "authority");
    directory.write("authority.pem", &*signed, 0o644);
    let request = run(
        &[&["req", "-new", "-config", config, "-newkey"], P256, &["-nodes", "-keyout", &leaf_key]],
        b"",
    );
    let leaf = sign(&request, [&authority, &authority_key], "leaf");
    let der = |pem: &[u8]| run(&[&["x509", "-outform", "DER"]], pem);
    Offer {
        spiffe_id: None,
        hint: String::new(),
        chain: [der(&leaf), der(&signed)].concat(),
        key: Zeroizing::new(run(
            &[&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", &leaf_key]],
            b"",
        )),
        bundle: der(&std::fs::read(&root).unwrap()),
    }
}

/// Whether OpenSSL takes it as a server's.
fn openssl_takes(material: &Material) -> Result<(), String> {
    let chain: Vec<&[u8]> = material.chain().map(Certificate::der).collect();
    let trusted: Vec<&[u8]> = material.authorities().map(Certificate::der).collect();
    let mut questions = Questions::default();
    let (leaf, sent) = (chain[0], &chain[1..]);
    questions.ask(&Question::Path { purpose: "ssl_server", leaf, sent, trusted: &trusted });
    questions.answers().remove(0)
}

#[test]
fn f01_authorities_of_p521_are_taken_and_checked() {
    for signs in [&["-sha256"], &["-sha384"], &["-sha512"], &["-sha224"]] {
        let good = Kind { key: P521, signs };
        let material = check(offer(&good)).unwrap();
        assert_eq!(openssl_takes(&material), Ok(()), "{signs:?}");
        // One bit of the leaf's signature.
        let mut wrong = offer(&good);
        let leaf = certificates(&wrong.chain, 2).unwrap()[0].der().len();
        wrong.chain[leaf - 1] ^= 1;
        assert!(matches!(check(wrong), Err(Rejection::Unsigned(_) | Rejection::Chain(_))));
    }
}

#[test]
fn f02_every_curve_and_digest_that_openssl_takes_is_taken() {
    let digests: [&[&str]; 4] = [&["-sha224"], &["-sha256"], &["-sha384"], &["-sha512"]];
    let ecdsa = [P256, P384].into_iter().flat_map(|key| digests.map(|signs| Kind { key, signs }));
    let pkcs1 = digests[1..].iter().map(|signs| Kind { key: RSA, signs });
    let ed25519: &[&str] = &["ed25519"];
    let checked = ecdsa.chain(pkcs1).chain([Kind { key: ed25519, signs: &[] }]);
    for Kind { key, signs } in checked {
        let material = check(offer(&Kind { key, signs }))
            .unwrap_or_else(|why| panic!("{key:?}, {signs:?}: {why}"));
        assert_eq!(openssl_takes(&material), Ok(()), "{key:?}, {signs:?}");
    }
    let material = check(offer(&Kind { key: RSA, signs: PSS_OF_TLS })).unwrap();
    assert_eq!(openssl_takes(&material), Ok(()));
}

/// Nobody here can tell a forged signature of these from a good one. No implementation of SPIFFE in Go or Rust verifies them either.
#[test]
fn b44_kinds_that_cannot_be_verified_are_refused_as_such() {
    let (ed448, pss_key): (&[&str], &[&str]) = (&["ed448"], &["rsa-pss"]);
    for (key, signs) in
        [(RSA, PSS), (pss_key, PSS), (RSA, &["-sha224"]), (ed448, &[]), (K256, &["-sha256"])]
    {
        let Err(Rejection::Unsigned(refusal)) = check(offer(&Kind { key, signs })) else {
            panic!("{key:?}, {signs:?} is taken, or refused for another reason");
        };
        assert!(refusal.is_unchecked(), "{key:?}, {signs:?}: {refusal}");
    }
}

/// What OpenSSL refuses at the level that distributions set, for its true reason.
#[test]
fn f01_keys_and_digests_that_are_too_weak_are_refused_as_such() {
    let weak: &[&str] = &["rsa:1024"];
    for (kind, reason) in [
        (Kind { key: weak, signs: &["-sha256"] }, "a key that is too weak"),
        (Kind { key: P256, signs: &["-sha1"] }, "a digest that is too weak"),
    ] {
        let why = check(offer(&kind)).unwrap_err().to_string();
        assert!(why.contains(reason), "{why}");
    }
}
