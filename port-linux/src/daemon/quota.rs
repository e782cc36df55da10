// SPDX-License-Identifier: BSD-2-Clause
//! What links carried of their quotas: when a day or a month begins, and what is kept while the daemon does not run.
//!
//! The engine counts. Here is the calendar, in local time, as a provider's bill goes by. A router's clock begins in 1970
//! until it is set: until then everything belongs to the day that was last known.
//!
//! The file is opened while there are rights to, and written in place afterwards, where no new file could be made any more. It
//! has two pages of which each in turn is written whole, with a number that grows and a sum of what follows: whenever the
//! power fails, one of them is whole. It is written when something changed, every ten minutes and at the end: some 150 pages of
//! flash memory a day, where the smallest routers' have 1,000 that bear 10,000 writes each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::policy::{Quota, Stop, Usage};
use mlvpn_core::words::time::{Duration, Instant};

use super::worker::Worker;
use crate::log::Topic;
use crate::{clock, log_info, log_warn, sys};

/// How often calendar and quotas are looked at: a new day begins, and a used-up quota is told of, at most so late.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often what changed is written: a crash forgets this much.
const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Clocks that show an earlier year were not set: nothing ran this program then.
const FIRST_YEAR: i32 = 2025;

/// How a page begins, before its number and sum, and its last line.
const TITLE: &str = "mlvpn usage 2";
const LAST_LINE: &str = "end\n";

/// A page's bytes: more than 32 links of the longest names take.
const PAGE: usize = 8 * 1024;

/// A date by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i32,
    month: i32,
    day: i32,
}

impl Date {
    /// Today; none while the clock is not set.
    fn today() -> Option<Self> {
        let [year, month, day, ..] = sys::local_time(clock::wall_seconds())?;
        (year >= FIRST_YEAR).then_some(Self { year, month, day })
    }

    /// The day as a number that is another every day.
    const fn number(self) -> i32 {
        (self.year * 12 + self.month) * 31 + self.day
    }

    /// The month that began on day `start` of a month last, as such a number.
    const fn period(self, start: u8) -> i32 {
        self.year * 12 + self.month - if self.day < start as i32 { 1 } else { 0 }
    }
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    /// When it was counted: [`Date::number`] and [`Date::period`]; none before the clock was set for the first time.
    counted: Option<(i32, i32)>,
    usage: Usage,
    /// What was said of its quota last.
    told: Stop,
}

impl Record {
    /// A new day or month begins at nothing. Whether one did.
    fn turn(&mut self, date: Date, start: u8) -> bool {
        let now = (date.number(), date.period(start));
        let Some((day, month)) = self.counted.replace(now) else { return false };
        if day != now.0 {
            self.usage.day = 0;
        }
        if month != now.1 {
            self.usage.month = 0;
        }
        (day, month) != now
    }
}

/// The records of all links, by name.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    file: Option<File>,
    records: BTreeMap<String, Record>,
    /// What the page written last says, and its number.
    saved: String,
    number: u64,
    look_at: Instant,
    save_at: Instant,
}

impl Quotas {
    /// Opens the file, while there are rights for it, and reads what it has.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file =
            options.map_err(|why| io::Error::other(format!("[general] quota_file {}: {why}", path.display())))?;
        let pages = [read_page(&file, 0)?, read_page(&file, 1)?];
        let is_empty = pages.iter().all(Vec::is_empty);
        let newest = pages.iter().filter_map(|page| parse(page)).max_by_key(|page| page.number);
        if newest.is_none() && !is_empty {
            log_warn!(Topic::Config, "[general] quota_file {}: damaged; every quota begins anew", path.display());
        }
        let Page { number, records } = newest.unwrap_or_default();
        Ok(Self { file: Some(file), saved: lines(&records), records, number, ..Self::default() })
    }

    fn save(&mut self) {
        let lines = lines(&self.records);
        let Some(file) = self.file.as_ref().filter(|_| lines != self.saved) else { return };
        let number = self.number.saturating_add(1);
        let outcome = file.write_all_at(written(number, &lines).as_bytes(), place_of(number));
        match outcome.and_then(|()| file.sync_data()) {
            Ok(()) => (self.saved, self.number) = (lines, number),
            Err(why) => log_warn!(Topic::Config, "[general] quota_file cannot be written: {why}"),
        }
    }
}

