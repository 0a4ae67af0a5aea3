//! The process whose number a pid file holds: whether it is the one that the file was written for.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, getppid, pidfd_open};
use rustix::time::{ClockId, clock_gettime};

use super::End;
use crate::{files, timing};

/// Largest pid file, in bytes. PostgreSQL's has some lines after the number.
const LARGEST: u64 = 4096;
/// Units of `starttime` in a second: the same on every machine (`USER_HZ`).
const TICKS: u64 = 100;
/// How much later than its file a process may seem to have begun: times are rounded, and clocks are slewed.
const SLACK: Duration = Duration::from_secs(2);
/// How many bytes of a process's name the kernel keeps (`TASK_COMM_LEN`).
const KEPT: usize = 15;
/// The right of all users to write, and that of a group. A file's access control list counts as its group.
const OTHERS: u32 = 0o002;
const GROUP: u32 = 0o020;

/// Finds the process, and makes sure that it is the right one: it began before the file was written, it belongs to the file's
/// owner unless that is root, and it runs `program` if one is named.
///
/// The returned descriptor always refers to this process, even if another process gets the number later.
pub fn find(path: &Path, program: Option<&str>) -> Result<(i32, OwnedFd), End> {
    let (text, found) =
        files::text_and_status(path, LARGEST).map_err(|error| unreadable(&error))?;
    let written = found.modified().map_err(|error| unreadable(&error))?;
    let owner = found.uid();
    // Root's file may name any process, so nobody else may choose it.
    let open = if owner == 0 { GROUP | OTHERS } else { OTHERS };
    if found.mode() & open != 0 {
        return Err(End::PidFileExposed);
    }
    let number = number(&text).ok_or(End::PidFileWrong)?;
    let pid = Pid::from_raw(number).ok_or(End::PidFileWrong)?;
    if pid == getpid() || Some(pid) == getppid() {
        return Err(End::Itself(number));
    }
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH | Errno::INVAL => End::Gone(number),
        error => End::SignalRefused(error.raw_os_error()),
    })?;
    // The facts are about this process, or about one that got its number after its end. In the second case the descriptor refers
    // to a process that has ended, and the signal reaches no process.
    let facts = Facts::of(number).ok_or(End::Gone(number))?;
    if facts.is_dead {
        return Err(End::Gone(number));
    }
    if facts.begun.is_some_and(|begun| begun > written + SLACK) {
        return Err(End::Reused(number));
    }
    if owner != 0 && facts.owner != owner {
        return Err(End::OtherUser(number));
    }
    if program.is_some_and(|program| !facts.runs(program)) {
        return Err(End::OtherProgram(number));
    }
    Ok((number, process))
}

fn unreadable(error: &io::Error) -> End {
    End::PidFileUnreadable(error.raw_os_error().unwrap_or_default())
}

/// The number that stands alone on the first line.
fn number(text: &str) -> Option<i32> {
    let line = text.lines().next()?.trim();
    let digits = line.bytes().all(|byte| byte.is_ascii_digit());
    line.parse().ok().filter(|number| digits && *number > 0)
}

/// What the kernel shows about a process.
struct Facts {
    owner: u32,
    is_dead: bool,
    /// When it has begun, by the clock as it is now.
    begun: Option<SystemTime>,
    name: String,
    program: Option<String>,
}

impl Facts {
    fn of(number: i32) -> Option<Self> {
        let within = Path::new("/proc").join(number.to_string());
        let owner = real_owner(&std::fs::read_to_string(within.join("status")).ok()?)?;
        let stat = std::fs::read(within.join("stat")).ok()?;
        let (name, state, ticks) = of_stat(&String::from_utf8_lossy(&stat))?;
        let program = std::fs::read_link(within.join("exe")).ok();
        let program = program.as_deref().and_then(Path::file_name);
        // The kernel appends this to the path of a program that was replaced while it runs.
        let program =
            program.map(|it| it.to_string_lossy().trim_end_matches(" (deleted)").to_owned());
        Some(Self {
            owner,
            is_dead: matches!(state, 'Z' | 'X'),
            begun: moment(ticks),
            name,
            program,
        })
    }

    /// A script is known by its own name, which the kernel keeps in part, and by its interpreter's.
    fn runs(&self, program: &str) -> bool {
        let kept = program.char_indices().take_while(|(at, _)| *at < KEPT).last();
        let kept =
            kept.map_or(program, |(at, c)| &program[..(at + c.len_utf8()).min(program.len())]);
        self.program.as_deref() == Some(program) || self.name == kept
    }
}

