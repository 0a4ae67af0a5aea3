//! The place of the soak, and what must hold after each rotation.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::Duration;

use dev_agent::{Entry, Svid};
use test_support::{Mark, Pgsvid, Setup, Tmpfs, eventually, subject};

use crate::soak::figures::Figures;

/// Longer than any back-off.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Place {
    pub(crate) setup: Setup,
    pub(crate) pgsvid: Pgsvid,
    pub(crate) volume: Tmpfs,
    /// Where pgsvid's output ended before the present rotation.
    pub(crate) mark: Mark,
    /// What this rotation and the few before it met.
    faults: VecDeque<&'static str>,
    /// Starts of PostgreSQL in whose midst a swap came.
    straddled: u32,
}

impl Place {
    /// A database whose files are on a small volume, with a service file beside them.
    pub(crate) fn start() -> Self {
        let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
        // Rotations follow one another without end, and none is to wait. Of an agent with so many troubles in so short a
        // time most lines are among the details.
        setup.configure(
            "[files]\npublish_every = '0s'\n[files.service]\nfile = 'pg_service.conf'\nname = 'db'\n\
             [postgres]\nverify_every = '5s'\n[log]\nlevel = 'debug'",
        );
        let owner = format!("uid={},gid={}", setup.cluster.uid(), setup.cluster.gid());
        let volume = Tmpfs::over(setup.files.path(), &format!("mode=0755,size=512k,{owner}"));
        let pgsvid = setup.start();
        Self { setup, pgsvid, volume, mark: Mark::default(), faults: VecDeque::new(), straddled: 0 }
    }

    /// The workload, with the SVID that nothing is wrong with.
    pub(crate) fn workload() -> Entry {
        Entry::new(Setup::SPIFFE_ID).dns("localhost")
    }

    /// The next rotation begins.
    pub(crate) fn begin(&mut self, fault: &'static str) {
        self.mark = self.pgsvid.mark();
        self.faults.push_front(fault);
        self.faults.truncate(5);
    }

    /// Starts PostgreSQL. It opens certificate and key one after the other: where a swap comes in between, a start fails,
    /// and PostgreSQL's supervisor restarts it.
    #[track_caller]
    pub(crate) fn start_server(&mut self) {
        while let Err(log) = self.setup.cluster.try_start() {
            assert!(log.contains("key values mismatch"), "PostgreSQL does not start:\n{log}");
            self.straddled += 1;
            assert!(self.straddled < 20, "it is no coincidence:\n{log}");
        }
    }

    /// Waits until pgsvid has said that in this rotation.
    #[track_caller]
    pub(crate) fn said(&self, message: &str) {
        self.pgsvid.wait_for_event_after(self.mark, LIMIT, |event| {
            event["message"].as_str().is_some_and(|text| text.contains(message))
        });
    }

    /// Waits for an alarm in this rotation.
    #[track_caller]
    pub(crate) fn alarmed(&self) {
        self.pgsvid.wait_for_event_after(self.mark, LIMIT, |event| event["level"] == "ERROR");
    }

    /// The newest SVID gets published as a whole and served, and pgsvid knows it.
    #[track_caller]
    pub(crate) fn assert_newest_is_served(&self) {
        let svid = self.setup.agent.svid();
        let serial = short(&svid);
        let (event, _) = self.pgsvid.wait_for_event_after(self.mark, LIMIT, |event| {
            event["event"] == "rotated" && event["serial"] == serial.as_str()
        });
        assert_eq!(event["verdict"], "current", "{event}");
        self.assert_published(&svid);
        let served = self.setup.cluster.served();
        assert!(served.leaf == svid.leaf(), "another leaf is served");
        let wanted = svid.bundle.iter().map(|root| subject(root)).collect();
        assert_eq!(served.authorities, Some(wanted), "other authorities are served");
    }

    /// Whether the set on disk is that of the newest SVID.
    pub(crate) fn has_newest(&self) -> bool {
        self.holds(&self.setup.agent.svid())
    }

    fn holds(&self, svid: &Svid) -> bool {
        let published = ["svid.pem", "svid_key.pem", "svid_bundle.pem"].map(|name| self.read(name));
        published == [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.setup.files.join(name)).unwrap_or_default()
    }

    /// The set on disk is that of this SVID, and the service file names its generation.
    #[track_caller]
    fn assert_published(&self, svid: &Svid) {
        assert!(self.holds(svid), "another set, or a mixed one, is published");
        let generation = fs::read_link(self.setup.files.join("..data")).unwrap();
        let service = self.read("pg_service.conf");
        assert!(service.contains(generation.to_str().unwrap()), "{service}");
    }

    pub(crate) fn figures(&self) -> Figures {
        let process = self.pgsvid.process();
        Figures {
            resident: process.resident(),
            descriptors: process.descriptors(),
            threads: process.threads().len(),
            entries: fs::read_dir(self.setup.files.path()).unwrap().count(),
        }
    }

    /// The same once the thread that writes files, which waits for more work for a while, has gone.
    pub(crate) fn quiet_figures(&self) -> Figures {
        let process = self.pgsvid.process();
        eventually(LIMIT, "only the runtime and the log have threads", || {
            process.threads().len() <= 3
        });
        self.figures()
    }

    /// What the server has to say, line by kind.
    pub(crate) fn report_log(&self) {
        let log = self.setup.cluster.log();
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        for line in log.lines() {
            // Without time, process, and whatever differs from one line of a kind to the next.
            let text = line.split_once("] ").map_or(line, |(_, text)| text);
            let kind: String = text
                .chars()
                .map(|letter| if letter.is_ascii_digit() { '#' } else { letter })
                .take(60)
                .collect();
            *kinds.entry(kind.replace("##", "#").replace("##", "#")).or_default() += 1;
        }
        println!(
            "soak: {} starts of PostgreSQL failed because a swap came in between",
            self.straddled
        );
        println!("soak: {} lines in the server's log", log.lines().count());
        for (kind, count) in kinds {
            println!("soak:   {count:6} x {kind}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("soak: failed; the last faults, newest first: {:?}", self.faults);
        }
    }
}

fn short(svid: &Svid) -> String {
    svid.serial[..3].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
