//! Tables in Markdown.

use crate::sample::Sample;

/// What a part has to report.
#[derive(Default)]
pub(crate) struct Report(String);

impl Report {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// A paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push_str("\n\n");
    }

    /// A table; the first column is text, the others are figures.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        self.0.push_str(&line(&mut head.iter().copied()));
        let rules =
            head.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
        self.0.push_str(&line(&mut rules.into_iter()));
        for row in rows {
            assert_eq!(row.len(), head.len(), "{row:?}");
            self.0.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        self.0.push('\n');
    }
}

/// A row of one sample: its name, median, 99th percentile, count.
pub(crate) fn row(name: impl Into<String>, sample: &Sample) -> Vec<String> {
    [vec![name.into()], sample.cells().to_vec()].concat()
}
