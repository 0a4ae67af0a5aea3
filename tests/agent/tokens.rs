//! Rows J: JWT-SVIDs and the JWT bundle, each in a file of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dev_agent::{DevAgent, Entry, Misbehaviour, Status};
use pgsvid_proto::{Jwtsvid, JwtsvidResponse};
use serde_json::{Value, json};
use test_support::{Mark, Program, eventually};

use crate::place::{ID, LIMIT, Place, count, events, published, said, workload};

/// A place with a directory for tokens.
struct Tokens {
    place: Place,
    directory: PathBuf,
}

impl Tokens {
    fn new() -> Self {
        let place = Place::new();
        let directory = place.subdirectory("tokens");
        Self { place, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A token for `products` and `extra` in the file `token`, and more configuration.
    fn run(&self, more: &str) -> Program {
        self.place.run_with(&self.configuration(more))
    }

    fn configuration(&self, more: &str) -> String {
        format!(
            "[[jwt]]\naudience = \"products\"\nextra_audiences = [\"extra\"]\nfile = \"{}\"\n{more}",
            self.file("token").display()
        )
    }

    fn token(&self) -> String {
        fs::read_to_string(self.file("token")).unwrap_or_default()
    }

    /// `pgsvid` with this command, until it has ended.
    fn ended(&self, command: &str, more: &str, arguments: &[&str]) -> Program {
        let path = self.directory.with_file_name("command.toml");
        let text = format!(
            "[workload_api]\nendpoint = \"unix://{}\"\n[files]\ndirectory = \"{}\"\n{}",
            self.place.socket().display(),
            self.place.svids.display(),
            self.configuration(more)
        );
        std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
        let path = path.display().to_string();
        let usual = [command, "--config", &path];
        let arguments = usual.iter().chain(arguments);
        let program = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
        program.wait_exit(LIMIT);
        program
    }
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn reply(token: String) -> Misbehaviour {
    let svid = Jwtsvid { spiffe_id: ID.to_owned(), svid: token, hint: String::new() };
    Misbehaviour::ReplyJwt(JwtsvidResponse { svids: vec![svid] })
}

/// A token that the agent has signed, with one claim changed.
fn with_claim(agent: &DevAgent, name: &str, value: Value) -> String {
    let mut claims = agent.token_claims(ID, &["products", "extra"]);
    claims[name] = value;
    agent.sign_token(&claims)
}

#[test]
fn t01_a_token_is_written_with_its_whole_audience_and_renewed_before_it_expires() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().jwt_ttl(Duration::from_secs(6)).start().unwrap();
    let pgsvid = tokens.run("");
    let (event, mark) = said(&pgsvid, Mark::default(), "token-written");
    assert_eq!((&event["spiffe_id"], &event["level"]), (&json!(ID), &json!("INFO")), "{event}");
    let first = tokens.token();
    let found = claims(&first);
    assert_eq!((&found["sub"], &found["aud"]), (&json!(ID), &json!(["products", "extra"])));
    let mode = fs::metadata(tokens.file("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // A reader finds a whole token at every time.
    eventually(LIMIT, "a newer token", || {
        let token = tokens.token();
        assert_eq!(token.split('.').count(), 3, "{token:?}");
        token != first
    });
    let (event, _) = said(&pgsvid, mark, "token-written");
    assert_eq!(event["level"], "INFO");
    // No token is in the log, and none expired.
    let lines = pgsvid.lines().join("\n");
    assert!(!lines.contains(&first) && count(&pgsvid, "token-expires") == 0);
    // Nothing of it is a publication.
    assert_eq!(count(&pgsvid, "published"), 1);
    drop(agent);
}

#[test]
fn t02_an_agent_without_tokens_is_reported_once_and_x509_goes_on() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().jwt(false).start().unwrap();
    let bundle = format!("[jwt_bundle]\nfile = \"{}\"\n", tokens.file("bundle").display());
    let pgsvid = tokens.run(&bundle);
    let (event, _) = said(&pgsvid, Mark::default(), "token-failed");
    assert_eq!((&event["code"], &event["level"]), (&json!("jwt-unsupported"), &json!("ERROR")));
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.rotate().unwrap();
    published(&pgsvid, mark, 2);
    // Once for each file.
    eventually(LIMIT, "both files are reported", || count(&pgsvid, "token-failed") == 2);
    agent.rotate().unwrap();
    tokens.place.wait_for_current(&agent);
    assert!(count(&pgsvid, "token-failed") == 2 && pgsvid.is_running());
    assert!(!tokens.file("token").exists());
}

#[test]
fn t02_an_agent_that_refuses_for_a_while_is_asked_again() {
    for status in [Status::permission_denied("no"), Status::unavailable("no")] {
        let tokens = Tokens::new();
        let agent = tokens.place.agent().start().unwrap();
        agent.misbehave_times(2, Misbehaviour::RefuseJwt(status));
        let pgsvid = tokens.run("");
        let (_, mark) = said(&pgsvid, Mark::default(), "token-failed");
        said(&pgsvid, mark, "token-written");
        assert_eq!(count(&pgsvid, "token-failed"), 1);
    }
}

#[test]
fn t03_a_token_that_breaks_a_rule_is_not_written() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    for token in [
        "no token".to_owned(),
        with_claim(&agent, "sub", json!("spiffe://example.org/other")),
        with_claim(&agent, "aud", json!(["products"])),
        with_claim(&agent, "exp", json!(1)),
        with_claim(&agent, "exp", json!(99_999_999_999_u64)),
    ] {
        agent.misbehave(reply(token.clone()));
        let pgsvid = tokens.run("");
        let (event, _) = said(&pgsvid, Mark::default(), "token-failed");
        assert_eq!(event["code"], "jwt-rejected", "{token}: {event}");
        tokens.place.wait_for_current(&agent);
        assert!(!tokens.file("token").exists(), "{token}");
        let lines = pgsvid.lines().join("\n");
        assert!(token.len() < 20 || !lines.contains(&token), "the log has the token");
    }
    agent.behave();
    let pgsvid = tokens.run("");
    said(&pgsvid, Mark::default(), "token-written");
}

#[test]
fn t05_a_token_that_no_key_has_signed_is_refused_and_one_without_keys_is_marked() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    let (token, other) = (
        agent.sign_token(&agent.token_claims(ID, &["products", "extra"])),
        with_claim(&agent, "iat", json!(5)),
    );
    // The signature of another token.
    let forged =
        format!("{}.{}", token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    agent.misbehave(reply(forged));
    let pgsvid = tokens.run("");
    let (event, _) = said(&pgsvid, Mark::default(), "token-failed");
    assert!(event["code"] == "jwt-rejected" && !tokens.file("token").exists(), "{event}");
    drop(pgsvid);

    agent.misbehave(Misbehaviour::RefuseJwtBundles(Status::unimplemented("none")));
    let pgsvid = tokens.run("");
    let (event, _) = said(&pgsvid, Mark::default(), "token-unverified");
    assert_eq!(event["level"], "WARN", "{event}");
    assert_eq!(claims(&tokens.token())["sub"], ID);
}

#[test]
fn t05_a_token_whose_key_is_gone_is_renewed_at_once() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    let pgsvid = tokens.run("");
    said(&pgsvid, Mark::default(), "token-written");
    let first = tokens.token();
    agent.renew_jwt_key(false).unwrap();
    eventually(LIMIT, "a token of the new key", || tokens.token() != first);
    assert_eq!(claims(&tokens.token())["sub"], ID);
}

#[test]
fn t05_a_token_is_verified_as_soon_as_there_are_keys() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    agent.misbehave_times(1, Misbehaviour::RefuseJwtBundles(Status::unavailable("for a while")));
    let socket = tokens.directory.with_file_name("health.sock");
    let health = format!("[health]\nlisten = \"unix:{}\"\n", socket.display());
    let pgsvid = tokens.run(&health);
    said(&pgsvid, Mark::default(), "token-unverified");
    let token = tokens.token();
    eventually(LIMIT, "the signature is verified", || {
        let seen = tokens.ended("status", &health, &["--format", "json"]);
        let status: Value = serde_json::from_str(&seen.standard_output()).unwrap_or_default();
        status["tokens"][0]["not_after"].is_string() && status["tokens"][0]["unverified"].is_null()
    });
    assert_eq!(tokens.token(), token, "it is the same token");
}

