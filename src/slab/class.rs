//! Size classes: the sizes of the objects that spans hold.
//!
//! Classes rise in steps of 16 bytes up to 128, then in eight equal steps a doubling up to
//! [`MAX_OBJECT`]. Eight rather than four cost a longer table and a few more partly filled spans, and
//! raise the share of a span that sizes spread evenly over a doubling really use from 92 % to 96 %.

/// Bytes of the smallest class, and the alignment of every object.
pub(crate) const MIN_OBJECT: usize = 16;

/// Bytes of the largest class.
pub const MAX_OBJECT: usize = 8192;

/// Up to this size the classes rise in steps of [`MIN_OBJECT`].
const LINEAR_LIMIT: usize = 128;

/// Classes per doubling above [`LINEAR_LIMIT`].
const STEPS: usize = 8;

/// Number of size classes.
pub(crate) const CLASSES: usize =
    LINEAR_LIMIT / MIN_OBJECT + (MAX_OBJECT / LINEAR_LIMIT).ilog2() as usize * STEPS;

/// Binary logarithm of the granule of a heap that has spans: the page that systems commit and purge.
pub(crate) const SPAN_GRANULE_SHIFT: u32 = 12;

/// The largest span is a block of this order.
pub(crate) const MAX_SPAN_ORDER: u8 = 4;

/// The most objects of a span: a descriptor has that many bits.
pub const MAX_OBJECTS: usize = 256;

/// A span has this many objects unless it would be larger than the largest span: fewer would send more
/// allocations down the slow path, more would empty, and so give their memory back, more seldom.
const WANTED_OBJECTS: usize = 64;

/// Index of a size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u8);

/// What the table knows of a class.
pub(crate) struct Class {
    /// Bytes of an object.
    pub(crate) size: u32,
    /// `ceil(2^64 / size)`: see [`locate`].
    pub(crate) magic: u64,
    /// Order of the span that suits the class best.
    pub(crate) span_order: u8,
    /// The order of an owner's first span, which may never get full.
    pub(crate) first_span_order: u8,
    /// The order of an owner's largest spans: each thread has some that are partly used, of each class.
    pub(crate) owned_span_order: u8,
}

static TABLE: [Class; CLASSES] = {
    let mut table = [const { Class::new(MIN_OBJECT) }; CLASSES];
    let mut id = 0;
    while id < CLASSES {
        table[id] = Class::new(size_of_class(id));
        id += 1;
    }
    table
};

/// For each size in units of [`MIN_OBJECT`], rounded up, the smallest class that holds it.
static OF_SIZE: [u8; MAX_OBJECT / MIN_OBJECT + 1] = {
    let mut of_size = [0; MAX_OBJECT / MIN_OBJECT + 1];
    let mut id = 0;
    let mut unit = 0;
    while unit < of_size.len() {
        if unit * MIN_OBJECT > size_of_class(id) {
            id += 1;
        }
        of_size[unit] = id as u8;
        unit += 1;
    }
    of_size
};

const fn size_of_class(id: usize) -> usize {
    let linear = LINEAR_LIMIT / MIN_OBJECT;
    if id < linear {
        return (id + 1) * MIN_OBJECT;
    }
    let doubling = LINEAR_LIMIT << ((id - linear) / STEPS);
    doubling + doubling / STEPS * ((id - linear) % STEPS + 1)
}

pub(super) const fn span_bytes(order: u8) -> usize {
    1 << (SPAN_GRANULE_SHIFT as usize + order as usize)
}

impl Class {
    const fn new(size: usize) -> Class {
        let magic = (1u128 << 64).div_ceil(size as u128) as u64;
        Class {
            size: size as u32,
            magic,
            span_order: best_span_order(size),
            first_span_order: first_span_order(size),
            owned_span_order: owned_span_order(size),
        }
    }

    /// The smallest order of a span that has an object.
    pub(crate) const fn least_span_order(&self) -> u8 {
        let granules = (self.size as usize).div_ceil(span_bytes(0));
        granules.next_power_of_two().trailing_zeros() as u8
    }

    /// Objects in a span of `order`.
    pub(crate) const fn objects_in(&self, order: u8) -> usize {
        let objects = span_bytes(order) / self.size as usize;
        if objects < MAX_OBJECTS { objects } else { MAX_OBJECTS }
    }
}

/// What objects of `size` leave unused of a span of `order`, in parts of 65,536.
const fn waste(size: usize, order: u8) -> usize {
    let bytes = span_bytes(order);
    let objects = if bytes / size < MAX_OBJECTS { bytes / size } else { MAX_OBJECTS };
    (bytes - objects * size) * 65_536 / bytes
}

/// The smallest order that has the wanted number of objects and wastes little: less than 1/32, or no more
/// than the orders above it.
const fn best_span_order(size: usize) -> u8 {
    let mut best = MAX_SPAN_ORDER;
    let mut order = MAX_SPAN_ORDER;
    while order > 0 && span_bytes(order - 1) / size >= WANTED_OBJECTS {
        order -= 1;
        if waste(size, order) < 65_536 / 32 || waste(size, order) <= waste(size, best) {
            best = order;
        }
    }
    best
}

