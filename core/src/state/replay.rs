// SPDX-License-Identifier: BSD-2-Clause
//! A window over packet numbers that remembers which were seen (RFC 6479: a ring of words, cleared as it advances).

/// What a window knows of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen, and within or ahead of the window.
    Never,
    /// Seen.
    Before,
    /// Behind the window: it may or may not have been seen.
    Unknown,
}

/// Remembers the last `(WORDS - 1) * 64` numbers up to the highest seen. `WORDS` is a power of two.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    /// Bit `n % 64` of word `n / 64 % WORDS` says whether `n` was seen, for every `n` within the window.
    words: [u64; WORDS],
    /// The highest number seen; none until the first.
    highest: Option<u64>,
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How many numbers behind the highest are surely remembered.
    pub const SPAN: u64 = (WORDS as u64).saturating_sub(1).saturating_mul(64);

    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(WORDS.is_power_of_two() && WORDS >= 2) };
        Self { words: [0; WORDS], highest: None }
    }

    /// The highest number seen.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether `number` was seen; changes nothing.
    #[must_use]
    pub fn check(&self, number: u64) -> Seen {
        match self.highest {
            None => Seen::Never,
            Some(highest) if number > highest => Seen::Never,
            Some(highest) if highest.saturating_sub(number) >= Self::SPAN => Seen::Unknown,
            Some(_) if self.words.get(Self::word(number)).is_some_and(|word| word & Self::bit(number) != 0) => {
                Seen::Before
            }
            Some(_) => Seen::Never,
        }
    }

    /// Remembers `number`. Call it only for what proved authentic, or a forger moves the window. Work: at most `WORDS`
    /// words are cleared.
    pub fn mark(&mut self, number: u64) {
        match self.highest {
            Some(highest) if number <= highest => {}
            Some(highest) => self.advance(highest, number),
            None => self.highest = Some(number),
        }
        if self.check(number) == Seen::Never
            && let Some(word) = self.words.get_mut(Self::word(number))
        {
            *word |= Self::bit(number);
        }
    }

    /// The first number from `from` on that was not seen, below the highest that was. None too when it is so far behind
    /// that nothing is remembered of it.
    #[must_use]
    pub fn next_missing(&self, from: u64) -> Option<u64> {
        self.find(from, |word| !word)
    }

    /// The first number from `from` on that was seen.
    #[must_use]
    pub fn next_seen(&self, from: u64) -> Option<u64> {
        self.find(from, |word| word)
    }

    /// The first number from `from` up to the highest whose bit is set in its word after `change`. Work: one step per 64
    /// numbers.
    fn find(&self, from: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
        let highest = self.highest?;
        if highest.saturating_sub(from) >= Self::SPAN {
            return None;
        }
        let mut number = from;
        while number <= highest {
            let word = change(*self.words.get(Self::word(number))?);
            let rest = word.checked_shr((number & 63) as u32).unwrap_or(0);
            if rest != 0 {
                return Some(number.saturating_add(u64::from(rest.trailing_zeros()))).filter(|found| *found <= highest);
            }
            number = (number | 63).saturating_add(1);
        }
        None
    }

    /// Treats every number up to and including `number` as seen, as if it had just been reached.
    pub fn close_up_to(&mut self, number: u64) {
        self.words = [u64::MAX; WORDS];
        // The numbers ahead of this one in its own word are still to come.
        if let Some(word) = self.words.get_mut(Self::word(number)) {
            *word = Self::bit(number) | Self::bit(number).wrapping_sub(1);
        }
        self.highest = Some(number);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn advance(&mut self, from: u64, to: u64) {
        let steps = (to >> 6).saturating_sub(from >> 6).min(WORDS as u64);
        for step in 1..=steps {
            let index = Self::word((from >> 6).saturating_add(step) << 6);
            if let Some(word) = self.words.get_mut(index) {
                *word = 0;
            }
        }
        self.highest = Some(to);
    }

    fn word(number: u64) -> usize {
        (number >> 6) as usize & WORDS.wrapping_sub(1)
    }

    const fn bit(number: u64) -> u64 {
        1 << (number & 63)
    }
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut window = ReplayWindow::<2>::new();
        for number in [5, 0, 6, 63, 64, 70] {
            assert_eq!(window.check(number), Seen::Never, "{number}");
            window.mark(number);
            assert_eq!(window.check(number), Seen::Before, "{number}");
        }
    }

    #[test]
    fn holes_and_the_numbers_behind_them_are_found() {
        let mut window = ReplayWindow::<4>::new();
        assert_eq!((window.next_missing(0), window.next_seen(0)), (None, None));
        for number in [0, 1, 4, 63, 65, 130] {
            window.mark(number);
        }
        assert_eq!((window.next_missing(0), window.next_seen(2)), (Some(2), Some(4)));
        assert_eq!((window.next_missing(4), window.next_seen(5)), (Some(5), Some(63)));
        assert_eq!((window.next_missing(63), window.next_seen(66)), (Some(64), Some(130)));
        assert_eq!((window.next_missing(130), window.next_seen(131)), (None, None));
        window.mark(130 + 3 * 64);
        assert_eq!(window.next_missing(0), None, "forgotten");
    }

    #[test]
    fn what_is_behind_the_window_is_unknown_and_stays_so() {
        let mut window = ReplayWindow::<2>::new();
        window.mark(1_000);
        assert_eq!(window.check(1_000 - ReplayWindow::<2>::SPAN), Seen::Unknown);
        window.mark(1_000 - ReplayWindow::<2>::SPAN);
        assert_eq!(window.check(1_000 - ReplayWindow::<2>::SPAN), Seen::Unknown);
        assert_eq!(window.check(1_001 - ReplayWindow::<2>::SPAN), Seen::Never);
    }

    #[test]
    fn numbers_just_ahead_of_a_closed_one_are_new_in_any_order() {
        let mut window = ReplayWindow::<4>::new();
        window.close_up_to(5);
        for number in [9, 6, 63, 62, 7] {
            assert_eq!(window.check(number), Seen::Never, "{number}");
            window.mark(number);
        }
        assert_eq!(window.check(5), Seen::Before);
        assert_eq!(window.check(0), Seen::Before);
    }

    #[test]
    fn the_last_number_there_is_can_be_marked() {
        let mut window = ReplayWindow::<4>::new();
        window.mark(u64::MAX);
        assert_eq!(window.check(u64::MAX), Seen::Before);
        assert_eq!(window.check(u64::MAX - 1), Seen::Never);
    }
}
