//! The table of verdicts in docs/troubleshooting.md: meaning, event, level and finding come from the code.

use std::fmt::Write as _;
use std::path::Path;

use pgsvid::finding::Code;
use pgsvid::verify::Verdict;

use crate::{events, generated};

/// What is logged of an attempt that ends with a bad verdict. Its arms decide by the verdict, and then by the weight.
const TROUBLE: &str = "src/consumers/trouble.rs";

#[test]
fn the_page_of_verdicts_has_events_levels_and_findings_of_the_code() {
    let trouble =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(TROUBLE)).unwrap();
    let levels = events::levels();
    let mut table =
        "| verdict | meaning | event | level | finding |\n|---|---|---|---|---|\n".to_owned();
    for verdict in Verdict::ALL {
        let event = match verdict {
            Verdict::Admitted => "client-admitted".to_owned(),
            Verdict::HandedOver => "secrets-handed-over".to_owned(),
            Verdict::Standby => "secrets-standby".to_owned(),
            _ if verdict.is_final() => "rotated".to_owned(),
            _ => event(&trouble, verdict),
        };
        let level = levels[&event].iter().copied().collect::<Vec<_>>().join(", ");
        let name = format!("verdict-{verdict}");
        let code = Code::ALL.iter().find(|code| code.name() == name).expect("each has a finding");
        let says = code.meaning();
        writeln!(table, "| [`{verdict}`](#{verdict}) | {says} | `{event}` | {level} | `{code}` |")
            .unwrap();
    }
    generated::is_current("docs/troubleshooting.md", "verdicts", &table);
}

/// The event of a verdict after which something is left to be done, where the consumer could be asked to reload.
fn event(trouble: &str, verdict: Verdict) -> String {
    let (_, arms) = trouble.split_once("let weight = match verdict {").expect("arms by verdict");
    let (arms, _) = arms.split_once("};").unwrap();
    let arms: Vec<(&str, &str)> = arms
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" => "))
        .collect();
    let weight = arms
        .iter()
        .find(|(pattern, _)| pattern.contains(&format!("Verdict::{verdict:?}")) || *pattern == "_")
        .expect("each verdict has a weight")
        .1;
    let (_, call) =
        trouble.split_once(&format!("{weight} => {{\n")).expect("each weight is logged");
    let (_, event) = call.split_once("event = \"").unwrap();
    event.split('"').next().unwrap().to_owned()
}
