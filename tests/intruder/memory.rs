//! Keys in the memory of the running daemon, searched by root.

#![allow(clippy::disallowed_methods, reason = "real processes run on the real clock")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_agent::{Entry, KeyType, Misbehaviour, Svid};
use test_support::{ApiServer, LIMIT, Pgsvid, Setup, eventually};
use x509_parser::der_parser::parse_der;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// What to look for.
struct Needle {
    name: String,
    bytes: Vec<u8>,
}

/// The secret of a key as PKCS#8 has it, and as arithmetic holds it, in limbs of this machine; and the line of the key's
/// PEM in which its middle lies, as it is and as a Kubernetes Secret has it.
fn needles(name: &str, svid: &Svid) -> [Needle; 4] {
    let secret = secret(&svid.key);
    let at = svid.key.windows(secret.len()).position(|window| window == secret).unwrap();
    let limbs = secret.iter().rev().copied().collect();
    // 48 bytes make a line of 64 characters, after the heading.
    let pem = svid.key_pem().lines().nth(1 + (at + secret.len() / 2) / 48).unwrap().to_owned();
    let whole = svid.key_pem();
    // Three bytes make four characters; the first and the last depend on what is beside.
    let begin = whole.find(&pem).unwrap().div_ceil(3) * 4;
    let in_secret = STANDARD.encode(&whole).as_bytes()[begin..begin + 64].to_vec();
    let needle = |kind: &str, bytes| Needle { name: format!("{name}, {kind}"), bytes };
    [
        needle("secret", secret),
        needle("limbs", limbs),
        needle("PEM", pem.into_bytes()),
        needle("PEM in base64", in_secret),
    ]
}

/// The scalar of an elliptic curve, or the first prime of an RSA modulus.
fn secret(pkcs8: &[u8]) -> Vec<u8> {
    // RFC 5958: version, algorithm, and an OCTET STRING with a key of that algorithm.
    let (_, info) = parse_der(pkcs8).unwrap();
    let (_, key) = parse_der(info[2].as_slice().unwrap()).unwrap();
    let secret = match key.as_sequence().map(Vec::as_slice) {
        // RFC 8017: version, modulus, two exponents, two primes, and three more.
        Ok([_, _, _, _, prime, _, _, _, _]) => prime,
        // RFC 5915: version, scalar, and more.
        Ok([_, scalar, ..]) => scalar,
        // RFC 8410: the scalar alone.
        _ => &key,
    };
    // A number whose first bit is set begins with a zero.
    let secret = secret.as_slice().unwrap();
    let secret = secret.strip_prefix(&[0]).unwrap_or(secret).to_vec();
    // A scalar may begin with a zero, too: one in 256 does.
    assert!(secret.len() >= 30, "{} bytes", secret.len());
    secret
}

/// Where each needle was found: its name, and the mapping.
fn search(pgsvid: &Pgsvid, needles: &[Needle]) -> Vec<(String, String)> {
    let mut starts = vec![false; 1 << 16];
    let start = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    for needle in needles {
        starts[start(&needle.bytes)] = true;
    }
    let memory = File::open(format!("/proc/{}/mem", pgsvid.daemon_pid())).unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", pgsvid.daemon_pid())).unwrap();
    let mut found = Vec::new();
    for map in maps.lines() {
        let mut fields = map.split_whitespace();
        let (range, mode) = (fields.next().unwrap(), fields.next().unwrap());
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A thread that has ended since has taken its stack along.
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        for (at, window) in bytes.windows(2).enumerate() {
            if starts[start(window)] {
                for needle in needles.iter().filter(|it| bytes[at..].starts_with(&it.bytes)) {
                    found.push((needle.name.clone(), format!("{map} at {at:#x}")));
                }
            }
        }
    }
    found
}

/// What to look for of every key.
fn needles_of(keys: &[Svid]) -> Vec<Needle> {
    let name = |at: usize| format!("key {} of {}", at + 1, keys.len());
    keys.iter().enumerate().flat_map(|(at, svid)| needles(&name(at), svid)).collect()
}

/// Waits until what is found is as wanted: what a task holds in passing is gone when it has ended.
#[track_caller]
fn wait_for(pgsvid: &Pgsvid, keys: &[Svid], is_wanted: impl Fn(&[(String, String)]) -> bool) {
    let needles = needles_of(keys);
    let patience = Instant::now() + LIMIT;
    loop {
        let found = search(pgsvid, &needles);
        if is_wanted(&found) {
            return;
        }
        assert!(Instant::now() < patience, "{found:#?}");
    }
}

/// The memory holds the secret of the last key, once, and no other part of any.
#[track_caller]
fn assert_one_copy(pgsvid: &Pgsvid, keys: &[Svid]) {
    let wanted = [format!("key {0} of {0}, secret", keys.len())];
    wait_for(pgsvid, keys, |found| found.iter().map(|(name, _)| name).eq(&wanted));
}

/// While the connection is open, the buffers of the gRPC library may hold keys as they came. Nothing else holds any: no stack,
/// no form but the message's, and there are three buffers.
#[track_caller]
fn assert_only_buffers(pgsvid: &Pgsvid, keys: &[Svid]) {
    wait_for(pgsvid, keys, |found| {
        let most = |key: &Svid| if key == keys.last().unwrap() { 4 } else { 3 };
        let is_few = keys.iter().enumerate().all(|(at, key)| {
            let name = format!("key {} of {}, secret", at + 1, keys.len());
            found.iter().filter(|(found, _)| *found == name).count() <= most(key)
        });
        is_few
            && found
                .iter()
                .all(|(name, map)| name.ends_with(", secret") && !map.contains("[stack]"))
    });
}

