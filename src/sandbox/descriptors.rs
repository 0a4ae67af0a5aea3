//! What the starter of this process has left open.

use std::fs::DirEntry;
use std::io;

use nix::unistd::close;

/// How many descriptors are closed if the kernel does not tell which are open.
const MOST_WITHOUT_PROC: i32 = 1024;

/// The numbers of descriptors that are open, apart from the three standard streams.
#[derive(Debug, Default)]
pub struct Descriptors(Vec<i32>);

impl Descriptors {
    /// Those that are open now. Call it before this process opens any.
    #[must_use]
    pub fn inherited() -> Self {
        let number =
            |entry: io::Result<DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
        let open: Vec<i32> = match std::fs::read_dir("/proc/self/fd") {
            Ok(entries) => entries.filter_map(number).collect(),
            // Without /proc.
            Err(_) => return Self((3..MOST_WITHOUT_PROC).collect()),
        };
        // The descriptor of the listing itself is closed by now.
        let is_open = |number: &i32| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
        Self(open.into_iter().filter(|number| *number > 2).filter(is_open).collect())
    }

    /// Closes them.
    pub fn close(self) {
        for number in self.0 {
            let _ = close(number);
        }
    }
}
