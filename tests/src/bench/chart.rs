// SPDX-License-Identifier: BSD-2-Clause
//! Goodput of every system in every scenario as a drawing: bars in percent of the links' summed rate.

use std::collections::BTreeSet;

use mlvpn::lab::svg::{COLOURS, begin, line, rectangle, text};

use super::plan::{Figures, Heading, Mix, Outcome};
use super::report::{Grouped, Row, best_link, good};
use super::scenario::named;
use super::spread::Spread;
use super::system::System;

/// Sizes in pixels.
const LEFT: f64 = 56.0;
const BAR: f64 = 11.0;
/// Between two scenarios.
const GAP: f64 = 22.0;
const PANEL: f64 = 200.0;
/// Above a panel for its title, and below for the scenarios' names.
const ABOVE: f64 = 34.0;
const BELOW: f64 = 34.0;
const HEAD: f64 = 34.0;
/// A line of the legend, and the width of an entry.
const LEGEND_LINE: f64 = 18.0;
const LEGEND_ENTRY: f64 = 220.0;
const LEAST_WIDTH: f64 = 720.0;

/// The best link alone.
const REFERENCE: &str = "#bbbbbb";

/// The drawing: a panel for each kind of flows and direction.
#[must_use]
pub fn svg(outcomes: &[Outcome]) -> String {
    let grouped = Grouped::of(outcomes);
    let bonds = grouped.bonds();
    let panels: BTreeSet<(Mix, Heading)> =
        grouped.scenarios.iter().flat_map(|(_, rows)| rows.keys().copied()).collect();
    let group = BAR * (bonds.len() + 1) as f64 + GAP;
    let width = (LEFT + group * grouped.scenarios.len() as f64 + GAP).max(LEAST_WIDTH);
    let per_line = ((width - LEFT) / LEGEND_ENTRY).floor().max(1.0);
    let legend_lines = ((bonds.len() + 1) as f64 / per_line).ceil();
    let height = HEAD + legend_lines * LEGEND_LINE + panels.len() as f64 * (ABOVE + PANEL + BELOW);
    let mut out = begin(pixels(width), pixels(height));
    let title = "Goodput of kernel TCP, percent of the links' summed rate";
    text(&mut out, [LEFT, 22.0], "start", "font-size=\"16\" font-weight=\"bold\"", title);
    legend(&mut out, &bonds, per_line);
    let mut top = HEAD + legend_lines * LEGEND_LINE + ABOVE;
    for key in panels {
        panel(&mut out, [LEFT, top, width - GAP, top + PANEL], &format!("{} {}", key.0, key.1));
        for (place, (name, rows)) in grouped.scenarios.iter().enumerate() {
            let left = LEFT + GAP / 2.0 + group * place as f64;
            let middle = left + (group - GAP) / 2.0;
            let label = named(name).map_or(*name, |scenario| scenario.name);
            text(&mut out, [middle, top + PANEL + 16.0], "middle", "", label);
            if let Some(row) = rows.get(&key) {
                bars(&mut out, &bonds, row, [left, top + PANEL]);
            }
        }
        top += PANEL + BELOW + ABOVE;
    }
    out.push_str("</svg>\n");
    out
}

fn pixels(size: f64) -> u32 {
    // Never below zero, and a drawing is some thousand pixels at most.
    size.ceil() as u32
}

fn colour(bonds: &[System], system: System) -> &'static str {
    let place = bonds.iter().position(|&bond| bond == system).unwrap_or(0);
    COLOURS[place % COLOURS.len()]
}

fn legend(out: &mut String, bonds: &[System], per_line: f64) {
    let entries = bonds.iter().map(|&system| (system.title(), colour(bonds, system)));
    let (mut x, mut y, mut count) = (LEFT, HEAD + 12.0, 0.0);
    for (name, colour) in entries.chain([("best link alone, kernel TCP".to_owned(), REFERENCE)]) {
        rectangle(out, [x, y - 10.0, 12.0, 12.0], &format!("fill=\"{colour}\""));
        text(out, [x + 18.0, y], "start", "", &name);
        count += 1.0;
        (x, y) = if count % per_line == 0.0 { (LEFT, y + LEGEND_LINE) } else { (x + LEGEND_ENTRY, y) };
    }
}

