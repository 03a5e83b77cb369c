//! Sampled blocks: now and then one is alone on a page between two that can't be touched, and who allocated and
//! released it is on record.
//!
//! ```text
//! | guard | slot 0 | guard | slot 1 | guard | ...     a page each
//! ```
//! What is written or read beyond the page's end, or after the release, ends the program with a fault, which the
//! record explains (the idea: Chrome's and LLVM's GWP-ASan). On the page the rest is a canary. A slot that is
//! released waits until all others were used.
//!
//! Which blocks: of those that take the slow way, the first few, then fewer and fewer, down to one in as many as
//! the program wants. So short programs are covered densely, and long ones pay next to nothing.
//!
//! Invariants, under the lock:
//! - D1: the page of a slot is open if and only if its block is live.
//! - D2: the slots without a live block are in the queue, those released longest ago first.
//!
//! **Lock order**: the lock of the slots comes after all others.

#[cfg(test)]
mod tests;
mod trace;

pub use trace::{Record, Trace, TraceFn, set_tracer};

use crate::armour::{Canary, PAGE, Region};
use crate::error::{Error, Origin};
use crate::os::{self, YieldAfterSpin};
use crate::pool::{Claim, Fault, MIN_ALIGNMENT, Wait, Wanted, try_while};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32};
use spin::mutex::{SpinMutex, SpinMutexGuard};

const SLOTS: usize = 256;

/// Bytes of all slots and their guards.
const BYTES: usize = (2 * SLOTS + 1) * PAGE;

/// Samples after which the interval to the next doubles.
const AT_EACH_INTERVAL: u32 = 32;

/// The most live blocks that were sampled before the interval is what the program wants.
const DENSE_SLOTS: usize = SLOTS / 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unused,
    Live,
    Released,
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    user: usize,
    size: usize,
    origin: Origin,
    record: Record,
}

struct Slots {
    slots: [Slot; SLOTS],
    /// A ring of the numbers of those without a live block, and where it begins and ends.
    queue: [u16; SLOTS],
    first: usize,
    queued: usize,
    canary: u64,
    /// The most allocations between two samples, as many as there are now, and samples until there are twice
    /// as many.
    most: u32,
    interval: u32,
    left: u32,
}

static STATE: SpinMutex<Slots, YieldAfterSpin> = SpinMutex::new(Slots {
    slots: [Slot {
        state: State::Unused,
        user: 0,
        size: 0,
        origin: Origin::Malloc,
        record: Record::EMPTY,
    }; SLOTS],
    queue: [0; SLOTS],
    first: 0,
    queued: 0,
    canary: 0,
    most: 0,
    interval: 0,
    left: 0,
});

/// Where the first guard begins; null as long as nothing is sampled.
static START: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Allocations until the next sample. Relaxed: whoever counts it down to 0 samples.
static COUNTDOWN: AtomicU32 = AtomicU32::new(0);

fn lock() -> SpinMutexGuard<'static, Slots, YieldAfterSpin> {
    STATE.lock()
}

/// Samples one in so many allocations of those that take the slow way, in the long run. False if the system has no
/// room for the slots, or other pages than ours.
///
/// # Safety
/// The process has a single thread, and this is called once.
pub unsafe fn enable(interval: u32) -> bool {
    let mut state = lock();
    (state.most, state.interval, state.left) = (interval, 1, AT_EACH_INTERVAL);
    COUNTDOWN.store(1, Relaxed);
    state.reserve()
}

/// Whether some allocations are.
#[inline]
pub(crate) fn is_enabled() -> bool {
    !START.load(Relaxed).is_null()
}

/// Whether the calling allocation is to be sampled.
#[inline]
pub(crate) fn is_due() -> bool {
    is_enabled() && COUNTDOWN.fetch_sub(1, Relaxed) == 1
}

/// Takes allocations off the countdown: so many the calling thread may make without asking [`is_due`]. 0 if its
/// next one is to be sampled.
pub(crate) fn credit() -> u32 {
    /// The more, the less evenly threads are sampled.
    const MOST: u32 = 64;
    if !is_enabled() {
        return u32::MAX;
    }
    let granted = |left: u32| left.saturating_sub(1).min(MOST);
    let left = COUNTDOWN.fetch_update(Relaxed, Relaxed, |left| Some(left - granted(left)));
    left.map_or(0, granted)
}

/// Whether `address` is in a slot, or between two.
#[inline]
pub(crate) fn holds(address: usize) -> bool {
    let start = START.load(Relaxed).addr();
    start != 0 && address.wrapping_sub(start) < BYTES
}

impl Slots {
    /// Makes all slots. False if the system has no room for them.
    fn reserve(&mut self) -> bool {
        let start = os::reserve(BYTES).ok().filter(|_| os::page_size() == PAGE);
        let Some(start) = start else { return false };
        for (number, place) in self.queue.iter_mut().enumerate() {
            *place = number as u16;
        }
        self.queued = SLOTS;
        [self.canary, _] = os::entropy();
        // Release: whoever finds the slots finds them ready.
        START.store(start.as_ptr(), Release);
        true
    }

