use super::*;
use proptest::prelude::*;

const KEY: Key = Key { first: 0x243f_6a88_85a3_08d3, second: 0x1319_8a2e_0370_7344 };

/// Zeroed memory at a page.
#[repr(align(4096))]
struct Memory([u8; 256 << 10]);

fn memory() -> Box<Memory> {
    // On the heap from the start: it is large for a stack.
    let layout = std::alloc::Layout::new::<Memory>();
    // SAFETY: the layout has a size, and zeroes are a value of it.
    unsafe { Box::from_raw(std::alloc::alloc_zeroed(layout).cast()) }
}

fn suit(memory: &mut Memory, len: usize, guarded: bool) -> Suit {
    let start = NonNull::from(&mut memory.0).cast();
    Suit { key: KEY, block: Region { start, len }, guarded }
}

/// The smallest block for so many bytes.
fn block_for(size: usize, alignment: usize) -> usize {
    bytes_for(size, alignment).unwrap().next_multiple_of(16)
}

const SIZES: [usize; 9] = [0, 1, 7, 8, 16, 40, 100, 1000, 3000];

#[test]
fn each_byte_beside_the_users_is_watched() {
    let mut memory = memory();
    for size in SIZES {
        for (alignment, extra) in [(16, 0), (16, 48), (64, 16), (512, 0)] {
            let len = block_for(size, alignment) + extra;
            let suit = suit(&mut memory, len, false);
            // SAFETY: the block is as large as it has to be, and the test's own.
            unsafe {
                let user = suit.put_on(size, alignment, Origin::New, false);
                assert_eq!(user.addr().get() % alignment, 0);
                let worn = suit.look().unwrap();
                assert_eq!((worn.user, worn.size, worn.origin), (user, size, Origin::New));
                assert!(worn.is_live());
                let first = user.addr().get() - suit.block.start.addr().get();
                for at in (0..first).chain(first + size..len) {
                    let byte = suit.block.start.add(at);
                    byte.write(byte.read() ^ 0x41);
                    let wound = suit.look().map(|worn| suit.wound(&worn));
                    let expected = match at {
                        _ if at < HEADER => Err(Damaged),
                        _ if at < first => Ok(Some(Wound::Before(first - at))),
                        _ => Ok(Some(Wound::Behind(at - first - size))),
                    };
                    assert_eq!(wound, expected, "size {size}, byte {at} of {len}");
                    byte.write(byte.read() ^ 0x41);
                }
                assert_eq!(suit.wound(&worn), None);
                suit.block.start.write_bytes(0, len);
            }
        }
    }
}

