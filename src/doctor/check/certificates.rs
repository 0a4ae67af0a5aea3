//! The certificate files that another program writes: whether they are one set, and who writes them.

use std::time::Duration;

use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::Material;
use crate::source::files::{self, Settings, Trouble, Writer};
use crate::timing;

/// How often the files are read before a fault in them is reported, because another program may be writing them.
const TRIES: usize = 3;
/// The pause between two reads.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the files, as `run` does.
pub(super) async fn section(settings: &Settings) -> (Section, Option<Material>) {
    let place = settings.paths.certificate.display().to_string();
    let mut section = Section::new(Group::Certificates, place);
    let mut last = None;
    for again in 0..TRIES {
        if again > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match look(settings) {
            Ok((material, writer)) => {
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
                section.extend(polled(settings));
                return (section, Some(material));
            }
            Err(found) => last = Some(found),
        }
    }
    if let Some((trouble, writer)) = last {
        section.add(trouble.finding(writer.as_ref()));
    }
    section.extend(polled(settings));
    (section, None)
}

fn look(settings: &Settings) -> Result<(Material, Writer), (Trouble, Option<Writer>)> {
    let taken = files::read(&settings.paths, None).map_err(|trouble| (trouble, None))?;
    let Some(contents) = &taken.contents else {
        let path = settings.paths.certificate.clone();
        return Err((Trouble::Unsettled { path }, Some(taken.writer)));
    };
    match files::judge(settings, contents, timing::now()) {
        Ok(material) => Ok((material, taken.writer)),
        Err(trouble) => Err((trouble, Some(taken.writer))),
    }
}

fn polled(settings: &Settings) -> Option<Finding> {
    files::are_silent(&settings.paths).then(|| {
        Finding::ok(
            Code::CertificatesPolled,
            "the file system does not report changes that are made elsewhere: pgsvid checks the files every 5 s",
        )
    })
}