/// The real user ID of a process.
fn real_owner(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The name of a process, its state, and the ticks from the start of the machine to the start of the process
/// (`proc_pid_stat(5)`). The name may contain any character.
fn of_stat(stat: &str) -> Option<(String, char, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((name.to_owned(), state, fields.nth(18)?.parse().ok()?))
}

/// The time that many ticks after the start of the machine.
fn moment(ticks: u64) -> Option<SystemTime> {
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::new(u64::try_from(up.tv_sec).ok()?, u32::try_from(up.tv_nsec).ok()?);
    let begun = Duration::from_millis(ticks.checked_mul(1000 / TICKS)?);
    timing::now().checked_sub(up.checked_sub(begun).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::process::{Child, Command};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("/bin/sleep").arg("60").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.pid");
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        (place, path)
    }

    fn end(path: &Path, program: Option<&str>) -> End {
        find(path, program).map(|(pid, _)| pid).unwrap_err()
    }

    #[test]
    fn h05_a_pid_file_that_is_missing_empty_or_garbage_names_no_process() {
        for text in ["", "\n123", "abc", "12 34", "-1", "0", "+5", "99999999999", "1.5"] {
            let (_place, path) = file(text);
            assert_eq!(end(&path, None), End::PidFileWrong, "{text:?}");
        }
        let (place, path) = file("1");
        assert_eq!(end(&place.path().join("none"), None), End::PidFileUnreadable(2));
        assert_eq!(end(place.path(), None), End::PidFileUnreadable(0));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(end(&link, None), End::PidFileUnreadable(_)));
    }

    #[test]
    fn h06_a_process_that_is_gone_or_dead_is_not_found() {
        let mut sleeper = Sleeper::new();
        let number = sleeper.0.id().to_string();
        let (_place, path) = file(&number);
        assert!(find(&path, Some("sleep")).is_ok());
        sleeper.0.kill().unwrap();
        // It is not waited for yet: its number is still its own.
        let gone = |end| matches!(end, End::Gone(_));
        let since = tokio::time::Instant::now();
        while find(&path, None).is_ok() {
            assert!(since.elapsed() < Duration::from_secs(5));
        }
        assert!(gone(end(&path, None)));
        sleeper.0.wait().unwrap();
        assert!(gone(end(&path, None)));
    }

    #[test]
    fn b90_a_file_of_roots_that_a_group_may_write_names_no_process() {
        use std::os::unix::fs::PermissionsExt as _;
        let sleeper = Sleeper::new();
        let (_place, path) = file(&sleeper.0.id().to_string());
        let with = |owner: u32, mode: u32| {
            std::os::unix::fs::chown(&path, Some(owner), Some(65_534)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            find(&path, None).map(drop)
        };
        assert_eq!(with(0, 0o664), Err(End::PidFileExposed));
        assert_eq!(with(0, 0o602), Err(End::PidFileExposed));
        assert_eq!(with(0, 0o644), Ok(()));
        // The group chooses among that user's own processes.
        assert!(matches!(with(65_534, 0o664), Err(End::OtherUser(_))));
    }

    #[test]
    fn h08_a_process_that_began_after_its_file_was_written_has_taken_the_number() {
        let sleeper = Sleeper::new();
        let (_place, path) = file(&sleeper.0.id().to_string());
        let open = File::options().write(true).open(&path).unwrap();
        open.set_modified(timing::now() - 2 * SLACK).unwrap();
        assert!(matches!(end(&path, None), End::Reused(_)));
        open.set_modified(timing::now()).unwrap();
        assert!(find(&path, None).is_ok());
    }

    #[test]
    fn h07_a_process_of_another_user_than_the_files_or_with_another_program_is_refused() {
        let sleeper = Sleeper::new();
        let (_place, path) = file(&sleeper.0.id().to_string());
        assert!(matches!(end(&path, Some("sle")), End::OtherProgram(_)));
        assert!(matches!(end(&path, Some("sleeping")), End::OtherProgram(_)));
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert!(matches!(end(&path, None), End::OtherUser(_)));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, open).unwrap();
        assert_eq!(end(&path, None), End::PidFileExposed);
    }

    #[test]
    fn it_does_not_signal_itself_or_what_has_started_it() {
        for number in [std::process::id(), std::os::unix::process::parent_id()] {
            let (_place, path) = file(&number.to_string());
            assert!(matches!(end(&path, None), End::Itself(_)));
        }
    }

    #[test]
    fn a_name_with_brackets_and_blanks_hides_no_field() {
        let stat = "12 (a) R (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(of_stat(stat), Some(("a) R (b".to_owned(), 'S', 4711)));
    }

    #[test]
    fn a_long_name_is_known_by_what_the_kernel_keeps_of_it() {
        let facts = |name: &str, program: Option<&str>| Facts {
            owner: 0,
            is_dead: false,
            begun: None,
            name: name.to_owned(),
            program: program.map(str::to_owned),
        };
        assert!(facts("a-very-long-nam", None).runs("a-very-long-name-of-a-program"));
        assert!(facts("patroni", Some("python3.11")).runs("patroni"));
        assert!(facts("x", Some("python3.11")).runs("python3.11"));
        assert!(!facts("nginx", Some("nginx")).runs("ngin"));
    }
}
