// SPDX-License-Identifier: BSD-2-Clause
//! The live view: redrawn in place on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};

use super::figures::{loss, mbit, mbit_short, percent, round_trip};
use super::plan::{Act, Plan, Stretch};
use super::record::{LinkState, Record, Sample};
use super::run::Audience;

/// Samples (of a tenth of a second) between two drawings on a terminal.
const SAMPLES_PER_FRAME: usize = 2;
/// Samples between two plain lines.
const SAMPLES_PER_LINE: usize = 10;
/// Samples that rates are averaged over.
const RATE_SAMPLES: usize = 5;
/// Samples that loss is counted over.
const LOSS_SAMPLES: usize = 10;
/// Characters of a bar.
const BAR: usize = 20;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Nothing at all.
    Silent,
    /// A line a second.
    Lines,
    /// Redrawn in place.
    Screen {
        /// With colours.
        colour: bool,
        /// With block characters.
        blocks: bool,
    },
}

impl Style {
    /// What suits standard output.
    pub(super) fn of_stdout() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let term = variable("TERM");
        if !io::stdout().is_terminal() || term.as_deref().is_none_or(|term| term == "dumb") {
            return Self::Lines;
        }
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default().to_lowercase();
        let blocks = locale.contains("utf-8") || locale.contains("utf8");
        Self::Screen { colour: variable("NO_COLOR").is_none(), blocks }
    }
}

/// Shows what happens. On a terminal it hides the cursor and gives it back when dropped.
pub(super) struct View {
    style: Style,
    out: io::Stdout,
    /// Lines drawn, to be drawn over.
    drawn: usize,
    is_cursor_hidden: bool,
}

impl View {
    pub(super) fn new(style: Style) -> Self {
        Self { style, out: io::stdout(), drawn: 0, is_cursor_hidden: false }
    }

    fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if !self.is_cursor_hidden {
            // No cursor, and lines are cut at the edge instead of wrapped.
            text.push_str("\x1b[?25l\x1b[?7l");
            self.is_cursor_hidden = true;
        }
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        self.drawn = lines.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.is_cursor_hidden {
            // A terminal that is gone needs no cursor.
            let _ = self.out.write_all(b"\x1b[?7h\x1b[?25h");
            let _ = self.out.flush();
        }
    }
}

impl Audience for View {
    fn announce(&mut self, plan: &Plan, act: &Act) -> io::Result<()> {
        let is_first = plan.acts.first() == Some(act);
        match self.style {
            Style::Lines if is_first => writeln!(self.out, "{}", headline(plan)),
            Style::Screen { .. } if is_first => self.draw(&[headline(plan), "the tunnel comes up".to_owned()]),
            Style::Silent | Style::Lines | Style::Screen { .. } => Ok(()),
        }
    }

    fn show(&mut self, plan: &Plan, record: &Record) -> io::Result<()> {
        let count = record.samples.len();
        match self.style {
            Style::Screen { colour, blocks } if count.is_multiple_of(SAMPLES_PER_FRAME) => {
                self.draw(&screen(plan, &record.samples, Ink { colour, blocks }))
            }
            Style::Lines if count.is_multiple_of(SAMPLES_PER_LINE) => {
                writeln!(self.out, "{}", plain_line(plan, &record.samples))
            }
            Style::Silent | Style::Lines | Style::Screen { .. } => Ok(()),
        }
    }
}

fn headline(plan: &Plan) -> String {
    let links = match plan.links.len() {
        1 => "1 emulated link".to_owned(),
        count => format!("{count} emulated links"),
    };
    format!("mlvpn demo: {links} {}", plan.manner.description())
}

/// Which characters may be used.
#[derive(Clone, Copy)]
struct Ink {
    colour: bool,
    blocks: bool,
}

/// Colours of the links, then of the tunnel: told apart by the colour-blind as well.
const LINK_COLOURS: [u8; 6] = [34, 33, 36, 35, 32, 37];
const TUNNEL_COLOUR: u8 = 1;
const ALARM: u8 = 31;
const FAINT: u8 = 2;

