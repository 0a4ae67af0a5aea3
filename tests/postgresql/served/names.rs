//! What a name server says of the name, and what the certificate does.

use test_support::{FileOver, NameServer, Setup, with_mounts};

use super::{FIRST, PGSVID, SECOND, Two, configure, everywhere, status, told, verdicts};

#[test]
fn y03_y12_a_name_without_an_address_is_reported_and_a_name_server_that_falls_silent_hides_no_instance()
 {
    with_mounts(|| {
        let dns = NameServer::start();
        let _hosts = FileOver::over("/etc/hosts", "127.0.0.1 localhost\n");
        let _servers = FileOver::over("/etc/resolv.conf", &dns.resolv_conf());
        let setup = Setup::new(PGSVID);
        let table = "within = '2s'\nevery = '1s'\nserver_name = 'localhost'";
        configure(&setup, &format!("db:{}", setup.cluster.port()), table);
        let pgsvid = setup.start();
        let mark = test_support::Mark::default();
        told(&pgsvid, mark, "served-awaited", "unreachable", "served-name-unresolved");
        let (late, mark) = told(&pgsvid, mark, "unproven", "unreachable", "served-name-unresolved");
        assert_eq!(late["level"], "WARN", "{late}");
        let (whole, served) = status(&setup);
        assert!(whole["ready"] == true && verdicts(&served).is_empty(), "{whole}");

        // It is found by the search list, and later at another address.
        dns.set("db.example", &[FIRST]);
        let (_, mark) = pgsvid.event_after(mark, "served-everywhere");
        dns.stop(true);
        let (warning, _) = pgsvid.event_after(mark, "served-warning");
        assert_eq!(warning["code"], "served-name-unresolved", "{warning}");
        setup.agent.rotate().unwrap();
        pgsvid.current(2);
        everywhere(&pgsvid, 2);
        dns.stop(false);
        dns.set("db.example", &[SECOND]);
        let (gone, _) = pgsvid.event_after(mark, "instance-gone");
        assert_eq!(gone["address"], format!("{FIRST}:{}", setup.cluster.port()), "{gone}");
    });
}

#[test]
fn y13_a_certificate_without_the_name_is_a_warning_and_the_set_is_in_force() {
    with_mounts(|| {
        let two = Two::start(&[FIRST], "server_name = 'cluster-rw.db'");
        everywhere(&two.pgsvid, 1);
        let warning = two.pgsvid.event("served-warning");
        assert_eq!(warning["code"], "served-certificate-name", "{warning}");
        let (whole, served) = status(&two.setup);
        assert_eq!(served["verdict"], "current", "{served}");
        assert_eq!(served["findings"][0]["code"], "served-certificate-name", "{served}");
        assert!(whole["ready"] == true && !whole["degraded"][0].is_null(), "{whole}");
    });
}
