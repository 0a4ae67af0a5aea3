//! The whole chain of a fault: the log, the status and `check`, the printed remedy, and that it works.

use std::cell::RefCell;
use std::fmt;

use serde_json::Value;
use test_support::{LIMIT, eventually};

use crate::night::{Night, findings};
use crate::table::{Fault, Remedy, Word};

/// Makes the fault, looks everywhere, does what is printed, and sees it healed.
#[track_caller]
pub(crate) fn walk(fault: &Fault) -> Night {
    let mut night = Night::begin(fault);
    (fault.make)(&mut night);
    if let Some((level, event)) = fault.log {
        night.pgsvid().wait_for_event_after(night.mark, LIMIT, |line| {
            line["level"] == level && line["event"] == event
        });
    }
    if fault.word == Word::Silent {
        eventually(LIMIT, "nobody answers", || night.view().is_none() && night.typed().1 == 1);
    } else {
        status(&night, fault);
        everywhere_the_same(&night, fault, fault.word);
    }
    let found = check(&night, fault);
    match fault.remedy {
        Remedy::None => {}
        Remedy::Paste => {
            let found = found.expect("a finding");
            let command = found["command"].as_str();
            night.paste(command.unwrap_or_else(|| panic!("no command: {found:#}")));
        }
        Remedy::Configure => {
            let found = found.expect("a finding");
            let fix = found["fix"].as_str().unwrap_or_default();
            let setting = fix.strip_prefix("put ").and_then(|rest| {
                Some(rest.split_once(" into postgresql.conf, then reload")?.0.to_owned())
            });
            night.setup.cluster.set_conf(&setting.unwrap_or_else(|| panic!("{found:#}")));
            night.reload();
        }
        Remedy::Done(how) => how(&mut night, &found.unwrap_or_default()),
    }
    healed(&night, fault);
    night
}

/// The document says what the table has.
#[track_caller]
fn status(night: &Night, fault: &Fault) {
    let has = |of: &Value, codes: &[&str]| {
        let found: Vec<&Value> = of["findings"].as_array().into_iter().flatten().collect();
        codes.iter().all(|code| found.iter().any(|found| found["code"] == *code))
    };
    settles(fault, || {
        let view = night.view().ok_or("nobody answers")?;
        let (target, consumer) = (&view["targets"][0], &view["consumers"][0]);
        let fits = night.word() == Some(fault.word)
            && consumer["verdict"].as_str().unwrap_or_default() == fault.verdict
            && has(target, fault.target)
            && has(consumer, fault.findings);
        ensure(fits, &format!("{view:#}"))
    });
}

/// Everything that reports says the same. The fault may be one that comes and goes: then it is asked again.
#[track_caller]
fn everywhere_the_same(night: &Night, fault: &Fault, word: Word) {
    settles(fault, || contradiction(night, word).map_err(|what| format!("{word:?}, but {what}")));
}

/// Waits until nothing is wrong any more, or says what is.
#[track_caller]
fn settles(fault: &Fault, mut condition: impl FnMut() -> Result<(), String>) {
    struct Because<'a>(&'a Fault, &'a RefCell<String>);
    impl fmt::Display for Because<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} {}:\n{}", self.0.id, self.0.name, self.1.borrow())
        }
    }
    let reason = RefCell::new(String::new());
    eventually(LIMIT, Because(fault, &reason), || match condition() {
        Ok(()) => true,
        Err(why) => {
            *reason.borrow_mut() = why;
            false
        }
    });
}

fn ensure(fits: bool, what: &dyn fmt::Display) -> Result<(), String> {
    if fits { Ok(()) } else { Err(what.to_string()) }
}

/// What does not fit to that word.
fn contradiction(night: &Night, word: Word) -> Result<(), String> {
    let view = night.view().ok_or("nobody answers")?;
    let verdict = view["consumers"][0]["verdict"].as_str();
    let ready = word != Word::NotReady;
    let (begins, headline) = match word {
        Word::NotReady => ("not ready", "Not ready"),
        Word::Degraded => ("degraded", "Degraded"),
        Word::Current | Word::Silent => (verdict.unwrap_or("published"), "Ready"),
    };
    let (text, status) = night.typed();
    ensure(text.starts_with(begins) && status == i32::from(!ready), &text)?;
    let (code, text) = night.get("/readyz").ok_or("nobody answers")?;
    ensure(code == if ready { 200 } else { 503 }, &text)?;
    let metrics = night.get("/metrics").ok_or("nobody answers")?.1;
    let verdict = verdict.map(|verdict| {
        format!("\npgsvid_verdict{{consumer=\"postgres\",verdict=\"{verdict}\"}} 1\n")
    });
    let samples = [
        format!("\npgsvid_ready {}\n", u8::from(ready)),
        format!("\npgsvid_degraded {}\n", u8::from(word == Word::Degraded)),
    ];
    for sample in samples.into_iter().chain(verdict) {
        ensure(metrics.contains(&sample), &format!("{sample} is not in {metrics}"))?;
    }
    let page = night.get("/").ok_or("nobody answers")?.1;
    ensure(page.contains(&format!("<p class=\"word\">{headline}</p>")), &page)?;
    // The page shows the remedy, too.
    ensure(page.contains("<dt>Fix</dt>") == (word != Word::Current), &page)
}

/// `check` finds what the table has; returned is that finding.
#[track_caller]
fn check(night: &Night, fault: &Fault) -> Option<Value> {
    let (report, status) = night.check();
    let (severity, code) = fault.check?;
    let found = findings(&report)
        .into_iter()
        .find(|found| found["severity"] == severity && found["code"] == code);
    let found = found.unwrap_or_else(|| panic!("no {severity} {code} in {report:#}")).clone();
    let failures = failures(&report);
    let expected = if severity == "failure" { fault.failures } else { 0 };
    assert_eq!(failures.len(), expected, "{failures:#?}");
    assert_eq!(status, i32::from(expected > 0), "{report:#}");
    Some(found)
}

fn failures(report: &Value) -> Vec<&Value> {
    findings(report).into_iter().filter(|found| found["severity"] == "failure").collect()
}

/// All is well again, and everything says so.
#[track_caller]
fn healed(night: &Night, fault: &Fault) {
    if !fault.by_itself {
        night.ask_again();
    }
    settles(fault, || {
        let view = night.view().ok_or("nobody answers")?;
        let well = night.word() == Some(Word::Current)
            && view["consumers"]
                .as_array()
                .is_some_and(|all| all.iter().all(|one| one["verdict"] == "current"));
        ensure(well, &format!("healed, but {view:#}"))
    });
    everywhere_the_same(night, fault, Word::Current);
    // What was written last may be noticed a moment after the status was read.
    settles(fault, || {
        let (report, status) = night.check();
        ensure(status == 0 && failures(&report).is_empty(), &format!("healed, but {report:#}"))
    });
}
