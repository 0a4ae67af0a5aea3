//! Names that nobody intends to let in: a map that matches one matches too much.

/// The subject that all workloads without a DNS name share, if their identifiers are not in the subject.
pub const SHARED: &str = "O=SPIRE,C=US";
/// An identifier that no workload has.
const NOBODY: &str = "x500UniqueIdentifier=00000000000000000000000000000000";
/// Names that nobody intends to match when writing a map: with and without dots, of small and capital letters, of digits, of
/// letters that are not ASCII. No map lets in an empty name (PostgreSQL: `auth.c`, `CheckCertAuth`).
const STRANGE_NAMES: [&str; 8] =
    ["stranger.invalid", "stranger", "Stranger", "STRANGER", "stranger-1", "stranger_1", "7", "ÿ€"];
/// The length of a name that is as long as DNS allows.
const LONGEST_NAME: usize = 253;

/// Names and subjects of workloads, and names of users, that nobody intends to match when writing a map. They include the
/// names that SPIRE gives to workloads without a DNS name, with a name, and with the identifier of its credential composer.
#[must_use]
pub fn strangers() -> Vec<String> {
    let mut strangers = vec![format!("{NOBODY},{SHARED}"), SHARED.to_owned()];
    let long = "x".repeat(LONGEST_NAME);
    for name in STRANGE_NAMES.into_iter().chain([long.as_str()]) {
        strangers.extend([
            format!("CN={name},{SHARED}"),
            format!("{NOBODY},CN={name},{SHARED}"),
            name.to_owned(),
        ]);
    }
    strangers
}
