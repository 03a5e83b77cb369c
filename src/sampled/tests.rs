use super::*;

fn block(size: usize) -> (NonNull<u8>, usize) {
    let block = alloc(Wanted::bytes(size)).expect("there is a slot");
    (block, block.addr().get())
}

/// One test, because there is one set of slots.
#[test]
fn a_sampled_block_is_alone_on_its_page_and_released_once_by_what_allocated_it() {
    // Other threads sample nothing: nothing is due.
    assert!(lock().reserve());
    set_tracer(|calls| {
        calls[..2].copy_from_slice(&[11, 22]);
        2
    });
    for size in [0, 1, 16, 40, 1000, 4095, 4096] {
        let (user, pointer) = block(size);
        assert!(holds(pointer) && pointer.is_multiple_of(MIN_ALIGNMENT));
        assert_eq!(self::size(pointer), Ok(size));
        // SAFETY: the block is live, and has so many bytes.
        unsafe {
            assert!((0..size).all(|at| user.add(at).read() == 0));
            user.write_bytes(0xff, size);
        }
        assert_eq!(first_wound(&|_| true), None);
        if size > 1 {
            let error = Error::InteriorPointer { pointer: pointer + 1, block: pointer, size };
            assert_eq!(release(pointer + 1, Claim::POOL), Err(error));
        }
        let wrong = Claim { size: Some(size + 1), ..Claim::POOL };
        let error = Error::SizeMismatch { pointer, given: size + 1, size };
        assert_eq!(release(pointer, wrong), Err(error));
        let wrong = Claim { origin: Some(Origin::New), ..Claim::POOL };
        let error = Error::OriginMismatch { pointer, origin: Origin::Malloc };
        assert_eq!(release(pointer, wrong), Err(error));
        assert_eq!(change_origin(pointer, Origin::Malloc, Origin::New), Some(Origin::Malloc));
        assert_eq!(release(pointer, wrong), Ok(()));
        for _ in 0..2 {
            let error = Error::AlreadyReleased { pointer, size };
            assert_eq!(release(pointer, Claim::POOL), Err(error));
        }
        let record = record_of(pointer).unwrap();
        assert_eq!(record.allocated.calls(), [11, 22]);
        assert_eq!(record.released.thread, os::thread_number());
        let expected = Fault::Released { block: pointer, size };
        assert_eq!(fault_at(pointer).unwrap().0, expected);
    }
    for offset in [-1, 0, 3] {
        let (user, pointer) = block(40);
        let at = if offset < 0 { offset } else { 40 + offset };
        // SAFETY: the byte is on the block's page: 40 is no multiple of 16, so that there is room on either side.
        let byte = unsafe { user.offset(at) };
        if byte.addr().get() / PAGE == pointer / PAGE {
            let error = if offset < 0 {
                Error::Underrun { pointer, size: 40, offset: 1 }
            } else {
                Error::Overrun { pointer, size: 40, offset: offset as usize }
            };
            // SAFETY: as above.
            unsafe { byte.write(!byte.read()) };
            assert_eq!(first_wound(&|_| true), Some(error));
            assert_eq!(release(pointer, Claim::POOL), Err(error));
            // SAFETY: as above.
            unsafe { byte.write(!byte.read()) };
        }
        release(pointer, Claim::POOL).unwrap();
    }
    let mut blocks: Vec<_> = core::iter::from_fn(|| alloc(Wanted::bytes(64))).collect();
    assert_eq!(blocks.len(), SLOTS);
    for block in blocks.iter().map(|block| block.addr().get()) {
        let page = block & !(PAGE - 1);
        let behind = Fault::Behind { block, size: 64, offset: page + PAGE - block - 64 };
        assert_eq!(fault_at(page + PAGE).unwrap().0, behind);
        let before = Fault::Before { block, size: 64, offset: block - page + 1 };
        assert_eq!(fault_at(page - 1).unwrap().0, before);
    }
    let first = blocks.remove(0).addr().get();
    blocks.iter().for_each(|block| release(block.addr().get(), Claim::POOL).unwrap());
    release(first, Claim::POOL).unwrap();
    // The one that was released last comes last.
    assert!((1..SLOTS).all(|_| block(64).1 / PAGE != first / PAGE));
    assert_eq!(block(64).1 / PAGE, first / PAGE);
    // A child has samples, even if the thread is missing that was to say when the next one is due.
    let interval = u32::MAX / 2;
    lock().interval = interval;
    for passed in [0, 1, 1000] {
        COUNTDOWN.store(0u32.wrapping_sub(passed), Relaxed);
        after_fork_in_child();
        assert_eq!(COUNTDOWN.load(Relaxed), interval);
    }
    COUNTDOWN.store(7, Relaxed);
    after_fork_in_child();
    assert_eq!(COUNTDOWN.swap(0, Relaxed), 7);
}
