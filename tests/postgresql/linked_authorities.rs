//! Extra authorities through links, as update-ca-certificates, Kubernetes and people make them: pgsvid notices every change
//! that affects what is read.

use std::fs::{create_dir, read, remove_file, rename};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use dev_agent::Authority;
use test_support::{Directory, LIMIT, Mark, Pgsvid, Setup, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// A link `extra.pem`, and what is on the way from there to the file.
struct Linked {
    setup: Setup,
    elsewhere: Directory,
}

impl Linked {
    fn new() -> Self {
        Self { setup: Setup::new(PGSVID), elsewhere: Directory::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.elsewhere.join(path)
    }

    fn directory(&self, path: &str) {
        create_dir(self.at(path)).unwrap();
    }

    /// Writes a new authority there, by a rename as editors and tools do.
    fn write(&self, path: &str) -> Authority {
        let authority = Authority::new("corporate.example", false).unwrap();
        let text = authority.root_pem();
        let next = self.elsewhere.write("next.pem", text, 0o644);
        rename(next, self.at(path)).unwrap();
        authority
    }

    fn link(&self, target: impl AsRef<Path>, path: &str) {
        let next = self.at("next");
        symlink(target, &next).unwrap();
        rename(next, self.at(path)).unwrap();
    }

    fn start(&self, path: &str, more: &str) -> Pgsvid {
        let extra = self.at(path);
        let verify_every = "[postgres]\nverify_every = '1d'";
        self.setup.configure(&format!(
            "[files]\nextra_authorities = ['{}']\n{verify_every}\n{more}",
            extra.display()
        ));
        self.setup.start()
    }

    fn is_published(&self, authority: &Authority) -> bool {
        let bundle = read(self.setup.files.join("svid_bundle.pem")).unwrap();
        let published = pgsvid::material::pem::decode_certificates(&bundle).unwrap();
        published.iter().any(|root| root.der() == authority.root())
    }

    #[track_caller]
    fn wait_published(&self, authority: &Authority, what: &str) {
        eventually(LIMIT, what, || self.is_published(authority));
    }
}

#[test]
fn f45_what_a_link_leads_to_is_noticed_wherever_it_lies() {
    let linked = Linked::new();
    for directory in ["etc", "certs", "share", "share/v1", "share/v2"] {
        linked.directory(directory);
    }
    // As /etc/ssl/certs/name.pem leads to /usr/local/share/ca-certificates; and a link of directories on the way.
    let mut authority = linked.write("share/v1/ca.crt");
    linked.link("v1", "share/current");
    linked.link("../share/current/ca.crt", "certs/ca.pem");
    linked.link(linked.at("certs/ca.pem"), "etc/extra.pem");
    let _pgsvid = linked.start("etc/extra.pem", "");
    linked.wait_published(&authority, "at the start");

    authority = linked.write("share/v1/ca.crt");
    linked.wait_published(&authority, "the file is replaced");

    authority = Authority::new("corporate.example", false).unwrap();
    linked.elsewhere.write("share/v1/ca.crt", authority.root_pem(), 0o644);
    linked.wait_published(&authority, "the file is written again in its place");

    authority = linked.write("share/v2/ca.crt");
    linked.link("v2", "share/current");
    linked.wait_published(&authority, "a link of directories is turned");
    authority = linked.write("share/v2/ca.crt");
    linked.wait_published(&authority, "and from then on it is watched there");

    authority = linked.write("share/v2/other.crt");
    linked.link("../share/current/other.crt", "certs/ca.pem");
    linked.wait_published(&authority, "the link in the middle is turned");

    authority = linked.write("share/v2/third.crt");
    linked.link(linked.at("share/current/third.crt"), "etc/extra.pem");
    linked.wait_published(&authority, "the first link is turned");

    // It goes away, and comes back as another one.
    remove_file(linked.at("share/v2/third.crt")).unwrap();
    authority = linked.write("share/v2/third.crt");
    linked.wait_published(&authority, "the file comes back");
}

#[test]
fn f45_a_config_map_that_is_turned_is_noticed() {
    let linked = Linked::new();
    for directory in ["map", "map/..1", "map/..2", "map/..3"] {
        linked.directory(directory);
    }
    let first = linked.write("map/..1/ca.pem");
    linked.link("..1", "map/..data");
    linked.link("..data/ca.pem", "map/ca.pem");
    let _pgsvid = linked.start("map/ca.pem", "");
    linked.wait_published(&first, "at the start");
    for next in ["..2", "..3"] {
        let authority = linked.write(&format!("map/{next}/ca.pem"));
        linked.link(next, "map/..data");
        linked.wait_published(&authority, next);
    }
}

/// A directory far above is another one: no event of those that are watched.
#[test]
fn f46_at_sighup_extra_authorities_are_read_without_an_event_of_the_kernel() {
    let linked = Linked::new();
    for directory in ["a", "a/b", "a/b/c", "new", "new/b", "new/b/c"] {
        linked.directory(directory);
    }
    let first = linked.write("a/b/c/ca.pem");
    let pgsvid = linked.start("a/b/c/ca.pem", "[sandbox]\nenabled = false");
    linked.wait_published(&first, "at the start");
    let second = linked.write("new/b/c/ca.pem");
    rename(linked.at("a"), linked.at("former")).unwrap();
    rename(linked.at("new"), linked.at("a")).unwrap();
    pgsvid.signal(Signal::HUP);
    pgsvid.event("extra-authorities-changed");
    linked.wait_published(&second, "it is read again");
}

#[test]
fn f47_a_link_that_leads_out_of_the_sandbox_is_reported_with_what_to_do() {
    let linked = Linked::new();
    for directory in ["etc", "one", "two"] {
        linked.directory(directory);
    }
    let first = linked.write("one/ca.pem");
    linked.link(linked.at("one/ca.pem"), "etc/extra.pem");
    let pgsvid = linked.start("etc/extra.pem", "");
    linked.wait_published(&first, "at the start");
    let second = linked.write("two/ca.pem");
    linked.link(linked.at("two/ca.pem"), "etc/extra.pem");
    let (kept, _) = pgsvid.event_after(Mark::default(), "extra-authorities-kept");
    assert!(kept["fix"].as_str().unwrap().contains("restart pgsvid"), "{kept}");
    assert!(linked.is_published(&first));
    // What is printed helps.
    assert!(pgsvid.terminate(LIMIT).success());
    let _pgsvid = linked.setup.spawn();
    linked.wait_published(&second, "after the restart");
}
