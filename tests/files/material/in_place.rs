//! B130: files in place, whose other blocks OpenSSL reads, too.

use std::process::Command;

use dev_agent::{Authority, Entry};
use pgsvid::material::{in_place, pem};

use super::openssl::{Question, Questions};

/// What `openssl` writes with these arguments, run by a shell in a directory with `key.pem` and `ca.pem`.
fn made(directory: &std::path::Path, command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn block(label: &str, data: &str) -> String {
    format!("-----BEGIN {label}-----\n{data}\n-----END {label}-----\n")
}

/// Other blocks, before or behind what is used; those that pgsvid refuses although OpenSSL does not come last.
fn blocks() -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let made = |command: &str| made(directory.path(), command);
    let key = made(
        "openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt | tee key.pem",
    );
    made("openssl req -x509 -key key.pem -days 9 -subj /CN=x -out ca.pem");
    let list = made(
        "printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ncrlnumber=number\\n' > ini; touch index; echo 01 > number; openssl ca -gencrl -crldays 5 -md sha256 -keyfile key.pem -cert ca.pem -config ini 2>/dev/null",
    );
    let labelled =
        |text: &str, header: &str| text.replacen("-----\n", &format!("-----\n{header}\n\n"), 1);
    let good = [
        list.clone(),
        key.clone(),
        made("openssl ec -in key.pem 2>/dev/null"),
        made("openssl ec -aes128 -passout pass:x -in key.pem 2>/dev/null"),
        made("openssl pkcs8 -topk8 -in key.pem -passout pass:x"),
        labelled(&list, "X: y"),
    ];
    let broken = [
        "X509 CRL",
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
        "DSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PUBLIC KEY",
        "DH PARAMETERS",
        "EC PARAMETERS",
        "CERTIFICATE REQUEST",
        "PKCS7",
        "SOMETHING",
    ];
    let broken = broken.map(|label| block(label, "MIIB"));
    let cut = block("X509 CRL", "MAIwAA==");
    let strict = ["ed448", "dsa"].map(|kind| match kind {
        "ed448" => made("openssl genpkey -algorithm ed448"),
        _ => block("ENCRYPTED PRIVATE KEY", "MIIB"),
    });
    let strict = strict.into_iter().chain([labelled(&key, "X: y")]).collect();
    (good.into_iter().chain(broken).chain([cut]).collect(), strict)
}

#[test]
fn b130_a_block_that_keeps_openssl_from_loading_a_file_in_place_is_a_rejection() {
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new("spiffe://example.org/db")).unwrap();
    let (root, key) = (authority.root_pem(), svid.key_pem());
    let (exact, strict) = blocks();
    let mut questions = Questions::default();
    let mut ours = Vec::new();
    for other in exact.iter().chain(&strict) {
        for (before, behind) in [(other.as_str(), ""), ("", other.as_str())] {
            let bundle = format!("{before}{root}{behind}");
            questions.ask(&Question::Authorities(bundle.as_bytes()));
            let loads = in_place::other_blocks(key.as_bytes(), bundle.as_bytes());
            ours.push((loads.is_ok(), bundle));
            let private = format!("{before}{key}{behind}");
            questions.ask(&Question::Private(private.as_bytes()));
            let loads = in_place::other_blocks(private.as_bytes(), root.as_bytes());
            let is_read = pem::public_key_of(private.as_bytes()).is_ok();
            ours.push((loads.is_ok() && is_read, private));
        }
    }
    let exact = exact.len() * 4;
    let answers = questions.answers();
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(refused > 10, "{refused}");
    for (at, ((ours, text), answer)) in ours.into_iter().zip(answers).enumerate() {
        // Of the others, and of key files, it is enough that pgsvid takes nothing that OpenSSL refuses.
        let is_key_file = at % 2 == 1;
        assert!(
            ours == answer.is_ok() || (!ours && (at >= exact || is_key_file)),
            "{ours} {answer:?}: {text}"
        );
    }
}
