//! Plots in SVG, small enough to be read in a diff. They follow the reader's light or dark theme.

use std::fmt::Write as _;

use crate::sample::{Sample, figure};

const WIDTH: f64 = 860.0;
/// Where the values begin; names are to the left.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 40.0;
const ROW: f64 = 24.0;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:14px}\
    .g{font-weight:600}.a{stroke:#bbb;stroke-width:1}.d{stroke:#3572b0;stroke-width:3;stroke-linecap:round;\
    stroke-opacity:.35}.m{stroke:#b5301d;stroke-width:2.5}.p{stroke:#b5301d;stroke-width:1.5;stroke-dasharray:3 2}\
    .l{stroke:#3572b0;stroke-width:2;fill:none}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.a{stroke:#555}.d,.l{stroke:#7db3e8}.m,.p{stroke:#ff8a73}}";

/// One row of a strip plot.
pub(crate) struct Strip {
    /// Rows of one group stand together, under its name.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) sample: Sample,
}

/// Each value as a dot, the median as a line, the 99th percentile as a broken one; the scale is logarithmic. `dots` says
/// what a dot is.
pub(crate) fn strips(title: &str, dots: &str, rows: &[Strip]) -> String {
    let values = || rows.iter().flat_map(|row| row.sample.values());
    let axis = Axis::over(values().copied(), LEFT, WIDTH - RIGHT);
    let mut body = String::new();
    let mut y = 46.0;
    let mut group = "";
    let top = y;
    for row in rows {
        if row.group != group {
            group = &row.group;
            y += 8.0;
            text(&mut body, 10.0, y, "g", group);
            y += ROW;
        }
        text(&mut body, 10.0, y, "", &row.name);
        let middle = y - 4.0;
        let mut marks = String::new();
        for (number, value) in row.sample.values().iter().enumerate() {
            // Spread a little, so that equal values are seen as many.
            let offset = (number * 7 % 11) as f64 - 5.0;
            let _ = write!(marks, "M{:.1} {:.1}h0", axis.at(*value), middle + offset);
        }
        let _ = writeln!(body, "<path class=\"d\" d=\"{marks}\"/>");
        for (class, value) in [("m", row.sample.median()), ("p", row.sample.p99())] {
            let x = axis.at(value);
            let _ = writeln!(
                body,
                "<path class=\"{class}\" d=\"M{x:.1} {:.1}v18\"><title>{} ms</title></path>",
                middle - 9.0,
                figure(value)
            );
        }
        y += ROW;
    }
    for tick in axis.ticks() {
        let x = axis.at(tick);
        let _ = writeln!(body, "<path class=\"a\" d=\"M{x:.1} {top:.1}V{:.1}\"/>", y - 8.0);
        text(&mut body, x - 6.0, y + 10.0, "", &figure(tick));
    }
    let note = format!("{dots}; line: median; broken line: 99th percentile");
    page(title, y + 40.0, &body, &note)
}

/// One line through points; x and y begin at zero.
pub(crate) fn line(title: &str, note: &str, points: &[(f64, f64)]) -> String {
    let (height, bottom) = (300.0, 250.0);
    let most =
        |value: fn(&(f64, f64)) -> f64| points.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
    let (widest, highest) = (most(|point| point.0), most(|point| point.1) * 1.15);
    let x = |value: f64| 70.0 + value / widest * (WIDTH - 70.0 - RIGHT);
    let y = |value: f64| bottom - value / highest * (bottom - 50.0);
    let mut body = String::new();
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let value = highest * part;
        let _ =
            writeln!(body, "<path class=\"a\" d=\"M70 {:.1}H{:.1}\"/>", y(value), WIDTH - RIGHT);
        text(&mut body, 10.0, y(value) + 4.0, "", &figure(value));
        text(&mut body, x(widest * part) - 10.0, bottom + 18.0, "", &figure(widest * part));
    }
    let path: Vec<String> =
        points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
    let _ = writeln!(body, "<path class=\"l\" d=\"M{}\"/>", path.join("L"));
    page(title, height, &body, note)
}

fn page(title: &str, height: f64, body: &str, note: &str) -> String {
    let mut page = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n",
        escaped(title)
    );
    text(&mut page, 10.0, 22.0, "t", title);
    page.push_str(body);
    text(&mut page, 10.0, height - 8.0, "", note);
    page.push_str("</svg>\n");
    page
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(body, "<text x=\"{x:.0}\" y=\"{y:.0}\"{class}>{}</text>", escaped(text));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A logarithmic scale.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        Self { low: low.min(high) * 0.9, high: high * 1.1, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }

    /// 1, 2 and 5 of each power of ten, as far as they are in range.
    fn ticks(&self) -> Vec<f64> {
        (-3..7)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plotted_is_well_formed_and_within_the_picture() {
        let mut sample = Sample::default();
        for value in [1.0, 9.5, 120.0] {
            sample.push(value);
        }
        let strip =
            || Strip { group: "a & b".to_owned(), name: "<c>".to_owned(), sample: sample.clone() };
        let svg = strips("title", "a dot", &[strip(), strip()]);
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;c>") && svg.ends_with("</svg>\n"));
        let axis = Axis::over([1.0, 120.0].into_iter(), LEFT, WIDTH - RIGHT);
        for value in [1.0, 9.5, 120.0] {
            assert!((LEFT..=WIDTH - RIGHT).contains(&axis.at(value)));
        }
        assert_eq!(axis.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert!(!line("t", "n", &[(0.0, 5.0), (10.0, 6.0)]).contains("NaN"));
    }
}
