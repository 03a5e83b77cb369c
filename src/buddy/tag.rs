//! The words of the buddy system: granules, orders, and the tags of the map.

use super::MAX_GRANULES;

/// Index of a granule, counted from the heap's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Granule(pub(crate) u32);

impl Granule {
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    #[inline]
    pub(crate) fn plus(self, granules: u32) -> Granule {
        Granule(self.0 + granules)
    }
}

/// Binary logarithm of a block's size in granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(pub(crate) u8);

impl Order {
    /// The order of the largest block that any heap can have.
    pub(crate) const MAX: Order = Order(MAX_GRANULES.ilog2() as u8);

    /// The smallest order whose blocks hold `granules`.
    #[inline]
    pub(crate) fn holding(granules: u32) -> Order {
        Order(granules.next_power_of_two().trailing_zeros() as u8)
    }

    /// The largest order whose blocks have at most so many granules, of which there is one.
    pub(crate) fn within(granules: u32) -> Order {
        Order(granules.ilog2() as u8)
    }

    /// Granules in a block of this order.
    #[inline]
    pub(crate) fn granules(self) -> u32 {
        1 << self.0
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the map says of a granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Not the head of a block.
    Inside,
    /// Head of a free block.
    Free(Order),
    /// Head of a run, and of its first piece.
    Run(Order),
    /// Head of a later piece of a run.
    Piece(Order),
    /// Head of a run that was released, and is at hand for a thread's next one.
    Stashed(Order),
    /// Any granule of a span.
    Span(Order),
}

const KIND: u8 = 0b1110_0000;
const INSIDE: u8 = 0;
const FREE: u8 = 1 << 5;
const RUN: u8 = 2 << 5;
const PIECE: u8 = 3 << 5;
const SPAN: u8 = 4 << 5;
const STASHED: u8 = 5 << 5;

impl Tag {
    #[inline]
    pub(super) fn from_byte(byte: u8) -> Tag {
        let order = Order(byte & !KIND);
        match byte & KIND {
            FREE => Tag::Free(order),
            RUN => Tag::Run(order),
            PIECE => Tag::Piece(order),
            SPAN => Tag::Span(order),
            STASHED => Tag::Stashed(order),
            _ => Tag::Inside,
        }
    }

    #[inline]
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Tag::Inside => INSIDE,
            Tag::Free(order) => FREE | order.0,
            Tag::Run(order) => RUN | order.0,
            Tag::Piece(order) => PIECE | order.0,
            Tag::Span(order) => SPAN | order.0,
            Tag::Stashed(order) => STASHED | order.0,
        }
    }
}

/// A block as [`Buddy::covering`] and a walk over the heap see it: a whole run is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) head: Granule,
    pub(crate) granules: u32,
    pub(crate) kind: Kind,
}

/// Use of an [`Extent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Free,
    Run,
    /// A run that was released, and is not free yet.
    Stashed,
    Span,
}
