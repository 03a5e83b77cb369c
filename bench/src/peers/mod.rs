//! The allocators, behind one trait, each over one region.

mod adapters;
mod lock;

use std::ops::Deref;

use adapters::{Buddy, Offsets, OneRegion, Tlsf, locked, single};
use dlmalloc::Dlmalloc;

use crate::region::Region;

/// What the workloads ask of an allocator.
///
/// They call it through a vtable, so that all peers pay for the same call, and [`EMPTY`] pays for it too.
pub trait Peer {
    /// A block of `size` bytes, at least 1, aligned to 16; or null when there is none.
    fn alloc(&self, size: usize) -> *mut u8;

    /// # Safety
    /// `block` is a live block of this peer, allocated with this `size`.
    unsafe fn release(&self, block: *mut u8, size: usize);

    /// The largest free block as a share of all free bytes, from a peer that keeps such statistics.
    fn largest_free_share(&self) -> Option<f64> {
        None
    }

    /// Bytes that the allocator keeps outside its region.
    fn outside(&self) -> usize {
        size_of_val(self)
    }
}

/// A peer that all threads may use.
pub type SharedPeer = dyn Peer + Send + Sync;

/// Makes a peer over some memory: `None` when there is too little of it for this allocator. What it makes is
/// for one thread or for all.
///
/// # Safety
/// The bytes belong to the peer from then on, and outlive it.
enum Make {
    Single(unsafe fn(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>>),
    Shared(unsafe fn(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>>),
}

/// One row of the table of peers.
pub struct Kind {
    pub name: &'static str,
    /// Searches a list of all free blocks: too slow for work that leaves thousands of them.
    pub linear: bool,
    make: Make,
}

impl Kind {
    const fn new(name: &'static str, make: Make) -> Self {
        Self { name, linear: false, make }
    }

    /// Whether all threads may use it.
    pub fn is_shared(&self) -> bool {
        matches!(self.make, Make::Shared(_))
    }
}

/// The peers in the order of the tables: those that all threads may use, then those for one.
pub const ALL: &[Kind] = {
    use Make::{Shared, Single};
    &[
        Kind::new("heapmaster", Shared(adapters::heapmaster)),
        Kind::new("talc", Shared(adapters::talc)),
        Kind::new("rlsf+lock", Shared(locked::<Tlsf>)),
        Kind::new("dlmalloc+lock", Shared(locked::<Dlmalloc<OneRegion>>)),
        Kind::new("offset-allocator+lock", Shared(locked::<Offsets>)),
        Kind::new("buddy-alloc+lock", Shared(locked::<Buddy>)),
        Kind::new("buddy_system_allocator", Shared(adapters::buddy_system_allocator)),
        Kind {
            linear: true,
            ..Kind::new("linked_list_allocator", Shared(adapters::linked_list_allocator))
        },
        Kind::new("heapmaster-st", Single(adapters::heapmaster_st)),
        Kind::new("rlsf", Single(single::<Tlsf>)),
        Kind::new("dlmalloc", Single(single::<Dlmalloc<OneRegion>>)),
        Kind::new("offset-allocator", Single(single::<Offsets>)),
        Kind::new("buddy-alloc", Single(single::<Buddy>)),
    ]
};

/// Allocates nothing: what is measured with it is the driver alone.
pub const EMPTY: &Kind = &Kind::new("empty", Make::Shared(adapters::empty));

/// The peer of that name.
pub fn find(name: &str) -> Result<&'static Kind, String> {
    ALL.iter().chain([EMPTY]).find(|kind| kind.name == name).ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|kind| kind.name).collect();
        format!("there is no peer {name}; they are {}", known.join(", "))
    })
}

/// The peers that are crates, each with the version that this program was built with.
pub fn versions() -> Vec<(String, String)> {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let version = |name: &str| {
        let (_, entry) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some((name.to_owned(), entry.split('"').next()?.to_owned()))
    };
    // A peer with a lock has a row without it too.
    ALL.iter().filter_map(|peer| version(peer.name)).collect()
}

/// A peer over a region of its own.
pub struct Arena<P: Peer + ?Sized = dyn Peer> {
    // Before the region, because fields are dropped in this order.
    peer: Box<P>,
    region: Region,
}

impl Arena {
    /// `None` when the region is too small for the allocator.
    pub fn new(kind: &Kind, size: usize) -> Option<Self> {
        let region = Region::new(size);
        // SAFETY: the region is used by nobody else, and is dropped after the peer.
        let peer = unsafe {
            match kind.make {
                Make::Single(make) => make(region.start(), region.size()),
                Make::Shared(make) => make(region.start(), region.size()).map(|peer| peer as _),
            }
        }?;
        Some(Self { peer, region })
    }
}

impl Arena<SharedPeer> {
    /// `None` when the region is too small for the allocator, or when that is for one thread.
    pub fn shared(kind: &Kind, size: usize) -> Option<Self> {
        let Make::Shared(make) = kind.make else { return None };
        let region = Region::new(size);
        // SAFETY: the region is used by nobody else, and is dropped after the peer.
        let peer = unsafe { make(region.start(), region.size()) }?;
        Some(Self { peer, region })
    }
}

impl<P: Peer + ?Sized> Arena<P> {
    /// Bytes of the region.
    pub fn size(&self) -> usize {
        self.region.size()
    }
}

impl<P: Peer + ?Sized> Deref for Arena<P> {
    type Target = P;

    fn deref(&self) -> &Self::Target {
        &self.peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_gives_aligned_blocks_of_its_own_region_that_do_not_overlap() {
        const SIZES: [usize; 6] = [1, 16, 100, 1000, 5000, 70_000];
        for kind in ALL {
            let arena = Arena::new(kind, 1 << 20).unwrap();
            let blocks = SIZES.map(|size| (arena.alloc(size), size));
            let mut spans = blocks.map(|(start, size)| start.addr()..start.addr() + size);
            let region = arena.region.start().addr();
            spans.sort_by_key(|span| span.start);
            assert!(spans.iter().all(|span| span.start % 16 == 0), "{}", kind.name);
            assert!(region <= spans[0].start, "{}", kind.name);
            assert!(spans[SIZES.len() - 1].end <= region + arena.size(), "{}", kind.name);
            assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{}", kind.name);
            for (start, size) in blocks {
                // SAFETY: each block is live and has this size.
                unsafe { arena.release(start, size) };
            }
        }
    }

    #[test]
    fn a_full_region_gives_null() {
        for kind in ALL {
            let arena = Arena::new(kind, 1 << 20).unwrap();
            assert!(arena.alloc(1 << 21).is_null(), "{}", kind.name);
            let blocks = (0..).take_while(|_| !arena.alloc(1000).is_null()).count();
            assert!((1..1 << 20).contains(&(blocks * 1000)), "{}", kind.name);
        }
    }
}
