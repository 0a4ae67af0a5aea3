//! The results, in Markdown.

use std::fmt::Write as _;

use super::phases::{Counts, Outcome};
use super::programs::Way;

/// What was seen of one way.
pub(super) struct Row {
    pub(super) way: Way,
    /// With the files of pgsvid.
    pub(super) swapped: Outcome,
    /// With files that are rewritten in place, unless that was left out.
    pub(super) in_place: Option<Outcome>,
}

/// Two tables: the examples, and the wrong ways.
pub(super) fn markdown(rows: &[Row]) -> String {
    let (wrong, right): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.way.is_wrong());
    let mut text = "| driver | way | 20 rotations | change of the CA | swaps | in place: 20 rotations | \
                    in place: change of the CA | in place: swaps |\n|---|---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for row in right {
        let mut cells = vec![row.way.version(), row.way.how.to_owned()];
        cells.extend(row.swapped.phases().map(|(_, counts)| shown(counts)));
        let in_place = row.in_place.as_ref().map(Outcome::phases);
        cells.extend(in_place.into_iter().flatten().map(|(_, counts)| shown(counts)));
        line(&mut text, &cells);
    }
    if !wrong.is_empty() {
        text.push_str(
            "\n| driver | wrong way | 20 rotations | change of the CA |\n|---|---|---:|---:|\n",
        );
    }
    for row in wrong {
        let mut cells = vec![row.way.version(), row.way.how.to_owned()];
        // Nothing expires while sets are swapped.
        cells.extend([row.swapped.rotations, row.swapped.authority].map(shown));
        line(&mut text, &cells);
    }
    let outcomes =
        rows.iter().flat_map(|row| [Some(&row.swapped), row.in_place.as_ref()]).flatten();
    let numbers = outcomes.map(|outcome| outcome.number_of_swaps);
    if let (Some(least), Some(most)) = (numbers.clone().min(), numbers.max()) {
        writeln!(text, "\nThere were {least} to {most} swaps in that phase.").unwrap();
    }
    text
}

fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).unwrap();
}

/// Such as `3 of 1,204`: failed, of all attempts.
fn shown(Counts { succeeded, failed, ended }: Counts) -> String {
    let end = if ended { ", then the program ended" } else { "" };
    format!("{} of {}{end}", grouped(failed), grouped(succeeded + failed))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
