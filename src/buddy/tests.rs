use super::run::Run;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A buddy system over a byte array.
struct Books {
    buddy: Buddy,
    _metadata: Vec<u64>,
}

fn books(lead: u32, capacity: u32) -> Books {
    let shape = Shape { lead, capacity, track_use: true };
    let mut metadata = vec![0u64; shape.metadata_bytes().div_ceil(8)];
    let pointer = NonNull::new(metadata.as_mut_ptr()).unwrap().cast();
    // SAFETY: zeroed, aligned, large enough, and moved together with the buddy.
    Books { buddy: unsafe { Buddy::new(pointer, shape) }, _metadata: metadata }
}

#[test]
fn a_new_heap_is_one_canonical_sequence_of_free_blocks() {
    for capacity in [1u32, 2, 3, 7, 8, 100, 1000] {
        for lead in 0..1u32 << capacity.ilog2() {
            let mut books = books(lead, capacity);
            books.buddy.extend(capacity);
            books.buddy.check().unwrap();
            assert!(books.buddy.is_pristine());
            assert_eq!(books.buddy.free(), capacity);
        }
    }
}

#[test]
fn alternating_allocation_and_release_reuses_the_spare() {
    let mut books = books(0, 1024);
    books.buddy.extend(1024);
    let first = books.buddy.alloc_run(4, Order(0), u32::MAX).unwrap().head;
    books.buddy.release_run(first);
    for _ in 0..3 {
        let again = books.buddy.alloc_run(4, Order(0), u32::MAX).unwrap().head;
        assert_eq!(again, first);
        assert_eq!(books.buddy.release_run(again), Some(4));
    }
    assert_eq!(books.buddy.largest_free(), 1024);
}

#[test]
fn an_alignment_as_large_as_the_heap_is_served_where_it_fits() {
    // One place only is a multiple of 64 from the origin, and what is free there is small.
    let mut books = books(60, 70);
    books.buddy.extend(70);
    let mut aligned_run = |granules, alignment| {
        books.buddy.alloc_run(granules, Order(alignment), u32::MAX).map(|run| run.head)
    };
    let wall = aligned_run(16, 4).unwrap();
    assert_eq!(wall, Granule(4));
    assert_eq!(aligned_run(1, 6), Some(Granule(68)));
    assert_eq!(aligned_run(1, 6), None);
    books.buddy.release_run(wall);
    let again = books.buddy.alloc_run(3, Order(6), u32::MAX).map(|run| run.head);
    assert_eq!(again, Some(Granule(4)));
    books.buddy.check().unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(u32, u8),
    Span(u8),
    Release(usize),
    Stash(usize),
    Resize(usize, u32),
    Extend(u32),
    MergeSpares,
    Purge,
    Sweep(u32),
    Idle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40u32, prop_oneof![Just(0u8), 0..7u8]).prop_map(|(n, a)| Step::Alloc(n, a)),
        2 => (0..5u8).prop_map(Step::Span),
        4 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Stash),
        2 => (any::<usize>(), 1..60u32).prop_map(|(i, n)| Step::Resize(i, n)),
        1 => (1..50u32).prop_map(Step::Extend),
        1 => Just(Step::MergeSpares),
        1 => Just(Step::Purge),
        2 => (0..40u32).prop_map(Step::Sweep),
        1 => Just(Step::Idle),
    ]
}

