// SPDX-License-Identifier: BSD-2-Clause
//! Names of things: links, flows, key epochs, order numbers, and what a tunnel carries.

/// A link's place in its tunnel, below [`MAX_LINKS`](crate::words::limits::MAX_LINKS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u8);

impl LinkId {
    /// The link at `index`; indices past 255 name no link and become 255, which no tunnel has.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        if index > u8::MAX as usize {
            return Self(u8::MAX);
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
        let id = index as u8;
        Self(id)
    }

    /// The place in an array of links.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The random number by which a classic sender marks one run of a link's packet counter; half of the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId(pub u32);

/// The number of a packet among all data packets of a tunnel, over every link: what reordering restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(pub u64);

/// Counts the keys a tunnel has had. What was prepared under one key is not sealed under another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// By which the receiver of a protocol 2 packet finds the session: chosen by that receiver, 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionIndex(u32);

impl SessionIndex {
    /// Sessions that can be told apart.
    pub const COUNT: u32 = 1 << 24;

    /// The index `value`, if it fits 24 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value < Self::COUNT { Some(Self(value)) } else { None }
    }

    /// The index as a number, below [`SessionIndex::COUNT`].
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The low 8 bits, which tell the sessions of one engine apart.
    #[must_use]
    pub const fn low(self) -> u8 {
        let [.., low] = self.0.to_be_bytes();
        low
    }

    /// The index as three bytes, most significant first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }

    /// The index from three bytes, most significant first.
    #[must_use]
    pub const fn from_bytes([high, middle, low]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, high, middle, low]))
    }
}

/// What the tunnel's device carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// IP packets (TUN).
    #[default]
    Ip,
    /// Ethernet frames (TAP).
    Ethernet,
}
