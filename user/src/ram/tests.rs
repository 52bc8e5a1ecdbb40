//! The pool against what it promises: disjoint pieces, all of it back, merged.

use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn pool() -> Pool {
    let mut pool = Pool::new();
    drop(pool.make_room(Lists::new((16, 4096))));
    pool.add(CPtr(20), 0x10_0000, 7 * MIB, 0);
    pool.add(CPtr(21), 0x4000_0000, 16 * MIB, 1);
    pool
}

#[test]
fn pieces_are_aligned_disjoint_and_inside() {
    let mut pool = pool();
    let mut taken: Vec<Piece> = Vec::new();
    while let Some(piece) = pool.take(3 * PAGE_SIZE, 4 * PAGE_SIZE, None) {
        assert_eq!(piece.base % (4 * PAGE_SIZE), 0);
        assert!(taken.iter().all(|o| o.base + o.len <= piece.base || piece.base + piece.len <= o.base));
        let start = if piece.ram == CPtr(20) { 0x10_0000 } else { 0x4000_0000 };
        assert_eq!(start + piece.offset, piece.base);
        taken.push(piece);
    }
    assert!(taken.len() > 1000, "{}", taken.len());
}

#[test]
fn the_node_is_respected() {
    let mut pool = pool();
    assert_eq!((pool.node_from(0), pool.node_from(1), pool.node_from(2)), (Some(0), Some(1), None));
    let before = pool.total();
    let slice = pool.take(2 * MIB, 2 * MIB, Some(1)).unwrap();
    assert_eq!((slice.base, slice.node, slice.whole), (0x4000_0000, 1, false));
    assert_eq!(pool.take(8 * MIB, PAGE_SIZE, Some(0)), None);
    assert_eq!(pool.take(PAGE_SIZE, PAGE_SIZE, Some(2)), None);
    assert_eq!((pool.free(), pool.total()), (21 * MIB, before));
    pool.gave_away(slice.len);
    assert_eq!(pool.total(), before - 2 * MIB);
}

#[test]
fn nodes_are_cut_out_of_extents() {
    let mut pool = Pool::new();
    pool.add(CPtr(1), 0x10_0000, 15 * MIB, 0);
    pool.add(CPtr(2), 0x4000_0000, MIB, 0);
    pool.set_node(PhysRange::new(skerry_abi::PhysAddr(4 * MIB), 8 * MIB), 1);
    assert_eq!((pool.free(), pool.free_on(1)), (16 * MIB, 8 * MIB));
    let piece = pool.take(8 * MIB, PAGE_SIZE, Some(1)).unwrap();
    assert_eq!((piece.base, piece.offset, piece.whole), (4 * MIB, 3 * MIB, false));
    assert_eq!(pool.take(PAGE_SIZE, PAGE_SIZE, Some(1)), None);
    assert!(pool.take(MIB, PAGE_SIZE, Some(0)).unwrap().whole);
    // The node of a piece is its address's, also when it comes back.
    pool.give(4 * MIB, 8 * MIB).unwrap();
    assert_eq!(pool.take(8 * MIB, PAGE_SIZE, Some(0)), None);
    assert!(pool.take(8 * MIB, PAGE_SIZE, Some(1)).is_some());
}

#[test]
fn all_of_a_capability_is_known_as_such() {
    let mut pool = pool();
    assert!(pool.take(16 * MIB, PAGE_SIZE, Some(1)).unwrap().whole);
    assert_eq!(pool.origin(0x4000_0000, 16 * MIB), Some((CPtr(21), true)));
    assert_eq!(pool.take(u64::MAX, PAGE_SIZE, None), None);
}

#[test]
fn what_is_not_ours_or_free_is_refused() {
    let mut pool = pool();
    let piece = pool.take(2 * PAGE_SIZE, PAGE_SIZE, None).unwrap();
    assert_eq!(pool.give(0x9000_0000, PAGE_SIZE), Err(GiveError::NotOurs));
    assert_eq!(pool.give(u64::MAX, PAGE_SIZE), Err(GiveError::NotOurs));
    assert_eq!(pool.give(piece.base, 4 * PAGE_SIZE), Err(GiveError::Twice));
    assert_eq!(pool.give(piece.base, piece.len), Ok(()));
    assert_eq!(pool.give(piece.base, piece.len), Err(GiveError::Twice));
    assert_eq!(pool.give(piece.base, 0), Err(GiveError::Twice));
    assert_eq!(pool.pieces(), 2);
}

#[test]
fn neighbours_of_different_capabilities_stay_apart() {
    let mut pool = Pool::new();
    pool.add(CPtr(1), MIB, MIB, 0);
    pool.add(CPtr(2), 2 * MIB, MIB, 0);
    assert_eq!((pool.pieces(), pool.take(2 * MIB, PAGE_SIZE, None)), (2, None));
    let a = pool.take_largest().unwrap();
    let b = pool.take_largest().unwrap();
    assert_eq!((a.whole, b.whole, pool.take_largest()), (true, true, None));
    pool.give(b.base, b.len).unwrap();
    pool.give(a.base, a.len).unwrap();
    assert_eq!(pool.pieces(), 2);
}

#[test]
fn taking_never_makes_a_list_longer_than_it_may_be() {
    let mut pool = Pool::new();
    drop(pool.make_room(Lists::new((2, 2))));
    pool.add(CPtr(1), PAGE_SIZE, 64 * PAGE_SIZE, 0);
    pool.add(CPtr(2), 0x100_1000, 64 * PAGE_SIZE, 0);
    // Both extents begin beside a multiple of eight pages, so that aligning would leave a piece before and one behind.
    let room = pool.extents.capacity() - pool.extents.len();
    let split = (0..room + 1).filter(|_| pool.take(PAGE_SIZE, 8 * PAGE_SIZE, None).is_some()).count();
    assert_eq!(split, room);
    assert!(pool.take(PAGE_SIZE, PAGE_SIZE, None).is_some());
}

proptest! {
    #[test]
    fn whatever_the_order_all_comes_back_in_one_piece(
        steps in proptest::collection::vec((any::<bool>(), 1u64..40, 0u32..6, any::<prop::sample::Index>()), 1..200)
    ) {
        let mut pool = pool();
        let all = pool.free();
        let mut held: Vec<Piece> = Vec::new();
        for (take, pages, align, which) in steps {
            if take || held.is_empty() {
                if let Some(piece) = pool.take(pages * PAGE_SIZE, PAGE_SIZE << align, None) {
                    prop_assert_eq!(piece.base % (PAGE_SIZE << align), 0);
                    prop_assert!(held.iter().all(|o| o.base + o.len <= piece.base || piece.base + piece.len <= o.base));
                    held.push(piece);
                }
            } else {
                let piece = held.swap_remove(which.index(held.len()));
                prop_assert_eq!(pool.give(piece.base, piece.len), Ok(()));
            }
            prop_assert_eq!(pool.free() + held.iter().map(|p| p.len).sum::<u64>(), all);
        }
        for piece in held {
            prop_assert_eq!(pool.give(piece.base, piece.len), Ok(()));
        }
        prop_assert_eq!((pool.free(), pool.pieces()), (all, 2));
    }
}
