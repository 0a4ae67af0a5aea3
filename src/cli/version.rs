//! `pgsvid version`: which program this is, and what it was built from.

use std::env::consts;

/// The commit, set by scripts/build-release. Other builds do not know it.
const COMMIT: Option<&str> = option_env!("PGSVID_BUILD_COMMIT");
/// The date of that commit, or `SOURCE_DATE_EPOCH`: repeating a build gives the same text.
const DATE: Option<&str> = option_env!("PGSVID_BUILD_DATE");

/// One line for the version, and one for each known fact about the build.
pub(super) fn text() -> String {
    let origin = match (COMMIT, DATE) {
        (Some(commit), Some(date)) => format!("{commit}, {date}"),
        _ => "unknown, because scripts/build-release did not build this".to_owned(),
    };
    format!(
        "pgsvid {}\ncommit    {origin}\ntarget    {}-{}-{}\nfeatures  {}",
        env!("CARGO_PKG_VERSION"),
        consts::ARCH,
        consts::OS,
        if cfg!(target_env = "musl") { "musl" } else { "gnu" },
        features().join(", "),
    )
}

fn features() -> Vec<&'static str> {
    [
        (cfg!(target_feature = "crt-static"), "static"),
        (cfg!(debug_assertions), "debug"),
        // What happens on a panic.
        (cfg!(panic = "unwind"), "unwind"),
        (cfg!(panic = "abort"), "abort"),
        (true, "ring"),
        (true, "landlock"),
        (true, "seccomp"),
    ]
    .into_iter()
    .filter_map(|(there, name)| there.then_some(name))
    .collect()
}
