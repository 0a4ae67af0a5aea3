//! The agent, SPIRE's server behind it, and the registration entry.

use std::time::Duration;

use dev_agent::{Entry, Stop};
use test_support::{LIMIT, Setup};

use crate::night::Night;
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] = &[
    &AWAY,
    &AWAY_AND_OVERDUE,
    &AWAY_EXPIRED_AND_RESTARTED,
    &SERVER_DOWN,
    &ENTRY_DELETED,
    &NO_DNS_NAMES,
    &ANOTHER_TRUST_DOMAIN,
    &CLOCK_AHEAD,
];

/// An hour's certificate is that much older for a clock that is so far ahead: its renewal is overdue, and it has a sixth of its
/// life.
const LATE: Option<i64> = Some(50 * 60);
/// What is not overdue by a clock that is ahead.
const LONG: Duration = Duration::from_secs(12 * 3600);

const AWAY: Fault = Fault {
    id: "N24",
    name: "the agent is away",
    make: |night| night.setup.agent.stop(Stop::Terminate),
    log: Some(("WARN", "agent-disconnected")),
    check: Some(("failure", "agent-not-listening")),
    remedy: Remedy::Done(|night, _| night.setup.agent.restart().unwrap()),
    ..USUAL
};

const AWAY_AND_OVERDUE: Fault = Fault {
    id: "N25",
    name: "the agent is away, and the renewal is overdue",
    ahead: LATE,
    make: |night| {
        night.setup.agent.stop(Stop::Kill);
        night.mark = test_support::Mark::default();
    },
    log: Some(("ERROR", "certificate-expires")),
    word: Word::Degraded,
    target: &["svid-lifetime"],
    check: Some(("failure", "agent-not-listening")),
    remedy: Remedy::Done(|night, _| {
        night.setup.agent.restart().unwrap();
        long_lived(night);
    }),
    ..USUAL
};

const AWAY_EXPIRED_AND_RESTARTED: Fault = Fault {
    id: "N26",
    name: "the agent is away, the certificate has expired, and pgsvid was restarted",
    make: |night| {
        let short = entry().ttl(Duration::from_secs(2));
        night.setup.agent.set_entries([short]).unwrap();
        night.pgsvid().current(2);
        night.setup.agent.stop(Stop::Terminate);
        night.pgsvid().event_after(night.mark, "certificate-expires");
        night.pgsvid().wait_for_event(LIMIT, |line| line["verdict"] == "expired");
        night.restart();
    },
    log: Some(("ERROR", "certificate-expires")),
    word: Word::NotReady,
    verdict: "expired",
    target: &["published-certificate-expired"],
    findings: &["published-certificate-expired"],
    check: Some(("failure", "agent-not-listening")),
    failures: 2,
    remedy: Remedy::Done(|night, _| {
        night.setup.agent.restart().unwrap();
        night.setup.agent.set_entries([entry()]).unwrap();
    }),
    ..USUAL
};

const SERVER_DOWN: Fault = Fault {
    id: "N27",
    name: "SPIRE's server is down: the agent is connected, and sends nothing",
    ahead: LATE,
    make: |night| night.mark = test_support::Mark::default(),
    log: Some(("ERROR", "certificate-expires")),
    word: Word::Degraded,
    target: &["svid-lifetime"],
    check: Some(("warning", "svid-lifetime")),
    remedy: Remedy::Done(|night, _| long_lived(night)),
    ..USUAL
};

const ENTRY_DELETED: Fault = Fault {
    id: "N28",
    name: "the registration entry was deleted",
    make: |night| night.setup.agent.remove_entries(),
    log: Some(("WARN", "identity-withdrawn")),
    word: Word::Degraded,
    target: &["agent-not-registered"],
    check: Some(("failure", "agent-not-registered")),
    remedy: Remedy::Done(registered_again),
    ..USUAL
};

