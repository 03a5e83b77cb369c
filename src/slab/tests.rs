use super::*;
use crate::buddy::Shape;
use proptest::prelude::*;
use std::collections::BTreeMap;

const GRANULE: usize = 1 << SPAN_GRANULE_SHIFT;

/// Spans over a heap that nobody reads or writes: the layer knows addresses alone.
struct Heap {
    base: NonNull<u8>,
    buddy: Buddy,
    slab: Slab,
    _books: Vec<u128>,
}

fn heap(granules: u32) -> Heap {
    heap_that(granules, false)
}

/// A heap whose spans can have owners, or not.
fn heap_that(granules: u32, has_owners: bool) -> Heap {
    let lead = 5;
    let shape = Shape { lead, capacity: granules, track_use: false };
    let base = NonNull::new(core::ptr::without_provenance_mut((1 << 32) + lead as usize * GRANULE))
        .unwrap();
    let (number_bytes, span_bytes) = map_bytes(granules as usize, has_owners);
    let rooms = (span_bytes + number_bytes).next_multiple_of(8);
    let slab_bytes = rooms + room_bytes(granules as usize);
    let mut books = vec![0u128; (slab_bytes + shape.metadata_bytes()) / 16 + 8];
    let start = NonNull::new(books.as_mut_ptr()).unwrap().cast::<u8>();
    // SAFETY: both get zeroed, aligned memory of their own, which moves together with them.
    let (buddy, slab) = unsafe {
        let start = start.add(start.align_offset(map_alignment(has_owners)));
        let map = SpanMap::new(base, granules, start.add(span_bytes), start, has_owners);
        let slab = Slab::new(start.add(rooms), map);
        (Buddy::new(start.add(slab_bytes), shape), slab)
    };
    let mut heap = Heap { base, buddy, slab, _books: books };
    heap.buddy.extend(granules);
    heap
}

impl Heap {
    fn alloc(&mut self, size: usize) -> Option<usize> {
        let id = ClassId::holding(size);
        let object = self
            .slab
            .alloc_slow(&mut self.buddy, id, u32::MAX)
            .or_else(|| self.slab.alloc_last(&mut self.buddy, id, 16, u32::MAX))?;
        Some(object.addr().get())
    }

    fn release(&mut self, address: usize) -> Result<(), Refused> {
        let before = self.buddy.free();
        let freed = self.slab.release(&mut self.buddy, address)?;
        assert_eq!(self.buddy.free() - before, freed);
        Ok(())
    }

    fn span(&self, address: usize) -> &Span {
        let granule = Granule(((address - self.base.addr().get()) / GRANULE) as u32);
        self.slab.span_of(self.buddy.covering(granule)).unwrap()
    }

    fn object_size(&self, address: usize) -> usize {
        let span = self.span(address);
        assert_eq!(span.place(address), Place::Live);
        span.object_size()
    }

    fn live(&self) -> usize {
        let spans = self.buddy.extents(Granule(0)).filter_map(|extent| self.slab.span_of(extent));
        spans.map(|span| self.slab.counts_of(span).0).sum()
    }

    fn check(&self) {
        self.buddy.check().unwrap();
        self.slab.check(&self.buddy).unwrap();
    }
}

#[test]
fn an_object_released_twice_is_refused_in_every_class() {
    let mut heap = heap(512);
    for id in ClassId::all() {
        let size = id.class().size as usize;
        let (first, second) = (heap.alloc(size).unwrap(), heap.alloc(size).unwrap());
        assert_eq!(heap.release(first), Ok(()));
        assert_eq!(heap.release(first), Err(Refused));
        for inside in 1..size {
            assert_eq!(heap.release(second + inside), Err(Refused));
        }
        assert_eq!(heap.release(second), Ok(()));
        assert_eq!(heap.release(second), Err(Refused));
        heap.check();
    }
}

#[test]
fn the_padding_behind_the_last_object_is_refused() {
    let mut heap = heap(512);
    let first = heap.alloc(48).unwrap();
    let span = heap.span(first);
    let end = first + span.capacity() * 48;
    assert!(!end.is_multiple_of(GRANULE));
    assert_eq!(span.place(end), Place::Padding);
    assert_eq!(heap.release(end), Err(Refused));
}

#[test]
fn no_live_object_starts_at_an_address_outside_a_span() {
    let mut heap = heap(512);
    let first = heap.alloc(48).unwrap();
    let span = heap.span(first);
    assert!(span.is_start_of_live(first));
    for objects in [1, class::MAX_OBJECTS, 1 << 20] {
        assert!(!span.is_start_of_live(first + objects * 48));
    }
}

