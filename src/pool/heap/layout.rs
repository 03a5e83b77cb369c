//! Where a heap and its metadata lie.
//!
//! ```text
//! a caller's heap   |·| Heap | buddy's books | Slab, room bits, descriptors, numbers | granule 0 | 1 | ... |·|
//! a system heap     |·|  same, in a mapping of its own between guard pages  |
//!                   | granule 0 | 1 | ... committed | reserved ...          |
//! ```
//! Nothing the allocator trusts lies behind granule 0. A region is trimmed inward (`·`) to whole granules.

use super::moved::Places;
use super::{Backing, Heap, Links};
use crate::buddy::{Buddy, MAX_GRANULES, Shape, Sweep};
use crate::error::Error;
use crate::pool::registry::Entry;
use crate::slab::{self, SPAN_GRANULE_SHIFT, Slab, SpanMap};
use core::ptr::NonNull;

/// A heap with at least this many bytes has spans.
const SPANS_FROM: usize = 1 << 20;

/// Binary logarithm of a heap's granule: without spans few bytes, to serve small blocks well, and more from
/// the size on where metadata has to stay below 4 %.
const fn granule_shift(size: usize, has_spans: bool) -> u32 {
    match size {
        _ if has_spans => SPAN_GRANULE_SHIFT,
        ..0x1_0000 => 5,
        _ => 6,
    }
}

/// The memory of a heap that has a [`Backing`].
#[derive(Clone, Copy)]
pub(crate) struct Reservation {
    /// Where the heap's granules are, or can be committed; at a multiple of a granule.
    pub(crate) memory: NonNull<u8>,
    pub(crate) size: usize,
    /// Memory for the metadata, at a multiple of a page, as [`ReservedMetadata::of`]`(size)` says.
    pub(crate) metadata: NonNull<u8>,
}

/// A heap's region as it was handed in.
struct Region {
    start: usize,
    size: usize,
}

/// Where the parts of a heap's metadata are, in bytes from its start.
#[derive(Clone, Copy)]
struct Parts {
    entry: usize,
    buddy: usize,
    slab: usize,
    rooms: usize,
    spans: usize,
    numbers: usize,
    places: usize,
    end: usize,
}

impl Parts {
    fn new(shape: Shape, has_spans: bool) -> Parts {
        let entry = size_of::<Heap>();
        let buddy = entry + size_of::<Entry>();
        let end = buddy + shape.metadata_bytes();
        if !has_spans {
            let (slab, rooms, spans, numbers, places) = (end, end, end, end, end);
            return Parts { entry, buddy, slab, rooms, spans, numbers, places, end };
        }
        let granules = shape.capacity as usize;
        // A heap that tracks use has a backing, and with it caches.
        let (number_bytes, span_bytes) = slab::map_bytes(granules, shape.track_use);
        let slab = end.next_multiple_of(align_of::<Slab>());
        let rooms = slab + size_of::<Slab>();
        let rooms_end = rooms + slab::room_bytes(granules);
        let spans = rooms_end.next_multiple_of(slab::map_alignment(shape.track_use));
        let spans_end = spans + span_bytes;
        let page = if shape.track_use { LARGEST_PAGE } else { align_of::<u32>() };
        let numbers = spans_end.next_multiple_of(page);
        let places = (numbers + number_bytes).next_multiple_of(page);
        let end = places + if shape.track_use { Places::BYTES } else { 0 };
        Parts { entry, buddy, slab, rooms, spans, numbers, places, end }
    }

    /// Bytes from the start to the end of the descriptors for so many granules, and of their numbers.
    fn for_granules(&self, granules: u32) -> (usize, usize) {
        let (number_bytes, span_bytes) = slab::map_bytes(granules as usize, true);
        (self.spans + span_bytes, number_bytes)
    }
}

/// Each part of the metadata but the slab is aligned where the one before it ends.
const _: () =
    assert!(align_of::<Heap>() == 8 && align_of::<Entry>() == 8 && align_of::<u64>() == 8);

fn shape(lead: usize, capacity: usize, track_use: bool) -> Shape {
    Shape { lead: lead as u32, capacity: capacity as u32, track_use }
}

/// The largest page of a system: what begins at a multiple of it, at whatever page, can be made usable by itself.
pub(super) const LARGEST_PAGE: usize = 64 << 10;

/// The metadata of a heap with a [`Backing`]. Most of it describes granules that there are not yet: it is zero, and need
/// not be written to before they are committed.
pub(crate) struct ReservedMetadata {
    /// All bytes. They have to be readable.
    pub(crate) bytes: usize,
    /// How many of them, from the start on, have to be writable at first.
    pub(crate) written: usize,
}

impl ReservedMetadata {
    /// That of a heap over `size` bytes.
    pub(crate) fn of(size: usize) -> ReservedMetadata {
        let parts = Parts::new(shape(0, size >> SPAN_GRANULE_SHIFT, true), true);
        ReservedMetadata { bytes: parts.end, written: parts.for_granules(0).0 }
    }
}

/// The most bytes of a heap with a [`Backing`].
pub(crate) const MAX_RESERVATION: usize = MAX_GRANULES << SPAN_GRANULE_SHIFT;

impl Heap {
    /// Lets the metadata be written that describes so many granules. False if the system refuses.
    pub(super) fn describe(&self, backing: &Backing, granules: u32) -> bool {
        let parts = Parts::new(shape(0, self.buddy.capacity() as usize, true), true);
        let (spans_end, number_bytes) = parts.for_granules(granules);
        // SAFETY: both are parts of the metadata, which is the heap's, and begin at a page.
        unsafe {
            (backing.let_write)(self.metadata, spans_end)
                && (backing.let_write)(self.metadata.add(parts.numbers), number_bytes)
        }
    }

