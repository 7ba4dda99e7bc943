//! The quantiser of each macroblock: as fine as wanted, and coarser where the picture would become too large.

/// How many bits pictures have needed, for the next one.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Bits per unit of complexity at quantiser 0.
    scale: f32,
}

/// What is left for a picture.
#[derive(Debug)]
pub(crate) struct Budget {
    finest: i32,
    coarsest: i32,
    bits: f32,
    complexity: f32,
    last: i32,
}

/// How many steps of the quantiser halve the bits: between text (slower) and film (faster).
const HALVING: f32 = 11.0;

/// How fast the estimate follows.
const SHARE: f32 = 0.02;

impl Rate {
    pub(crate) fn new() -> Self {
        Self { scale: 0.6 }
    }

    /// Divides `bits` among macroblocks of so much `complexity` in all.
    pub(crate) fn begin(&self, finest: i32, coarsest: i32, bits: usize, complexity: u64) -> Budget {
        Budget { finest, coarsest, bits: bits as f32, complexity: complexity as f32, last: finest }
    }

    /// The quantiser of the next macroblock: that which spends what is left evenly.
    pub(crate) fn qp(&self, budget: &mut Budget) -> i32 {
        let wanted = self.scale * budget.complexity.max(1.0);
        let available = budget.bits.max(1.0);
        let exact = if wanted <= available { 0.0 } else { HALVING * (wanted / available).log2() };
        let qp = (exact.ceil() as i32).clamp(budget.finest, budget.coarsest);
        // Small steps back and forth cost bits and gain nothing.
        if (qp - budget.last).abs() >= 2 || qp == budget.finest {
            budget.last = qp;
        }
        budget.last
    }

    /// Learns what a macroblock took.
    pub(crate) fn spent(&mut self, budget: &mut Budget, complexity: u32, qp: i32, bits: usize) {
        let complexity = complexity as f32;
        budget.bits -= bits as f32;
        budget.complexity = (budget.complexity - complexity).max(0.0);
        let expected = complexity * (-(qp as f32) / HALVING).exp2();
        if expected > 8.0 {
            let seen = (bits as f32 / expected).clamp(0.02, 20.0);
            self.scale += SHARE * (seen - self.scale);
        }
    }
}