fn panel(out: &mut String, [left, top, right, bottom]: [f64; 4], title: &str) {
    text(out, [left, top - 10.0], "start", "font-weight=\"bold\"", title);
    for percent in [0, 25, 50, 75, 100] {
        let y = height_of(f64::from(percent), bottom);
        line(out, [left, y, right, y], if percent == 0 { "stroke=\"#333333\"" } else { "stroke=\"#dddddd\"" });
        text(out, [left - 8.0, y + 4.0], "end", "", &percent.to_string());
    }
}

fn height_of(percent: f64, bottom: f64) -> f64 {
    bottom - PANEL * percent.clamp(0.0, 100.0) / 100.0
}

fn bars(out: &mut String, bonds: &[System], row: &Row<'_>, [mut x, bottom]: [f64; 2]) {
    for &system in bonds {
        let figures = row.get(&system).map(|results| good(results)).unwrap_or_default();
        if let Some(spread) = Spread::of(figures.iter().map(|figures| figures.percent())) {
            bar(out, [x, bottom], spread, colour(bonds, system));
        }
        x += BAR;
    }
    if let Some(percent) = best_link_percent(row) {
        bar(out, [x, bottom], Spread { median: percent, least: percent, greatest: percent }, REFERENCE);
    }
}

/// The best link alone in percent of what all links could carry together.
fn best_link_percent(row: &Row<'_>) -> Option<f64> {
    let links = row.iter().filter(|(system, _)| matches!(system, System::Link(_)));
    let rate = |figures: &Figures| figures.rates_bps.iter().sum::<u64>() as f64;
    let rates = links.filter_map(|(_, results)| Some(Spread::of(good(results).into_iter().map(rate))?.median));
    best_link(row).map(|best| best * 100.0 / rates.sum::<f64>().max(1.0))
}

/// A bar as high as the median, and a stroke from the least to the greatest.
fn bar(out: &mut String, [x, bottom]: [f64; 2], spread: Spread, colour: &str) {
    let top = height_of(spread.median, bottom);
    rectangle(out, [x + 1.0, top, BAR - 2.0, bottom - top], &format!("fill=\"{colour}\""));
    if spread.greatest > spread.least {
        let middle = x + BAR / 2.0;
        let ends = [middle, height_of(spread.greatest, bottom), middle, height_of(spread.least, bottom)];
        line(out, ends, "stroke=\"#111111\"");
    }
}

#[cfg(test)]
mod tests {
    use mlvpn::lab::svg::assert_well_formed;

    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn the_drawing_is_well_formed_and_has_a_bar_for_each_figure() {
        let outcomes = example();
        let drawing = svg(&outcomes);
        assert_well_formed(&drawing);
        // The sheet, three entries of the legend, the tunnel's bar and the best link's; the failed one has none.
        assert_eq!(drawing.matches("<rect").count(), 1 + 3 + 2);
        for part in ["cubic1 down", "equal", "mlvpn, protocol 2", "best link alone"] {
            assert!(drawing.contains(part), "{part}");
        }
        // 80 % of 200 pixels, and the stroke of the two repeats.
        assert!(drawing.contains("height=\"160.0\"") && drawing.contains("stroke=\"#111111\""), "{drawing}");
    }

    #[test]
    fn the_best_link_is_drawn_against_all_links_together() {
        let outcomes = example();
        let grouped = Grouped::of(&outcomes);
        let row = grouped.scenarios[0].1.values().next().expect("a row");
        assert_eq!(best_link_percent(row), Some(40.0));
    }

    #[test]
    fn nothing_measured_is_an_empty_sheet() {
        assert_well_formed(&svg(&[]));
    }
}
