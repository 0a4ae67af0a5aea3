//! F04: name constraints, which X509-SVID section 4.2 names as the means to limit an authority. And F03: a text for every
//! refusal.

use pgsvid::material::{Fault, Refusal, Rejection, Which};

use crate::material::hierarchy::{Hierarchy, Recipe, name, name_constraints};
use crate::material::offers::{assert_reason, check};
use crate::material::openssl::{Question, Questions};

const URI: u8 = 0x86;
const DNS: u8 = 0x82;
const DIRECTORY: u8 = 0xa4;
const ADDRESS: u8 = 0x87;
const REGISTERED: u8 = 0x88;

type Bases<'a> = &'a [(u8, &'a [u8])];

/// A leaf for `spiffe://example.org/…`, of the subject CN=db.example.org, with a DNS name.
fn limited(permitted: Bases<'_>, excluded: Bases<'_>) -> Hierarchy {
    const NAME_CONSTRAINTS: u8 = 30;
    let root = Recipe::authority("root", 1, "root", 1);
    let limited = Recipe::authority("one", 2, "root", 1)
        .with(NAME_CONSTRAINTS, name_constraints(permitted, excluded));
    Hierarchy::of(&Recipe::leaf("one", 2), &[limited], &[root])
}

fn openssl_takes(hierarchy: &Hierarchy) -> bool {
    let mut questions = Questions::default();
    questions.ask(&Question::Path {
        purpose: "ssl_server",
        leaf: &hierarchy.leaf,
        sent: &[&hierarchy.sent[0]],
        trusted: &[&hierarchy.trusted[0]],
    });
    questions.answers()[0].is_ok()
}

#[test]
fn f04_name_constraints_that_hold_are_no_obstacle() {
    let (own, other) = (name("DB.example.org", 19), name("other", 12));
    let all: Bases<'_> =
        &[(URI, b"example.org"), (DNS, b"example.org"), (DIRECTORY, &own), (ADDRESS, &[0; 8])];
    let holding: [(Bases<'_>, Bases<'_>); 8] = [
        (&[(URI, b"example.org")], &[]),
        (&[(URI, b".org"), (URI, b"other.org")], &[]),
        (&[(DNS, b"db.example.org")], &[]),
        (&[(DIRECTORY, &own)], &[]),
        (&[(DIRECTORY, &other), (DIRECTORY, &[0x30, 0])], &[]),
        (&[], &[(URI, b"other.org"), (URI, b".example.org"), (DNS, b"c.example.org")]),
        (&[], &[(DIRECTORY, &other), (REGISTERED, &[0x2a, 3])]),
        (all, &[(URI, b"other.org")]),
    ];
    for (permitted, excluded) in holding {
        let hierarchy = limited(permitted, excluded);
        assert!(openssl_takes(&hierarchy), "{permitted:x?} {excluded:x?}");
        check(hierarchy.offer()).unwrap();
    }
}

#[test]
fn f04_violated_name_constraints_have_a_text() {
    let (own, other) = (name("db.example.org", 12), name("other", 12));
    let broken: [(Bases<'_>, Bases<'_>); 8] = [
        (&[(URI, b"other.org")], &[]),
        (&[(URI, b".example.org")], &[]),
        (&[(DNS, b"b.example.org")], &[]),
        (&[(DIRECTORY, &other)], &[]),
        (&[], &[(URI, b"example.org")]),
        (&[], &[(URI, b".org")]),
        (&[], &[(DNS, b"example.org")]),
        (&[(URI, b"example.org")], &[(DIRECTORY, &own)]),
    ];
    for (permitted, excluded) in broken {
        let hierarchy = limited(permitted, excluded);
        assert!(!openssl_takes(&hierarchy), "{permitted:x?} {excluded:x?}");
        let checked = check(hierarchy.offer());
        let refusal = Refusal::Certificate { which: Which::Leaf, fault: Fault::NameConstraints };
        assert!(matches!(&checked, Err(Rejection::Unsigned(found)) if *found == refusal));
        assert_reason(checked, "the name constraints of an authority above it do not allow");
    }
}

/// What a library prints of its own values: `NameConstraintViolation`, `{ expected: [..] }`, `Some(..)`.
fn is_debug_text(text: &str) -> bool {
    let is_type = |word: &str| {
        let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
        let inner = letters.chars().skip(1).filter(char::is_ascii_uppercase).count();
        let known = ["OpenSSL", "basicConstraints", "keyUsage", "pathLenConstraint", "PostgreSQL"];
        let is_camel = inner > 0 && letters.chars().any(|c| c.is_ascii_lowercase());
        is_camel && !known.iter().any(|known| letters.contains(known))
    };
    text.contains(['{', '}', '[', ']', '"']) || text.contains("::") || text.split(' ').any(is_type)
}

#[test]
fn f03_every_refusal_has_a_text() {
    assert!(is_debug_text("NameConstraintViolation") && is_debug_text("found [1, 2]"));
    let faults = [
        Fault::Critical,
        Fault::NotACa,
        Fault::NotForServers,
        Fault::NotForClients,
        Fault::PathLength,
        Fault::ExplicitCurve,
        Fault::WeakKey,
        Fault::WeakDigest,
        Fault::Signature,
        Fault::TooMany,
        Fault::Unchecked,
        Fault::Expired,
        Fault::NotYetValid,
        Fault::NameConstraints,
        Fault::TooManyNames,
        Fault::UnsupportedName,
        Fault::ResourceExtension,
    ];
    // A new one has to be added above.
    let known = |fault| match fault {
        Fault::Critical
        | Fault::NotACa
        | Fault::NotForServers
        | Fault::NotForClients
        | Fault::PathLength
        | Fault::ExplicitCurve
        | Fault::WeakKey
        | Fault::WeakDigest
        | Fault::Signature
        | Fault::TooMany
        | Fault::Unchecked
        | Fault::Expired
        | Fault::NotYetValid
        | Fault::NameConstraints
        | Fault::TooManyNames
        | Fault::UnsupportedName
        | Fault::NotForServersOrClients
        | Fault::ResourceExtension => true,
    };
    assert!(faults.iter().copied().all(known));
    let authority = Which::Authority { serial: "01:02:03".to_owned() };
    let of = |which: &Which| {
        let which = which.clone();
        faults.map(|fault| Refusal::Certificate { which: which.clone(), fault })
    };
    let others = [
        Refusal::NoValidRoot,
        Refusal::NoIssuer,
        Refusal::UnknownRoot,
        Refusal::TooLong,
        Refusal::TooMuch,
    ];
    for refusal in of(&Which::Leaf).into_iter().chain(of(&authority)).chain(others) {
        let text = Rejection::Unsigned(refusal).to_string();
        assert!(!is_debug_text(&text) && text.len() < 300 && text.is_ascii(), "{text}");
    }
}
