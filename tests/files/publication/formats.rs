//! Rows E: the set in other formats. OpenSSL and Python read them; tests/clients/java.rs has Java.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dev_agent::{DevAgent, Entry};
use pgsvid::material::pkcs12::Password;
use pgsvid::material::reading::{Item, read_stores};
use pgsvid::material::{Expectations, Material};
use pgsvid::publish::{Content, Publisher};
use pgsvid::timing;
use test_support::{Account, Directory, LIMIT, Mark, openssl};

use super::place::{
    Done, ID, Library, Place, assert_published, current, material, mode_of, names, published, said,
    set_mode, write,
};

/// The files of [`EXTRA`] with their modes.
const FILES: [(&str, u32); 5] = [
    ("all.pem", 0o600),
    ("svid_key.pk8", 0o600),
    ("svid.der", 0o644),
    ("svid.p12", 0o600),
    ("trust.p12", 0o644),
];

/// What somebody does to a file, and which file or what it becomes.
type Change = (&'static str, fn(&Path));

/// Each format once. `password` is the path of the password file.
fn extra(password: &Path) -> String {
    let password = password.display();
    format!(
        "[[files.extra]]\nname = 'all.pem'\ncontent = 'combined'\n\
         [[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n\
         [[files.extra]]\nname = 'svid.der'\ncontent = 'der-certificate'\n\
         [[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '{password}'\n\
         [[files.extra]]\nname = 'trust.p12'\ncontent = 'truststore'\npassword_file = '{password}'\n"
    )
}

/// With an intermediate, which a chain must not lose.
fn place() -> Place {
    let other = Directory::new();
    let svids = other.subdirectory("svids");
    let entry = Entry::new(ID).dns("localhost");
    let agent = DevAgent::builder(other.join("agent.sock"))
        .entry(entry)
        .intermediate(true)
        .automatic(false)
        .start();
    Place { agent: agent.unwrap(), svids, other }
}

fn ask(arguments: &[&str]) -> String {
    String::from_utf8(openssl(arguments, "")).unwrap()
}

/// A file's certificates, as OpenSSL prints them.
fn certificates(pem: &str) -> Vec<&str> {
    let begin = "-----BEGIN CERTIFICATE-----";
    let blocks = pem.split(begin).skip(1);
    blocks.map(|block| block.split("-----END").next().unwrap().trim()).collect()
}

#[test]
fn e01_openssl_and_python_read_each_format_with_the_chain_that_is_published() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    let pgsvid = place.run_with(&extra(&password));
    for generation in 1..=2 {
        published(&pgsvid, generation);
        let svid = place.agent.svid();
        assert_published(&place.svids, &svid);
        let path = |name: &str| place.svids.join(name).display().to_string();
        let public = ask(&["pkey", "-in", &path("svid_key.pem"), "-pubout"]);
        let chain = svid.chain_pem();
        assert_eq!(certificates(&chain).len(), 2);

        let combined = fs::read_to_string(path("all.pem")).unwrap();
        assert_eq!(combined, svid.key_pem() + &chain);
        assert_eq!(ask(&["pkey", "-in", &path("all.pem"), "-pubout"]), public);
        let script = "import ssl, sys\n\
                      ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(sys.argv[1])";
        let python = Command::new("python3").args(["-c", script, &path("all.pem")]).output();
        let python = python.unwrap();
        assert!(python.status.success(), "{python:?}");

        assert_eq!(
            ask(&["pkey", "-inform", "DER", "-in", &path("svid_key.pk8"), "-pubout"]),
            public
        );
        let leaf = ask(&["x509", "-inform", "DER", "-in", &path("svid.der")]);
        assert_eq!(certificates(&leaf), certificates(&chain)[..1]);
        assert_eq!(fs::read(path("svid.der")).unwrap(), svid.chain.concat());

        let pass = format!("file:{}", password.display());
        let open = ["pkcs12", "-passin", &pass, "-in"];
        let store = |more: &[&str]| {
            let path = path("svid.p12");
            let arguments: Vec<&str> =
                open.iter().copied().chain([path.as_str()]).chain(more.iter().copied()).collect();
            ask(&arguments)
        };
        let all = store(&["-nodes"]);
        assert!(all.contains("friendlyName: user"), "{all}");
        assert_eq!(certificates(&all), certificates(&chain));
        let key = place.other.write("key", store(&["-nocerts", "-nodes"]), 0o600);
        assert_eq!(ask(&["pkey", "-in", &key.display().to_string(), "-pubout"]), public);

        let trust = path("trust.p12");
        let trusted = ask(&[&open[..], &[&trust, "-nokeys"]].concat());
        assert_eq!(certificates(&trusted), certificates(&svid.bundle_pem()));
        place.agent.rotate().unwrap();
    }
}

