//! `log_line_prefix`: the text before each of the postmaster's lines (PostgreSQL: `elog.c`, `log_status_format`).

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// A prefix that begins each line of a log.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The parts that appear in a line of the postmaster. Role, database, application and address are not among them: the
    /// postmaster has no session, and writes nothing for them.
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// The process that writes.
    Process,
    /// The time by the clock of `log_timezone`, and the zone's name.
    Local,
    /// Seconds since 1970.
    Epoch,
    /// When the process was started, in the form of a local time.
    Start,
    /// Digits and letters that are ignored here.
    Word,
}

/// When a line was written at the latest, in microseconds since 1970: a prefix has whole milliseconds or seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// By the clock of `log_timezone`.
    Local(i64),
    /// In UTC.
    Epoch(i64),
}

impl Prefix {
    /// `None` if the prefix lacks the process ID (`%p`), because sessions can then write lines that look like the
    /// postmaster's, or if it has a width (`%5p`), which pgsvid does not read.
    pub(super) fn parse(setting: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut ended = false;
        let mut rest = setting.chars();
        while let Some(c) = rest.next() {
            let part = match c {
                '%' => match rest.next() {
                    Some('%') => Some(Part::Literal('%')),
                    Some('p') => Some(Part::Process),
                    Some('m' | 't') => Some(Part::Local),
                    Some('n') => Some(Part::Epoch),
                    Some('s') => Some(Part::Start),
                    Some('l' | 'x' | 'e' | 'b' | 'c' | 'Q') => Some(Part::Word),
                    // Processes that are not sessions, such as the postmaster, write nothing of what follows.
                    Some('q') => {
                        ended = true;
                        None
                    }
                    Some('-' | '0'..='9') => return None,
                    // The postmaster writes nothing for the others: role, database, application, address, and the like.
                    None | Some(_) => None,
                },
                c => Some(Part::Literal(c)),
            };
            parts.extend(part.filter(|_| !ended));
        }
        parts.contains(&Part::Process).then_some(Self { parts })
    }

    /// The time of a line of that process, and the text after the prefix; `None` if the line does not begin with this prefix.
    pub(super) fn strip<'a>(&self, line: &'a str, pid: u32) -> Option<(Option<Stamp>, &'a str)> {
        let mut stamp = None;
        let mut rest = line;
        for part in &self.parts {
            rest = match part {
                Part::Literal(c) => rest.strip_prefix(*c)?,
                Part::Process => {
                    let (digits, rest) = split(rest, |c| c.is_ascii_digit());
                    (digits.parse() == Ok(pid)).then_some(rest)?
                }
                Part::Word => split(rest, |c| c.is_ascii_alphanumeric() || c == '.').1,
                Part::Epoch => {
                    let (number, rest) = split(rest, |c| c.is_ascii_digit() || c == '.');
                    let (seconds, part) = number.split_once('.').unwrap_or((number, ""));
                    let seconds = i64::from(seconds.parse::<u32>().ok()?);
                    stamp = Some(Stamp::Epoch(seconds * SECOND + fraction(part)?));
                    rest
                }
                Part::Local => {
                    let (micros, rest) = local(rest)?;
                    stamp = Some(Stamp::Local(micros));
                    rest
                }
                Part::Start => local(rest)?.1,
            };
        }
        Some((stamp, rest))
    }
}

fn split(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

/// `2026-11-29 13:50:15.251 UTC`, and what follows.
pub(super) fn local(text: &str) -> Option<(i64, &str)> {
    let (day, rest) = text.split_once(' ')?;
    let (time, rest) = rest.split_once(' ')?;
    let numbers = |text: &str, between: char| -> Option<[i64; 3]> {
        let numbers: Option<Vec<i64>> =
            text.split(between).map(|number| number.parse::<u16>().ok().map(i64::from)).collect();
        numbers?.try_into().ok()
    };
    let [year, month, day] = numbers(day, '-')?;
    let (time, part) = time.split_once('.').unwrap_or((time, ""));
    let [hours, minutes, seconds] = numbers(time, ':')?;
    let seconds = ((days(year, month, day) * 24 + hours) * 60 + minutes) * 60 + seconds;
    let (zone, rest) = split(rest, |c| c.is_ascii_alphanumeric() || "+-:<>".contains(c));
    (!zone.is_empty()).then_some((seconds * SECOND + fraction(part)?, rest))
}

/// The last microsecond of some milliseconds, or of a second.
fn fraction(milliseconds: &str) -> Option<i64> {
    if milliseconds.is_empty() {
        return Some(SECOND - 1);
    }
    Some(i64::from(milliseconds.parse::<u16>().ok()?) * 1000 + 999)
}

/// Days since 1970, in the Gregorian calendar. Years begin in March here, so that 29 February is a year's last day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b58_a_prefix_without_the_process_is_no_prefix_of_the_postmasters() {
        for (prefix, is_one) in [
            ("%m [%p] ", true),
            ("%m [%p] %q%u@%d ", true),
            ("%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ", true),
            ("%n %p %e %b %q%i ", true),
            ("%m %p %9 ", false),
            ("%m [%-8p] ", false),
            ("%m %q[%p] ", false),
            ("%m ", false),
            ("", false),
        ] {
            assert_eq!(Prefix::parse(prefix).is_some(), is_one, "{prefix}");
        }
    }

    #[test]
    fn b58_a_line_is_the_postmasters_only_if_all_of_its_prefix_is() {
        // By `date -u -d '2026-11-29 13:50:15' +%s`.
        let at = 1_795_960_215 * SECOND;
        let local = |micros| Some(Stamp::Local(at + micros));
        for (prefix, line, found) in [
            ("%m [%p] ", "2026-11-29 13:50:15.251 UTC [7] LOG:  x", Some(local(251_999))),
            ("%t [%p] ", "2026-11-29 13:50:15 +0530 [7] LOG:  x", Some(local(999_999))),
            ("%m [%p] %q%u ", "2026-11-29 13:50:15.251 UTC [7] LOG:  x", Some(local(251_999))),
            (
                "%t [%p]: [%l-1] user=%u ",
                "2026-11-29 13:50:15 UTC [7]: [9-1] user= LOG:  x",
                Some(local(999_999)),
            ),
            (
                "%n %p %b ",
                "1795960215.251 7 postmaster LOG:  x",
                Some(Some(Stamp::Epoch(at + 251_999))),
            ),
            ("[%p] ", "[7] LOG:  x", Some(None)),
            ("%m [%p] ", "2026-11-29 13:50:15.251 UTC [8] LOG:  x", None),
            ("%m [%p] ", "\t2026-11-29 13:50:15.251 UTC [7] LOG:  x", None),
            ("%m [%p] ", "[7] LOG:  x", None),
            ("%m [%p] ", "a [7] LOG:  x", None),
        ] {
            let stripped = Prefix::parse(prefix)
                .unwrap()
                .strip(line, 7)
                .filter(|(_, rest)| *rest == "LOG:  x");
            assert_eq!(stripped.map(|(stamp, _)| stamp), found, "{prefix} {line}");
        }
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(2000, 3, 1)), (0, 11_016, 11_017));
    }
}