    /// Makes a heap of the `size` bytes at `start`, its metadata first.
    ///
    /// # Safety
    /// Until the heap is dropped, the bytes may be read and written, and nobody else uses those that are
    /// not handed out.
    pub(in crate::pool) unsafe fn in_region(
        start: NonNull<u8>,
        size: usize,
    ) -> Result<NonNull<Heap>, Error> {
        let address = start.addr().get();
        let has_spans = size >= SPANS_FROM;
        let granule = 1usize << granule_shift(size, has_spans);
        let alignment = if has_spans { slab::map_alignment(false) } else { align_of::<Heap>() };
        let too_small = Error::HeapTooSmall { address, size };
        let metadata = address.checked_next_multiple_of(alignment).ok_or(too_small)?;
        let end = (address + size) & !(granule - 1);
        let parts = |granules| Parts::new(shape(0, granules, false), has_spans);
        let first_with = |granules: usize| {
            metadata.checked_add(parts(granules).end)?.checked_next_multiple_of(granule)
        };
        // Granules behind the metadata for so many.
        let room_beside =
            |granules| first_with(granules).map_or(0, |first| end.saturating_sub(first) / granule);
        // The metadata for all that the region could hold leaves room for some; then as many more as fit.
        let most = (size / granule).clamp(1, MAX_GRANULES);
        let mut granules = room_beside(most).min(most);
        while granules < most && room_beside(granules + 1) > granules {
            granules += 1;
        }
        if granules == 0 {
            return Err(too_small);
        }
        let first = first_with(granules).ok_or(too_small)?;
        let parts = parts(granules);
        // SAFETY: both lie inside the region: there is room for that many granules behind the metadata.
        let (metadata, first) =
            unsafe { (start.add(metadata - address), start.add(first - address)) };
        // SAFETY: the metadata is inside the region and ours. Descriptors are written before they are read.
        unsafe {
            metadata.write_bytes(0, parts.spans);
            metadata.add(parts.numbers).write_bytes(0, parts.end - parts.numbers);
        }
        // SAFETY: the metadata is zeroed but for the descriptors, and lies before granule 0.
        let heap = unsafe {
            Heap::at(metadata, parts, Region { start: address, size }, first, granules, None)
        };
        // SAFETY: `at` has just made it, and nobody else knows it.
        unsafe { (*heap.as_ptr()).buddy.extend(granules as u32) };
        Ok(heap)
    }

    /// Makes a heap over reserved memory, none of it committed yet.
    ///
    /// # Safety
    /// The reservation is as its fields say, the metadata zeroed, and both are the heap's alone until it is
    /// dropped. `size` is at least a granule and at most [`MAX_RESERVATION`].
    pub(in crate::pool) unsafe fn in_reservation(
        reservation: Reservation,
        backing: &'static Backing,
    ) -> NonNull<Heap> {
        let Reservation { memory, size, metadata } = reservation;
        let granules = size >> SPAN_GRANULE_SHIFT;
        let parts = Parts::new(shape(0, granules, true), true);
        let region = Region { start: memory.addr().get(), size };
        // SAFETY: the caller's promise.
        unsafe { Heap::at(metadata, parts, region, memory, granules, Some(backing)) }
    }

    /// # Safety
    /// `metadata` has bytes for the `parts` of that many granules, zeroed but for the descriptors, `first` is at a multiple
    /// of the granule, and both are the heap's alone.
    unsafe fn at(
        metadata: NonNull<u8>,
        parts: Parts,
        region: Region,
        first: NonNull<u8>,
        granules: usize,
        backing: Option<&'static Backing>,
    ) -> NonNull<Heap> {
        let Region { start, size } = region;
        let has_spans = size >= SPANS_FROM || backing.is_some();
        let shift = granule_shift(size, has_spans);
        let lead = (first.addr().get() >> shift) & (MAX_GRANULES - 1);
        let shape = shape(lead, granules, backing.is_some());
        let heap = metadata.cast::<Heap>();
        // SAFETY: the parts are inside the metadata, zeroed, aligned and disjoint (`Parts::new`), and the
        // lead is less than the most granules.
        unsafe {
            let slab = has_spans.then(|| {
                let slab = metadata.add(parts.slab).cast::<Slab>();
                let (numbers, spans) = (metadata.add(parts.numbers), metadata.add(parts.spans));
                let has_owners = backing.is_some();
                let map = SpanMap::new(first, granules as u32, numbers, spans, has_owners);
                slab.write(Slab::new(metadata.add(parts.rooms), map));
                slab
            });
            let at = first.addr().get();
            let entry = Entry::new(start..start + size, at..at + (granules << shift));
            metadata.add(parts.entry).cast().write(entry);
            heap.write(Heap {
                links: Links::default(),
                start,
                size,
                first,
                buddy: Buddy::new(metadata.add(parts.buddy), shape),
                slab,
                backing,
                metadata,
                metadata_bytes: parts.end,
                live_runs: 0,
                live_run_granules: 0,
                runs_allocated: 0,
                purge_above: 0,
                decaying: 0,
                sweep: Sweep::default(),
                excess: Sweep::default(),
                places: Places::new(metadata.add(parts.places)),
                shift: shift as u8,
                draining: false,
            });
        }
        heap
    }
}