#[test]
fn e01_the_store_uses_pbes2_with_aes_256_and_a_mac_with_sha_256() {
    let place = place();
    let password = place.other.write("password", "secret", 0o600);
    let pgsvid = place.run_with(&extra(&password));
    published(&pgsvid, 1);
    let info = Command::new("openssl")
        .args(["pkcs12", "-info", "-noout", "-passin", "pass:secret", "-in"])
        .arg(place.svids.join("svid.p12"))
        .output()
        .unwrap();
    let info = String::from_utf8(info.stderr).unwrap();
    for part in [
        "MAC: sha256, Iteration 2048",
        "PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256",
    ] {
        assert!(info.contains(part), "{part:?} is missing: {info}");
    }
}

#[test]
fn e02_without_a_usable_password_the_old_set_stays_and_the_remedy_publishes_the_new_one() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    let pgsvid = place.run_with(&extra(&password));
    published(&pgsvid, 1);
    let old = place.agent.svid();
    let store = fs::read(place.svids.join("svid.p12")).unwrap();
    let foreign = place.other.write_owned("foreign", "of\nroot\n", 0o644, 0, 0);
    let spoils: [Change; 7] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| write(path, "")),
        ("of two lines", |path| write(path, "secret\nsecond\n")),
        ("open to all", |path| {
            write(path, "");
            set_mode(path, 0o644);
        }),
        ("a link's to root's file", |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("foreign", path).unwrap();
        }),
        ("not ASCII", |path| write(path, "geheimnüs\n")),
        ("a directory's", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    let mut mark = Mark::default();
    let mut generation = 1;
    let mut last = (old, store);
    for (what, spoil) in spoils {
        println!("the password is {what}");
        spoil(&password);
        place.agent.rotate().unwrap();
        let (event, after) = said(&pgsvid, mark, "publication-failed");
        let error = event["error"].as_str().unwrap();
        assert!(error.contains(&password.display().to_string()), "{event}");
        assert_published(&place.svids, &last.0);
        assert!(fs::read(place.svids.join("svid.p12")).unwrap() == last.1, "another store");
        if what == "a directory's" {
            let advice = event["fix"].as_str().unwrap();
            assert!(advice.starts_with("move "), "{advice}");
            fs::rename(&password, place.other.join("away")).unwrap();
        }
        // The command after "as root:", as printed.
        let (_, remedy) = event["fix"].as_str().unwrap().split_once("as root: ").unwrap();
        let done = Command::new("sh").args(["-c", remedy]).output().unwrap();
        assert!(done.status.success(), "{remedy}: {done:?}");
        let owner = fs::symlink_metadata(&password).unwrap().uid();
        assert_eq!((mode_of(&password), owner), (0o600, Account::server().uid()));
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "of\nroot\n", "root followed the link");
        generation += 1;
        published(&pgsvid, generation);
        mark = said(&pgsvid, after, "published").1;
        let svid = place.agent.svid();
        assert_published(&place.svids, &svid);
        let pass = format!("file:{}", password.display());
        let path = place.svids.join("svid.p12").display().to_string();
        ask(&["pkcs12", "-in", &path, "-passin", &pass, "-noout"]);
        last = (svid, fs::read(path).unwrap());
    }
}