    fn page(&self, number: usize) -> NonNull<u8> {
        let start = START.load(Acquire);
        // SAFETY: it lies in what was reserved, which is not null where there are slots.
        unsafe { NonNull::new_unchecked(start.add((2 * number + 1) * PAGE)) }
    }

    /// The slot on whose page `address` is.
    fn number_of(&self, address: usize) -> Option<usize> {
        let page = address.wrapping_sub(START.load(Acquire).addr()) / PAGE;
        (page % 2 == 1).then_some(page / 2)
    }

    /// The slot whose page is nearest to `address`, which is in a slot or in a guard.
    fn nearest(&self, address: usize) -> usize {
        let offset = address.wrapping_sub(START.load(Acquire).addr());
        (offset.saturating_sub(PAGE / 2) / (2 * PAGE)).min(SLOTS - 1)
    }

    fn pop(&mut self) -> Option<usize> {
        self.queued = self.queued.checked_sub(1)?;
        let number = self.queue[self.first];
        self.first = (self.first + 1) % SLOTS;
        Some(number.into())
    }

    fn push(&mut self, number: usize) {
        self.queue[(self.first + self.queued) % SLOTS] = number as u16;
        self.queued += 1;
    }

    /// Says when the next sample is due.
    fn schedule(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.left = AT_EACH_INTERVAL;
            self.interval = self.interval.saturating_mul(2).min(self.most);
        }
        COUNTDOWN.store(self.interval, Relaxed);
    }

    /// The canaries before and behind the user's bytes, to the ends of the page.
    fn canaries(&self, number: usize) -> [(Canary, Region); 2] {
        let (Slot { user, size, .. }, page) = (self.slots[number], self.page(number));
        let before = user - page.addr().get();
        // SAFETY: both lie on the page.
        let (start, end) = unsafe { (page, page.add(before + size)) };
        let word = self.canary;
        [
            (Canary { word, ends_strings: false }, Region { start, len: before }),
            (Canary { word, ends_strings: true }, Region { start: end, len: PAGE - before - size }),
        ]
    }

    /// What was written beside the bytes of a live block.
    fn wound(&self, number: usize) -> Option<Error> {
        let Slot { user: pointer, size, .. } = self.slots[number];
        let [(before, left), (behind, right)] = self.canaries(number);
        // SAFETY: both lie on the page, which is open (D1).
        unsafe {
            let underrun = before.first_change(left).map(|at| left.len - at);
            let overrun = || behind.first_change(right);
            underrun
                .map(|offset| Error::Underrun { pointer, size, offset })
                .or_else(|| overrun().map(|offset| Error::Overrun { pointer, size, offset }))
        }
    }

    /// The slot of the live block that starts at `address`.
    fn live(&self, address: usize) -> Result<usize, Error> {
        let pointer = address;
        let Some(number) = self.number_of(address) else {
            return Err(Error::NotInPool { pointer });
        };
        let Slot { state, user: block, size, .. } = self.slots[number];
        match state {
            State::Unused => Err(Error::NotInPool { pointer }),
            State::Released => Err(Error::AlreadyReleased { pointer, size }),
            State::Live if pointer == block => Ok(number),
            State::Live if pointer.wrapping_sub(block) < size => {
                Err(Error::InteriorPointer { pointer, block, size })
            }
            State::Live => Err(Error::NotInPool { pointer }),
        }
    }

    /// The same, of one that nothing was written beside, and of which this is claimed.
    fn claimed(&self, address: usize, claim: Claim) -> Result<usize, Error> {
        let number = self.live(address)?;
        let Slot { size, origin, .. } = self.slots[number];
        if let Some(wound) = self.wound(number) {
            return Err(wound);
        }
        if claim.origin.is_some_and(|claimed| claimed != origin) {
            return Err(Error::OriginMismatch { pointer: address, origin });
        }
        match claim.size {
            Some(given) if given != size => {
                Err(Error::SizeMismatch { pointer: address, given, size })
            }
            _ => Ok(number),
        }
    }
}

/// Allocates a block that is due to be sampled, its bytes zero, if there is a slot for it.
#[cold]
pub(crate) fn sample(wanted: Wanted) -> Option<NonNull<u8>> {
    let mut state = lock();
    // What is sampled densely leaves slots for what comes later.
    let kept = if state.interval < state.most { SLOTS - DENSE_SLOTS } else { 0 };
    state.schedule();
    // One without bytes is nobody's to touch: there are better places for those.
    let is_worth_it = state.queued > kept && wanted.size > 0;
    drop(state);
    if is_worth_it { alloc(wanted) } else { None }
}

