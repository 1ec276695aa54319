//! Just enough SVG for the report's charts: shapes with classes, which the page colours.

use std::fmt::Write;

/// A drawing of a fixed size that scales with the page.
#[derive(Debug)]
pub(crate) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    /// A text that runs upwards, centred at a point.
    pub(crate) fn upright(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle" class="{class}">{text}</text>"#
        ));
    }

    /// A rectangle; `opacity` is that of its fill.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), class: &str, opacity: f64) {
        self.push(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="2" class="{class}" fill-opacity="{opacity:.3}"/>"#
        ));
    }

    /// A circle, with a text that appears under the pointer.
    pub(crate) fn circle(&mut self, (x, y): (f64, f64), r: f64, class: &str, title: &str) {
        let title = escaped(title);
        self.push(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r:.1}" class="{class}"><title>{title}</title></circle>"#
        ));
    }

    /// A line through points.
    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format_args!(r#"<polyline points="{}" class="{class}"/>"#, points.join(" ")));
    }

    /// Many dots as one element; the class gives their size as a round stroke.
    pub(crate) fn dots(&mut self, points: &[(f64, f64)], class: &str) {
        let path: String = points.iter().map(|(x, y)| format!("M{x:.1} {y:.1}h0")).collect();
        self.push(format_args!(r#"<path d="{path}" class="{class}"/>"#));
    }

    /// The element; `label` says to those who do not see it what it shows.
    pub(crate) fn finish(self, label: &str) -> String {
        let Self { width, height, body } = self;
        let label = escaped(label);
        format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{body}</svg>"#)
    }
}

/// Linear from a domain to pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) domain: (f64, f64),
    pub(crate) range: (f64, f64),
}

impl Scale {
    pub(crate) fn at(self, x: f64) -> f64 {
        let width = self.domain.1 - self.domain.0;
        let share = if width == 0.0 { 0.5 } else { (x - self.domain.0) / width };
        self.range.0 + share * (self.range.1 - self.range.0)
    }
}

/// At most `wanted` + 3 round numbers within a domain.
pub(crate) fn ticks((low, high): (f64, f64), wanted: usize) -> Vec<f64> {
    let width = high - low;
    if !(width.is_finite() && width > 0.0) {
        return vec![low];
    }
    let magnitude = 10_f64.powf((width / wanted.max(1) as f64).log10().floor());
    let fits = |step: &f64| width / step <= wanted as f64 + 2.0;
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|m| m * magnitude).into_iter().find(fits).unwrap_or(10.0 * magnitude);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|at| at as f64 * step).collect()
}

/// As many decimals as tell neighbouring ticks apart.
pub(crate) fn tick_label(x: f64, ticks: &[f64]) -> String {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let digits = if step.is_finite() { (-step.log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize } else { 2 };
    format!("{x:.digits$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let near = |a: Vec<f64>, b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(near(ticks((0.0, 1.0), 5), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]));
        assert!(near(ticks((0.41, 0.47), 3), &[0.42, 0.44, 0.46]));
        assert_eq!(ticks((3.0, 3.0), 4), [3.0]);
        assert_eq!(tick_label(0.42, &[0.42, 0.44]), "0.42");
        assert_eq!(tick_label(20.0, &[20.0, 40.0]), "20");
    }

    #[test]
    fn names_cannot_break_out_of_the_drawing() {
        let mut canvas = Canvas::new(1.0, 1.0);
        canvas.text((0.0, 0.0), Anchor::Start, "x", "<script>\"&");
        assert!(canvas.finish("a\"b").contains("&lt;script&gt;&quot;&amp;"));
    }
}
