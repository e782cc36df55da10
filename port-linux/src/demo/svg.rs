// SPDX-License-Identifier: BSD-2-Clause
//! Throughput over time as a drawing (SVG 1.1).

use mlvpn_core::words::time::Instant;

use super::figures::mbit_short;
use super::plan::{Plan, Stretch};
use super::record::{LinkState, Record, Sample};
use crate::lab::svg::{COLOURS, begin, line, text};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
/// The plot's edges in the drawing.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 376.0;

const TOTAL: &str = "#111111";
const ALARM: &str = "#c02020";

/// Samples a drawn point is the mean of.
const SMOOTH: usize = 3;

/// The drawing.
pub(super) fn render(plan: &Plan, record: &Record) -> String {
    let scale = Scale::of(plan, record);
    let mut out = begin(WIDTH, HEIGHT);
    text(&mut out, [LEFT, 24.0], "start", "font-size=\"16\" font-weight=\"bold\"", "mlvpn demo: throughput over time");
    outage(&mut out, record, &scale);
    axes(&mut out, &scale);
    stretches(&mut out, plan, record, &scale);
    for (index, colour) in (0..plan.links.len()).zip(COLOURS.iter().cycle()) {
        let value = |sample: &Sample| {
            let link = sample.links.get(index).filter(|link| link.state != LinkState::Unused)?;
            Some(bits_per_second(link.carried_bytes, sample))
        };
        curve(&mut out, &record.samples, &scale, value, &format!("stroke=\"{colour}\" stroke-width=\"1.5\""));
    }
    let payload = |sample: &Sample| Some(bits_per_second(sample.payload_bytes, sample));
    curve(&mut out, &record.samples, &scale, payload, &format!("stroke=\"{TOTAL}\" stroke-width=\"2.5\""));
    legend(&mut out, plan);
    out.push_str("</svg>\n");
    out
}

/// Where values lie in the drawing.
struct Scale {
    seconds: f64,
    /// In bits per second.
    top: f64,
    step: f64,
}

impl Scale {
    fn of(plan: &Plan, record: &Record) -> Self {
        let last = record.samples.last().map_or(1.0, |sample| seconds(sample.at));
        let carried = record.samples.iter().map(|sample| bits_per_second(sample.payload_bytes, sample));
        #[expect(clippy::cast_precision_loss, reason = "a drawing's precision is that of a pixel")]
        let capacity = plan.capacity_bps(Stretch::Together) as f64;
        // A burst out of the reorder buffer may be drawn cut off: it would flatten everything else.
        let highest = carried.fold(capacity, f64::max).min(capacity * 1.3);
        let step = nice_step(highest * 1.05);
        Self { seconds: last.max(0.001), top: (highest * 1.05 / step).ceil() * step, step }
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * at / self.seconds
    }

    fn y(&self, bits_per_second: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (bits_per_second / self.top).min(1.0)
    }
}

/// 1, 2 or 5 times a power of ten, four to eight of which make up `range`.
fn nice_step(range: f64) -> f64 {
    let decade = 10_f64.powf((range / 4.0).log10().floor());
    [5.0, 2.0].into_iter().map(|factor| factor * decade).find(|step| range / step >= 4.0).unwrap_or(decade)
}

