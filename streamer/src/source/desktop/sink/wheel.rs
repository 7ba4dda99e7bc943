//! Translates turns of a wheel to clicks of buttons, as X represents them.

/// Tolerance for a whole notch: ten tenths do not add up to exactly one.
const TOLERANCE: f64 = 1e-6;

/// Keeps the fractions of one direction until they make a whole.
#[derive(Debug, Default)]
pub struct Remainder(f64);

impl Remainder {
    /// Adds `amount` and takes out what is whole.
    pub fn add(&mut self, amount: f64) -> i32 {
        self.0 += amount;
        let whole = (self.0 + self.0.signum() * TOLERANCE).trunc();
        self.0 -= whole;
        whole as i32
    }
}

/// Both directions of a wheel.
#[derive(Debug, Default)]
pub struct Wheel {
    x: Remainder,
    y: Remainder,
}

impl Wheel {
    /// Turns by notches, positive to the right and down: which buttons to click, and how often.
    pub fn turn(&mut self, dx: f64, dy: f64) -> impl Iterator<Item = (u8, u32)> + use<> {
        let clicks = |notches: i32, back: u8, forth: u8| match notches {
            0 => None,
            n if n < 0 => Some((back, n.unsigned_abs())),
            n => Some((forth, n.unsigned_abs())),
        };
        let vertical = clicks(self.y.add(dy), 4, 5);
        vertical.into_iter().chain(clicks(self.x.add(dx), 6, 7))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(wheel: &mut Wheel, dx: f64, dy: f64) -> Vec<(u8, u32)> {
        wheel.turn(dx, dy).collect()
    }

    #[test]
    fn fractions_add_up_to_whole_notches() {
        let mut wheel = Wheel::default();
        let clicks: Vec<_> = (0..25).flat_map(|_| turn(&mut wheel, 0.0, 0.1)).collect();
        assert_eq!(clicks, [(5, 1), (5, 1)]);
        assert_eq!(turn(&mut wheel, 0.0, 0.5), [(5, 1)]);
        assert_eq!(turn(&mut wheel, 0.0, -0.5), []);
        assert_eq!(turn(&mut wheel, 0.0, -0.5), [(4, 1)]);
    }

    #[test]
    fn directions_are_independent_and_large_turns_click_often() {
        let mut wheel = Wheel::default();
        assert_eq!(turn(&mut wheel, 3.0, -2.5), [(4, 2), (7, 3)]);
        assert_eq!(turn(&mut wheel, -3.0, -0.5), [(4, 1), (6, 3)]);
    }
}
