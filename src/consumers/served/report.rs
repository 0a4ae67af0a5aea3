//! The log lines about instances: each change once.

use tracing::{debug, info, warn};

use super::instances::{Change, Instances};
use super::settings::ServedAddress;
use crate::consumers::Publication;
use crate::finding::Finding;
use crate::text::ascii;
use crate::timing;
use crate::verify::shown_address;

/// What a look has changed.
pub(super) fn changed(
    consumer: Option<&str>,
    settings: &ServedAddress,
    publication: &Publication,
    change: &Change,
) {
    let at = |address: &std::net::IpAddr| shown_address(&address.to_string(), settings.port);
    let (served, generation) = (ascii(&settings.name), publication.generation);
    match change {
        Change::Proven(address, delay) => info!(
            event = "instance-current",
            consumer,
            generation,
            served,
            address = at(address),
            serial = publication.material.leaf().serial().short(),
            delay_ms = delay.map(timing::milliseconds),
            "an instance serves the published set"
        ),
        Change::Gone(address) => info!(
            event = "instance-gone",
            consumer,
            served,
            address = at(address),
            "an instance is no longer an address of the name"
        ),
    }
}

/// Something about the name or the certificate may cause trouble.
pub(super) fn concern(consumer: Option<&str>, settings: &ServedAddress, found: &Finding) {
    warn!(
        event = "served-warning", consumer,
        served = ascii(&settings.name),
        code = %found.code,
        fix = found.fix,
        "{}", found.text
    );
}

/// Another replica writes the Secrets, so the instances serve its set. `routine` means that nothing is new.
pub(super) fn standby(
    consumer: Option<&str>,
    settings: &ServedAddress,
    instances: &Instances,
    routine: bool,
) {
    if routine {
        debug!("looked at the instances of another replica's set again");
        return;
    }
    info!(
        event = "served-standby",
        consumer,
        served = ascii(&settings.name),
        instances = instances.iter().count(),
        "another replica writes the Secrets: what the instances serve is not compared with this one's set"
    );
}

/// Every instance serves the published set. `routine` means that nothing is new.
pub(super) fn everywhere(
    consumer: Option<&str>,
    settings: &ServedAddress,
    publication: &Publication,
    instances: &Instances,
    routine: bool,
) {
    let Publication { material, generation, .. } = publication;
    if routine {
        debug!(generation, "looked at the instances again");
        return;
    }
    info!(
        event = "served-everywhere",
        consumer,
        generation,
        served = ascii(&settings.name),
        instances = instances.iter().count(),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        "every instance serves the published set"
    );
}