#[expect(clippy::cast_precision_loss, reason = "a drawing's precision is that of a pixel")]
fn seconds(at: Instant) -> f64 {
    at.micros() as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a drawing's precision is that of a pixel")]
fn bits_per_second(bytes: u64, sample: &Sample) -> f64 {
    bytes as f64 * 8e6 / sample.span.micros().max(1) as f64
}

fn axes(out: &mut String, scale: &Scale) {
    let mut value = 0.0;
    while value <= scale.top * 1.001 {
        let y = scale.y(value);
        line(out, [LEFT, y, RIGHT, y], "stroke=\"#dddddd\"");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of a link, not below zero")]
        let label = mbit_short(value.round() as u64);
        text(out, [LEFT - 8.0, y + 4.0], "end", "", &label);
        value += scale.step;
    }
    let step = nice_step(scale.seconds).max(1.0);
    let mut at = 0.0;
    while at <= scale.seconds * 1.001 {
        line(out, [scale.x(at), BOTTOM, scale.x(at), BOTTOM + 5.0], "stroke=\"#333333\"");
        text(out, [scale.x(at), BOTTOM + 20.0], "middle", "", &format!("{at:.0}"));
        at += step;
    }
    line(out, [LEFT, TOP, LEFT, BOTTOM], "stroke=\"#333333\"");
    line(out, [LEFT, BOTTOM, RIGHT, BOTTOM], "stroke=\"#333333\"");
    text(out, [(LEFT + RIGHT) / 2.0, BOTTOM + 40.0], "middle", "", "seconds");
    let turned = format!("transform=\"rotate(-90 18 {0})\"", (TOP + BOTTOM) / 2.0);
    text(out, [18.0, (TOP + BOTTOM) / 2.0], "middle", &turned, "Mbit/s");
}

/// The time the fastest link was away.
fn outage(out: &mut String, record: &Record, scale: &Scale) {
    let Some(from) = record.pulled_at else { return };
    let until = record.back_at.or(record.samples.last().map(|sample| sample.at)).unwrap_or(from);
    let (x, end) = (scale.x(seconds(from)), scale.x(seconds(until)));
    out.push_str(&format!(
        "<rect x=\"{x:.1}\" y=\"{TOP:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{ALARM}\" fill-opacity=\"0.1\"/>\n",
        end - x,
        BOTTOM - TOP
    ));
}

/// Names each stretch above the plot, and draws what its links can carry.
fn stretches(out: &mut String, plan: &Plan, record: &Record, scale: &Scale) {
    for part in record.samples.chunk_by(|a, b| a.stretch == b.stretch) {
        let [first, .., last] = part else { continue };
        let (from, until) = (scale.x(seconds(first.at) - seconds_of(first)), scale.x(seconds(last.at)));
        let colour = if first.stretch == Stretch::Pulled { ALARM } else { "#333333" };
        let style = format!("fill=\"{colour}\"");
        text(out, [(from + until) / 2.0, TOP - 10.0], "middle", &style, &plan.title(first.stretch));
        line(out, [from, TOP, from, BOTTOM], "stroke=\"#aaaaaa\" stroke-dasharray=\"2 4\"");
        #[expect(clippy::cast_precision_loss, reason = "a drawing's precision is that of a pixel")]
        let y = scale.y(plan.capacity_bps(first.stretch) as f64);
        line(out, [from, y, until, y], "stroke=\"#555555\" stroke-dasharray=\"6 4\"");
    }
}

fn seconds_of(sample: &Sample) -> f64 {
    seconds(Instant::from_micros(sample.span.micros()))
}

/// A line through smoothed samples, broken where the value is missing or another tunnel begins.
fn curve(out: &mut String, samples: &[Sample], scale: &Scale, value: impl Fn(&Sample) -> Option<f64>, style: &str) {
    let act = |sample: &Sample| match sample.stretch {
        Stretch::Alone(index) => Some(index),
        Stretch::Together | Stretch::Pulled | Stretch::Back => None,
    };
    for part in samples.chunk_by(|a, b| act(a) == act(b)) {
        let points: Vec<_> = part
            .windows(SMOOTH.min(part.len()))
            .filter_map(|window| {
                let values: Option<Vec<f64>> = window.iter().map(&value).collect();
                #[expect(clippy::cast_precision_loss, reason = "a handful of samples")]
                let mean = values?.iter().sum::<f64>() / window.len() as f64;
                let middle = window.get(window.len() / 2)?;
                Some(format!("{:.1},{:.1}", scale.x(seconds(middle.at) - seconds_of(middle) / 2.0), scale.y(mean)))
            })
            .collect();
        if points.len() > 1 {
            let points = points.join(" ");
            out.push_str(&format!("<polyline points=\"{points}\" fill=\"none\" stroke-linejoin=\"round\" {style}/>\n"));
        }
    }
}

fn legend(out: &mut String, plan: &Plan) {
    const COLUMN: f64 = 218.0;
    let links = plan.links.iter().zip(COLOURS.iter().cycle()).enumerate().map(|(index, (link, colour))| {
        let mut name = link.spec.to_string();
        if name.len() > 20 {
            name.truncate(19);
            name.push('…');
        }
        (format!("link {}: {name}", index + 1), format!("stroke=\"{colour}\" stroke-width=\"2\""))
    });
    let total = [
        ("payload through the tunnel".to_owned(), format!("stroke=\"{TOTAL}\" stroke-width=\"3\"")),
        ("rate of the links there".to_owned(), "stroke=\"#555555\" stroke-dasharray=\"6 4\"".to_owned()),
    ];
    let (mut x, mut y) = (LEFT, BOTTOM + 62.0);
    for (name, style) in total.into_iter().chain(links) {
        if x + COLUMN > RIGHT + 1.0 {
            (x, y) = (LEFT, y + 18.0);
        }
        line(out, [x, y - 4.0, x + 24.0, y - 4.0], &style);
        text(out, [x + 30.0, y], "start", "", &name);
        x += COLUMN;
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;
    use crate::lab::svg::assert_well_formed;

    #[test]
    fn the_drawing_is_well_formed_and_has_all_its_parts() {
        let (plan, record) = example();
        let svg = render(&plan, &record);
        assert_well_formed(&svg);
        for part in ["both links bonded", "link 1 pulled", "link 2: 10mbit/40ms", "seconds", "Mbit/s", "fill-opacity"] {
            assert!(svg.contains(part), "{part}");
        }
        // Each link alone and both together: a curve per link and act, and the payload's per act.
        assert_eq!(svg.matches("<polyline").count(), 1 + 1 + 2 + 3);
    }

    #[test]
    fn a_demo_that_saw_nothing_is_drawn_all_the_same() {
        let plan = Plan::new(Some("1kbit/1ms"), Some(1)).expect("fine");
        assert_well_formed(&render(&plan, &Record::default()));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([52.0, 27.0, 110.0, 9.0].map(nice_step), [10.0, 5.0, 20.0, 2.0]);
    }
}