#[test]
fn e02_a_password_that_is_out_of_reach_is_an_error_at_the_first_publication_too() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    std::os::unix::fs::chown(&password, Some(0), Some(0)).unwrap();
    let pgsvid = place.run_with(&extra(&password));
    let (event, mark) = said(&pgsvid, Mark::default(), "publication-failed");
    let error = event["error"].as_str().unwrap();
    let is_named = error.contains(&password.display().to_string());
    assert!(is_named || Account::server().uid() == 0, "{event}");
    assert!(!place.svids.join("svid.pem").exists());
    // The remedy keeps the password.
    if let Some((_, remedy)) = event["fix"].as_str().and_then(|it| it.split_once("as root: ")) {
        let done = Command::new("sh").args(["-c", remedy]).output().unwrap();
        assert!(done.status.success(), "{remedy}: {done:?}");
    }
    assert_eq!(fs::read_to_string(&password).unwrap(), "secret\n");
    said(&pgsvid, mark, "published");
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn e03_a_set_with_random_salts_is_not_written_again_and_one_of_another_password_is() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    let run = |alias: &str| place.run_with(&format!("{}{alias}", extra(&password)));
    let first = run("");
    published(&first, 1);
    let generation = current(&place.svids);
    let store = fs::read(place.svids.join("svid.p12")).unwrap();
    for _ in 0..3 {
        let before = place.agent.activity().messages;
        place.agent.repeat();
        place.agent.wait_until(LIMIT, |activity| activity.messages > before).unwrap();
    }
    assert!(first.terminate(LIMIT).success());
    // Nor by the next run, nor because the file of the password was written again.
    place.other.write("password", "secret", 0o600);
    let second = run("");
    said(&second, Mark::default(), "set-adopted");
    said(&second, Mark::default(), "identity-received");
    assert_eq!(names(&place.svids, "..v"), std::slice::from_ref(&generation));
    assert!(second.terminate(LIMIT).success());
    assert!(fs::read(place.svids.join("svid.p12")).unwrap() == store);
    // Another password makes another set of the same SVID, and so does another file.
    place.other.write("password", "another", 0o600);
    let third = run("");
    published(&third, 1);
    assert_eq!(names(&place.svids, "..v").len(), 2);
    let path = place.svids.join("svid.p12").display().to_string();
    ask(&["pkcs12", "-in", &path, "-passin", "pass:another", "-noout"]);
    assert!(third.terminate(LIMIT).success());
    let fourth = run("[[files.extra]]\nname = 'more.pem'\ncontent = 'combined'\n");
    published(&fourth, 1);
    assert_eq!(names(&place.svids, "..v").len(), 3);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn e03_what_is_fetched_while_it_is_young_is_not_fetched_again() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    let file = place.other.write("pgsvid.toml", extra(&password), 0o644);
    let fetch = || {
        let mut arguments = place.arguments();
        arguments[0] = "fetch".to_owned();
        arguments.extend(["--config".to_owned(), file.display().to_string()]);
        test_support::Program::spawn(super::place::PGSVID, arguments, &[])
    };
    assert!(fetch().wait_exit(LIMIT).success());
    let generation = current(&place.svids);
    assert!(fetch().wait_exit(LIMIT).success());
    assert_eq!(current(&place.svids), generation);
    place.other.write("password", "another\n", 0o600);
    assert!(fetch().wait_exit(LIMIT).success());
    assert_ne!(current(&place.svids), generation);
    fs::remove_file(&password).unwrap();
    let generation = current(&place.svids);
    let failed = fetch();
    assert!(!failed.wait_exit(LIMIT).success());
    let error = failed.standard_error();
    assert!(error.contains(&password.display().to_string()), "{error}");
    assert_eq!(current(&place.svids), generation);
}

