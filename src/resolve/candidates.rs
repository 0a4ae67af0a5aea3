//! The names that are asked for, in their order, as the C library chooses them (`resolver(3)`).

use super::configuration::Configuration;

/// The names to ask for. One with a dot at its end is complete.
pub(super) fn of(name: &str, configuration: &Configuration) -> Vec<String> {
    if let Some(complete) = name.strip_suffix('.') {
        return vec![complete.to_owned()];
    }
    let with = |domain: &String| format!("{name}.{}", domain.trim_end_matches('.'));
    let mut names: Vec<String> = configuration.domains.iter().map(with).collect();
    let is_long = name.matches('.').count() >= configuration.ndots;
    names.insert(if is_long { 0 } else { names.len() }, name.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_asked_for_in_each_domain_first_and_a_long_one_as_it_is() {
        let read = Configuration::parse("search a.b c.\noptions ndots:2");
        assert_eq!(of("db.ns", &read), ["db.ns.a.b", "db.ns.c", "db.ns"]);
        assert_eq!(of("db.ns.svc", &read), ["db.ns.svc", "db.ns.svc.a.b", "db.ns.svc.c"]);
        assert_eq!(of("db.", &read), ["db"]);
    }
}
