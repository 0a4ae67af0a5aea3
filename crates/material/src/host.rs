//! Whether a name in a certificate matches a host, by libpq's rules (libpq 15 and later: `fe-secure-common.c`).

/// Whether the name matches the host: equal but for case, or with an asterisk for the host's whole first label.
#[must_use]
pub fn names_host(name: &str, host: &str) -> bool {
    if name.contains('\0') {
        return false;
    }
    name.eq_ignore_ascii_case(host) || is_wildcard_match(name, host)
}

/// The asterisk is the whole of the left-most label, and stands for exactly one.
fn is_wildcard_match(pattern: &str, host: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return false;
    };
    if !suffix.starts_with('.') || suffix.len() < 2 {
        return false;
    }
    let Some(first) = host.len().checked_sub(suffix.len()) else {
        return false;
    };
    host.get(first..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        && host.get(..first).is_some_and(|label| !label.is_empty() && !label.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_libpq_compares_them() {
        for (name, host, expected) in [
            ("db.example", "db.example", true),
            ("db.example", "DB.Example", true),
            ("db.example", "other.example", false),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("d*.example", "db.example", false),
            ("db.example\0.evil", "db.example", false),
            ("é.example", "é.example", true),
        ] {
            assert_eq!(names_host(name, host), expected, "{name} {host}");
        }
    }
}