#[test]
fn e04_what_is_edited_or_deleted_is_restored_with_owner_and_mode() {
    let place = place();
    let password = place.other.write("password", "secret\n", 0o600);
    let pgsvid = place.run_with(&extra(&password));
    published(&pgsvid, 1);
    let svid = place.agent.svid();
    let mut mark = said(&pgsvid, Mark::default(), "published").1;
    let tamperings: [Change; 7] = [
        ("all.pem", |path| write(path, "nonsense")),
        ("svid.der", |path| write(path, "nonsense")),
        ("svid_key.pk8", |path| set_mode(path, 0o666)),
        ("svid.p12", |path| write(path, "nonsense")),
        ("svid.p12", |path| set_mode(path, 0o644)),
        ("trust.p12", |path| fs::remove_file(path.canonicalize().unwrap()).unwrap()),
        ("svid.p12", |path| fs::remove_file(path).unwrap()),
    ];
    for (name, tamper) in tamperings {
        tamper(&place.svids.join(name));
        said(&pgsvid, mark, "files-changed");
        mark = said(&pgsvid, mark, "published").1;
        assert_published(&place.svids, &svid);
        let owner = Account::server().uid();
        for (name, mode) in FILES {
            let path = place.svids.join(name);
            let found = fs::metadata(&path).unwrap().uid();
            assert_eq!((mode_of(&path), found), (mode, owner), "{name}");
        }
    }
    let path = place.svids.join("svid.p12").display().to_string();
    ask(&["pkcs12", "-in", &path, "-passin", "pass:secret", "-noout"]);
}

/// A library with every format.
fn library(password: &Path) -> Library {
    let mut library = Library::new();
    let password_file = password.to_owned();
    let files = &mut library.settings.files;
    files.add("all.pem".to_owned(), Content::Combined);
    let alias = "user".to_owned();
    files.add("svid.p12".to_owned(), Content::KeyStore { password_file, alias });
    library
}

#[test]
fn e03_alias_and_password_are_part_of_the_set_and_a_missing_password_is_no_set() {
    let other = Directory::new();
    let password = other.write("password", "secret", 0o600);
    let library = library(&password);
    let mut publisher = library.open();
    let set = material(&library.issue());
    publisher.publish(&set, &[]).unwrap();
    let holds = |publisher: &Publisher| publisher.holds(&set, &[]) && publisher.is_intact();
    assert!(holds(&publisher));
    other.write("password", "secret2", 0o600);
    assert!(!holds(&publisher));
    fs::remove_file(&password).unwrap();
    assert!(!holds(&publisher));
    assert!(publisher.publish(&set, &[]).is_err());
    other.write("password", "secret", 0o600);
    assert!(holds(&publisher));
    drop(publisher);
    let mut renamed = library.settings.clone();
    renamed.files = super::place::files(0o600);
    renamed.files.add("all.pem".to_owned(), Content::Combined);
    let password_file = password.clone();
    let store = Content::KeyStore { password_file, alias: "other".to_owned() };
    renamed.files.add("svid.p12".to_owned(), store);
    for (settings, same) in [(library.settings.clone(), true), (renamed, false)] {
        let mut publisher = super::place::open(&settings);
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        assert!(found.is_some_and(|found: Material| found.publishes_as(&set)));
        assert_eq!(holds(&publisher), same);
    }
}

#[test]
fn e06_a_reader_of_one_file_finds_key_and_chain_of_one_set_while_sets_are_swapped() {
    let other = Directory::new();
    let password = other.write("password", "secret", 0o600);
    let library = library(&password);
    let mut publisher = library.open();
    library.publish(&mut publisher);
    let own = Password::parse(b"secret").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = ["all.pem", "svid.p12"]
            .map(|name| {
                let (path, own, done) = (library.path().join(name), &own, &done);
                scope.spawn(move || {
                    let mut read = 0;
                    while !done.load(Ordering::SeqCst) {
                        let items = read_stores(&fs::read(&path).unwrap(), Some(own));
                        let items: Vec<Item> = items.into_iter().map(Result::unwrap).collect();
                        let key = items.iter().find_map(|item| match item {
                            Item::Key { public_key, .. } => Some(public_key.as_slice()),
                            _ => None,
                        });
                        let leaf = items.iter().find_map(|item| match item {
                            Item::Certificate(found) => Some(found.public_key()),
                            _ => None,
                        });
                        assert!(key.is_some() && key == leaf, "{name} is mixed");
                        read += 1;
                    }
                    read
                })
            })
            .into();
        {
            let _done = Done(&done);
            for _ in 0..100 {
                library.publish(&mut publisher);
            }
        }
        for reader in readers {
            let read = reader.join().unwrap();
            println!("{read} reads during 100 swaps");
            assert!(read > 10, "{read} reads only");
        }
    });
}
