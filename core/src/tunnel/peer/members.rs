// SPDX-License-Identifier: BSD-2-Clause
//! The links of a peer, and how far a round over them need look.

use super::Member;

/// Up to `LINKS` links, by number. Most peers have two of the many there may be, and several rounds are made for each
/// packet: these end behind the last link.
#[derive(Debug)]
pub(super) struct Members<const LINKS: usize> {
    places: [Option<Member>; LINKS],
    /// Every link lies below this place.
    span: usize,
}

impl<const LINKS: usize> Members<LINKS> {
    pub(super) const fn new() -> Self {
        Self { places: [const { None }; LINKS], span: 0 }
    }

    pub(super) fn get(&self, index: usize) -> Option<&Option<Member>> {
        self.places.get(index)
    }

    /// A place whose link is to be changed; [`Members::insert`] puts one where none is.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Option<Member>> {
        self.places.get_mut(index)
    }

    /// Puts a link at its place. None when there is no such place.
    pub(super) fn insert(&mut self, index: usize, member: Member) -> Option<&mut Member> {
        let place = self.places.get_mut(index)?;
        self.span = self.span.max(index.saturating_add(1));
        Some(place.insert(member))
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, index: usize) {
        if let Some(place) = self.places.get_mut(index) {
            *place = None;
        }
        self.span = self.places.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
    }

    /// The places up to the last link, by number.
    pub(super) fn iter(&self) -> core::slice::Iter<'_, Option<Member>> {
        self.places.get(..self.span).unwrap_or_default().iter()
    }

    /// The same, to change.
    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Option<Member>> {
        self.places.get_mut(..self.span).unwrap_or_default().iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::link::{LinkSettings, Role};

    #[test]
    fn rounds_end_behind_the_last_link() {
        let mut members = Members::<8>::new();
        let member = || Member::new(Role::Client, LinkSettings::default());
        assert_eq!(members.iter().count(), 0);
        assert!(members.insert(4, member()).is_some() && members.insert(1, member()).is_some());
        assert_eq!((members.iter().count(), members.iter().flatten().count()), (5, 2));
        members.remove(4);
        assert_eq!((members.iter_mut().count(), members.iter_mut().flatten().count()), (2, 1));
        members.remove(1);
        members.remove(9);
        assert!(members.insert(8, member()).is_none());
        assert_eq!(members.iter().count(), 0);
    }
}
