//! The release artefacts, built by `scripts/package` and run for real: the static program, the unit under systemd, the Debian
//! package from its installation to its removal, and the container image.

mod compose;
mod engine;
mod hooks;
mod image;
mod machine;
mod origin;
mod package;
mod program;
mod unit;

use std::path::{Path, PathBuf};
use std::process::Output;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Something that `scripts/package` has built.
#[track_caller]
fn built(name: &str) -> PathBuf {
    // Beside it, under the target directory, wherever that is.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("dist").join(name);
    assert!(path.exists(), "there is no {}: run scripts/package", path.display());
    path
}

/// The Debian package.
#[track_caller]
fn debian_package() -> PathBuf {
    let packages = std::fs::read_dir(built("")).unwrap().map(|entry| entry.unwrap().path());
    let packages: Vec<_> =
        packages.filter(|path| path.extension().is_some_and(|found| found == "deb")).collect();
    match &packages[..] {
        [package] => package.clone(),
        _ => panic!("{packages:?} instead of one package: run scripts/package"),
    }
}

/// What it wrote to standard output. It has to have succeeded.
#[track_caller]
fn standard_output(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