/// A page of the file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    number: u64,
    records: BTreeMap<String, Record>,
}

/// Where the page of this number stands: in turns.
const fn place_of(number: u64) -> u64 {
    (number % 2) * PAGE as u64
}

fn read_page(file: &File, number: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PAGE];
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place_of(number) + len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn written(number: u64, lines: &str) -> String {
    format!("{TITLE} {number} {:016x}\n{lines}", sum(number, lines))
}

/// FNV-1a of 64 bits: enough to know a page that was not written to its end, which nobody forges.
fn sum(number: u64, lines: &str) -> u64 {
    let bytes = number.to_be_bytes().into_iter().chain(lines.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn lines(records: &BTreeMap<String, Record>) -> String {
    let mut text = String::new();
    for (name, Record { counted, usage, .. }) in records {
        let (day, month) = counted.unwrap_or_default();
        // A String takes whatever is written to it.
        let _ = writeln!(text, "{day} {month} {} {} {name}", usage.day, usage.month);
    }
    text.push_str(LAST_LINE);
    text
}

/// What a page says; None when it was not written to its end. Behind its last line the rest of an earlier one may stand.
fn parse(page: &[u8]) -> Option<Page> {
    let text = String::from_utf8_lossy(page);
    let (title, rest) = text.split_once('\n')?;
    let (number, expected) = title.strip_prefix(TITLE)?.trim_start().split_once(' ')?;
    let number = number.parse().ok()?;
    let end = if rest.starts_with(LAST_LINE) { 0 } else { rest.find("\nend\n")? + 1 };
    let lines = rest.get(..end + LAST_LINE.len())?;
    if u64::from_str_radix(expected, 16).ok()? != sum(number, lines) {
        return None;
    }
    let records = lines.get(..end)?.lines().map(parse_line).collect::<Option<_>>()?;
    Some(Page { number, records })
}

fn parse_line(line: &str) -> Option<(String, Record)> {
    let mut words = line.splitn(5, ' ');
    let (day, month) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let usage = Usage { day: words.next()?.parse().ok()?, month: words.next()?.parse().ok()? };
    let counted = (day != 0).then_some((day, month));
    Some((words.next()?.to_owned(), Record { counted, usage, told: Stop::None }))
}

impl Worker {
    /// When [`Worker::follow_quotas`] has something to do; never without quotas.
    pub(super) fn quota_deadline(&self) -> Option<Instant> {
        let has_quota = self.links.iter().flatten().any(|port| port.config.has_quota());
        has_quota.then_some(self.quotas.look_at)
    }

    /// Says it when what is carried is forgotten with every start.
    pub(super) fn check_quotas(&self) {
        if self.quota_deadline().is_some() && self.quotas.file.is_none() {
            log_warn!(Topic::Config, "quotas begin anew with every start: set quota_file");
        }
    }

    /// Begins days and months, and saves what was carried.
    pub(super) fn follow_quotas(&mut self, now: Instant) {
        if now < self.quotas.look_at {
            return;
        }
        self.quotas.look_at = now + LOOK_EVERY;
        self.note_usage();
        self.begin_periods();
        self.tell_of_stops();
        if now >= self.quotas.save_at {
            self.quotas.save_at = now + SAVE_EVERY;
            self.quotas.save();
        }
    }

    fn begin_periods(&mut self) {
        let Some(date) = Date::today() else { return };
        for index in 0..self.links.len() {
            let Some(link) = self.links.get(index).and_then(Option::as_ref).map(|port| &port.config) else { continue };
            let Some(record) = self.quotas.records.get_mut(&link.name) else { continue };
            if record.turn(date, link.month_start) {
                log_info!(Topic::Config, "{}: a day or month of its quota begins", link.name);
                self.engine.set_usage(LinkId::new(index), record.usage);
            }
        }
    }

    /// Says it once when a quota is used up, or is not any more.
    fn tell_of_stops(&mut self) {
        for port in self.links.iter().flatten() {
            let link = &port.config;
            let Some(record) = self.quotas.records.get_mut(&link.name) else { continue };
            let stop = record.usage.stop(&Quota { day: link.day, month: link.month });
            if std::mem::replace(&mut record.told, stop) == stop {
                continue;
            }
            match stop {
                Stop::None => log_info!(Topic::Config, "{}: within its quota again", link.name),
                Stop::Soft => {
                    log_info!(Topic::Config, "{}: its soft quota is used up; a backup from now on", link.name)
                }
                Stop::Hard => log_warn!(Topic::Config, "{}: its quota is used up; it carries no more data", link.name),
            }
        }
    }

    /// Takes note of what the links carried, before an engine or a link is given up.
    pub(super) fn note_usage(&mut self) {
        for (index, port) in self.links.iter().enumerate() {
            let Some(link) = port.as_ref().map(|port| &port.config).filter(|link| link.has_quota()) else { continue };
            if let Some(usage) = self.engine.usage(LinkId::new(index)) {
                self.quotas.records.entry(link.name.clone()).or_default().usage = usage;
            }
        }
    }

    /// Tells a new engine, or of a new link, what was carried before.
    pub(super) fn restore_usage(&mut self, index: usize) {
        let Some(port) = self.links.get(index).and_then(Option::as_ref) else { return };
        if let Some(record) = self.quotas.records.get(&port.config.name) {
            self.engine.set_usage(LinkId::new(index), record.usage);
        }
    }

    /// Saves what the links carried, at the end.
    pub(super) fn save_usage(&mut self) {
        self.note_usage();
        self.quotas.save();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_at_nothing_and_a_clock_that_was_never_set_begins_none() {
        let date = |month, day| Date { year: 2026, month, day };
        let mut record = Record { usage: Usage { day: 5, month: 9 }, ..Record::default() };
        assert!(!record.turn(date(3, 13), 14));
        assert_eq!(record.usage, Usage { day: 5, month: 9 });
        assert!(!record.turn(date(3, 13), 14));
        assert!(record.turn(date(3, 14), 14));
        assert_eq!(record.usage, Usage { day: 0, month: 0 }, "the month begins on the 14th");
        record.usage = Usage { day: 7, month: 7 };
        assert!(record.turn(date(4, 1), 14));
        assert_eq!(record.usage, Usage { day: 0, month: 7 });
    }

    #[test]
    fn what_is_written_is_read_again_and_what_was_cut_is_not() {
        let counted = Some((752_000, 24_300));
        let record = Record { counted, usage: Usage { day: 1, month: u64::MAX }, told: Stop::None };
        let records = BTreeMap::from([("lte 1".to_owned(), record), ("dsl".to_owned(), Record::default())]);
        let text = written(7, &lines(&records));
        let rest = format!("{text}52 1 9 9 what an earlier page said\nend\n");
        assert_eq!(parse(rest.as_bytes()), Some(Page { number: 7, records }));
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn whenever_the_power_fails_one_of_the_last_two_pages_is_read() {
        let path = std::env::temp_dir().join(format!("mlvpn-usage-{}", std::process::id()));
        let of = |day| Record { counted: Some((1, 1)), usage: Usage { day, month: day }, told: Stop::None };
        for day in 1..=4 {
            let mut quotas = Quotas::open(Some(&path)).unwrap();
            assert_eq!(quotas.records.get("lte").map_or(0, |record| record.usage.day), day - 1);
            quotas.records.insert("lte".to_owned(), of(day));
            quotas.save();
            quotas.save();
            assert_eq!(quotas.number, day, "what did not change is not written");
        }
        let whole = std::fs::read(&path).unwrap();
        let page = written(5, &lines(&BTreeMap::from([("lte".to_owned(), of(5))])));
        let at = usize::try_from(place_of(5)).unwrap();
        for cut in 0..=page.len() {
            let mut torn = whole.clone();
            torn[at..at + cut].copy_from_slice(&page.as_bytes()[..cut]);
            std::fs::write(&path, torn).unwrap();
            let quotas = Quotas::open(Some(&path)).unwrap();
            let day = quotas.records["lte"].usage.day;
            assert!(day == 4 || cut > 0 && day == 5, "{cut}: {day}");
            assert!(cut < page.len() || day == 5, "{day}");
        }
        std::fs::write(&path, "something else").unwrap();
        assert_eq!(Quotas::open(Some(&path)).unwrap().records, BTreeMap::new());
        std::fs::remove_file(&path).unwrap();
    }
}