proptest! {
    #[test]
    fn blocks_never_overlap_and_all_merges_back(
        lead in 0..128u32,
        capacity in 128..400u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut books = books(lead, capacity);
        let buddy = &mut books.buddy;
        buddy.extend(capacity / 2);
        // Head of each block in use -> its length, and whether it is a span.
        let mut model = BTreeMap::<u32, (u32, bool)>::new();
        let mut used = std::collections::BTreeSet::new();
        let mut sweep = Sweep::default();
        let fits = |model: &BTreeMap<u32, (u32, bool)>, head: u32, length: u32, end: u32| {
            head + length <= end
                && model.iter().all(|(&other, &(other_length, _))| {
                    other + other_length <= head || head + length <= other
                })
        };
        let nth = |model: &BTreeMap<u32, (u32, bool)>, index: usize| {
            let entry = model.iter().nth(index % model.len().max(1))?;
            Some((*entry.0, entry.1.0, entry.1.1))
        };
        for step in steps {
            match step {
                Step::Alloc(granules, alignment) => {
                    if let Some(Run { head, granules: length, used: old }) =
                        buddy.alloc_run(granules, Order(alignment), u32::MAX)
                    {
                        prop_assert_eq!(length, buddy.run_at(head));
                        prop_assert_eq!(old as usize, used.range(head.0..head.0 + length).count());
                        used.extend(head.0..head.0 + length);
                        prop_assert!(length >= granules && length < granules * 2);
                        prop_assert_eq!((head.0 + lead) % (1 << alignment), 0);
                        prop_assert!(fits(&model, head.0, length, buddy.end()));
                        model.insert(head.0, (length, false));
                    }
                }
                Step::Span(order) => {
                    if let Some(head) = buddy.alloc_span(Order(order)) {
                        prop_assert!(fits(&model, head.0, 1 << order, buddy.end()));
                        used.extend(head.0..head.0 + (1 << order));
                        prop_assert_eq!(buddy.span_head(head, Order(order)), head);
                        model.insert(head.0, (1 << order, true));
                    }
                }
                Step::Release(index) => {
                    if let Some((head, length, span)) = nth(&model, index) {
                        if span {
                            buddy.release_span(Granule(head));
                        } else {
                            prop_assert_eq!(buddy.release_run(Granule(head)), Some(length));
                        }
                        model.remove(&head);
                    }
                }
                Step::Stash(index) => {
                    if let Some((head, length, span)) = nth(&model, index) {
                        let (tags, most) = (buddy.tags(), Order(4));
                        let stashed = tags.stash(Granule(head), Order(0)..=most);
                        let is_block = length.is_power_of_two() && (head + lead).is_multiple_of(length);
                        let order = Order::holding(length);
                        let may = !span && is_block && order <= most;
                        prop_assert_eq!(stashed, may.then_some(order));
                        if may {
                            prop_assert_eq!(buddy.covering(Granule(head)).kind, Kind::Stashed);
                            prop_assert!(buddy.check().is_ok());
                            prop_assert_eq!(buddy.release_run(Granule(head)), None);
                            prop_assert_eq!(tags.stash(Granule(head), Order(0)..=most), None);
                            prop_assert!(!tags.take(Granule(head), Order(order.0 + 1)));
                            if index % 2 == 0 {
                                prop_assert!(tags.take(Granule(head), order));
                                prop_assert!(!tags.take(Granule(head), order));
                            } else {
                                prop_assert_eq!(buddy.reclaim_run(Granule(head)), Some(length));
                                prop_assert!(!tags.take(Granule(head), order));
                                model.remove(&head);
                            }
                        }
                        prop_assert_eq!(buddy.reclaim_run(Granule(head)), None);
                    }
                }
                Step::Resize(index, granules) => {
                    if let Some((head, length, false)) = nth(&model, index) {
                        if let Some(new) = buddy.resize_run(Granule(head), length, granules, u32::MAX) {
                            prop_assert_eq!(buddy.run_at(Granule(head)), new);
                            model.remove(&head);
                            prop_assert!(fits(&model, head, new, buddy.end()));
                            used.extend(head..head + new);
                            model.insert(head, (new, false));
                        } else {
                            prop_assert!(granules > length);
                        }
                    }
                }
                Step::Extend(granules) => {
                    buddy.extend((buddy.end() + granules).min(capacity));
                }
                Step::MergeSpares => buddy.merge_spares(),
                Step::Purge => {
                    let before = buddy.purgeable();
                    let purged = buddy.purge(&mut Sweep::default(), u32::MAX, |start, end| {
                        (start.0..end.0).for_each(|granule| { used.remove(&granule); });
                        true
                    });
                    prop_assert_eq!((purged, buddy.purgeable()), (before, 0));
                }
                Step::Sweep(most) => {
                    let before = buddy.purgeable();
                    let purged = buddy.purge(&mut sweep, most, |start, end| {
                        (start.0..end.0).for_each(|granule| { used.remove(&granule); });
                        true
                    });
                    prop_assert_eq!(purged, before - buddy.purgeable());
                    prop_assert!(purged > 0 || most == 0 || sweep.is_over());
                    if sweep.is_over() {
                        sweep = Sweep::default();
                    }
                }
                Step::Idle => {
                    let idle = buddy.take_idle();
                    prop_assert!(idle <= buddy.purgeable());
                    prop_assert_eq!(buddy.take_idle(), buddy.purgeable());
                }
            }
            buddy.check().map_err(|broken| TestCaseError::fail(format!("{broken:?}")))?;
            let in_use: u32 = model.values().map(|entry| entry.0).sum();
            prop_assert_eq!(buddy.free(), buddy.end() - in_use);
            for (&head, &(length, _)) in &model {
                for granule in head..head + length {
                    let extent = buddy.covering(Granule(granule));
                    prop_assert_eq!((extent.head.0, extent.granules), (head, length));
                }
            }
        }
        for (head, (_, span)) in model {
            if span {
                buddy.release_span(Granule(head));
            } else {
                buddy.release_run(Granule(head));
            }
        }
        prop_assert!(buddy.check().is_ok());
        prop_assert!(buddy.is_pristine());
    }
}
