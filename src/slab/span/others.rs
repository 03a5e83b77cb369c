//! What of a span is for others than its owner: where its live objects are, as far as others can tell, and what he
//! makes of those that they have released.

use super::{Refused, Span, State, WORD, set_bit};
use crate::slab::remote::{self, Remote};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Why an address can't be released to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first byte of a live object.
    Live,
    /// Inside a live object; the offset of its start in the span.
    Interior(usize),
    /// In a free object.
    Free,
    /// Behind the last object.
    Padding,
}

/// What the owner of a span has collected of others' releases.
pub(crate) struct Collected {
    /// Objects that became free.
    pub(crate) released: u64,
    /// Address and bytes of an object that was free already: two threads have released it.
    pub(crate) twice: Option<(usize, usize)>,
}

impl Span {
    /// Whether a live object starts at `address`, for whoever doesn't own the span. Where no live object is, the
    /// descriptor may be that of a span elsewhere by now.
    #[inline(always)]
    pub(crate) fn is_start_of_live(&self, address: usize) -> bool {
        self.index_of(address).is_some_and(|index| {
            let word = self.free.get(index / WORD);
            word.is_some_and(|word| word.load(Relaxed) >> (index % WORD) & 1 == 0)
        })
    }

    /// Word and bit of the object that starts at `address`, for whoever doesn't own the span.
    #[inline]
    pub(crate) fn bit_of(&self, address: usize) -> Option<(usize, u64)> {
        let index = self.index_of(address).filter(|&index| index < self.capacity())?;
        Some((index / WORD, 1 << (index % WORD)))
    }

    /// Whether one of the word's `bits` stands for a free object.
    pub(in crate::slab) fn is_free_bit(&self, word: usize, bits: u64) -> bool {
        self.free[word].load(Relaxed) & bits != 0
    }

    /// Whether all objects of a word are free or released by others, as far as can be told in passing.
    #[inline]
    pub(in crate::slab) fn is_word_deserted(&self, remote: &Remote, word: usize) -> bool {
        self.free[word].load(Relaxed) | remote.words[word].load(Relaxed) == !0
    }

    /// Whether others have released all objects of a span of a cache, which its owner has neither in a slot nor in a
    /// queue. Then he comes back to it only by his inbox: nothing is left of it that he could release.
    ///
    /// He may be about to let it fall asleep; so the answer counts for whoever took it out of the inbox, which he can't
    /// meanwhile.
    pub(crate) fn is_deserted(&self, remote: &Remote) -> bool {
        // Who releases an object comes after its allocation, and so after the span was current. With the release of
        // `settle_at`: what is found is no earlier state than that.
        remote.has_all(&self.filled, self.capacity())
            && self.state.load(Acquire) == State::Full as u8
    }

    /// Whether something that others have released is not collected. Then an inbox may have the span, or is about to.
    pub(in crate::slab) fn has_notes(&self) -> bool {
        self.filled.load(Acquire) != 0
    }

    /// Notes nothing, in a descriptor that never had a span.
    pub(in crate::slab) fn begin_without_notes(&self) {
        self.filled.store(0, Relaxed);
    }

    /// Whether the pool may give the span back: no object is live, and none was released twice without that being
    /// collected (M2).
    pub(in crate::slab) fn may_be_retired(&self) -> bool {
        self.is_empty() && !self.has_notes()
    }

    /// [`Span::release`] for a span of a cache that others have released objects of: those are refused.
    #[inline]
    pub(crate) fn release_unless_noted(
        &self,
        remote: &Remote,
        address: usize,
    ) -> Result<bool, Refused> {
        let (word, bit) = self.bit_of(address).ok_or(Refused)?;
        if remote.is_noted(word, bit) {
            return Err(Refused);
        }
        set_bit(&self.free[word], bit)?;
        Ok(self.count_release())
    }

    /// Makes free what others have released. By the owner, of a span that was posted.
    pub(crate) fn collect(&self, remote: &Remote) -> Collected {
        let (owner, _) = remote::unmarked(self.owner.load(Relaxed));
        // Before the bits are taken: whoever sets one afterwards marks it again.
        self.owner.store(owner, Relaxed);
        let mut collected = Collected { released: 0, twice: None };
        remote.collect(&self.filled, |word, bits| {
            let before = self.free[word].load(Relaxed);
            self.free[word].store(before | bits, Relaxed);
            collected.released += (bits & !before).count_ones() as u64;
            let twice = bits & before;
            if twice != 0 {
                let index = word * WORD + twice.trailing_zeros() as usize;
                let size = self.object_size();
                collected.twice = Some((self.base() + index * size, size));
            }
        });
        collected
    }

    /// What lies at `address`, which is inside the span.
    pub(crate) fn place(&self, address: usize) -> Place {
        let (index, starts) = self.locate(address);
        if index >= self.capacity() {
            Place::Padding
        } else if self.is_free(index) {
            Place::Free
        } else if starts {
            Place::Live
        } else {
            Place::Interior(index * self.object_size())
        }
    }

    /// The object that holds `address`, an address in the span, unless the owner knows it as free: its offset in the
    /// span, and its word and bit.
    #[inline]
    pub(crate) fn object_holding(&self, address: usize) -> Option<(usize, (usize, u64))> {
        let (index, _) = self.locate(address);
        let is_live = index < self.capacity() && !self.is_free(index);
        is_live.then(|| (index * self.object_size(), (index / WORD, 1 << (index % WORD))))
    }
}