#[test]
fn t06_a_token_without_a_successor_raises_an_alarm_before_and_when_it_expires() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().jwt_ttl(Duration::from_secs(6)).start().unwrap();
    let socket = tokens.directory.with_file_name("health.sock");
    let health = format!("[health]\nlisten = \"unix:{}\"\n", socket.display());
    let pgsvid = tokens.run(&health);
    let (_, mark) = said(&pgsvid, Mark::default(), "token-written");
    agent.misbehave(Misbehaviour::RefuseJwt(Status::unavailable("on purpose")));
    let (early, mark) = said(&pgsvid, mark, "token-expires");
    let (late, _) = said(&pgsvid, mark, "token-expires");
    for event in [early, late] {
        assert_eq!(event["level"], "ERROR", "{event}");
        assert!(event["cause"].as_str().unwrap().contains("on purpose"), "{event}");
    }
    let seen = tokens.ended("status", &health, &["--format", "json"]);
    let status: Value = serde_json::from_str(&seen.standard_output()).unwrap();
    assert_eq!(status["tokens"][0]["finding"]["code"], "jwt-expired", "{status}");
    assert_eq!(
        (&status["ready"], status["degraded"].as_array().map(Vec::len)),
        (&json!(true), Some(1))
    );
    // What has expired stays, and a new daemon reports it, too.
    assert_eq!(claims(&tokens.token())["sub"], ID);
    drop(pgsvid);
    let pgsvid = tokens.run("");
    said(&pgsvid, Mark::default(), "token-expires");
    agent.behave();
    said(&pgsvid, Mark::default(), "token-written");
}

