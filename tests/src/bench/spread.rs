// SPDX-License-Identifier: BSD-2-Clause
//! What repeats of a measurement came to.

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (upper, lower) = (values[values.len() / 2], values[(values.len() - 1) / 2]);
        Some(Self { median: f64::midpoint(lower, upper), least, greatest })
    }

    /// The median, and when there was more than one value, the least and the greatest in parentheses.
    #[must_use]
    pub fn text(&self, digits: usize) -> String {
        let Self { median, least, greatest } = self;
        if least.total_cmp(greatest).is_eq() {
            format!("{median:.digits$}")
        } else {
            format!("{median:.digits$} ({least:.digits$} to {greatest:.digits$})")
        }
    }
}

/// The text of a spread, or a dash for none.
#[must_use]
pub fn text(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    Spread::of(values).map_or_else(|| "-".to_owned(), |spread| spread.text(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle_whatever_the_order() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 10.0]).map(|spread| spread.median), Some(3.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_single_value_has_no_parentheses() {
        assert_eq!([text([1.25], 1), text([1.0, 2.0, 4.0], 1), text([], 1)], ["1.2", "2.0 (1.0 to 4.0)", "-"]);
    }
}
