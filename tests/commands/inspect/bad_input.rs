//! Any kind of file that a path may lead to.

use std::process::Command;
use std::time::Duration;

use dev_agent::{Authority, Entry};
use serde_json::Value;
use test_support::Directory;

use crate::inspect::{ID, run};

#[test]
fn every_thing_that_a_path_leads_to_has_its_sentence() {
    let svid =
        Authority::new("example.org", false).unwrap().issue(&Entry::new(ID).dns("db")).unwrap();
    let files = Directory::new();
    let pem = svid.chain_pem();
    let mut random = Random(7);
    let garbage: Vec<u8> = (0..5000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let _socket = std::os::unix::net::UnixListener::bind(files.join("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(files.join("fifo")).status().unwrap().success());
    let huge = std::fs::File::create(files.join("huge")).unwrap();
    huge.set_len(1 << 34).unwrap();
    files.subdirectory("directory");
    std::os::unix::fs::symlink(files.join("loop"), files.join("loop")).unwrap();
    files.write("secret", &pem, 0o000);
    for (name, content) in [
        ("empty", &b""[..]),
        ("random", &garbage),
        ("zeros", &[0; 4096]),
        ("half", &pem.as_bytes()[..pem.len() / 2]),
        ("header", b"-----BEGIN CERTIFICATE-----\n"),
        ("label", b"-----BEGIN \x1b[31mTHING-----\nAAAA\n-----END \x1b[31mTHING-----\n"),
        ("base64", b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        ("no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("no key", b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        ("half.der", &svid.leaf()[..100]),
        ("store.jks", b"\xfe\xed\xfe\xed\x00\x00\x00\x02"),
    ] {
        files.write(name, content, 0o644);
    }
    for (name, words) in [
        ("empty", "it is empty"),
        ("random", "it holds neither PEM nor DER"),
        ("zeros", "it holds neither PEM nor DER"),
        ("half", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("header", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("label", "PEM block 1 (\\u{1b}[31mTHING) is neither a certificate nor a private key"),
        ("base64", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("no certificate", "certificate 1 is not an X.509 certificate in DER"),
        ("no key", "its private key is broken, or of a type that is not supported"),
        ("half.der", "certificate 1 is not an X.509 certificate in DER"),
        ("store.jks", "Java key stores are not supported"),
        ("fifo", "it is not a regular file"),
        ("socket", "it is not a regular file"),
        ("huge", "it is larger than 16 MiB"),
        ("directory", "the directory holds no files"),
        ("loop", "it cannot be read: Too many levels of symbolic links"),
        ("missing", "there is no such file"),
        ("secret", "permission denied"),
        ("empty/x", "it cannot be read: Not a directory"),
    ] {
        let (status, text) = run(&[files.join(name)], &[]);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{name}: {text}");
        assert_eq!(status, 1, "{name}: {text}");
        assert!(!text.contains('\x1b'), "{name}: {text}");
    }
}

#[test]
fn a06_many_large_files_are_read_up_to_a_limit_together() {
    let authority = Authority::new("example.org", false).unwrap();
    let large = authority.root_pem().repeat((7 << 20) / authority.root_pem().len());
    let files = Directory::new();
    for number in 10..30 {
        files.write(&format!("{number}.pem"), &large, 0o644);
    }
    let inspect = format!(
        "ulimit -v 400000; exec {} inspect {}",
        env!("CARGO_BIN_EXE_pgsvid"),
        files.path().display()
    );
    let done = Command::new("/bin/sh").args(["-c", &inspect]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let left_out = "all files together would be larger than 32 MiB; name fewer files";
    // Once with the file, and once in the judgement.
    assert_eq!(flat.matches(left_out).count(), 2 * 16);
    // One that is named alone is read.
    let (_, text) = run(&[files.join("29.pem")], &[]);
    assert!(!text.contains("it is not read"), "{text}");
}

#[test]
fn no_mutation_of_good_input_makes_it_panic() {
    let authority = Authority::new("example.org", true).unwrap();
    let svid = authority.issue(&Entry::new(ID).dns("db").unique_id(true)).unwrap();
    let whole = [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()].concat();
    let good = [whole.into_bytes(), svid.leaf().to_vec(), svid.chain.concat(), svid.key.clone()];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mutated");
    let request = pgsvid::doctor::inspect::Request {
        paths: vec![path.clone()],
        bundle: None,
        password: None,
    };
    let mut random = Random(0x5eed);
    let mut readable = 0;
    for round in 0..3000_usize {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let from = random.below(bytes.len());
                    let piece = bytes[from..(from + 40).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .unwrap();
        let now = svid.not_before + Duration::from_secs(20);
        let found = pgsvid::doctor::inspect::inspect(&request, now);
        assert!(!found.text(false).is_empty());
        let json: Value = serde_json::from_str(&found.json()).unwrap();
        let items = json["files"][0]["items"].as_array().unwrap();
        assert!(!items.is_empty());
        readable += usize::from(items.iter().any(|item| item["kind"] == "certificate"));
    }
    // Enough of them get past the first check to mean something.
    assert!((500..3000).contains(&readable), "{readable}");
}

/// The same numbers in each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}
