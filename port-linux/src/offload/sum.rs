// SPDX-License-Identifier: BSD-2-Clause
//! The internet checksum's sum (RFC 1071), taken in the machine's byte order and in words as long as compilers like.

/// A sum of 16-bit words. Holds that of 16 GiB without overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::default().and(bytes)
    }

    /// With `bytes`, which begin at an even place of what is summed.
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        Self(self.0.wrapping_add(sum).wrapping_add(u32::from_ne_bytes(last).into()))
    }

    /// With one word in network order.
    pub(super) fn and_word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u16::from_ne_bytes(word.to_be_bytes()).into()))
    }

    /// The sum as a word in network order, not inverted.
    pub(super) fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        u16::from_be_bytes(u16::try_from(sum).unwrap_or(0).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_words(bytes: Vec<u8>, cut: usize, word: u16) {
            let cut = (cut % (bytes.len() + 1)) & !1;
            let (front, rest) = bytes.split_at(cut);
            let sum = Sum::of(front).and(rest).and_word(word).fold();
            let expected = naive(&[&word.to_be_bytes(), &bytes[..]].concat());
            // Zero has two forms.
            prop_assert_eq!(sum % 0xffff, expected % 0xffff);
        }
    }
}
