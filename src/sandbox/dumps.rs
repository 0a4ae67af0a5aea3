//! No core dumps, and no access to the process by others of the same user (`prctl(2)`, `core(5)`, `ptrace(2)`).

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::Error;

/// Keeps the memory of this process, which holds a key, out of core files and away from everybody except root.
pub fn keep_out_of_dumps() -> Result<(), Error> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(Error::Dumps)?;
    // A pipe in kernel.core_pattern ignores the limit, but not this.
    stay_out_of_dumps()
}

/// The same for a process without keys: programs that it starts may write core files.
pub fn stay_out_of_dumps() -> Result<(), Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::Dumps)
}