/// The connection ends, and no other one comes.
fn disconnect(setup: &Setup, pgsvid: &Pgsvid) {
    setup.agent.misbehave(Misbehaviour::HangUp);
    setup.agent.drop_connections();
    pgsvid.event("agent-disconnected");
}

#[test]
fn when_a_connection_ends_one_copy_of_the_published_key_is_left() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for generation in 2..=8 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
        keys.push(setup.agent.svid());
        assert_only_buffers(&pgsvid, &keys);
    }
    disconnect(&setup, &pgsvid);
    assert_one_copy(&pgsvid, &keys);
}

/// The requests that write a key, and the answers that hold the one before, are gone with their connection.
#[test]
fn what_is_written_to_secrets_leaves_nothing_either() {
    let server = ApiServer::start();
    let setup = Setup::new(PGSVID);
    let secret = "[[secrets]]\nname = 'db'\ncreate = true\nfields = { 'tls.crt' = 'chain', 'tls.key' = 'key', all = 'combined' }\n";
    setup.configure(&format!("{}{secret}", server.table()));
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for generation in 2..=5 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
        keys.push(setup.agent.svid());
        let key = keys.last().unwrap().key_pem().as_bytes().to_vec();
        eventually(LIMIT, "the key is in the Secret", || {
            server.field("own", "db", "tls.key").as_ref() == Some(&key)
        });
    }
    disconnect(&setup, &pgsvid);
    assert_one_copy(&pgsvid, &keys);
}

#[test]
fn so_it_is_with_keys_of_every_type() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for kind in KeyType::ALL {
        let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost").key_type(kind);
        setup.agent.set_entries([entry]).unwrap();
        keys.push(setup.agent.svid());
        pgsvid.current(keys.len() as u64);
        assert_only_buffers(&pgsvid, &keys);
    }
    disconnect(&setup, &pgsvid);
    assert_one_copy(&pgsvid, &keys);
}

#[test]
fn keys_that_were_not_chosen_and_large_messages_leave_nothing_either() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    // Of these only the first is published.
    let issue = || setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
    let (chosen, others) = (issue(), [issue(), issue()]);
    let mut message = setup.agent.response();
    message.svids = [&chosen, &others[0], &others[1]].map(Svid::to_message).to_vec();
    // As an authority with a long history has it: more than any buffer holds at once.
    let bundle = message.svids[0].bundle.repeat(500);
    assert!(bundle.len() > 200_000);
    message.svids[0].bundle = bundle;
    setup.agent.push(&message);
    pgsvid.current(2);
    keys.extend(others);
    keys.push(chosen);
    assert_only_buffers(&pgsvid, &keys);
    disconnect(&setup, &pgsvid);
    assert_one_copy(&pgsvid, &keys);
}

#[test]
fn a_set_of_an_earlier_run_is_one_copy_too() {
    let setup = Setup::new(PGSVID);
    assert!(setup.start().terminate(LIMIT).success());
    let keys = [setup.agent.svid()];
    setup.agent.misbehave(Misbehaviour::HangUp);
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert_one_copy(&pgsvid, &keys);
}

/// What makes a store has held the key, its PEM, its DER, and the password; a restart has read them back.
#[test]
fn e11_files_in_other_formats_leave_neither_key_nor_password_behind() {
    const PASSWORD: &str = "no program has this password by accident";
    let setup = Setup::new(PGSVID);
    let password = setup.other.write("password", PASSWORD, 0o600).display().to_string();
    let store = |name: &str, content: &str| {
        format!(
            "[[files.extra]]\nname = '{name}'\ncontent = '{content}'\npassword_file = '{password}'\n"
        )
    };
    let plain = |name: &str, content: &str| {
        format!("[[files.extra]]\nname = '{name}'\ncontent = '{content}'\n")
    };
    setup.configure(
        &[
            store("svid.p12", "pkcs12"),
            store("trust.p12", "truststore"),
            plain("all.pem", "combined"),
            plain("svid_key.pk8", "der-key"),
        ]
        .concat(),
    );
    let password = || {
        let wide = PASSWORD.bytes().flat_map(|byte| [0, byte]).collect();
        [("password", PASSWORD.as_bytes().to_vec()), ("wide password", wide)]
            .map(|(name, bytes)| Needle { name: name.to_owned(), bytes })
    };
    let pgsvid = setup.start();
    let mut keys = vec![setup.agent.svid()];
    for kind in [KeyType::EcP256, KeyType::Rsa2048] {
        let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost").key_type(kind);
        setup.agent.set_entries([entry]).unwrap();
        keys.push(setup.agent.svid());
        pgsvid.current(keys.len() as u64);
        assert_only_buffers(&pgsvid, &keys);
        assert_eq!(search(&pgsvid, &password()), []);
    }
    disconnect(&setup, &pgsvid);
    assert_one_copy(&pgsvid, &keys);
    assert!(pgsvid.terminate(LIMIT).success());
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert_one_copy(&pgsvid, &keys[keys.len() - 1..]);
    assert_eq!(search(&pgsvid, &password()), []);
}
