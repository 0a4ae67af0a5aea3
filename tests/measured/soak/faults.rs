//! The faults. Each causes a new SVID, and undoes itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dev_agent::{Flaw, Misbehaviour, Status, Stop};
use test_support::{Dice, Mode, Signal, eventually};

use crate::soak::place::{LIMIT, Place};

/// What happens to the place; chance decides about the details.
type Fault = (&'static str, fn(&mut Place, &mut Dice));

/// All of them, with the rows of the fault table.
pub(crate) const FAULTS: [Fault; 22] = [
    ("W02 W06 the agent is restarted", agent_is_restarted),
    ("W05 the agent is frozen", agent_is_frozen),
    ("W07 streams end", streams_end),
    ("W08 connections are reset", connections_are_reset),
    ("W08 a message is cut", message_is_cut),
    ("W09 W10 the entry is deleted and made again", entry_is_deleted),
    ("W13 I01-I04 messages are refused", messages_are_refused),
    ("W15 many updates at once", many_updates),
    ("W17 W20 the authority changes", authority_changes),
    ("D01 the volume is full", volume_is_full),
    ("D03 the volume is read-only", volume_is_read_only),
    ("D11 published files are changed", files_are_changed),
    ("D11 others come and go beside them", others_come_and_go),
    ("P01 P02 PostgreSQL is restarted", server_is_restarted),
    ("P04 P19 the role may not log in", role_may_not_log_in),
    ("P07 PostgreSQL refuses the files", server_refuses),
    ("P08 TLS is turned off", tls_is_off),
    ("P11 PostgreSQL is stopped", server_is_stopped),
    ("P15 P24 a storm of reloads", storm_of_reloads),
    ("K05 a storm of SIGHUPs", storm_of_sighups),
    ("X03 descriptors are exhausted", descriptors_are_exhausted),
    ("pgsvid is stopped", pgsvid_is_stopped),
];

fn agent_is_restarted(place: &mut Place, dice: &mut Dice) {
    place.setup.agent.stop(*dice.one_of(&[Stop::Kill, Stop::Terminate]));
    if dice.once_in(2) {
        place.said("no connection to the agent");
    }
    place.setup.agent.restart().unwrap();
}

fn agent_is_frozen(place: &mut Place, dice: &mut Dice) {
    place.setup.agent.freeze();
    for _ in 0..dice.between(1..=3) {
        place.setup.agent.rotate().unwrap();
    }
    place.setup.agent.thaw();
}

fn streams_end(place: &mut Place, dice: &mut Dice) {
    let status = Status::unavailable("on purpose");
    let status = dice.once_in(2).then_some(&status);
    place.setup.agent.end_streams(status);
    place.setup.agent.rotate().unwrap();
}

fn connections_are_reset(place: &mut Place, dice: &mut Dice) {
    if dice.once_in(2) {
        place.setup.agent.rotate().unwrap();
        place.setup.agent.drop_connections();
    } else {
        place.setup.agent.drop_connections();
        place.setup.agent.rotate().unwrap();
    }
}

fn message_is_cut(place: &mut Place, _: &mut Dice) {
    place.setup.agent.misbehave_times(1, Misbehaviour::CutMessages);
    place.setup.agent.rotate().unwrap();
}

fn entry_is_deleted(place: &mut Place, _: &mut Dice) {
    place.setup.agent.remove_entries();
    place.said("the agent has withdrawn the identity");
    place.setup.agent.set_entries([Place::workload()]).unwrap();
}

fn messages_are_refused(place: &mut Place, dice: &mut Dice) {
    for _ in 0..dice.between(1..=3) {
        let flaws = [
            Flaw::KeyOfAnother,
            Flaw::EmptyKey,
            Flaw::ForeignAuthority,
            Flaw::EmptyBundle,
            Flaw::NoUri,
            Flaw::Ca,
            Flaw::TrailingBytes(dice.bytes(5)),
        ];
        let flaw = dice.one_of(&flaws).clone();
        place.setup.agent.set_entries([Place::workload().with(flaw)]).unwrap();
    }
    place.setup.agent.set_entries([Place::workload()]).unwrap();
}

fn many_updates(place: &mut Place, dice: &mut Dice) {
    for _ in 0..dice.between(2..=20) {
        place.setup.agent.rotate().unwrap();
    }
}

fn authority_changes(place: &mut Place, dice: &mut Dice) {
    let agent = &place.setup.agent;
    agent.prepare_authority().unwrap();
    agent.activate_authority().unwrap();
    if dice.once_in(2) {
        agent.taint_authority().unwrap();
    }
    agent.revoke_authority().unwrap();
}

fn volume_is_full(place: &mut Place, dice: &mut Dice) {
    let filler = place.setup.files.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write(&[b'x'; 512]).is_ok_and(|written| written > 0) {}
    place.setup.agent.rotate().unwrap();
    // Former generations may have made room; if not, it is said.
    if dice.once_in(2) {
        let newest = place.setup.agent.svid().chain_pem();
        eventually(LIMIT, "it is published, or that it cannot be is said", || {
            let published = fs::read_to_string(place.setup.files.join("svid.pem"));
            let lines = place.pgsvid.lines();
            published.is_ok_and(|text| text == newest)
                || lines.iter().rev().take(20).any(|line| line.contains("cannot publish"))
        });
    }
    fs::remove_file(filler).unwrap();
}

fn volume_is_read_only(place: &mut Place, _: &mut Dice) {
    place.volume.set_read_only(true);
    place.setup.agent.rotate().unwrap();
    place.said("cannot publish the new identity");
    place.volume.set_read_only(false);
}

fn files_are_changed(place: &mut Place, dice: &mut Dice) {
    let changes: [fn(&Path, &mut Dice); 6] = [
        |svids, dice| {
            let name = dice.one_of(&["svid.pem", "svid_key.pem", "svid_bundle.pem"]);
            let length = usize::try_from(dice.between(0..=500)).unwrap();
            let bytes = dice.bytes(length);
            // In place, through the link, as editors and other helpers do it.
            let file = File::options().write(true).truncate(true).open(svids.join(name));
            let _ = file.and_then(|mut file| file.write_all(&bytes));
        },
        |svids, dice| {
            let names = ["svid.pem", "..data/svid_key.pem", "..data", "pg_service.conf"];
            let _ = fs::remove_file(svids.join(dice.one_of(&names)));
        },
        |svids, _| {
            let _ = fs::canonicalize(svids.join("..data")).and_then(fs::remove_dir_all);
        },
        |svids, dice| {
            let mode = *dice.one_of(&[0o000, 0o644, 0o777]);
            let mode = fs::Permissions::from_mode(mode);
            let _ = fs::set_permissions(svids.join("svid_key.pem"), mode);
        },
        |svids, _| {
            let mode = fs::Permissions::from_mode(0o700);
            let _ = fs::set_permissions(svids.join("..data"), mode);
        },
        |svids, _| {
            let copy = fs::read(svids.join("svid.pem"));
            let _ = fs::remove_file(svids.join("svid.pem"));
            if let Ok(copy) = copy {
                let file = File::create(svids.join("svid.pem"));
                let _ = file.and_then(|mut file| file.write_all(&copy));
            }
        },
    ];
    for _ in 0..dice.between(1..=3) {
        dice.one_of(&changes)(place.setup.files.path(), dice);
    }
    if dice.once_in(2) {
        // By a restoration, or by a publication that was under way.
        eventually(LIMIT, "the files are restored", || place.has_newest());
    }
    place.setup.agent.rotate().unwrap();
}

fn others_come_and_go(place: &mut Place, dice: &mut Dice) {
    for number in 0..dice.between(1..=10) {
        let path = place.setup.files.join(&format!("other{number}"));
        File::create(&path).and_then(|mut file| file.write_all(b"x")).unwrap();
        fs::remove_file(path).unwrap();
    }
    place.setup.agent.rotate().unwrap();
}

fn server_is_restarted(place: &mut Place, dice: &mut Dice) {
    let before = dice.once_in(2);
    if before {
        place.setup.agent.rotate().unwrap();
    }
    place.setup.cluster.stop(*dice.one_of(&[Mode::Fast, Mode::Immediate, Mode::Smart]));
    if !before {
        place.setup.agent.rotate().unwrap();
        if dice.once_in(2) {
            place.said("published; ");
        }
    }
    place.start_server();
}

fn role_may_not_log_in(place: &mut Place, _: &mut Dice) {
    let lines = |role: &str| format!("local postgres pgsvid {role}\nlocal all all peer");
    place.setup.cluster.set_hba(&lines("reject"));
    place.setup.cluster.sighup();
    place.setup.agent.rotate().unwrap();
    place.said("PostgreSQL cannot be asked to reload");
    place.setup.cluster.set_hba(&lines("peer map=pgsvid"));
    // Which loads the certificate, too.
    place.setup.cluster.sighup();
    // The next try by the clock is slow: an operator reports that it is fixed.
    place.pgsvid.signal(Signal::HUP);
}

fn server_refuses(place: &mut Place, _: &mut Dice) {
    let set = |name: &str| {
        let path = place.setup.files.join(name);
        place.setup.cluster.set_conf(&format!("ssl_key_file = '{}'", path.display()));
        place.setup.cluster.sighup();
    };
    set("missing.pem");
    place.setup.agent.rotate().unwrap();
    place.alarmed();
    set("svid_key.pem");
}

fn tls_is_off(place: &mut Place, _: &mut Dice) {
    place.setup.cluster.set_conf("ssl = off");
    place.setup.cluster.sighup();
    place.setup.agent.rotate().unwrap();
    place.alarmed();
    place.setup.cluster.set_conf("ssl = on");
    place.setup.cluster.sighup();
}

fn server_is_stopped(place: &mut Place, dice: &mut Dice) {
    place.setup.cluster.signal(Signal::STOP);
    place.setup.agent.rotate().unwrap();
    if dice.once_in(2) {
        place.said("identity received");
    }
    place.setup.cluster.signal(Signal::CONT);
}

fn storm_of_reloads(place: &mut Place, dice: &mut Dice) {
    let signals = dice.between(2..=40);
    for number in 0..signals {
        if number == signals / 2 {
            place.setup.agent.rotate().unwrap();
        }
        place.setup.cluster.sighup();
        std::thread::yield_now();
    }
}

fn storm_of_sighups(place: &mut Place, dice: &mut Dice) {
    let signals = dice.between(2..=40);
    for number in 0..signals {
        if number == signals / 2 {
            place.setup.agent.rotate().unwrap();
        }
        place.pgsvid.signal(Signal::HUP);
        std::thread::yield_now();
    }
}

fn descriptors_are_exhausted(place: &mut Place, _: &mut Dice) {
    let process = place.pgsvid.process();
    // No descriptor that is not open already.
    let former = process.limit_descriptors(0);
    place.setup.agent.rotate().unwrap();
    place.said("cannot publish the new identity");
    process.limit_descriptors(former);
}

fn pgsvid_is_stopped(place: &mut Place, dice: &mut Dice) {
    place.pgsvid.daemon().signal(Signal::STOP);
    for _ in 0..dice.between(1..=5) {
        place.setup.agent.rotate().unwrap();
    }
    place.pgsvid.daemon().signal(Signal::CONT);
}