#[test]
fn t07_a_hook_follows_each_token_and_no_publication() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    let marks = tokens.file("marks");
    let hook = format!(
        "[[hooks]]\nname = \"after-token\"\nwhen = \"jwt\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $PGSVID_GENERATION >> {}\"]\n",
        marks.display()
    );
    let pgsvid = tokens.run(&hook);
    said(&pgsvid, Mark::default(), "token-written");
    let marked = || fs::read_to_string(&marks).unwrap_or_default();
    eventually(LIMIT, "the hook has run", || marked() == "1\n");
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.rotate().unwrap();
    published(&pgsvid, mark, 2);
    // A token that somebody removes is restored, which is no new token.
    fs::remove_file(tokens.file("token")).unwrap();
    said(&pgsvid, Mark::default(), "token-file-changed");
    assert_eq!(marked(), "1\n");
}

#[test]
fn t08_the_bundle_follows_the_keys_in_either_format() {
    for (format, is_helpers) in [("jwks", false), ("spiffe-helper", true)] {
        let tokens = Tokens::new();
        let agent = tokens.place.agent().start().unwrap();
        let file = tokens.file("bundle.json");
        let bundle =
            format!("[jwt_bundle]\nfile = \"{}\"\nformat = \"{format}\"\n", file.display());
        let pgsvid = tokens.run(&bundle);
        let holds = |wanted: &[u8]| {
            let Ok(found) = fs::read(&file) else { return false };
            if !is_helpers {
                return found == wanted;
            }
            let found: Value = serde_json::from_slice(&found).unwrap();
            found == json!({ "example.org": STANDARD.encode(wanted) })
        };
        eventually(LIMIT, "the bundle is written", || holds(&agent.jwt_bundle()));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        let (event, _) = said(&pgsvid, Mark::default(), "jwt-bundle-written");
        assert_eq!(event["keys"], 1, "{event}");
        agent.renew_jwt_key(true).unwrap();
        eventually(LIMIT, "both keys", || holds(&agent.jwt_bundle()));
        agent.renew_jwt_key(false).unwrap();
        eventually(LIMIT, "the newest key alone", || holds(&agent.jwt_bundle()));
        // A faulty set of another trust domain does not take the own one away.
        agent.renew_jwt_key(true).unwrap();
        let sets = [
            ("spiffe://example.org".to_owned(), agent.jwt_bundle()),
            ("spiffe://other.org".to_owned(), b"{}".to_vec()),
        ];
        agent.push_jwt_bundles(&pgsvid_proto::JwtBundlesResponse { bundles: sets.into() });
        let (event, _) = said(&pgsvid, Mark::default(), "jwt-bundle-left-out");
        assert_eq!(event["trust_domain"], "other.org", "{event}");
        eventually(LIMIT, "the own keys", || holds(&agent.jwt_bundle()));
        // What is no JWK set replaces nothing.
        let before = agent.jwt_bundle();
        let broken = [("spiffe://example.org".to_owned(), b"{}".to_vec())].into();
        agent.push_jwt_bundles(&pgsvid_proto::JwtBundlesResponse { bundles: broken });
        let (event, _) = said(&pgsvid, Mark::default(), "token-failed");
        assert!(event["code"] == "jwt-bundle" && holds(&before), "{event}");
    }
}

