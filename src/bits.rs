//! 64-ary bitmaps: set, clear, and find the first set bit at or after an index.
//!
//! ```text
//! level 2 (root)  [1........]                         one word
//! level 1         [1..1.....][.........] ...          bit i: word i of level 0 is not zero
//! level 0         [.1.......][.........][1..] ...     the bits themselves
//! ```
//!
//! Invariant B1: a bit of level `l + 1` is set if and only if the word of level `l` that it stands for
//! is not zero.
//!
//! Every operation touches at most two words a level, and there are `log64(len)` levels: 3 for 262,144
//! bits, 6 for all that fit a `usize` of practical size. The words belong to the caller; a bitmap over
//! zeroed words is empty, and words that no operation reached are never touched, so a bitmap may lie in
//! memory that the system backs lazily.

use core::ptr::NonNull;

/// Levels of the largest bitmap.
const MAX_LEVELS: usize = 7;

/// The most bits of a bitmap, so that the index of a word fits 32 bits.
pub(crate) const MAX_BITS: usize = 1 << 37;

const _: () = assert!(WORD.pow(MAX_LEVELS as u32) >= MAX_BITS);
const _: () = assert!(Bitmap::words(MAX_BITS) <= u32::MAX as usize);

const WORD: usize = u64::BITS as usize;

/// A hierarchical bitmap of fixed length over words that somebody else owns.
pub(crate) struct Bitmap {
    words: NonNull<u64>,
    len: usize,
    levels: u8,
    /// Index of the first word of each level; that of level 0 is 0.
    starts: [u32; MAX_LEVELS],
}

/// Number of words of the level whose lower neighbour (or the bits themselves) has `len` entries.
const fn words_for(len: usize) -> usize {
    len.div_ceil(WORD)
}

impl Bitmap {
    /// Number of `u64` words that a bitmap of `len` bits needs, all levels together.
    pub(crate) const fn words(len: usize) -> usize {
        let mut level = words_for(len);
        let mut total = level;
        while level > 1 {
            level = words_for(level);
            total += level;
        }
        total
    }

    /// A bitmap of `len` bits over the words at `words`.
    ///
    /// # Safety
    /// `words` points to [`Bitmap::words`]`(len)` zeroed words, which for the life of the bitmap are
    /// valid and used by it alone; `0 < len <= MAX_BITS`.
    pub(crate) unsafe fn new(words: NonNull<u64>, len: usize) -> Self {
        let mut starts = [0; MAX_LEVELS];
        let mut levels = 1;
        let mut level = words_for(len);
        while level > 1 {
            starts[levels] = starts[levels - 1] + level as u32;
            level = words_for(level);
            levels += 1;
        }
        Bitmap { words, len, levels: levels as u8, starts }
    }

    /// The bitmap's word `index` of `level`.
    #[inline]
    fn word(&self, level: usize, index: usize) -> *mut u64 {
        debug_assert!(level < self.levels as usize && index <= (self.len - 1) >> (6 * (level + 1)));
        let start = if level == 0 { 0 } else { self.starts[level] as usize };
        // SAFETY: every caller derives `index` from an entry below the length of `level`, and `new` laid
        // the levels out inside the words it was given.
        unsafe { self.words.add(start + index).as_ptr() }
    }

    #[inline]
    fn load(&self, level: usize, index: usize) -> u64 {
        // SAFETY: `word` points into the bitmap's own words (contract of `new`).
        unsafe { self.word(level, index).read() }
    }

    #[inline]
    fn store(&mut self, level: usize, index: usize, value: u64) {
        // SAFETY: `word` points into the bitmap's own words, which nobody else uses (contract of `new`).
        unsafe { self.word(level, index).write(value) }
    }

    /// Whether `bit` is set.
    #[inline]
    pub(crate) fn test(&self, bit: usize) -> bool {
        debug_assert!(bit < self.len);
        self.load(0, bit / WORD) >> (bit % WORD) & 1 != 0
    }

    /// Sets `bit`; setting a set bit changes nothing.
    #[inline]
    pub(crate) fn set(&mut self, bit: usize) {
        debug_assert!(bit < self.len);
        let old = self.load(0, bit / WORD);
        self.store(0, bit / WORD, old | 1 << (bit % WORD));
        if old == 0 {
            self.set_from(1, bit / WORD);
        }
    }

    /// Clears `bit`; clearing a clear bit changes nothing.
    #[inline]
    pub(crate) fn clear(&mut self, bit: usize) {
        debug_assert!(bit < self.len);
        let new = self.load(0, bit / WORD) & !(1 << (bit % WORD));
        self.store(0, bit / WORD, new);
        if new == 0 {
            self.clear_from(1, bit / WORD);
        }
    }

    /// Sets entry `entry` of `level`, and those above it that must change with it (B1).
    #[inline(never)]
    fn set_from(&mut self, level: usize, entry: usize) {
        let mut entry = entry;
        for level in level..self.levels as usize {
            let old = self.load(level, entry / WORD);
            self.store(level, entry / WORD, old | 1 << (entry % WORD));
            if old != 0 {
                return;
            }
            entry /= WORD;
        }
    }

    /// Clears entry `entry` of `level`, and those above it that must change with it (B1).
    #[inline(never)]
    fn clear_from(&mut self, level: usize, entry: usize) {
        let mut entry = entry;
        for level in level..self.levels as usize {
            let new = self.load(level, entry / WORD) & !(1 << (entry % WORD));
            self.store(level, entry / WORD, new);
            if new != 0 {
                return;
            }
            entry /= WORD;
        }
    }

