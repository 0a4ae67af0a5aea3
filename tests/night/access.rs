//! `pg_hba.conf` and `pg_ident.conf` keep pgsvid out.

use serde_json::Value;
use test_support::{LIMIT, eventually};

use crate::night::{Night, findings};
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] = &[&NO_MAP, &WRONG_ORDER];

const NO_MAP: Fault = Fault {
    id: "N54",
    name: "pg_ident.conf has no line for pgsvid",
    make: |night| {
        night.setup.cluster.set_ident("");
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    findings: &["role-login-refused"],
    check: Some(("failure", "role-login-refused")),
    remedy: Remedy::Done(let_in),
    by_itself: false,
    ..USUAL
};

const WRONG_ORDER: Fault = Fault {
    id: "N55",
    name: "a general line stands above that of pgsvid",
    make: |night| {
        night.setup.cluster.set_hba("local all all peer\nlocal postgres pgsvid peer map=pgsvid");
        night.reload();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    findings: &["role-login-refused"],
    check: Some(("failure", "role-login-refused")),
    remedy: Remedy::Done(let_in),
    by_itself: false,
    ..USUAL
};

/// The lines between backquotes are written where they are said to belong.
fn let_in(night: &mut Night, found: &Value) {
    let fix = found["fix"].as_str().unwrap();
    let lines: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
    let own = test_support::Account::server().name();
    let hba = lines.iter().find(|line| line.starts_with("local "));
    let ident = lines.iter().find(|line| line.starts_with("pgsvid ") && !line.contains("setup"));
    if let Some(ident) = ident {
        night.setup.cluster.set_ident(&ident.replace("<os-user>", own));
    }
    if let Some(hba) = hba {
        night.setup.cluster.set_hba(&format!("{hba}\nlocal all all peer"));
    }
    assert!(hba.is_some() || ident.is_some(), "{found:#}");
    night.reload();
}

#[test]
fn n54_pg_ident_conf_has_no_line_for_pgsvid() {
    walk(&NO_MAP);
}

#[test]
fn n55_a_general_line_stands_above_that_of_pgsvid() {
    walk(&WRONG_ORDER);
}

/// A daemon that may read the files says what `check` says, in log and status.
#[test]
fn n60_the_order_of_lines_is_reported_by_log_and_status_as_by_check() {
    let fault = Fault { configuration: "[sandbox]\nenabled = false\n", ..WRONG_ORDER };
    let mut night = Night::begin(&fault);
    (fault.make)(&mut night);
    let (line, _) = night.pgsvid().event_after(night.mark, "not-in-force");
    let view = night.view().unwrap();
    let told = &view["consumers"][0]["findings"][0];
    let (report, _) = night.check();
    let checked = findings(&report).into_iter().find(|it| it["code"] == "role-login-refused");
    let checked = checked.unwrap_or_else(|| panic!("{report:#}"));
    for field in ["code", "text", "fix", "command"] {
        assert_eq!(told[field], checked[field], "{view:#}");
    }
    assert_eq!((&line["cause"], &line["command"]), (&checked["text"], &checked["command"]));
    night.paste(checked["command"].as_str().unwrap());
    night.ask_again();
    eventually(LIMIT, "the command heals", || night.word() == Some(Word::Current));
}
