//! The rows of a picture that have changed: a few strips of whole rows.

use std::ops::Range;

/// Strips closer than this are joined: a request to the X server costs as much as copying some rows.
const CLOSE: u32 = 16;
/// Most strips; the closest ones are joined when there are more.
const MOST: usize = 8;

/// Disjoint strips in order, each beginning and ending at an even row (chroma is shared by two).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    strips: Vec<Range<u32>>,
}

impl Rows {
    /// All rows of a picture.
    pub fn all(height: u32) -> Self {
        let mut rows = Self::default();
        rows.add(0..height, height);
        rows
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.strips.is_empty()
    }

    /// The strips, from top to bottom.
    pub fn strips(&self) -> &[Range<u32>] {
        &self.strips
    }

    /// How many rows they are together.
    pub fn count(&self) -> u32 {
        self.strips.iter().map(|strip| strip.end - strip.start).sum()
    }

    /// Adds those rows that are within `height`, widened to even ones; the last row of an odd height
    /// is left out.
    pub fn add(&mut self, rows: Range<u32>, height: u32) {
        let mut strip = (rows.start & !1)..rows.end.next_multiple_of(2).min(height & !1);
        if rows.start >= rows.end || strip.start >= strip.end {
            return;
        }
        self.strips.retain(|other| {
            let close = other.start <= strip.end + CLOSE && strip.start <= other.end + CLOSE;
            if close {
                strip = strip.start.min(other.start)..strip.end.max(other.end);
            }
            !close
        });
        let place = self.strips.partition_point(|other| other.start < strip.start);
        self.strips.insert(place, strip);
        if self.strips.len() > MOST {
            self.join_closest();
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Rows, height: u32) {
        for strip in &other.strips {
            self.add(strip.clone(), height);
        }
    }

    fn join_closest(&mut self) {
        let gap = |n: &usize| self.strips[n + 1].start - self.strips[*n].end;
        if let Some(n) = (0..self.strips.len() - 1).min_by_key(gap) {
            let next = self.strips.remove(n + 1);
            self.strips[n].end = next.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(strips: &[Range<u32>]) -> Rows {
        let mut rows = Rows::default();
        for strip in strips {
            rows.add(strip.clone(), 1000);
        }
        rows
    }

    fn strips(rows: &Rows) -> Vec<(u32, u32)> {
        rows.strips().iter().map(|strip| (strip.start, strip.end)).collect()
    }

    #[test]
    fn strips_are_even_and_close_ones_are_joined() {
        assert_eq!(strips(&rows(&[3..4, 2..3])), [(2, 4)]);
        assert_eq!(strips(&rows(&[100..110, 3..4])), [(2, 4), (100, 110)]);
        assert_eq!(strips(&rows(&[100..110, 3..4, 5..105])), [(2, 110)]);
        assert_eq!(strips(&rows(&[0..10, 26..30])), [(0, 30)]);
        assert_eq!(strips(&rows(&[0..10, 28..30])), [(0, 10), (28, 30)]);
    }

    #[test]
    fn what_is_outside_is_left_out() {
        assert!(rows(&[1000..1100, 7..7]).is_empty());
        assert_eq!(strips(&rows(&[990..5000, 995..996])), [(990, 1000)]);
        assert_eq!(strips(&Rows::all(721)), [(0, 720)]);
    }

    proptest! {
        #[test]
        fn every_row_added_is_there_and_strips_stay_few_and_in_order(
            strips in prop::collection::vec((0u32..1200, 0u32..60), 0..60)
        ) {
            let added: Vec<_> = strips.into_iter().map(|(from, len)| from..from + len).collect();
            let rows = rows(&added);
            prop_assert!(rows.strips().len() <= MOST);
            prop_assert!(rows.strips().windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(rows.strips().iter().all(|s| s.start < s.end && s.start % 2 == 0 && s.end % 2 == 0));
            for row in added.into_iter().flatten().filter(|row| *row < 1000) {
                prop_assert!(rows.strips().iter().any(|strip| strip.contains(&row)), "row {row}");
            }
        }
    }
}