impl Ink {
    fn paint(self, code: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A bar of `BAR` characters, this share of it filled.
    fn bar(self, colour: u8, value: u64, of: u64) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = (u128::from(value) * BAR as u128 * 8 / u128::from(of.max(1))).min(BAR as u128 * 8);
        let eighths = usize::try_from(eighths).unwrap_or_default();
        let (full, part) = (eighths / 8, eighths % 8);
        let (filled, empty) = if self.blocks {
            let filled = "█".repeat(full) + PARTS[part];
            (filled, "·".repeat(BAR - full - usize::from(part > 0)))
        } else {
            ("#".repeat(full), ".".repeat(BAR - full))
        };
        self.paint(colour, &filled) + &self.paint(FAINT, &empty)
    }
}

/// The samples at the end that belong to the present stretch, so that no average reaches back across a pull.
fn latest(samples: &[Sample], count: usize) -> impl Iterator<Item = &Sample> {
    let stretch = samples.last().map(|sample| sample.stretch);
    samples.iter().rev().take(count).take_while(move |sample| Some(sample.stretch) == stretch)
}

fn rate(samples: &[Sample], bytes: impl Fn(&Sample) -> u64) -> u64 {
    let (bytes, micros) = latest(samples, RATE_SAMPLES)
        .fold((0, 0), |(total, micros), sample| (total + bytes(sample), micros + sample.span.micros()));
    bytes.saturating_mul(8_000_000) / micros.max(1)
}

fn link_rate(samples: &[Sample], index: usize) -> u64 {
    rate(samples, |sample| sample.links.get(index).map_or(0, |link| link.carried_bytes))
}

fn link_loss(samples: &[Sample], index: usize) -> String {
    let links = latest(samples, LOSS_SAMPLES).filter_map(|sample| sample.links.get(index));
    let (lost, offered) = links.fold((0, 0), |(lost, offered), link| (lost + link.lost, offered + link.offered));
    loss(lost, offered)
}

fn screen(plan: &Plan, samples: &[Sample], ink: Ink) -> Vec<String> {
    let Some(sample) = samples.last() else { return Vec::new() };
    let seconds = |micros: u64| format!("{}.{}", micros / 1_000_000, micros % 1_000_000 / 100_000);
    let total = plan.total.millis() / 1_000;
    let title = plan.title(sample.stretch);
    let code = if sample.stretch == Stretch::Pulled { ALARM } else { TUNNEL_COLOUR };
    let mut lines = vec![
        headline(plan),
        format!(
            "{}{:>width$} s of {total} s",
            ink.paint(code, &title),
            seconds(sample.at.micros()),
            width = 68 - title.len()
        ),
        String::new(),
        ink.paint(FAINT, &format!("{:<42}{:>9}{:>9}{:>7}  {}", "link", "Mbit/s", "RTT", "loss", "state")),
    ];
    lines.extend((0..plan.links.len()).map(|index| link_line(plan, samples, index, ink)));
    let payload = rate(samples, |sample| sample.payload_bytes);
    let capacity = plan.capacity_bps(sample.stretch);
    let bar = ink.bar(TUNNEL_COLOUR, payload, plan.capacity_bps(Stretch::Together));
    let of = format!("{}/{}", mbit(payload), mbit_short(capacity));
    let share = match capacity {
        0 => "no link is left".to_owned(),
        _ => format!(
            "{} of the links",
            percent(u64::try_from(u128::from(payload) * 1_000 / u128::from(capacity)).unwrap_or(0))
        ),
    };
    lines.push(format!(
        "{} {bar}{of:>10}   {share}",
        ink.paint(TUNNEL_COLOUR, &format!("{:<20}", "payload through it"))
    ));
    lines
}

