//! Two builds against each other: measured in turn, pair by pair, so that what changes on the machine meanwhile changes both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::figures::{Figure, Plan};
use crate::report::{Alike, Row, number, table};
use crate::server::{Build, measure_build};

/// By how much more noise a picture may have and still count as the same, dB.
const SAME_NOISE_DB: f64 = 0.3;
/// How much less a rate may be and still count as the same.
const SAME_RATE: f64 = 0.97;

const HEADINGS: [&str; 8] =
    ["what", "unit", "this", "other", "this ÷ other", "least … most", "pairs", "alike"];

/// What was measured of both builds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Which figure it belongs to.
    pub figure: String,
    /// What was measured.
    pub what: String,
    /// Unit of all numbers.
    pub unit: String,
    /// Of this build and of the other one, of each pair.
    pub pairs: Vec<(f64, f64)>,
    /// How far the two must agree here for the other numbers of the figure to be comparable.
    pub alike: Option<Alike>,
}

impl Comparison {
    /// This build by the other one, of each pair.
    pub fn ratios(&self) -> Row {
        let ratios = self.pairs.iter().map(|(this, other)| this / other).collect();
        Row::new(&self.figure, &*self.what, "", ratios)
    }

    fn side(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        Row::new(&self.figure, &*self.what, &self.unit, self.pairs.iter().map(of).collect()).median
    }

    fn this(&self) -> f64 {
        self.side(|pair| pair.0)
    }

    fn other(&self) -> f64 {
        self.side(|pair| pair.1)
    }

    /// Whether this build does the same work as the other one, as far as this number says; `None` where it says nothing of that. A
    /// build that drops pictures or blurs them is not faster.
    pub fn is_alike(&self) -> Option<bool> {
        let (this, other) = (self.this(), self.other());
        Some(match self.alike? {
            Alike::Noise => this <= other + SAME_NOISE_DB,
            Alike::Rate => this >= other * SAME_RATE,
        })
    }

    fn cells(&self) -> [String; 8] {
        let ratios = self.ratios();
        // Decibels are a ratio already.
        let is_ratio = self.unit != "dB";
        let ratio = |value| if is_ratio { number(value) } else { String::new() };
        let spread = format!("{} … {}", number(ratios.min), number(ratios.max));
        [
            self.what.clone(),
            self.unit.clone(),
            number(self.this()),
            number(self.other()),
            ratio(ratios.median),
            if is_ratio { spread } else { String::new() },
            self.pairs.len().to_string(),
            self.is_alike().map_or("", |alike| if alike { "yes" } else { "NO" }).to_owned(),
        ]
    }
}

/// Measures a figure with both builds, `pairs` times; which goes first changes each time.
///
/// # Errors
/// When one of them cannot be measured.
pub fn measure(figure: &Figure, plan: Plan, other: &Build, pairs: usize) -> Result<Vec<Comparison>> {
    let this = Build::this()?;
    let mut taken = Vec::new();
    for n in 0..pairs {
        eprintln!("    pair {} of {pairs}", n + 1);
        let of = |build: &Build| {
            measure_build(build);
            (figure.measure)(plan)
        };
        let pair = if n % 2 == 0 {
            let first = of(&this)?;
            (first, of(other)?)
        } else {
            let first = of(other)?;
            (of(&this)?, first)
        };
        taken.push(pair);
    }
    measure_build(&this);
    paired(taken)
}

/// The numbers of each pair of runs, by what they are.
fn paired(runs: Vec<(Vec<Row>, Vec<Row>)>) -> Result<Vec<Comparison>> {
    let mut comparisons: Vec<Comparison> = Vec::new();
    for (this, other) in runs {
        let mut others: BTreeMap<_, _> = other.iter().map(|row| (&*row.what, row.median)).collect();
        for row in &this {
            let Some(theirs) = others.remove(&*row.what) else {
                bail!("only one of the builds has {:?} of {}", row.what, row.figure);
            };
            let pair = (row.median, theirs);
            match comparisons.iter_mut().find(|known| known.what == row.what) {
                Some(known) => known.pairs.push(pair),
                None => comparisons.push(Comparison {
                    figure: row.figure.clone(),
                    what: row.what.clone(),
                    unit: row.unit.clone(),
                    pairs: vec![pair],
                    alike: row.alike,
                }),
            }
        }
    }
    Ok(comparisons)
}

/// For people at a terminal.
pub fn shown(comparisons: &[Comparison]) -> String {
    let mut text = table(&HEADINGS, &comparisons.iter().map(Comparison::cells).collect::<Vec<_>>());
    let unlike = comparisons.iter().filter(|comparison| comparison.is_alike() == Some(false));
    for Comparison { figure, what, .. } in unlike {
        // Writing to a String does not fail.
        let _ = writeln!(text, "not comparable: {figure} is another one in this build, by {what:?}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, value: f64) -> Row {
        Row::new("f", what, "ms", vec![value])
    }

    #[test]
    fn ratios_are_those_of_pairs_and_not_of_medians() {
        // The machine is four times slower from one pair to the next, and one build twice as slow as the other.
        let runs = [1.0, 4.0, 16.0].map(|slow| (vec![row("time", slow)], vec![row("time", 2.0 * slow)]));
        let compared = paired(runs.to_vec()).unwrap();
        assert_eq!(compared.len(), 1);
        let ratios = compared[0].ratios();
        assert_eq!((ratios.median, ratios.min, ratios.max), (0.5, 0.5, 0.5));
        assert_eq!((compared[0].this(), compared[0].other()), (4.0, 8.0));
    }

    #[test]
    fn a_number_that_one_build_lacks_is_an_error() {
        let error = paired(vec![(vec![row("a", 1.0), row("b", 1.0)], vec![row("a", 1.0)])]).unwrap_err();
        assert!(error.to_string().contains("\"b\""), "{error}");
    }

    #[test]
    fn a_build_that_drops_or_blurs_pictures_is_not_alike() {
        let compared = |row: fn(f64) -> Row, this: f64, other: f64| {
            paired(vec![(vec![row(this)], vec![row(other)])]).unwrap().remove(0)
        };
        let noise = |value| Row::new("f", "noise", "dB", vec![value]).same_noise();
        let rate = |value| Row::new("f", "frames", "1/s", vec![value]).same_rate();
        assert_eq!(compared(noise, -40.0, -40.2).is_alike(), Some(true));
        assert_eq!(compared(noise, -39.0, -40.0).is_alike(), Some(false));
        assert_eq!(compared(noise, -50.0, -40.0).is_alike(), Some(true), "it may be better");
        assert_eq!(compared(rate, 29.5, 30.0).is_alike(), Some(true));
        let dropping = compared(rate, 20.0, 30.0);
        assert_eq!(dropping.is_alike(), Some(false));
        assert!(shown(&[dropping]).contains("not comparable"));
        assert_eq!(compared(|value| row("time", value), 9.0, 1.0).is_alike(), None);
    }
}