    /// The first set bit at or after `from`.
    #[inline]
    pub(crate) fn find_from(&self, from: usize) -> Option<usize> {
        let mut level = 0;
        let mut level_len = self.len;
        let mut entry = from;
        // Up, until a word holds a set entry at or after the one looked for.
        let mut found = loop {
            if level == self.levels as usize || entry >= level_len {
                return None;
            }
            let word = self.load(level, entry / WORD) & (!0 << (entry % WORD));
            if word != 0 {
                break entry / WORD * WORD + word.trailing_zeros() as usize;
            }
            entry = entry / WORD + 1;
            level_len = words_for(level_len);
            level += 1;
        };
        // Down, along the first set entry of each word; by B1 there is one.
        while level > 0 {
            level -= 1;
            found = found * WORD + self.load(level, found).trailing_zeros() as usize;
        }
        Some(found)
    }

    /// Sets every bit of `[start, end)`. Cost: one step a word.
    pub(crate) fn set_range(&mut self, start: usize, end: usize) {
        for (index, mask) in masks(start, end) {
            let old = self.load(0, index);
            self.store(0, index, old | mask);
            if old == 0 {
                self.set_from(1, index);
            }
        }
    }

    /// Clears every bit of `[start, end)`. Cost: one step a word.
    pub(crate) fn clear_range(&mut self, start: usize, end: usize) {
        for (index, mask) in masks(start, end) {
            let old = self.load(0, index);
            self.store(0, index, old & !mask);
            if old != 0 && old & !mask == 0 {
                self.clear_from(1, index);
            }
        }
    }

    /// Number of set bits in `[start, end)`. Cost: one step a word.
    pub(crate) fn count(&self, start: usize, end: usize) -> usize {
        masks(start, end)
            .map(|(index, mask)| (self.load(0, index) & mask).count_ones() as usize)
            .sum()
    }

    /// Number of set bits that searches find: all of them, by B1. Cost: a search each.
    pub(crate) fn findable(&self) -> usize {
        core::iter::successors(self.find_from(0), |&bit| self.find_from(bit + 1)).count()
    }

    /// Whether B1 holds between level 0's words of `[start, end)` and the levels above.
    pub(crate) fn check(&self, start: usize, end: usize) -> bool {
        masks(start, end).all(|(index, _)| {
            let mut entry = index;
            (1..self.levels as usize).all(|level| {
                let child_is_set = self.load(level - 1, entry) != 0;
                let bit = self.load(level, entry / WORD) >> (entry % WORD) & 1 != 0;
                entry /= WORD;
                child_is_set == bit
            })
        })
    }
}

/// The words that `[start, end)` reaches, each with the mask of its bits that lie inside.
fn masks(start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
    let words = if start < end { start / WORD..end.div_ceil(WORD) } else { 0..0 };
    words.map(move |index| {
        let first = index * WORD;
        let low = !0 << (start.max(first) - first);
        let high = !0 >> (first + WORD - end.min(first + WORD));
        (index, low & high)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bitmap(len: usize) -> (Vec<u64>, Bitmap) {
        let mut words = vec![0; Bitmap::words(len)];
        let pointer = NonNull::new(words.as_mut_ptr()).unwrap();
        // SAFETY: the words are zeroed, as many as asked for, and live as long as the bitmap in each test.
        (words, unsafe { Bitmap::new(pointer, len) })
    }

    #[test]
    fn an_empty_bitmap_has_no_set_bit() {
        for len in [1, 63, 64, 65, 4096, 4097, 300_000] {
            let (_words, map) = bitmap(len);
            assert_eq!(map.find_from(0), None);
            assert_eq!(map.find_from(len), None);
        }
    }

    #[test]
    fn the_last_bit_is_found_from_the_first() {
        for len in [1, 64, 65, 4096, 4097, 262_144, 262_145] {
            let (_words, mut map) = bitmap(len);
            map.set(len - 1);
            assert_eq!(map.find_from(0), Some(len - 1));
            assert_eq!(map.find_from(len - 1), Some(len - 1));
            map.clear(len - 1);
            assert_eq!(map.find_from(0), None);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize),
        Clear(usize),
        SetRange(usize, usize),
        ClearRange(usize, usize),
    }

    fn step(len: usize) -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..len).prop_map(Step::Set),
            (0..len).prop_map(Step::Clear),
            (0..len, 0..200usize).prop_map(move |(a, n)| Step::SetRange(a, (a + n).min(len))),
            (0..len, 0..200usize).prop_map(move |(a, n)| Step::ClearRange(a, (a + n).min(len))),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_integers(
            len in 1..5000usize,
            steps in prop::collection::vec(step(5000), 1..80),
        ) {
            let (_words, mut map) = bitmap(len);
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Set(bit) => { map.set(bit % len); model.insert(bit % len); }
                    Step::Clear(bit) => { map.clear(bit % len); model.remove(&(bit % len)); }
                    Step::SetRange(a, b) => {
                        let (a, b) = (a.min(len), b.min(len));
                        map.set_range(a, b);
                        model.extend(a..b);
                    }
                    Step::ClearRange(a, b) => {
                        let (a, b) = (a.min(len), b.min(len));
                        map.clear_range(a, b);
                        (a..b).for_each(|bit| { model.remove(&bit); });
                    }
                }
                prop_assert!(map.check(0, len));
                prop_assert_eq!((map.count(0, len), map.findable()), (model.len(), model.len()));
                for from in [0, len / 3, len / 2, len - 1] {
                    prop_assert_eq!(map.find_from(from), model.range(from..).next().copied());
                    prop_assert_eq!(map.test(from), model.contains(&from));
                    prop_assert_eq!(map.count(from, len), model.range(from..).count());
                }
            }
        }
    }
}