fn link_line(plan: &Plan, samples: &[Sample], index: usize, ink: Ink) -> String {
    let link = &plan.links[index];
    let seen = samples.last().and_then(|sample| sample.links.get(index));
    let state = seen.map_or(LinkState::Unused, |link| link.state);
    let is_pulled = seen.is_some_and(|link| link.is_pulled);
    let colour = LINK_COLOURS[index % LINK_COLOURS.len()];
    let name = format!("{} {:<18.18}", index + 1, link.spec.to_string());
    if state == LinkState::Unused {
        return ink.paint(FAINT, &format!("{name} {:<47}{}", "", state.word()));
    }
    let carried = link_rate(samples, index);
    let bar = ink.bar(colour, carried, link.down_bps);
    let of = format!("{}/{}", mbit(carried), mbit_short(link.down_bps));
    let word = match (is_pulled, state) {
        (true, LinkState::Up) => ink.paint(ALARM, "pulled"),
        (true, state) => ink.paint(ALARM, &format!("pulled, {}", state.word())),
        (false, LinkState::Up) => ink.paint(32, "up"),
        (false, state) => ink.paint(33, state.word()),
    };
    let trip = round_trip(seen.and_then(|link| link.round_trip));
    format!("{} {bar}{of:>10}{trip:>9}{:>7}  {word}", ink.paint(colour, &name), link_loss(samples, index))
}

fn plain_line(plan: &Plan, samples: &[Sample]) -> String {
    let Some(sample) = samples.last() else { return String::new() };
    let payload = latest(samples, SAMPLES_PER_LINE).map(|sample| sample.payload_bytes).sum::<u64>();
    let span = latest(samples, SAMPLES_PER_LINE).map(|sample| sample.span.micros()).sum::<u64>();
    let mut line = format!(
        "{:>5}.{} s  {:<20} payload {:>5} of {} Mbit/s",
        sample.at.micros() / 1_000_000,
        sample.at.micros() % 1_000_000 / 100_000,
        plan.title(sample.stretch),
        mbit(payload.saturating_mul(8_000_000) / span.max(1)),
        mbit_short(plan.capacity_bps(sample.stretch)),
    );
    for (index, link) in sample.links.iter().enumerate().filter(|(_, link)| link.state != LinkState::Unused) {
        let state = if link.is_pulled { "pulled" } else { link.state.word() };
        let (rate, trip, loss) = (link_rate(samples, index), round_trip(link.round_trip), link_loss(samples, index));
        line.push_str(&format!("; link {} {} Mbit/s, {trip}, loss {loss}, {state}", index + 1, mbit(rate)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    const PLAIN: Ink = Ink { colour: false, blocks: false };

    fn samples_until(stretch: Stretch) -> (Plan, Vec<Sample>) {
        let (plan, record) = example();
        let last = record.samples.iter().rposition(|sample| sample.stretch == stretch).expect("every stretch is seen");
        (plan, record.samples[..=last].to_vec())
    }

    #[test]
    fn the_screen_shows_each_link_and_the_whole() {
        let (plan, samples) = samples_until(Stretch::Together);
        let lines = screen(&plan, &samples, PLAIN);
        assert_eq!(lines[4], "1 40mbit/10ms        ####################   40.0/40   100 ms    0 %  up");
        assert_eq!(lines[6], "payload through it   ##################..   46.0/50   92 % of the links");
        assert!(lines.iter().all(|line| line.chars().count() < 80), "{lines:#?}");
    }

    #[test]
    fn a_pulled_link_and_one_not_used_are_told() {
        let (plan, samples) = samples_until(Stretch::Pulled);
        let lines = screen(&plan, &samples, PLAIN);
        assert!(lines[4].ends_with("0/40        -  1.0 %  pulled, silent"), "{lines:#?}");
        let (plan, samples) = samples_until(Stretch::Alone(0));
        assert!(screen(&plan, &samples, PLAIN)[5].starts_with("2 10mbit/40ms"));
    }

    #[test]
    fn bars_grow_by_eighths_and_stop_at_full() {
        let ink = Ink { colour: false, blocks: true };
        for (value, filled) in [(0, 0), (1, 1), (20, 20), (10, 10), (99, 20)] {
            let bar = ink.bar(34, value, 20);
            assert_eq!((bar.chars().count(), bar.chars().filter(|&c| c == '█').count()), (BAR, filled), "{bar}");
        }
        assert!(ink.bar(34, 1, 40).starts_with('▌'));
    }

    #[test]
    fn a_plain_line_says_it_all_without_escapes() {
        let (plan, samples) = samples_until(Stretch::Pulled);
        let line = plain_line(&plan, &samples);
        assert!(line.contains("link 1 pulled") && line.contains("payload  9.20 of 10 Mbit/s"), "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
}
