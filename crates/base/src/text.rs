//! Foreign text, from agents, servers and certificates, made safe for logs and terminals.
//!
//! It is shortened, and characters with an effect are escaped: it starts no new line, moves no cursor, sets no colour and
//! does not reverse the writing direction. Quotation marks and backslashes stay as they are, so that escaping twice changes
//! nothing.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;

/// Longest foreign text that is shown, in characters.
const LONGEST: usize = 200;
/// Longest sentence that contains such texts, in characters.
const LONGEST_SENTENCE: usize = 1000;
/// Longest text where whole names of certificates are wanted, in characters.
const LONGEST_NAME: usize = 500;

/// The text, escaped, and at most 200 characters of it.
#[must_use]
pub fn shown(text: &str) -> String {
    shortened(text, LONGEST, acts)
}

/// A whole sentence that may contain foreign text, escaped, and at most 1000 characters of it.
#[must_use]
pub fn sentence(text: &str) -> String {
    shortened(text, LONGEST_SENTENCE, acts)
}

/// The text in ASCII alone, escaped, and at most 500 characters of it: no letter can be mistaken for another.
#[must_use]
pub fn ascii(text: &str) -> String {
    shortened(text, LONGEST_NAME, |c| !c.is_ascii() || acts(c))
}

/// The whole text, with characters that have an effect escaped, as `\n` or `\u{1b}`.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shortened(text, usize::MAX, acts))
}

/// A line of JSON whose strings are safe on a terminal. JSON itself escapes only the first 32 characters.
#[must_use]
pub fn harmless_json(line: &str) -> Cow<'_, str> {
    // Only strings can contain any of these.
    let escaped = |c: char| c != '\n' && acts(c);
    if !line.contains(escaped) {
        return Cow::Borrowed(line);
    }
    let mut harmless = String::with_capacity(line.len());
    for c in line.chars() {
        if escaped(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(harmless, "\\u{unit:04x}");
            }
        } else {
            harmless.push(c);
        }
    }
    Cow::Owned(harmless)
}

