// SPDX-License-Identifier: BSD-2-Clause
//! Parts of a header by their ranges, without a way to panic.

use core::ops::Range;

/// The bytes of `range`, which is a constant inside the header that was measured before; zeros if it were not.
pub(super) fn part<const N: usize>(bytes: &[u8], range: Range<usize>) -> [u8; N] {
    bytes.get(range).and_then(|part| part.first_chunk()).copied().unwrap_or([0; N])
}

/// Writes `value` over `range`, which is a constant inside the header and as long as `value`.
pub(super) fn set(bytes: &mut [u8], range: Range<usize>, value: &[u8]) {
    if let Some(part) = bytes.get_mut(range).filter(|part| part.len() == value.len()) {
        part.copy_from_slice(value);
    }
}
