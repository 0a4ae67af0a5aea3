//! What a running pgsvid exposes: names, labels and their values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::prometheus::get;
use super::promql::{self, Selector};

/// What Prometheus adds to each sample, and makes by itself.
const ADDED: [&str; 2] = ["job", "instance"];
/// Labels with a value of the configuration's own.
const CONFIGURED: [&str; 3] = ["file", "address", "role"];
const MADE: &str = "up";
const ALERTS: &str = "ALERTS";

type Labels = BTreeMap<String, BTreeSet<String>>;

/// The samples of one answer.
pub(crate) struct Exposed {
    /// Name of a sample → label → values.
    samples: BTreeMap<String, Labels>,
    /// Name of a metric, as `docs/monitoring.md` has it → type and help.
    described: BTreeMap<String, (String, String)>,
}

impl Exposed {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::parse(&get(address, "/metrics"))
    }

    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut samples = BTreeMap::<String, Labels>::new();
        let mut described = BTreeMap::<String, (String, String)>::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let mut word = || words.next().unwrap_or_default().to_owned();
                let (kind, name, rest) = (word(), word(), word());
                match kind.as_str() {
                    "TYPE" => described.entry(name).or_default().0 = rest,
                    "HELP" => described.entry(name).or_default().1 = rest,
                    _ => {}
                }
                continue;
            }
            let name = line.split(['{', ' ']).next().unwrap();
            let labels = samples.entry(name.to_owned()).or_default();
            for Selector { matchers, .. } in promql::names(line).selectors.into_iter().take(1) {
                for (label, _, value) in matchers {
                    labels.entry(label).or_default().insert(value);
                }
            }
        }
        let described = described
            .into_iter()
            .map(|(name, (kind, help))| {
                let suffix = match kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                (name + suffix, (kind, help))
            })
            .collect();
        Self { samples, described }
    }

    /// The names of all samples.
    pub(crate) fn names(&self) -> Vec<String> {
        self.samples.keys().cloned().collect()
    }

    #[track_caller]
    pub(crate) fn has_all_of(&self, whose: &str, expression: &str) {
        let objections = self.objections(expression);
        assert!(objections.is_empty(), "{whose}: {expression}: {}", objections.join("; "));
    }

    /// What an expression names that is not there.
    pub(crate) fn objections(&self, expression: &str) -> Vec<String> {
        let names = promql::names(expression);
        let mut objections = Vec::new();
        let mut labels: BTreeSet<&str> = ADDED.into();
        let about_alerts = names.selectors.iter().any(|selector| selector.name == ALERTS);
        for Selector { name, matchers } in names.selectors.iter().filter(|of| of.name != ALERTS) {
            let Some(known) = self.samples.get(name) else {
                if name != MADE {
                    objections.push(format!("there is no {name}"));
                }
                continue;
            };
            labels.extend(known.keys().map(String::as_str));
            for (label, operator, value) in matchers {
                if ADDED.contains(&label.as_str()) {
                    continue;
                }
                match known.get(label) {
                    None => objections.push(format!("{name} has no label {label}")),
                    Some(_) if CONFIGURED.contains(&label.as_str()) => {}
                    Some(values) if !operator.contains('~') && !values.contains(value) => {
                        objections.push(format!("{label} is never \"{value}\""));
                    }
                    Some(_) => {}
                }
            }
        }
        for group in names.groups.iter().filter(|_| !about_alerts) {
            if !labels.contains(group.as_str()) {
                objections.push(format!("nothing here has a label {group}"));
            }
        }
        objections
    }

    /// `{{ $labels.reason }}`: some sample has such a label.
    #[track_caller]
    pub(crate) fn has_labels_of_template(&self, whose: &str, text: &str) {
        for after in text.split("$labels.").skip(1) {
            let label: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
            let known = ADDED.contains(&label.as_str())
                || self.samples.values().any(|labels| labels.contains_key(&label));
            assert!(known, "{whose}: there is no label {label}");
        }
    }

    /// The page's table of metrics has a row for each, with its type and its help, and no other.
    #[track_caller]
    pub(crate) fn is_documented(&self, page: &str) {
        let (_, table) = page.split_once("<!-- metrics: begin -->").unwrap();
        let (table, _) = table.split_once("<!-- metrics: end -->").unwrap();
        let rows: BTreeMap<String, (String, String)> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
            .map(|line| {
                let cells: Vec<&str> = line.split(" | ").collect();
                let name = cells[0].trim_end_matches('`').to_owned();
                (name, (cells[1].to_owned(), cells[2].to_owned()))
            })
            .collect();
        assert_eq!(rows, self.described);
    }
}
