//! B12: OpenSSL accepts whatever pgsvid accepts: both get random hierarchies.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]

use std::collections::BTreeMap;

use pgsvid::material::{Certificate, Expectations, Material, Usage, verify_path};
use pgsvid::timing;
use test_support::Dice;

use crate::material::drawn::draw;
use crate::material::hierarchy::Hierarchy;
use crate::material::openssl::{Question, Questions, hex};

/// How many hierarchies. More are tried with `HIERARCHIES`, and the same ones again with `HIERARCHY_SEED`.
fn how_many() -> usize {
    std::env::var("HIERARCHIES").map_or(600, |count| count.parse().unwrap())
}

/// One question, and what is said here: the reason if it is refused.
struct Asked {
    what: &'static str,
    ours: Result<(), String>,
    certificates: String,
}

#[derive(Default)]
struct Asking {
    questions: Questions,
    asked: Vec<Asked>,
}

impl Asking {
    fn ask(
        &mut self,
        what: &'static str,
        purpose: &str,
        (leaf, sent, trusted): (&[u8], &[&[u8]], &[&[u8]]),
        ours: Result<(), String>,
    ) {
        self.questions.ask(&Question::Path { purpose, leaf, sent, trusted });
        let list =
            |ders: &[&[u8]]| ders.iter().map(|der| hex(der)).collect::<Vec<_>>().join("\n  ");
        let certificates =
            format!("leaf\n  {}\nsent\n  {}\ntrusted\n  {}", hex(leaf), list(sent), list(trusted));
        self.asked.push(Asked { what, ours, certificates });
    }
}

#[test]
fn b12_openssl_accepts_every_set_that_pgsvid_accepts() {
    let mut dice = Dice::from_environment("HIERARCHY_SEED");
    let seed = dice.seed();
    let mut asking = Asking::default();
    for _ in 0..how_many() {
        let hierarchy = draw(&mut dice);
        let all = [&[hierarchy.leaf.clone()][..], &hierarchy.sent, &hierarchy.trusted].concat();
        // What OpenSSL does not load is refused before: A29.
        if all.iter().all(|der| Certificate::parse(der).is_ok()) {
            paths(&hierarchy, &mut asking);
            published(&hierarchy, &mut asking);
        }
    }
    let answers = asking.questions.answers();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let (mut taken, mut agreed) = (0, 0);
    for (asked, answer) in asking.asked.iter().zip(&answers) {
        let Asked { what, ours, certificates } = asked;
        match (ours, answer) {
            (Ok(()), Err(why)) => panic!("{seed}: {what}: OpenSSL says {why}\n{certificates}"),
            (Err(why), Ok(())) => {
                *refused.entry(format!("{what}: {why}")).or_default() += 1;
            }
            (Ok(()), Ok(())) => taken += 1,
            (Err(_), Err(_)) => agreed += 1,
        }
    }
    println!("b12: seed {seed}: {taken} taken by both, {agreed} refused by both");
    for (why, count) in &refused {
        println!("b12: {count} refused here alone: {why}");
    }
    assert!(taken > how_many() / 4, "{taken}");
    let alone: usize = refused.values().sum();
    assert!(alone * 50 < answers.len(), "{alone} of {} are refused here alone", answers.len());
}

/// Both purposes, with everything as it is.
fn paths(hierarchy: &Hierarchy, asking: &mut Asking) {
    let parse = |ders: &[Vec<u8>]| -> Vec<Certificate> {
        ders.iter().map(|der| Certificate::parse(der).unwrap()).collect()
    };
    let leaf = Certificate::parse(&hierarchy.leaf).unwrap();
    let (sent, trusted) = (parse(&hierarchy.sent), parse(&hierarchy.trusted));
    for (usage, purpose) in [(Usage::Server, "ssl_server"), (Usage::Client, "ssl_client")] {
        let ours = verify_path(&leaf, &sent, &trusted, usage, timing::now());
        let ours = ours.map(drop).map_err(|refusal| without_numbers(&refusal.to_string()));
        let ders = |certificates: &[Certificate]| -> Vec<Vec<u8>> {
            certificates.iter().map(|found| found.der().to_vec()).collect()
        };
        let (sent, trusted) = (ders(&sent), ders(&trusted));
        let (sent, trusted) = (slices(&sent), slices(&trusted));
        asking.ask(purpose, purpose, (leaf.der(), &sent, &trusted), ours);
    }
}

fn slices(ders: &[Vec<u8>]) -> Vec<&[u8]> {
    ders.iter().map(Vec::as_slice).collect()
}

/// What is published of an offer; also with the authorities in another order, as C libraries may sort them.
fn published(hierarchy: &Hierarchy, asking: &mut Asking) {
    let Ok(material) = Material::check(hierarchy.offer(), &Expectations::default(), timing::now())
    else {
        return;
    };
    let sent: Vec<Vec<u8>> = material.chain().skip(1).map(|found| found.der().to_vec()).collect();
    let mut trusted: Vec<Vec<u8>> =
        material.authorities().map(|found| found.der().to_vec()).collect();
    let allowed_uses = material.allowed_uses();
    let purposes = [("ssl_server", allowed_uses.servers), ("ssl_client", allowed_uses.clients)];
    for what in ["published", "published, the other way round"] {
        let (sent, authorities) = (slices(&sent), slices(&trusted));
        for (purpose, _) in purposes.iter().filter(|(_, hindered)| hindered.is_none()) {
            asking.ask(what, purpose, (&hierarchy.leaf, &sent, &authorities), Ok(()));
        }
        trusted.reverse();
    }
}

fn without_numbers(text: &str) -> String {
    text.split(' ')
        .filter(|word| !word.contains(':') && word.len() != 2)
        .collect::<Vec<_>>()
        .join(" ")
}