#[test]
fn t12_what_somebody_does_to_a_token_is_undone() {
    let tokens = Tokens::new();
    let _agent = tokens.place.agent().start().unwrap();
    let pgsvid = tokens.run("");
    let (_, mut mark) = said(&pgsvid, Mark::default(), "token-written");
    let (file, token) = (tokens.file("token"), tokens.token());
    let other = tokens.file("other");
    drop(fs::File::create(&other).unwrap());
    let changes: [&dyn Fn(&Path); 4] = [
        &|file| fs::remove_file(file).unwrap(),
        &|file| fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap(),
        &|file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(3).unwrap(),
        &|file| {
            fs::remove_file(file).unwrap();
            symlink(&other, file).unwrap();
        },
    ];
    for change in changes {
        change(&file);
        (_, mark) = said(&pgsvid, mark, "token-file-changed");
        let found = fs::symlink_metadata(&file).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o7777 == 0o600);
        assert_eq!(tokens.token(), token);
    }
    assert_eq!(fs::read(&other).unwrap(), b"", "the link was not followed");
    assert_eq!(count(&pgsvid, "token-failed"), 0);
}

#[test]
fn t13_fetch_writes_the_tokens_with_their_whole_audience_or_fails() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    let bundle = format!("[jwt_bundle]\nfile = \"{}\"\n", tokens.file("bundle").display());
    let fetched = tokens.ended("fetch", &bundle, &["--timeout", "20s"]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
    assert_eq!(claims(&tokens.token())["aud"], json!(["products", "extra"]));
    assert_eq!(fs::read(tokens.file("bundle")).unwrap(), agent.jwt_bundle());
    assert!(fetched.standard_output().contains(&tokens.file("token").display().to_string()));
    // An agent without tokens is an error at once, and one that refuses is one after the time-out, unless half of the life is left.
    agent.misbehave(Misbehaviour::RefuseJwt(Status::unavailable("on purpose")));
    let fetched = tokens.ended("fetch", "", &["--timeout", "20s"]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
    fs::remove_file(tokens.file("token")).unwrap();
    agent.misbehave(Misbehaviour::RefuseJwt(Status::unimplemented("none")));
    let fetched = tokens.ended("fetch", "", &["--timeout", "20s"]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(1), "{}", fetched.standard_output());
    assert!(!tokens.file("token").exists());
    // The certificates are there by then.
    agent.misbehave(Misbehaviour::RefuseJwt(Status::unavailable("on purpose")));
    let fetched = tokens.ended("fetch", "", &["--timeout", "4s"]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(1), "{}", fetched.standard_output());
    assert!(tokens.place.holds(&agent.svid()));
}

#[test]
fn t14_check_reports_tokens_and_what_keeps_them_from_being_written() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    let codes = |found: &Program, severity: &str| -> Vec<String> {
        let report: Value = serde_json::from_str(&found.standard_output()).unwrap();
        let sections = report["sections"].as_array().unwrap();
        let section = sections.iter().find(|it| it["group"] == "tokens").unwrap();
        let findings = section["findings"].as_array().unwrap().iter();
        let findings = findings.filter(|it| it["severity"] == severity);
        findings.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
    };
    let check = || tokens.ended("check", "", &["--format", "json"]);
    let found = check();
    assert_eq!(codes(&found, "failure"), [""; 0], "{}", found.standard_output());
    assert_eq!(codes(&found, "ok"), ["jwt-token"]);
    assert_eq!(codes(&found, "skipped"), ["jwt-file"]);
    assert!(!tokens.file("token").exists(), "check writes nothing");

    tokens.ended("fetch", "", &["--timeout", "20s"]);
    assert_eq!(codes(&check(), "ok"), ["jwt-token", "jwt-file"]);
    // The bundle lacks the key that signs.
    agent.misbehave(Misbehaviour::RefuseJwtBundles(Status::unimplemented("none")));
    assert_eq!(codes(&check(), "warning"), ["jwt-unverified"]);
    agent.misbehave(Misbehaviour::RefuseJwt(Status::unimplemented("none")));
    assert_eq!(codes(&check(), "failure"), ["jwt-unsupported"]);
    agent.misbehave(reply(with_claim(&agent, "exp", json!(1))));
    assert_eq!(codes(&check(), "failure"), ["jwt-rejected"]);
    agent.behave();
    fs::set_permissions(&tokens.directory, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(codes(&check(), "failure"), ["jwt-file"]);
    fs::set_permissions(&tokens.directory, PermissionsExt::from_mode(0o755)).unwrap();
    let expired = with_claim(&agent, "exp", json!(1));
    let mut file = fs::File::create(tokens.file("token")).unwrap();
    std::io::Write::write_all(&mut file, expired.as_bytes()).unwrap();
    assert_eq!(codes(&check(), "failure"), ["jwt-expired"]);
}

#[test]
fn b124_a_token_of_another_identity_or_signed_by_nobody_is_a_failure() {
    let tokens = Tokens::new();
    let agent = tokens.place.agent().start().unwrap();
    tokens.ended("fetch", "", &["--timeout", "20s"]);
    let good = tokens.token();
    let other = with_claim(&agent, "sub", json!("spiffe://example.org/ns/apps/sa/other"));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    for (token, wanted) in [(good.clone(), 0), (other, 1), (unsigned, 1)] {
        let mut file = fs::File::create(tokens.file("token")).unwrap();
        std::io::Write::write_all(&mut file, token.as_bytes()).unwrap();
        let found = tokens.ended("check", "", &["--format", "json"]).standard_output();
        let report: Value = serde_json::from_str(&found).unwrap();
        let sections = report["sections"].as_array().unwrap().iter();
        let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
        let is_wrong = |it: &&Value| it["code"] == "jwt-file" && it["severity"] == "failure";
        assert_eq!(findings.filter(is_wrong).count(), wanted, "{found}");
    }
}

/// `check` looked at the agent's keys alone, and never at the file.
#[test]
fn b142_a_file_with_other_keys_than_the_agents_is_a_failure() {
    for format in ["jwks", "spiffe-helper"] {
        let tokens = Tokens::new();
        let agent = tokens.place.agent().start().unwrap();
        let file = tokens.file("bundle.json");
        let bundle =
            format!("[jwt_bundle]\nfile = \"{}\"\nformat = \"{format}\"\n", file.display());
        let said = |severity: &str| {
            let found = tokens.ended("check", &bundle, &["--format", "json"]).standard_output();
            let report: Value = serde_json::from_str(&found).unwrap();
            let sections = report["sections"].as_array().unwrap().iter();
            let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
            let of_bundle = |it: &&Value| it["code"] == "jwt-bundle" && it["severity"] == severity;
            findings.filter(of_bundle).count()
        };
        assert_eq!((said("skipped"), said("failure")), (1, 0), "nothing is there");
        tokens.ended("fetch", &bundle, &["--timeout", "20s"]);
        assert_eq!((said("skipped"), said("failure"), said("ok")), (0, 0, 2));
        let good = fs::read(&file).unwrap();
        let other = Tokens::new();
        let foreign = other.place.agent().start().unwrap().jwt_bundle();
        for text in [&b"x"[..], b"{}", b"{\"keys\": []}", &foreign] {
            fs::File::create(&file).unwrap().write_all(text).unwrap();
            assert_eq!(said("failure"), 1, "{format}: {}", String::from_utf8_lossy(text));
        }
        fs::File::create(&file).unwrap().write_all(&good).unwrap();
        assert_eq!(said("failure"), 0);
        fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(said("failure"), 1, "everybody may write it");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(said("failure"), 1, "a directory");
        drop(agent);
    }
}

#[test]
fn b123_a_token_beside_files_of_others_is_reported() {
    let tokens = Tokens::new();
    let _agent = tokens.place.agent().start().unwrap();
    drop(fs::File::create(tokens.file("profile")).unwrap());
    let pgsvid = tokens.run("");
    let (event, _) = said(&pgsvid, Mark::default(), "sandbox-open");
    assert_eq!(event["code"], "sandbox-open-to-directory", "{event}");
    pgsvid.terminate(LIMIT);
    let found = tokens.ended("check", "", &["--format", "json"]).standard_output();
    assert!(found.contains("\"sandbox-open-to-directory\""), "{found}");
    fs::remove_file(tokens.file("profile")).unwrap();
    let found = tokens.ended("check", "", &["--format", "json"]).standard_output();
    assert!(!found.contains("\"sandbox-open-to-directory\""), "{found}");
}

#[test]
fn b128_a_file_that_holds_no_token_is_not_replaced() {
    let tokens = Tokens::new();
    let _agent = tokens.place.agent().start().unwrap();
    let write = |text: &str| {
        let mut file = fs::File::create(tokens.file("token")).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    write("a password\n");
    let pgsvid = tokens.run("");
    let (event, mark) = said(&pgsvid, Mark::default(), "token-failed");
    assert_eq!(event["code"], "jwt-file", "{event}");
    assert_eq!(tokens.token(), "a password\n");
    // What it says helps.
    fs::rename(tokens.file("token"), tokens.file("password")).unwrap();
    said(&pgsvid, mark, "token-written");
}

#[test]
fn t16_the_token_is_of_the_identity_that_is_published() {
    let tokens = Tokens::new();
    let other = "spiffe://example.org/ns/apps/sa/other";
    let agent = tokens.place.agent_without_entries().entry(workload().hint("a"));
    let agent = agent.entry(Entry::new(other).dns("other").hint("b")).start().unwrap();
    let pgsvid = tokens.run("[svid]\nhint = \"b\"\n");
    said(&pgsvid, Mark::default(), "token-written");
    assert_eq!(claims(&tokens.token())["sub"], other);
    eventually(LIMIT, "the same identity is published", || tokens.place.holds(&agent.svids()[1]));
    // Another identity gets another token at once.
    let third = "spiffe://example.org/ns/apps/sa/third";
    agent.set_entries([Entry::new(third).dns("third").hint("b")]).unwrap();
    eventually(LIMIT, "the token of the third", || claims(&tokens.token())["sub"] == third);
}

#[test]
fn t17_a_directory_that_cannot_be_used_is_reported_and_another_in_its_place_is_used() {
    let tokens = Tokens::new();
    fs::set_permissions(&tokens.directory, PermissionsExt::from_mode(0o777)).unwrap();
    let agent = tokens.place.agent().start().unwrap();
    let pgsvid = tokens.run("");
    let (event, _) = said(&pgsvid, Mark::default(), "token-failed");
    assert_eq!((&event["code"], &event["level"]), (&json!("jwt-file"), &json!("ERROR")), "{event}");
    published(&pgsvid, Mark::default(), 1);
    assert_eq!(fs::read_dir(&tokens.directory).unwrap().count(), 0);
    // Another directory, which the sandbox of this daemon does not know: the next one uses it.
    fs::rename(&tokens.directory, tokens.directory.with_file_name("former")).unwrap();
    tokens.place.subdirectory("tokens");
    eventually(LIMIT, "the token is there", || !tokens.token().is_empty());
    agent.rotate().unwrap();
    tokens.place.wait_for_current(&agent);
    let errors: Vec<Value> =
        events(&pgsvid).into_iter().filter(|it| it["event"] == "panicked").collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn t17_a_directory_that_is_replaced_after_a_token_was_written_gets_the_token_again() {
    let tokens = Tokens::new();
    let _agent = tokens.place.agent().start().unwrap();
    let socket = tokens.directory.with_file_name("health.sock");
    let health = format!("[health]\nlisten = \"unix:{}\"\n", socket.display());
    let pgsvid = tokens.run(&health);
    let (_, mark) = said(&pgsvid, Mark::default(), "token-written");
    fs::rename(&tokens.directory, tokens.directory.with_file_name("former")).unwrap();
    // It is a finding at once, although the token has half of its life left.
    let (event, _) = said(&pgsvid, mark, "token-failed");
    assert_eq!((&event["code"], &event["level"]), (&json!("jwt-file"), &json!("ERROR")), "{event}");
    let seen = tokens.ended("status", &health, &["--format", "json"]);
    let status: Value = serde_json::from_str(&seen.standard_output()).unwrap();
    assert_eq!(status["tokens"][0]["finding"]["code"], "jwt-file", "{status}");
    // The next daemon may write to the new directory.
    tokens.place.subdirectory("tokens");
    eventually(LIMIT, "the token is there", || !tokens.token().is_empty());
    assert_eq!(claims(&tokens.token())["sub"], ID);
    eventually(LIMIT, "nothing is wrong", || {
        let seen = tokens.ended("status", &health, &["--format", "json"]);
        let status: Value = serde_json::from_str(&seen.standard_output()).unwrap_or_default();
        status["tokens"][0]["not_after"].is_string() && status["tokens"][0]["finding"].is_null()
    });
    assert_eq!(count(&pgsvid, "panicked"), 0);
}