#[test]
fn a_guarded_block_is_watched_behind_its_last_page_where_the_next_is_not_closed() {
    const SIZE: usize = 2 * PAGE;
    let mut memory = memory();
    let suit = suit(&mut memory, 8 * PAGE, true);
    for (is_closed, watched) in [(false, NEAR), (true, 0)] {
        // SAFETY: the block is as large as it has to be, and the test's own.
        unsafe {
            let user = suit.put_on(SIZE, 16, Origin::Malloc, is_closed);
            let worn = suit.look().unwrap();
            for at in 0..2 * PAGE {
                let byte = user.add(SIZE + at);
                byte.write(byte.read() ^ 0x41);
                let expected = (at < watched).then_some(Wound::Behind(at));
                assert_eq!(suit.wound(&worn), expected, "byte {at}, closed: {is_closed}");
                byte.write(byte.read() ^ 0x41);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_users_bytes_are_aligned_wherever_the_block_begins_and_all_beside_them_is_watched(
        shift in 0..14u32, size in 0..3000usize, start in 0..2000usize, extra in 0..40usize,
    ) {
        let mut memory = memory();
        let alignment = 1 << shift;
        let len = block_for(size, alignment) + 16 * extra;
        let suit = suit(&mut memory, 16 * start + len, false);
        let suit = Suit { block: suit.block.from(16 * start), ..suit };
        // SAFETY: the block is as large as it has to be, and the test's own.
        unsafe {
            let user = suit.put_on(size, alignment, Origin::Malloc, false);
            let first = user.addr().get() - suit.block.start.addr().get();
            prop_assert!(user.addr().get().is_multiple_of(alignment));
            prop_assert!((HEADER..=alignment.max(HEADER)).contains(&first));
            prop_assert!(suit.room(user).is_some_and(|room| room >= size));
            user.write_bytes(0xff, size);
            let worn = suit.look().unwrap();
            prop_assert_eq!((worn.user, worn.size, suit.wound(&worn)), (user, size, None));
            let (before, behind) = (HEADER..first, first + size..len);
            let near = before.len().min(NEAR);
            for at in before.rev().take(near).chain(behind.take(NEAR)) {
                let byte = suit.block.start.add(at);
                byte.write(!byte.read());
                prop_assert!(suit.wound(&worn).is_some(), "byte {at}, the user's begin at {first}");
                byte.write(!byte.read());
            }
            prop_assert_eq!(suit.wound(&worn), None);
            prop_assert!(suit.retire(&worn));
            suit.wipe(&worn);
            prop_assert!(suit.take_off());
            prop_assert_eq!(first_nonzero(suit.block), None);
            let all = suit.block.start.sub(16 * start);
            prop_assert_eq!(first_nonzero(Region { start: all, len: 16 * start }), None);
        }
    }
}

#[test]
fn a_hem_is_watched_like_any_other_tail() {
    let mut memory = memory();
    for len in (32..=320).step_by(16) {
        let most = len - HEADER - TAIL;
        let suit = suit(&mut memory, len, false);
        for size in most.saturating_sub(48)..=most {
            // SAFETY: the block is as large as it has to be, and the test's own.
            unsafe {
                suit.put_on(size, 16, Origin::Malloc, false).write_bytes(0xff, size);
                let worn = suit.look_at_nearest().unwrap();
                assert!(!suit.is_wounded_behind(&worn), "{size} of {len}");
                for at in HEADER + size..len {
                    let byte = suit.block.start.add(at);
                    let before = byte.read();
                    byte.write(!before);
                    assert!(suit.is_wounded_behind(&worn), "byte {at} behind {size} of {len}");
                    byte.write(before);
                }
                assert_eq!(suit.wound(&worn), None);
                suit.block.start.write_bytes(0, len);
            }
        }
    }
}

#[test]
fn the_users_bytes_are_his_and_end_in_a_zero() {
    let mut memory = memory();
    for size in SIZES {
        let suit = suit(&mut memory, block_for(size, 16), false);
        // SAFETY: as above.
        unsafe {
            let user = suit.put_on(size, 16, Origin::Malloc, false);
            for byte in [0x00, 0xff] {
                user.write_bytes(byte, size);
                assert_eq!(suit.wound(&suit.look().unwrap()), None);
            }
            assert_eq!(user.add(size).read(), 0);
            suit.block.start.write_bytes(0, suit.block.len);
        }
    }
}

#[test]
fn a_block_is_retired_once_and_reads_as_zero_from_then_on() {
    let mut memory = memory();
    for size in SIZES {
        let suit = suit(&mut memory, block_for(size, 16), false);
        // SAFETY: as above.
        unsafe {
            suit.put_on(size, 16, Origin::Malloc, false).write_bytes(7, size);
            let worn = suit.look().unwrap();
            assert!(suit.retire(&worn));
            assert!(!suit.retire(&worn));
            suit.wipe(&worn);
            assert!(!suit.look().unwrap().is_live());
            assert_eq!(suit.stain(), None);
            let last = suit.block.start.add(suit.block.len - 1);
            last.write(1);
            assert_eq!(suit.stain(), Some(suit.block.len - 1));
            assert!(suit.take_off());
            assert_eq!(first_nonzero(suit.block), Some(suit.block.len - 1));
            assert_eq!(suit.look(), Err(Damaged));
            assert_eq!(suit.stain(), Some(0));
            assert!(!suit.take_off());
        }
    }
}

#[test]
fn an_armour_fits_one_place_and_one_secret() {
    let mut memory = memory();
    let suit = suit(&mut memory, 128, false);
    // SAFETY: as above; the second block lies behind the first.
    unsafe {
        suit.put_on(64, 16, Origin::Malloc, false);
        let other = Region { start: suit.block.start.add(128), len: 128 };
        other.start.copy_from_nonoverlapping(suit.block.start, 128);
        assert_eq!(Suit { block: other, ..suit }.look(), Err(Damaged));
        let key = Key { first: KEY.first ^ 2, ..KEY };
        assert_eq!(Suit { key, ..suit }.look(), Err(Damaged));
    }
}

#[test]
fn a_guarded_block_has_pages_about_the_users() {
    let mut memory = memory();
    for (size, alignment) in [(0, 16), (1, 16), (4096, 16), (5000, 64), (100, 16384)] {
        let len = guarded_bytes_for(size, alignment).unwrap();
        assert!(len > MOST_UNGUARDED && len <= size_of::<Memory>());
        let suit = suit(&mut memory, len, true);
        let (start, end) = (suit.block.start.addr().get(), suit.block.start.addr().get() + len);
        // SAFETY: as above.
        unsafe {
            let user = suit.put_on(size, alignment, Origin::NewArray, true);
            let at = user.addr().get();
            assert_eq!(at % alignment.max(PAGE), 0);
            let worn = suit.look().unwrap();
            assert_eq!((worn.user, worn.size), (user, size));
            let (before, behind) = suit.guards(user, size);
            assert_eq!((before.start.addr().get(), before.len), (start, PAGE));
            assert_eq!(behind.start.addr().get() + behind.len, end);
            assert!(behind.start.addr().get() >= at + size && behind.len >= PAGE);
            assert!(behind.start.addr().get() - (at + size) <= PAGE);
            assert!(suit.room(user).unwrap() >= size);
            user.sub(1).write(!user.sub(1).read());
            assert_eq!(suit.wound(&worn), Some(Wound::Before(1)));
            suit.block.start.write_bytes(0, len);
        }
    }
}

#[test]
fn a_start_too_far_off_for_the_word_is_found_as_well() {
    const FAR: usize = 4 << 20;
    let len = block_for(100, FAR);
    let layout = std::alloc::Layout::from_size_align(len, FAR).unwrap();
    // SAFETY: the block is as large as it has to be, and the test's own.
    unsafe {
        let start = NonNull::new(std::alloc::alloc_zeroed(layout)).unwrap();
        let suit = Suit { key: KEY, block: Region { start, len }, guarded: false };
        let user = suit.put_on(100, FAR, Origin::Malloc, false);
        assert_eq!(user.addr().get() - start.addr().get(), FAR);
        let worn = suit.look().unwrap();
        assert_eq!((worn.user, worn.size), (user, 100));
        start.add(HEADER).write(1);
        assert_eq!(suit.look(), Err(Damaged), "the offset is part of what the tag covers");
        std::alloc::dealloc(start.as_ptr(), layout);
    }
}

#[test]
fn sizes_that_no_block_can_have_are_refused() {
    for size in [MAX_SIZE + 1, isize::MAX as usize, usize::MAX] {
        assert_eq!(bytes_for(size, 16), None);
        assert_eq!(guarded_bytes_for(size, 16), None);
    }
    assert_eq!(bytes_for(16, usize::MAX), None);
    assert_eq!(guarded_bytes_for(16, usize::MAX), None);
}

#[test]
fn the_first_nonzero_byte_is_found_wherever_it_is() {
    let mut memory = memory();
    for len in (0..400).step_by(8) {
        let region = suit(&mut memory, len, false).block;
        for at in 0..len {
            // SAFETY: the region is the test's own.
            unsafe {
                region.start.add(at).write(0x80);
                assert_eq!(first_nonzero(region), Some(at));
                region.start.add(at).write(0);
                assert_eq!(first_nonzero(region), None);
            }
        }
    }
}

#[test]
fn a_region_is_wiped_to_its_ends() {
    let mut memory = memory();
    for len in (0..400).step_by(8) {
        memory.0.fill(7);
        let Region { start, .. } = suit(&mut memory, len, false).block;
        // SAFETY: the region is the test's own.
        unsafe { zeroes::wipe(Region { start: start.add(16), len }) };
        let bytes = &memory.0[..len + 32];
        assert!(bytes[..16].iter().chain(&bytes[16 + len..]).all(|&byte| byte == 7));
        assert!(bytes[16..16 + len].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_quarantine_lets_the_oldest_out_first() {
    let block = |index: usize, len| Region {
        start: NonNull::new(core::ptr::without_provenance_mut((index + 1) * 16)).unwrap(),
        len,
    };
    let mut quarantine = Box::new(Quarantine::new());
    for index in 0..Quarantine::MOST_BLOCKS {
        assert_eq!(quarantine.push(block(index, 16)), None);
    }
    assert_eq!(quarantine.pop_excess(), None);
    for index in 0..300 {
        let out = quarantine.push(block(index + Quarantine::MOST_BLOCKS, 16));
        assert_eq!(out, Some(block(index, 16)));
    }
    quarantine.clear();
    assert_eq!(quarantine.pop(), None);
    for index in 0..10 {
        assert_eq!(quarantine.push(block(index, 64 << 10)), None);
    }
    let out: Vec<_> = core::iter::from_fn(|| quarantine.pop_excess()).collect();
    assert_eq!(out, (0..2).map(|index| block(index, 64 << 10)).collect::<Vec<_>>());
    assert_eq!(quarantine.iter().count(), 8);
}

#[test]
fn those_that_are_meant_leave_a_quarantine_and_the_others_wait_on_in_their_order() {
    let block = |index: usize| Region {
        start: NonNull::new(core::ptr::without_provenance_mut((index + 1) * 16)).unwrap(),
        len: 16,
    };
    let is_meant = |block: Region| block.start.addr().get().is_multiple_of(48);
    // Not full, full, and full after others have left.
    for count in [5, Quarantine::MOST_BLOCKS, 2 * Quarantine::MOST_BLOCKS + 7] {
        let mut quarantine = Box::new(Quarantine::new());
        (0..count).for_each(|index| _ = quarantine.push(block(index)));
        let waiting = count.saturating_sub(Quarantine::MOST_BLOCKS)..count;
        let (meant, others): (Vec<_>, Vec<_>) = waiting.map(block).partition(|&at| is_meant(at));
        let out: Vec<_> = core::iter::from_fn(|| quarantine.pop_one_of(is_meant)).collect();
        assert_eq!(out, meant);
        let left: Vec<_> = core::iter::from_fn(|| quarantine.pop()).collect();
        assert_eq!(left, others);
    }
}
