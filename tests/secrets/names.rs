//! An API server that is named, and the addresses of its name.

use test_support::{FileOver, NameServer, Signal, with_mounts};

use crate::{FIELDS, World, wait};

#[test]
fn v10_an_api_server_whose_name_gets_an_address_later_is_found_and_so_is_another_address() {
    with_mounts(|| {
        let dns = NameServer::start();
        let _hosts = FileOver::over("/etc/hosts", "127.0.0.1 localhost\n");
        let _servers = FileOver::over("/etc/resolv.conf", &dns.resolv_conf());
        let world = World::new();
        world.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
        let path = world.files.join("pgsvid.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let named = text.replace("https://127.0.0.1", "https://api");
        assert_ne!(named, text);
        world.files.write("pgsvid.toml", named, 0o644);
        let pgsvid = world.run();
        pgsvid.code("kubernetes-name-unresolved");
        // Nobody listens there.
        dns.set("api.example", &["127.0.0.77"]);
        pgsvid.0.signal(Signal::HUP);
        wait("it connects there", || {
            let lines = pgsvid.0.lines();
            lines.iter().any(|line| line.contains("onnection refused"))
        });
        dns.set("api.example", &["127.0.0.1"]);
        pgsvid.event("secrets-handed-over");
    });
}
