//! The order in which several Secrets are written.

use serde_json::{Value, json};
use test_support::Fault;

use crate::{FIELDS, World, wait};

/// How many authorities a written Secret has.
fn authorities(secret: &Value) -> usize {
    use base64::Engine as _;
    let text = secret["data"]["ca.crt"].as_str().unwrap();
    let pem = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    String::from_utf8(pem).unwrap().matches("BEGIN CERTIFICATE").count()
}

#[test]
fn v11_a_bundle_for_others_has_a_new_authority_first_and_loses_an_old_one_last() {
    let world = World::new();
    world.configure(&format!(
        "[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}[[secrets]]\nname = 'root'\nfields = {{ 'ca.crt' = 'bundle' }}\n"
    ));
    world.server.put("own", "root", &json!({}));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    // The writes since a moment: name, and number of authorities.
    let writes = |since: usize| -> Vec<(String, usize)> {
        let written = world.server.written();
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        written[since..].iter().map(|(path, secret)| (name(path), authorities(secret))).collect()
    };
    let begun = world.server.written().len();
    world.agent.prepare_authority().unwrap();
    wait("both have two authorities", || writes(begun).len() == 2);
    let both = |first: &str, second: &str, count| {
        vec![(first.to_owned(), count), (second.to_owned(), count)]
    };
    assert_eq!(writes(begun), both("root", "server", 2));

    world.agent.activate_authority().unwrap();
    world.agent.rotate().unwrap();
    wait("the leaf is of the new authority", || writes(begun).len() == 3);
    let begun = world.server.written().len();
    world.agent.revoke_authority().unwrap();
    wait("both have one authority", || writes(begun).iter().any(|(name, _)| name == "root"));
    assert_eq!(writes(begun)[..2], both("server", "root", 1)[..]);
}

#[test]
fn v11_a_leaf_waits_until_the_authorities_for_its_readers_could_be_written() {
    let world = World::new();
    world.configure(&format!(
        "[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}[[secrets]]\nname = 'root'\nfields = {{ 'ca.crt' = 'bundle' }}\n"
    ));
    world.server.put("own", "root", &json!({}));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let first = world.server.field("own", "server", "tls.crt").unwrap();
    world.server.fault(Fault::Name("root"));
    world.agent.prepare_authority().unwrap();
    pgsvid.code("secret-awaits-authorities");
    world.agent.activate_authority().unwrap();
    world.agent.rotate().unwrap();
    wait("the newer set is tried", || pgsvid.count("identity-received") >= 3);
    assert_eq!(world.server.field("own", "server", "tls.crt").unwrap(), first);
    world.server.fault(Fault::None);
    wait("both are written", || {
        world.server.field("own", "server", "tls.crt").unwrap() != first
            && authorities(&world.server.secret("own", "root").unwrap()) == 2
    });
}

#[test]
fn v11_an_authority_that_somebody_plants_in_one_secret_does_not_get_into_another() {
    let world = World::new();
    let bundle = |name: &str| {
        format!("[[secrets]]\nname = '{name}'\n[secrets.fields]\n'ca.crt' = 'bundle'\n")
    };
    world.configure(&format!("{}{}", bundle("low"), bundle("high")));
    world.server.put("own", "low", &json!({}));
    world.server.put("own", "high", &json!({}));
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    let rogue = World::new();
    rogue.configure(&bundle("rogue"));
    rogue.server.put("own", "rogue", &json!({}));
    let writer = rogue.run();
    writer.event("secrets-handed-over");
    let planted = rogue.server.secret("own", "rogue").unwrap()["data"]["ca.crt"].clone();
    let before = world.server.written().len();
    // Instead of the real ones, and while these change.
    world.server.edit("own", "low", |secret| secret["data"]["ca.crt"] = planted.clone());
    pgsvid.event("secret-restored");
    world.server.edit("own", "low", |secret| secret["data"]["ca.crt"] = planted.clone());
    world.agent.prepare_authority().unwrap();
    wait("both have the next authorities", || {
        ["low", "high"]
            .iter()
            .all(|name| authorities(&world.server.secret("own", name).unwrap()) == 2)
    });
    let planted = world.server.written()[before..].iter().any(|(_, secret)| {
        use base64::Engine as _;
        let decode = |value: &Value| {
            base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
        };
        String::from_utf8(decode(&secret["data"]["ca.crt"]))
            .unwrap()
            .contains(String::from_utf8(decode(&planted)).unwrap().trim())
    });
    assert!(!planted);
}
