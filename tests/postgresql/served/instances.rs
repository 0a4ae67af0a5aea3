//! Instances that stay behind, appear and go.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use test_support::{LIMIT, Setup, eventually, with_mounts};

use super::{FIRST, PGSVID, SECOND, Two, everywhere, hosts, instance, status, told, verdicts};

/// The metrics of pgsvid.
fn metrics(setup: &Setup) -> String {
    let mut stream = UnixStream::connect(setup.other.join("status.sock")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn y01_the_instance_that_stays_old_is_named_and_a_problem_once_its_time_is_over() {
    with_mounts(|| {
        let two = Two::start(&[FIRST, SECOND], "within = '3s'\nevery = '1s'");
        let (pgsvid, setup) = (&two.pgsvid, &two.setup);
        assert_eq!(everywhere(pgsvid, 1)["instances"], 2);
        let [first, second] = [FIRST, SECOND].map(|host| two.address(host));

        let mark = two.rotate(2);
        let (awaited, _) = told(pgsvid, mark, "served-awaited", "still-old", "verdict-still-old");
        assert_eq!(awaited["level"], "INFO", "{awaited}");
        assert!(instance(pgsvid, mark, &first)["delay_ms"].as_f64().is_some());
        let (late, _) = told(pgsvid, mark, "not-in-force", "still-old", "verdict-still-old");
        let text = late["message"].as_str().unwrap();
        assert!(text.contains(&second) && !text.contains(&first), "{text}");
        let (whole, served) = status(setup);
        let wanted = [(first.clone(), "current"), (second.clone(), "still-old")];
        assert_eq!(verdicts(&served), wanted.map(|(it, verdict)| (it, verdict.to_owned())));
        assert!(whole["ready"] == true && !whole["degraded"][0].is_null(), "{whole}");
        let page = metrics(setup);
        for line in [
            "pgsvid_served_late{consumer=\"both\"} 1".to_owned(),
            format!(
                "pgsvid_served_verdict{{consumer=\"both\",address=\"{second}\",verdict=\"still-old\"}} 1"
            ),
            format!(
                "pgsvid_served_verdict{{consumer=\"both\",address=\"{first}\",verdict=\"current\"}} 1"
            ),
        ] {
            assert!(page.contains(&line), "{line}: {page}");
        }
        assert!(!page.contains("pgsvid_verdict{consumer=\"both\""), "{page}");

        // The printed command shows the same.
        let fix = late["fix"].as_str().unwrap();
        let command = fix.split("check what it serves: ").nth(1).unwrap();
        assert_eq!(command, format!("pgsvid probe {second}"));
        let probed = Command::new(PGSVID).args(command.split(' ').skip(1)).output().unwrap();
        let serial = served["instances"]["instances"][1]["serial"].as_str().unwrap();
        assert!(String::from_utf8_lossy(&probed.stdout).contains(&serial[..8]), "{probed:?}");

        two.second.reload();
        everywhere(pgsvid, 2);
        let delay = instance(pgsvid, mark, &second)["delay_ms"].as_f64().unwrap();
        assert!(delay >= 3000.0, "{delay}");
        let (whole, served) = status(setup);
        assert!(whole["degraded"][0].is_null(), "{whole}");
        assert!(served["instances"]["instances"][1]["delay_ms"].as_f64().unwrap() >= 3000.0);
        assert!(metrics(setup).contains("pgsvid_served_late{consumer=\"both\"} 0"));
    });
}

#[test]
fn y02_an_instance_that_appears_is_found_and_one_that_goes_is_forgotten() {
    with_mounts(|| {
        let two = Two::start(&[FIRST], "every = '1s'");
        assert_eq!(everywhere(&two.pgsvid, 1)["instances"], 1);
        let mark = two.pgsvid.mark();
        two.hosts.set(&hosts(&[FIRST, SECOND]));
        let found = instance(&two.pgsvid, mark, &two.address(SECOND));
        assert!(found["delay_ms"].is_null(), "it took an unknown time: {found}");
        two.hosts.set(&hosts(&[SECOND]));
        let (gone, _) = two.pgsvid.event_after(mark, "instance-gone");
        assert_eq!(gone["address"], two.address(FIRST), "{gone}");
        eventually(LIMIT, "the status has one instance", || {
            verdicts(&status(&two.setup).1) == [(two.address(SECOND), "current".to_owned())]
        });
        assert!(status(&two.setup).0["degraded"][0].is_null());
    });
}

#[test]
fn y07_y14_an_earlier_set_is_no_delay_and_another_publication_of_the_same_set_is_none() {
    with_mounts(|| {
        let two = Two::start(&[FIRST, SECOND], "within = '60s'");
        everywhere(&two.pgsvid, 1);
        // SIGHUP publishes the same set again.
        two.pgsvid.signal(test_support::Signal::HUP);
        everywhere(&two.pgsvid, 2);
        assert_eq!(two.pgsvid.events("instance-current").len(), 2);
        two.rotate(3);
        two.pgsvid.terminate(LIMIT);
        let again = two.setup.spawn();
        let (awaited, _) = told(
            &again,
            test_support::Mark::default(),
            "served-awaited",
            "still-old",
            "verdict-still-old",
        );
        assert_eq!(awaited["generation"], 0, "{awaited}");
        two.second.reload();
        everywhere(&again, 0);
        for event in again.events("instance-current") {
            assert!(event["delay_ms"].is_null(), "nobody knows when it was handed over: {event}");
        }
    });
}

#[test]
fn y10_of_a_flood_of_addresses_some_are_looked_at_and_that_is_reported() {
    with_mounts(|| {
        let flood: Vec<String> = (1..=60).map(|last| format!("127.0.1.{last}")).collect();
        let all: Vec<&str> = [FIRST].into_iter().chain(flood.iter().map(String::as_str)).collect();
        let two = Two::start(&[FIRST], "every = '1s'\nwithin = '1s'");
        everywhere(&two.pgsvid, 1);
        let mark = two.pgsvid.mark();
        two.hosts.set(&hosts(&all));
        let (warning, _) = two.pgsvid.event_after(mark, "served-warning");
        assert_eq!(warning["code"], "served-instances-many", "{warning}");
        let (late, _) = two.pgsvid.event_after(mark, "unproven");
        assert!(late["message"].as_str().unwrap().contains("31 of 32"), "{late}");
        let (_, served) = status(&two.setup);
        assert_eq!(served["instances"]["left_out"], 29, "{served}");
        let verdicts = verdicts(&served);
        assert_eq!(verdicts.len(), 32);
        // The known one is among them.
        assert_eq!(verdicts[0], (two.address(FIRST), "current".to_owned()));
        two.rotate(2);
    });
}