/// The smallest order that has two objects and wastes less than 1/8, or the best.
const fn first_span_order(size: usize) -> u8 {
    let best = best_span_order(size);
    let mut order = 0;
    while order < best && (span_bytes(order) / size < 2 || waste(size, order) >= 65_536 / 8) {
        order += 1;
    }
    order
}

/// The smallest order of 16 KiB and 32 objects, or the best.
const fn owned_span_order(size: usize) -> u8 {
    let mut order = best_span_order(size);
    while order > 0 && span_bytes(order - 1) >= 16 << 10 && span_bytes(order - 1) / size >= 32 {
        order -= 1;
    }
    order
}

/// Index of the object that holds byte `offset` of a span, and whether the byte is its first, by one
/// multiplication with the reciprocal: `offset * magic` has the quotient in its upper half, and a lower
/// half below `magic` if and only if nothing remains (Lemire, Kaser and Kurz, "Faster remainder by direct
/// computation", 2019). Exact for every offset in a span, which a test shows for each of them. With a
/// magic of 0 no byte is the first of an object.
#[inline(always)]
pub(crate) fn locate(magic: u64, offset: u32) -> (usize, bool) {
    let product = offset as u128 * magic as u128;
    ((product >> 64) as usize, (product as u64) < magic)
}

impl ClassId {
    /// The smallest class whose objects hold `size` bytes, up to [`MAX_OBJECT`].
    #[inline]
    pub(crate) const fn holding(size: usize) -> ClassId {
        debug_assert!(size <= MAX_OBJECT);
        ClassId(OF_SIZE[size.div_ceil(MIN_OBJECT)])
    }

    /// The smallest class whose objects hold `size` bytes and are aligned to `alignment`, up to a granule;
    /// `None` if there is none.
    pub(crate) fn aligned(alignment: usize, size: usize) -> Option<ClassId> {
        if size > MAX_OBJECT || alignment > span_bytes(0) {
            return None;
        }
        let smallest = ClassId::holding(size);
        let is_aligned = |id: &ClassId| (id.class().size as usize).is_multiple_of(alignment);
        smallest.and_larger().find(is_aligned)
    }

    /// This class and all larger ones.
    pub(crate) fn and_larger(self) -> impl Iterator<Item = ClassId> {
        (self.0..CLASSES as u8).map(ClassId)
    }

    /// The class with this index, which is one.
    #[inline]
    pub(crate) fn at(index: u8) -> ClassId {
        debug_assert!((index as usize) < CLASSES);
        ClassId(index)
    }

    /// The smallest class.
    pub(crate) const SMALLEST: ClassId = ClassId(0);

    /// Every class, smallest first.
    pub(crate) fn all() -> impl Iterator<Item = ClassId> {
        ClassId::SMALLEST.and_larger()
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    #[inline]
    pub(crate) fn class(self) -> &'static Class {
        &TABLE[self.index()]
    }
}

const _: () = assert!(CLASSES <= u8::MAX as usize);
const _: () = assert!(size_of_class(CLASSES - 1) == MAX_OBJECT);
const _: () = assert!(OF_SIZE[MAX_OBJECT / MIN_OBJECT] as usize == CLASSES - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=MAX_OBJECT {
            let class = ClassId::holding(size);
            assert!(class.class().size as usize >= size);
            assert!(class.index() == 0 || (TABLE[class.index() - 1].size as usize) < size);
        }
    }

    #[test]
    fn rounding_up_costs_at_most_a_fifth_of_the_object() {
        for size in LINEAR_LIMIT..=MAX_OBJECT {
            let object = ClassId::holding(size).class().size as usize;
            assert!((object - size) * 5 <= object, "{size} takes {object}");
        }
    }

    #[test]
    fn every_offset_of_a_span_is_located_exactly() {
        for class in &TABLE {
            for offset in 0..span_bytes(MAX_SPAN_ORDER) as u32 {
                let exact = ((offset / class.size) as usize, offset % class.size == 0);
                assert_eq!(locate(class.magic, offset), exact, "size {}", class.size);
            }
        }
    }

    #[test]
    fn spans_of_the_best_order_are_well_used() {
        for class in &TABLE {
            let bytes = span_bytes(class.span_order);
            let objects = class.objects_in(class.span_order);
            assert!((8..=MAX_OBJECTS).contains(&objects));
            assert!(objects * class.size as usize * 100 >= bytes * 90, "size {}", class.size);
        }
    }

    #[test]
    fn an_aligned_class_has_aligned_objects() {
        for alignment in (0..=12).map(|shift| 1 << shift) {
            for size in 0..=MAX_OBJECT {
                let class = ClassId::aligned(alignment, size).unwrap().class();
                assert!(
                    class.size as usize >= size && (class.size as usize).is_multiple_of(alignment)
                );
            }
        }
        assert_eq!(ClassId::aligned(8192, 16), None);
        assert_eq!(ClassId::aligned(16, MAX_OBJECT + 1), None);
    }
}
