//! How well an order of rows finds those whom an offer changes: the Qini curve (Radcliffe 2007) and the uplift curve, with
//! weights where chances differ.
//!
//! Rows come by falling score. Each counts w = 1 / (the chance that it had of what was done with it), so that treated rows stand
//! for all rows, and controls do. Over the first k rows let N₁ and R₁ be the weights and the weighted outcomes of the treated, N₀
//! and R₀ those of the controls, N the number of all rows, and φ = k / N. Then
//!
//! - Qini curve: Q(φ) = (R₁ − R₀·N₁/N₀) / N, where R₀·N₁/N₀ is 0 without a control
//! - uplift curve: U(φ) = (R₁/N₁ − R₀/N₀)·φ, a quotient being 0 where nothing is divided
//! - Qini coefficient: ∫Q dφ − Q(1)/2, the area between the curve and that of random order
//! - AUUC: ∫U dφ
//!
//! Both curves are what treating the share φ with the highest scores brings for each of all rows, in units of the outcome. Rows of
//! one score are one step: their order would be chance. Between steps the curves are straight and areas trapezoids. Where all have
//! the chance p, N·p·Q is Radcliffe's own curve, which counts treated rows. Nothing is divided by the area of a perfect order,
//! which real outcomes do not tell.

/// Rows by falling score, in steps of equal ones.
#[derive(Clone, Debug)]
pub struct Order {
    rows: Vec<usize>,
    /// Where each step ends.
    ends: Vec<usize>,
}

impl Order {
    /// Sorts rows; NaN comes last.
    pub fn new(scores: &[f64]) -> Self {
        let score = |at: usize| if scores[at].is_nan() { f64::NEG_INFINITY } else { scores[at] };
        let mut rows: Vec<usize> = (0..scores.len()).collect();
        rows.sort_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
        let is_end = |at: &usize| rows.get(*at).is_none_or(|next| score(*next) != score(rows[at - 1]));
        let ends = (1..=rows.len()).filter(is_end).collect();
        Self { rows, ends }
    }

    /// The rows of each step, the highest scores first.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &[usize]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| &self.rows[from..*to])
    }
}

/// What was done with rows and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes<'a> {
    /// Which rows were treated.
    pub treated: &'a [bool],
    /// What came of each.
    pub outcome: &'a [f64],
    /// The chance that each had of what was done with it.
    pub chance: &'a [f64],
}

/// Weights and weighted outcomes, of treated rows and of controls.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    weight: [f64; 2],
    outcome: [f64; 2],
    /// Rows, each as often as it counts.
    rows: f64,
}

impl Sums {
    fn add(&mut self, of: &Outcomes<'_>, at: usize, times: f64) {
        let side = usize::from(!of.treated[at]);
        let weight = times / of.chance[at];
        self.weight[side] += weight;
        self.outcome[side] += weight * of.outcome[at];
        self.rows += times;
    }

    /// R₁ − R₀·N₁/N₀.
    fn qini(&self) -> f64 {
        let [treated, controls] = self.weight;
        let as_many = if controls > 0.0 { treated / controls } else { 0.0 };
        self.outcome[0] - self.outcome[1] * as_many
    }

    /// R₁/N₁ − R₀/N₀.
    fn difference(&self) -> f64 {
        let mean =
            |side: usize| if self.weight[side] > 0.0 { self.outcome[side] / self.weight[side] } else { 0.0 };
        mean(0) - mean(1)
    }
}

/// Both curves, from the origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// φ, rising from 0 to 1.
    pub share: Vec<f64>,
    /// Q.
    pub qini: Vec<f64>,
    /// U.
    pub uplift: Vec<f64>,
}

impl Curve {
    /// The curves of an order; row i counts `times(i)` times, which is 1 but in a resample.
    pub fn new(order: &Order, of: &Outcomes<'_>, times: impl Fn(usize) -> f64) -> Self {
        let all: f64 = order.rows.iter().map(|at| times(*at)).sum();
        let (mut curve, mut sums, mut from) = (Self::origin(), Sums::default(), 0);
        for end in &order.ends {
            order.rows[from..*end].iter().for_each(|at| sums.add(of, *at, times(*at)));
            from = *end;
            if all > 0.0 {
                curve.push(sums.rows / all, sums.qini() / all, sums.difference() * sums.rows / all);
            }
        }
        curve
    }

    /// The same where each row's uplift is known: Q and U are both Σ τ / N over the first rows.
    pub fn of_truth(order: &Order, uplift: &[f64]) -> Self {
        let (mut curve, mut sum, mut from) = (Self::origin(), 0.0, 0);
        let all = order.rows.len() as f64;
        for end in &order.ends {
            sum += order.rows[from..*end].iter().map(|at| uplift[*at]).sum::<f64>();
            from = *end;
            curve.push(*end as f64 / all, sum / all, sum / all);
        }
        curve
    }

    fn origin() -> Self {
        Self { share: vec![0.0], qini: vec![0.0], uplift: vec![0.0] }
    }

    fn push(&mut self, share: f64, qini: f64, uplift: f64) {
        self.share.push(share);
        self.qini.push(qini);
        self.uplift.push(uplift);
    }

    /// The Qini coefficient: 0 for a random order, below for a worse one.
    pub fn coefficient(&self) -> f64 {
        self.area(&self.qini) - self.all() / 2.0
    }

    /// The area under the uplift curve; a random order's is half of what treating everybody brings.
    pub fn auuc(&self) -> f64 {
        self.area(&self.uplift)
    }

    /// Q(1): what treating everybody brings, a row.
    pub fn all(&self) -> f64 {
        self.qini.last().copied().unwrap_or_default()
    }

    fn area(&self, heights: &[f64]) -> f64 {
        let steps = self.share.windows(2).zip(heights.windows(2));
        steps.map(|(share, height)| (share[1] - share[0]) * f64::midpoint(height[0], height[1])).sum()
    }
}

/// What treating the chosen rows and no others brings for each of all rows: their share, times the difference of the weighted
/// means of their treated rows and their controls (Hájek 1971).
pub fn gain(chosen: &[bool], of: &Outcomes<'_>, times: impl Fn(usize) -> f64) -> f64 {
    let (mut sums, mut all) = (Sums::default(), 0.0);
    for (at, chosen) in chosen.iter().enumerate() {
        let times = times(at);
        all += times;
        if *chosen && times > 0.0 {
            sums.add(of, at, times);
        }
    }
    if all > 0.0 { sums.difference() * sums.rows / all } else { 0.0 }
}
