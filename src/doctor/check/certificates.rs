//! The certificate files that another program writes: whether they are one set, and who writes them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::exchangeable::{self, NamedBy};
use super::own_user::own_user;
use super::readable::readable;
use super::readers::{Readers, readers};
use super::remedy;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::key_mode::KeyMode;
use crate::material::Material;
use crate::source::files::{self, Settings, Trouble, Writer};
use crate::timing;

/// How often the files are read before a fault in them is reported, because another program may be writing them.
const TRIES: usize = 3;
/// The pause between two reads.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the files, as `run` does.
pub(super) async fn section(config: &Config, settings: &Settings) -> (Section, Option<Material>) {
    let place = settings.paths.certificate.display().to_string();
    let mut section = Section::new(Group::Certificates, place);
    let mut last = None;
    for again in 0..TRIES {
        if again > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match look(settings) {
            Ok((material, writer, lists)) => {
                let way = if writer.is_volume {
                    "one version of a volume"
                } else {
                    "files that are written one by one"
                };
                section.add(Finding::ok(
                    Code::CertificatesRead,
                    format!(
                        "certificate, key and bundle belong together, {way}; read from {writer}"
                    ),
                ));
                section.extend(files::unasked_lists(settings, lists));
                section.extend(polled(settings));
                section.extend(others(config, settings, Some(&writer)));
                if config.place.directory().is_none() {
                    section.extend(in_place(config, settings));
                }
                return (section, Some(material));
            }
            Err(found) => last = Some(found),
        }
    }
    if let Some((trouble, writer)) = last {
        section.add(trouble.finding(writer.as_ref()));
        section.extend(others(config, settings, writer.as_ref()));
    }
    section.extend(polled(settings));
    (section, None)
}

/// Whether those who read these very files may do so, and accept the key's owner and mode.
fn in_place(config: &Config, settings: &Settings) -> Vec<Finding> {
    let mut found = readable(config);
    let is_for_clients = !config.rotation.clients.is_empty() || config.rotation.servers.is_empty();
    let path = &settings.paths.private_key;
    if is_for_clients && let Ok(status) = std::fs::metadata(path) {
        let (mode, rule) = (status.mode() & 0o777, KeyMode::of(status.uid()));
        if !rule.accepts(mode) {
            let text =
                format!("libpq refuses the private key {}: its mode is {mode:04o}", path.display());
            let fix = format!("let its writer give it the mode {rule}");
            found.push(Finding::failure(Code::ClientKeyMode, text).fix(fix));
        }
    }
    found
}

/// The set, its writer, and the number of revocation lists in its bundle.
fn look(settings: &Settings) -> Result<(Material, Writer, usize), (Trouble, Option<Writer>)> {
    let taken = files::read(&settings.paths, None).map_err(|trouble| (trouble, None))?;
    let Some(contents) = &taken.contents else {
        let path = settings.paths.certificate.clone();
        return Err((Trouble::Unsettled { path }, Some(taken.writer)));
    };
    match files::judge(settings, contents, timing::now()) {
        Ok(material) => Ok((material, taken.writer, files::revocation_lists(settings, contents))),
        Err(trouble) => Err((trouble, Some(taken.writer))),
    }
}

/// The findings about users who can replace or read the files, other than root, pgsvid's user and the writer.
fn others(config: &Config, settings: &Settings, writer: Option<&Writer>) -> Vec<Finding> {
    let (ours, _) = own_user(config);
    let exchangeable = |path: &&Path| {
        let (why, fix) = exchangeable::why_exchangeable(path, ours, NamedBy::Operator)?;
        // The writer can change the files anyway, so the directory may belong to it.
        if let Some(writer) = writer {
            exchangeable::why_exchangeable(path, writer.owner, NamedBy::Operator)?;
        }
        let text = format!(
            "other users of this machine can replace {}, and so choose the certificate and the authorities that pgsvid publishes",
            path.display()
        );
        Some(Finding::warning(Code::CertificatesExchangeable, text).cause(why).fix(fix))
    };
    let mut found: Vec<Finding> =
        settings.paths.all().iter().find_map(exchangeable).into_iter().collect();
    // In a volume that is mounted into a container, the files are open to all its users, unless the pod says otherwise.
    let path = &settings.paths.private_key;
    let is_of_a_pod = writer.is_some_and(|writer| writer.is_volume) && is_mounted(path);
    if let Readers::Found(who, change) = readers(path, config)
        && !is_of_a_pod
    {
        let text = format!("{who} can read the private key {}", path.display());
        let found_key = Finding::warning(Code::CertificatesKeyReadable, text)
            .fix("set the mode in the program that writes it, because a change by hand lasts until the next renewal; then issue the certificate again with a new key");
        // Those who read the file itself accept no right of its group, unless root owns it.
        let is_roots = std::fs::metadata(path).is_ok_and(|status| status.uid() == 0);
        let in_place = config.place.directory().is_none();
        let change = if in_place && !is_roots { "chmod go-rwx" } else { change };
        found.push(remedy::on_file(change, path).into_iter().fold(found_key, Finding::command));
    }
    found
}

/// Whether the directory of a file is a mount of its own.
fn is_mounted(file: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    let Some(directory) = file.parent() else { return false };
    let directory =
        directory.parent().filter(|_| directory.ends_with("..data")).unwrap_or(directory);
    device(directory) != device(&directory.join(".."))
}

fn polled(settings: &Settings) -> Option<Finding> {
    files::are_silent(&settings.paths).then(|| {
        Finding::ok(
            Code::CertificatesPolled,
            "the file system does not report changes that are made elsewhere: pgsvid checks the files every 5 s",
        )
    })
}