const NO_DNS_NAMES: Fault = Fault {
    id: "N29",
    name: "the registration entry has no DNS names",
    make: |night| {
        night.setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID)]).unwrap();
        night.pgsvid().current(2);
    },
    log: Some(("WARN", "identity-warning")),
    // The names that the published set had are lost, which is told until they are back.
    word: Word::Degraded,
    target: &["svid-dns-name-lost"],
    check: Some(("warning", "svid-dns-name")),
    // `check` knows no name but this machine's; the daemon knows what was lost.
    remedy: Remedy::Done(|night, _| {
        let view = night.view().unwrap();
        let found = view["targets"][0]["findings"].as_array().unwrap();
        let lost = found.iter().find(|found| found["code"] == "svid-dns-name-lost").unwrap();
        registered_again(night, lost);
    }),
    ..USUAL
};

const ANOTHER_TRUST_DOMAIN: Fault = Fault {
    id: "N30",
    name: "the agent is of another trust domain than the configuration says",
    configuration: "[svid]\ntrust_domain = 'example.org'\n",
    make: |night| {
        let stranger = Entry::new("spiffe://example.com/ns/test/sa/db").dns("localhost");
        night.setup.agent.set_entries([stranger]).unwrap();
    },
    log: Some(("WARN", "message-rejected")),
    word: Word::Degraded,
    target: &["svid"],
    check: Some(("failure", "svid-identity-unexpected")),
    remedy: Remedy::Done(|night, _| night.setup.agent.set_entries([entry()]).unwrap()),
    ..USUAL
};

const CLOCK_AHEAD: Fault = Fault {
    id: "N31",
    name: "the clock of this machine is a day ahead",
    ahead: Some(0),
    make: |night| {
        night.set_clock(24 * 3600);
        night.renew();
    },
    log: Some(("WARN", "message-rejected")),
    word: Word::NotReady,
    verdict: "expired",
    target: &["published-certificate-expired"],
    check: Some(("failure", "svid-expired")),
    failures: 2,
    remedy: Remedy::Done(|night, _| {
        night.set_clock(0);
        night.renew();
    }),
    ..USUAL
};

fn entry() -> Entry {
    Entry::new(Setup::SPIFFE_ID).dns("localhost")
}

/// The agent has renewed, to last longer than the clock is ahead.
fn long_lived(night: &Night) {
    night.setup.agent.set_entries([entry().ttl(LONG)]).unwrap();
}

/// What the printed command tells SPIRE's server comes into force.
fn registered_again(night: &mut Night, found: &serde_json::Value) {
    let command = found["command"].as_str().unwrap_or_else(|| panic!("no command: {found:#}"));
    night.paste(command);
    let told = night.told_to_spire();
    let values = |option: &str| -> Vec<String> {
        let pairs = told.windows(2).filter(|pair| pair[0] == option);
        pairs.map(|pair| pair[1].clone()).collect()
    };
    let id = values("-spiffeID");
    let id = id.first().map_or(Setup::SPIFFE_ID, String::as_str);
    let entry = values("-dns").iter().fold(Entry::new(id), Entry::dns);
    night.setup.agent.set_entries([entry]).unwrap();
}

#[test]
fn n24_the_agent_is_away() {
    walk(&AWAY);
}

#[test]
fn n25_the_agent_is_away_and_the_renewal_is_overdue() {
    walk(&AWAY_AND_OVERDUE);
}

#[test]
fn n26_the_agent_is_away_the_certificate_has_expired_and_pgsvid_was_restarted() {
    walk(&AWAY_EXPIRED_AND_RESTARTED);
}

#[test]
fn n27_spires_server_is_down_and_the_agent_is_healthy() {
    walk(&SERVER_DOWN);
}

#[test]
fn n28_the_registration_entry_was_deleted() {
    walk(&ENTRY_DELETED);
}

#[test]
fn n29_the_registration_entry_has_no_dns_names() {
    walk(&NO_DNS_NAMES);
}

#[test]
fn n30_the_agent_is_of_another_trust_domain() {
    walk(&ANOTHER_TRUST_DOMAIN);
}

#[test]
fn n31_the_clock_is_a_day_ahead() {
    walk(&CLOCK_AHEAD);
}