#[test]
fn an_empty_span_that_an_owner_gives_back_serves_the_next_owner() {
    let Heap { base: _, mut buddy, mut slab, _books } = heap_that(256, true);
    let (inbox, id) = (remote::Inbox::new(), ClassId::holding(512));
    let take = |slab: &mut Slab, buddy: &mut Buddy, taken| {
        slab.take(buddy, id, 256, NonNull::from(&inbox), taken)
    };
    let first = take(&mut slab, &mut buddy, 0).unwrap();
    let free = buddy.free();
    assert_eq!(slab.give(&mut buddy, first), 0);
    slab.check(&buddy).unwrap();
    assert_eq!(take(&mut slab, &mut buddy, 0), Some(first));
    assert_eq!(buddy.free(), free);
    slab.give(&mut buddy, first);
    // One that has taken some is to have a larger one, which does not wait.
    let larger = take(&mut slab, &mut buddy, 2).unwrap();
    assert_ne!(larger, first);
    assert_ne!(slab.give(&mut buddy, larger), 0);
    slab.check(&buddy).unwrap();
    slab.release_empty(&mut buddy);
    assert!(buddy.is_pristine());
}

#[test]
fn a_span_of_which_a_second_release_is_noted_waits_until_that_is_told() {
    let Heap { base: _, mut buddy, mut slab, _books } = heap_that(256, true);
    let (inbox, id) = (remote::Inbox::new(), ClassId::holding(512));
    let owner = NonNull::from(&inbox);
    let span = slab.take(&mut buddy, id, 256, owner, 0).unwrap();
    // SAFETY: the span is in use, and one that can have an owner.
    let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
    let slot = Slot::new();
    assert!(slot.fill(descriptor, || slab.map.base_of(span)));
    let object = slot.alloc().unwrap().addr().get();
    // Another thread finds the object live; before it notes the release, the owner makes one, and gives the span back.
    let (word, bit) = descriptor.bit_of(object).unwrap();
    assert!(descriptor.release(object).is_ok());
    slab.give(&mut buddy, span);
    assert_eq!(annex.remote.note(descriptor.filled(), word, bit), remote::Noted::First);
    let other = slab.take(&mut buddy, id, 256, owner, 0).unwrap();
    assert_ne!(other, span);
    assert!(matches!(post(span), Posted::Ownerless));
    assert_eq!(slab.collect(&mut buddy, span).twice, Some((object, 512)));
    assert_eq!(slab.take(&mut buddy, id, 256, owner, 0), Some(span));
    slab.check(&buddy).unwrap();
}

#[test]
fn a_full_heap_serves_small_objects_from_larger_classes() {
    let mut heap = heap(64);
    let large: Vec<_> = core::iter::from_fn(|| heap.alloc(4096)).collect();
    assert!(large.len() >= 60);
    heap.release(large[7]).unwrap();
    assert_eq!(heap.alloc(2048), Some(large[7]));
    heap.check();
}

proptest! {
    #[test]
    fn objects_never_overlap_and_all_merges_back(
        granules in 16..200u32,
        steps in prop::collection::vec((any::<usize>(), 0..MAX_OBJECT, 0..3u8), 1..400),
    ) {
        let mut heap = heap(granules);
        let mut live = BTreeMap::<usize, usize>::new();
        for &(pick, size, action) in &steps {
            if action > 0 {
                let size = size >> (pick % 10);
                if let Some(address) = heap.alloc(size) {
                    let object = heap.object_size(address);
                    prop_assert!(object >= size);
                    prop_assert_eq!(address % 16, 0);
                    let end = heap.base.addr().get() + granules as usize * GRANULE;
                    prop_assert!(address >= heap.base.addr().get() && address + object <= end);
                    let before = live.range(..address + object).next_back();
                    prop_assert!(before.is_none_or(|(&other, &length)| other + length <= address));
                    live.insert(address, object);
                }
            } else if !live.is_empty() {
                let address = *live.keys().nth(pick % live.len()).unwrap();
                live.remove(&address);
                prop_assert_eq!(heap.release(address), Ok(()));
                prop_assert_eq!(heap.release(address), Err(Refused));
            }
            heap.check();
            prop_assert_eq!(heap.live(), live.len());
        }
        heap.check();
        for address in live.into_keys() {
            prop_assert_eq!(heap.release(address), Ok(()));
        }
        heap.slab.release_empty(&mut heap.buddy);
        heap.check();
        prop_assert!(heap.buddy.is_pristine());
        prop_assert!(heap.buddy.extents(Granule(0)).all(|extent| extent.kind == Kind::Free));
    }
}