fn alloc(wanted: Wanted) -> Option<NonNull<u8>> {
    let Wanted { size, alignment, origin, .. } = wanted;
    if size > PAGE || alignment > PAGE {
        return None;
    }
    let trace = Trace::here();
    let mut state = lock();
    let number = state.pop()?;
    let page = state.page(number);
    // SAFETY: the slot is not in use, and its page closed (D1).
    if !unsafe { os::commit(page, PAGE) } {
        state.push(number);
        return None;
    }
    // One in four runs into the guard before it if it leaves its bytes, the others into that behind.
    let is_leftmost = number % 4 == 0;
    let rightmost = (PAGE - size.max(1)) & !(alignment.max(MIN_ALIGNMENT) - 1);
    let offset = if is_leftmost { 0 } else { rightmost };
    // SAFETY: it lies on the page, or at its end.
    let user = unsafe { page.add(offset) };
    let record = Record { allocated: trace, released: Trace::EMPTY };
    state.slots[number] =
        Slot { state: State::Live, user: user.addr().get(), size, origin, record };
    for (canary, region) in state.canaries(number) {
        // SAFETY: it lies on the page, beside the user's bytes.
        unsafe { canary.fill(region) };
    }
    Some(user)
}

/// Releases a block that [`holds`] says is sampled.
#[cold]
pub(crate) fn release(address: usize, claim: Claim) -> Result<(), Error> {
    let trace = Trace::here();
    let mut state = lock();
    let number = state.claimed(address, claim)?;
    let page = state.page(number);
    // SAFETY: the block is released, so nobody uses its page.
    unsafe {
        if !os::purge(page, PAGE) {
            page.write_bytes(0, PAGE);
        }
        os::close(page, PAGE);
    }
    state.slots[number].state = State::Released;
    state.slots[number].record.released = trace;
    state.push(number);
    Ok(())
}

/// The bytes that were asked for of a live sampled block.
pub(crate) fn size(address: usize) -> Result<usize, Error> {
    let state = lock();
    state.live(address).map(|number| state.slots[number].size)
}

/// The same, if [`release`] would take it.
pub(crate) fn size_if_releasable(address: usize, claim: Claim) -> Result<usize, Error> {
    let state = lock();
    state.claimed(address, claim).map(|number| state.slots[number].size)
}

/// Gives a live sampled block of the origin `from` the origin `to`; says which it had.
pub(crate) fn change_origin(address: usize, from: Origin, to: Origin) -> Option<Origin> {
    let mut state = lock();
    let number = state.live(address).ok()?;
    let origin = state.slots[number].origin;
    if origin == from {
        state.slots[number].origin = to;
    }
    Some(origin)
}

/// What was written beside a live sampled block; nothing if the lock can't be had.
pub(crate) fn first_wound(wait: Wait<'_>) -> Option<Error> {
    if !is_enabled() {
        return None;
    }
    let state = try_while(wait, || STATE.try_lock())?;
    let mut live = (0..SLOTS).filter(|&number| state.slots[number].state == State::Live);
    live.find_map(|number| state.wound(number))
}

/// Which sampled block was touched at an address that can't be, and its record. Waits for nothing.
pub(crate) fn fault_at(address: usize) -> Option<(Fault, Record)> {
    if !holds(address) {
        return None;
    }
    let state = STATE.try_lock()?;
    let Slot { state, user: block, size, record, .. } = state.slots[state.nearest(address)];
    let fault = match state {
        State::Unused => return None,
        State::Released => Fault::Released { block, size },
        State::Live if address < block => Fault::Before { block, size, offset: block - address },
        State::Live => Fault::Behind { block, size, offset: address.checked_sub(block + size)? },
    };
    Some((fault, record))
}

/// Who allocated and released the sampled block that `address` is in.
pub(crate) fn record_of(address: usize) -> Option<Record> {
    if !holds(address) {
        return None;
    }
    let state = STATE.try_lock()?;
    let slot = &state.slots[state.number_of(address)?];
    (slot.state != State::Unused).then_some(slot.record)
}

/// Whether somebody has the lock.
pub(crate) fn is_locked() -> bool {
    STATE.is_locked()
}

/// Takes the lock, so that a fork finds nothing half-way through a change.
pub(crate) fn before_fork() {
    core::mem::forget(lock());
}

/// Releases what [`before_fork`] took.
///
/// # Safety
/// The calling thread called it, or is the copy of the thread that did.
pub(crate) unsafe fn after_fork() {
    // SAFETY: the caller's promise.
    unsafe { STATE.force_unlock() }
}

/// In the child of a fork: whoever had counted down to 0 and was to say when the next sample is due may have been left
/// behind in the parent.
pub(crate) fn after_fork_in_child() {
    let state = lock();
    if is_enabled() && !(1..=state.interval).contains(&COUNTDOWN.load(Relaxed)) {
        COUNTDOWN.store(state.interval, Relaxed);
    }
}