/// One argument of a shell's command line, for commands to paste; without quotation marks where none are needed.
///
/// What has an effect on a terminal, and what is not UTF-8, is escaped as `$'…'` (POSIX.1-2024). A shell without that syntax
/// reads another name, but still one argument, because the text contains no quotation mark.
#[must_use]
pub fn argument(of: impl AsRef<OsStr>) -> String {
    let of = of.as_ref();
    match of.to_str() {
        Some(text) if !text.contains(acts) => quoted(text),
        _ => {
            let mut escaped = String::from("$'");
            for chunk in of.as_encoded_bytes().utf8_chunks() {
                for c in chunk.valid().chars() {
                    if acts(c) || matches!(c, '\'' | '\\') {
                        octal(&mut escaped, c.encode_utf8(&mut [0; 4]).as_bytes());
                    } else {
                        escaped.push(c);
                    }
                }
                octal(&mut escaped, chunk.invalid());
            }
            escaped + "'"
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains('\'') && !text.contains(['"', '$', '`', '\\', '!']) {
        // People write SQL with literals in this way.
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn octal(escaped: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(escaped, "\\{byte:03o}");
    }
}

fn shortened(text: &str, longest: usize, escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    let mut left = longest;
    for c in text.chars() {
        let before = shown.len();
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if escaped(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
        // An escape counts with its full length, and is never cut.
        let Some(rest) = left.checked_sub(shown[before..].chars().count()) else {
            shown.truncate(before);
            shown.push('…');
            break;
        };
        left = rest;
    }
    shown
}

/// Whether a character has an effect instead of showing itself: controls, formats (Unicode's Cc and Cf, which include the
/// marks that change the writing direction), line separators, and characters that no font has.
fn acts(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Non-breaking blanks: French has them within quotation marks.
    if matches!(c, '\u{a0}' | '\u{202f}') {
        return false;
    }
    // What the standard library would escape after a letter: combining marks do no harm.
    ['a', c].iter().collect::<String>().escape_debug().nth(2).is_some()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_could_act_is_escaped_and_the_rest_is_not() {
        for (text, wanted) in [
            ("permission denied", "permission denied"),
            ("role \"it's\" C:\\x", "role \"it's\" C:\\x"),
            (
                "größer, ὕβρις, 不正なパスワード, неверный",
                "größer, ὕβρις, 不正なパスワード, неверный",
            ),
            ("«\u{a0}rôle\u{a0}»", "«\u{a0}rôle\u{a0}»"),
            // A letter and a mark that combines with it.
            ("e\u{301}", "e\u{301}"),
            ("a\nERROR b\r\tc", "a\\nERROR b\\r\\tc"),
            ("\u{1b}[2J\u{7}\0\u{7f}", "\\u{1b}[2J\\u{7}\\u{0}\\u{7f}"),
            // The second set of controls: CSI in one character.
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}", "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}"),
            ("a\u{200b}b\u{200d}c\u{feff}d\u{ad}", "a\\u{200b}b\\u{200d}c\\u{feff}d\\u{ad}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("a\u{e0041}b\u{e000}c\u{fffe}", "a\\u{e0041}b\\u{e000}c\\u{fffe}"),
        ] {
            assert_eq!(harmless(text), wanted, "{text:?}");
            assert_eq!(shown(text), wanted, "{text:?}");
            assert_eq!(harmless(&harmless(text)), wanted, "once is as good as twice: {text:?}");
            let json = format!("{{\"text\":{}}}\n", serde_json::to_string(text).unwrap());
            let line = harmless_json(&json);
            assert!(!line.trim_end().contains(acts), "{line:?}");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["text"], text, "JSON says the same");
        }
        assert_eq!(ascii("é\u{1b}a"), "\\u{e9}\\u{1b}a");
    }

    #[test]
    fn what_is_to_be_pasted_is_one_argument() {
        for (text, wanted) in [
            ("products", "products"),
            ("/run/pgsvid/svid_key.pem", "/run/pgsvid/svid_key.pem"),
            ("", "''"),
            ("/x; touch y", "'/x; touch y'"),
            ("it's", "\"it's\""),
            ("$(id) it's", r"'$(id) it'\''s'"),
            ("it's !1", r"'it'\''s !1'"),
            ("~", "'~'"),
            ("größer", "'größer'"),
            ("a\nb'\\\u{9b}", r"$'a\012b\047\134\302\233'"),
        ] {
            assert_eq!(argument(text), wanted, "{text:?}");
        }
        let bytes = OsStr::from_bytes(b"/\xff'x");
        assert_eq!(argument(bytes), r"$'/\377\047x'");
    }

    #[test]
    fn a_shell_takes_it_for_that_argument() {
        let all: Vec<u8> = (1..=255).collect();
        let texts: [&[u8]; 6] = [
            b"a b",
            b"it's",
            b"$(id) `id` it's \\ \" !",
            b"a\nb'c\\d",
            &all,
            "ü\u{202e}".as_bytes(),
        ];
        for text in texts {
            let script = format!("printf %s {}", argument(OsStr::from_bytes(text)));
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(output.stdout, text, "{script}");
        }
    }

    #[test]
    fn nothing_is_longer_than_it_may_be() {
        assert_eq!(shown(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(shown(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
        assert_eq!(sentence(&"x".repeat(1001)), format!("{}…", "x".repeat(1000)));
        assert_eq!(shown(&"\u{10ffff}".repeat(21)), format!("{}…", "\\u{10ffff}".repeat(20)));
        assert_eq!(shown(&shown(&"x".repeat(201))), format!("{}…", "x".repeat(200)));
        assert_eq!(ascii(&"x".repeat(501)), format!("{}…", "x".repeat(500)));
        assert_eq!(harmless(&"x".repeat(100_000)).len(), 100_000);
    }
}
