//! Samples, their median and spread, and how they are shown.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Better is below; a target is the most that is good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which figure it belongs to.
    pub figure: String,
    /// What was measured.
    pub what: String,
    /// Unit of all numbers.
    pub unit: String,
    /// One per run, in order.
    pub samples: Vec<f64>,
    /// Middle of the samples.
    pub median: f64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// The most that the median may be; absent where there is only something to know.
    pub target: Option<f64>,
    /// How far two builds must agree here for the other numbers of the figure to be comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alike: Option<Alike>,
}

/// How two builds that do the same work agree in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alike {
    /// No more noise, but for some tenths of a decibel.
    Noise,
    /// No less often, but for some percent.
    Rate,
}

impl Row {
    /// Median and spread of `samples`.
    pub fn new(figure: &str, what: impl Into<String>, unit: &str, samples: Vec<f64>) -> Self {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        let min = sorted.first().copied();
        let max = sorted.last().copied();
        let min = min.unwrap_or(f64::NAN);
        let max = max.unwrap_or(f64::NAN);
        let figure = figure.to_owned();
        let what = what.into();
        let unit = unit.to_owned();
        Self { figure, what, unit, samples, median, min, max, target: None, alike: None }
    }

    /// With a target for the median.
    #[must_use]
    pub fn at_most(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// A build with more noise than this does less work.
    #[must_use]
    pub fn same_noise(mut self) -> Self {
        self.alike = Some(Alike::Noise);
        self
    }

    /// A build in which this happens less often does less work.
    #[must_use]
    pub fn same_rate(mut self) -> Self {
        self.alike = Some(Alike::Rate);
        self
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            None => "",
            Some(target) if self.median <= target => "yes",
            Some(_) => "NO",
        }
    }

    fn cells(&self) -> [String; 7] {
        [
            self.what.clone(),
            self.unit.clone(),
            number(self.median),
            format!("{} … {}", number(self.min), number(self.max)),
            self.samples.len().to_string(),
            self.target.map_or_else(String::new, |target| format!("≤ {}", number(target))),
            self.verdict().to_owned(),
        ]
    }
}

const HEADINGS: [&str; 7] = ["what", "unit", "median", "least … most", "samples", "target", "met"];

/// Everything that was measured, and on what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// Commit of the checkout, with `+` when it has changes.
    pub commit: String,
    /// Day (UTC).
    pub date: String,
    /// Fewer and shorter runs.
    pub quick: bool,
    /// In order.
    pub rows: Vec<Row>,
}

/// What of a machine matters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Logical processors.
    pub processors: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// Of Chromium.
    pub browser: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(separator).map_or("", |(_, value)| value).trim().trim_matches('"').to_owned()
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal", ':');
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name", ':'),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
            browser: output("chromium", &["--version"]),
        }
    }
}

/// First line of what a program prints; empty when it cannot be run.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

impl Report {
    /// With nothing measured yet.
    pub fn new(quick: bool) -> Self {
        let mut commit = output("git", &["rev-parse", "--short", "HEAD"]);
        if !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            commit.push('+');
        }
        let date = output("date", &["-u", "+%F"]);
        Self { machine: Machine::this(), commit, date, quick, rows: Vec::new() }
    }

    /// Replaces the rows of the figures in `rows`, and keeps the others.
    pub fn take(&mut self, rows: Vec<Row>) {
        self.rows.retain(|old| rows.iter().all(|new| new.figure != old.figure));
        self.rows.extend(rows);
    }

    /// Puts the rows in the order of these figures.
    pub fn sort(&mut self, figures: &[&str]) {
        self.rows.sort_by_key(|row| figures.iter().position(|figure| *figure == row.figure));
    }

    /// For people at a terminal.
    pub fn table(&self) -> String {
        table(&HEADINGS, &self.rows.iter().map(Row::cells).collect::<Vec<_>>())
    }

    /// For the documentation: one table per figure.
    pub fn markdown(&self) -> String {
        let Machine { processor, processors, memory_mib, kernel, system, browser } = &self.machine;
        let mut text = String::new();
        let runs = if self.quick { ", with `--quick`" } else { "" };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "Measured on {} at commit {}{runs}: {processor}, {processors} processors, {memory_mib} MiB, {system}, \
             Linux {kernel}, {browser}.",
            self.date, self.commit
        );
        let mut figure = "";
        for row in &self.rows {
            if row.figure != figure {
                figure = &row.figure;
                let dashes = "---|".repeat(HEADINGS.len());
                let _ = write!(text, "\n### `{figure}`\n\n| {} |\n|{dashes}\n", HEADINGS.join(" | "));
            }
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text
    }

    /// Writes the table between the two marks in a document.
    ///
    /// # Errors
    /// When the marks are not there.
    pub fn write_docs(&self, path: &Path) -> Result<()> {
        const MARKS: [&str; 2] =
            ["<!-- figures: written by scripts/bench --write-docs -->", "<!-- end of figures -->"];
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (before, rest) = text.split_once(MARKS[0]).context("no mark for the figures")?;
        let (_, after) = rest.split_once(MARKS[1]).context("no mark for the end of the figures")?;
        let text = format!("{before}{}\n\n{}\n{}{after}", MARKS[0], self.markdown(), MARKS[1]);
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }
}

/// Lines under headings, in columns. All but the first two and the last are numbers.
pub(crate) fn table<const N: usize>(headings: &[&str; N], rows: &[[String; N]]) -> String {
    let mut lines = vec![headings.map(str::to_owned)];
    lines.extend(rows.iter().cloned());
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let is_number = (2..N - 1).contains(&column);
            let (before, after) = if is_number { (pad.as_str(), "") } else { ("", pad.as_str()) };
            text.push_str(&format!("{before}{cell}{after}  "));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Three significant digits.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let row = Row::new("f", "w", "ms", vec![4.0, 1.0, 3.0, 2.0]).at_most(2.4);
        assert_eq!((row.median, row.min, row.max, row.verdict()), (2.5, 1.0, 4.0, "NO"));
    }

    #[test]
    fn a_figure_measured_again_replaces_itself_only() {
        let mut report = Report::default();
        report.take(vec![Row::new("a", "x", "ms", vec![1.0]), Row::new("b", "y", "ms", vec![2.0])]);
        report.take(vec![Row::new("a", "z", "ms", vec![3.0])]);
        report.sort(&["a", "b"]);
        let names: Vec<_> = report.rows.iter().map(|row| row.what.as_str()).collect();
        assert_eq!(names, ["z", "y"]);
    }
}
