//! N11, N12: the printed commands about registration entries do what they say.

use pgsvid::entries;
use serde_json::Value;
use test_support::Account;

use crate::spire::Spire;

const ID: &str = "spiffe://example.org/ns/test/sa/full";

fn shown(spire: &Spire) -> Value {
    let shown = spire.ask(&["entry", "show", "-spiffeID", ID, "-output", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["entries"].as_array().unwrap().len(), 1, "{shown}");
    let mut entry = shown["entries"][0].clone();
    let changing = entry.as_object_mut().unwrap();
    for field in ["revision_number", "created_at"] {
        changing.remove(field);
    }
    entry
}

/// `entry update` forgets whatever it is not told.
#[test]
fn n11_a_dns_name_is_added_and_all_else_of_the_entry_stays() {
    let spire = Spire::start(&[]);
    let create = |more: &[&str]| {
        let all = ["entry", "create", "-parentID", spire.parent(), "-spiffeID", ID];
        spire.ask(&[&all[..], more].concat()).unwrap();
    };
    create(&[
        "-selector",
        "unix:uid:4711",
        "-selector",
        "unix:path:/a b",
        "-dns",
        "one.example",
        "-dns",
        "two.example",
        "-x509SVIDTTL",
        "600",
        "-jwtSVIDTTL",
        "60",
        "-hint",
        "a hint",
        "-admin",
        "-downstream",
    ]);
    let mut expected = shown(&spire);
    spire.paste(&entries::add_dns_name(ID, "three.example")).unwrap();
    let names = expected["dns_names"].as_array_mut().unwrap();
    names.push("three.example".into());
    assert_eq!(shown(&spire), expected);

    // Which of two is meant is not known: nothing changes.
    create(&["-selector", "unix:uid:1"]);
    let before = spire.ask(&["entry", "show", "-output", "json"]).unwrap();
    spire.paste(&entries::add_dns_name(ID, "four.example")).unwrap_err();
    assert_eq!(spire.ask(&["entry", "show", "-output", "json"]).unwrap(), before);
}

#[test]
fn n12_an_entry_is_made_again_by_the_command() {
    let spire = Spire::start(&[]);
    let uid = Account::server().uid();
    spire.paste(&entries::create(ID, uid, ["one.example", "two.example"])).unwrap();
    let entry = shown(&spire);
    assert_eq!(entry["dns_names"], serde_json::json!(["one.example", "two.example"]));
    assert_eq!(entry["selectors"][0]["value"], format!("uid:{uid}"));
    // It is below the agent: so the agent hands it out.
    test_support::eventually(crate::LIMIT, "the agent has the entry", || {
        let asked = spire.workload_asks(&["api", "fetch", "x509", "-socketPath", &spire.socket()]);
        asked.is_ok_and(|said| said.contains(ID))
    });
}
