use super::*;
use alloc::collections::VecDeque;
use proptest::prelude::*;

fn with(threads: u32) -> (Table<u32>, Vec<Id>) {
    let mut table = Table::new();
    let ids = (0..threads).map(|n| table.add(n).unwrap()).collect();
    (table, ids)
}

#[test]
fn ready_threads_take_turns() {
    let (mut table, ids) = with(3);
    for turn in 0..9 {
        assert_eq!(table.take_next(), Some(ids[turn % 3]));
        assert_eq!(table.current(), Some(ids[turn % 3]));
        table.put_back();
    }
}

#[test]
fn a_rotation_is_a_turn() {
    let (mut table, ids) = with(3);
    assert_eq!(table.rotate(), None, "nobody runs");
    table.take_next();
    for turn in 0..7 {
        assert_eq!(table.rotate(), Some((ids[turn % 3], ids[(turn + 1) % 3])));
    }
    let (mut table, _) = with(1);
    table.take_next();
    assert_eq!(table.rotate(), None, "nobody else is ready");
    assert!(table.current().is_some());
}

#[test]
fn waiters_of_a_key_are_woken_in_order_and_no_others() {
    let (mut table, ids) = with(4);
    // Two keys of one bucket.
    let key = 0x1000;
    let other = (1..).map(|n| key + n * 4).find(|other| bucket(*other) == bucket(key)).unwrap();
    for key in [key, other, key, key] {
        table.take_next();
        table.block(key, 0);
    }
    assert_eq!(table.take_next(), None);
    assert_eq!(table.wake_one(key, 7), Some(ids[0]));
    assert_eq!(table.wake(key, 5), 2);
    assert_eq!(table.wake(key, 5), 0);
    let order: Vec<Id> = core::iter::from_fn(|| table.take_next()).collect();
    assert_eq!(order, [ids[0], ids[2], ids[3]]);
    assert_eq!(table.woken(ids[0]), Woken::By(7));
    assert_eq!(table.first_waiter(other), Some(ids[1]));
}

#[test]
fn a_deadline_ends_a_wait_once() {
    let (mut table, ids) = with(3);
    for deadline in [30, 10, 20] {
        table.take_next();
        table.block(64, deadline);
    }
    assert_eq!(table.expire(|| 9), Some(10));
    assert_eq!(table.expire(|| 10), Some(20));
    assert_eq!(table.take_next(), Some(ids[1]));
    assert_eq!(table.woken(ids[1]), Woken::TimedOut);
    // Woken before its time: the timer goes with it.
    assert_eq!(table.wake_one(64, 0), Some(ids[0]));
    assert_eq!(table.expire(|| 15), Some(20));
    assert_eq!(table.expire(|| 100), None);
    assert_eq!(table.woken(ids[0]), Woken::By(0));
    assert_eq!(table.expire(|| panic!("no timer, no look at the clock")), None);
}

#[test]
fn numbers_are_used_again_and_threads_are_bounded() {
    let (mut table, ids) = with(MAX_THREADS as u32);
    assert_eq!(table.add(0), Err(TooManyThreads));
    assert_eq!(table.take_next(), Some(ids[0]));
    assert_eq!(table.end(), Some(0));
    assert_eq!((table.current(), table.count()), (None, MAX_THREADS - 1));
    assert_eq!(table.add(9), Ok(ids[0]));
    assert_eq!(table.get(ids[0]), Some(&mut 9));
    assert_eq!(table.all().count(), MAX_THREADS);
}

#[test]
fn each_waiter_is_asked_and_told_its_own() {
    let (mut table, ids) = with(3);
    for _ in 0..3 {
        table.take_next();
        table.block(8, 0);
    }
    table.wake_each(8, |n| (*n != 1).then_some(u64::from(*n) * 10));
    assert_eq!((table.take_next(), table.take_next(), table.take_next()), (Some(ids[0]), Some(ids[2]), None));
    assert_eq!((table.woken(ids[0]), table.woken(ids[2])), (Woken::By(0), Woken::By(20)));
    table.wake_this(4, 1);
    assert!(!table.any_ready(), "it waits for something else");
    table.wake_this(8, 1);
    assert!(table.any_ready());
}

#[derive(Clone, Debug)]
enum Step {
    Add,
    AddWaiting(u64),
    TakeWaiting(u64),
    Next,
    PutBack,
    Block(u64, u64),
    End,
    Wake(u64, usize),
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4u64;
    prop_oneof![
        Just(Step::Add),
        key.clone().prop_map(Step::AddWaiting),
        key.clone().prop_map(Step::TakeWaiting),
        Just(Step::Next),
        Just(Step::PutBack),
        (key.clone(), 0..6u64).prop_map(|(key, deadline)| Step::Block(key, deadline)),
        Just(Step::End),
        (key, 0..3usize).prop_map(|(key, most)| Step::Wake(key, most)),
        (0..6u64).prop_map(Step::Expire),
    ]
}

/// The same in lists.
#[derive(Default)]
struct Model {
    ready: VecDeque<Id>,
    waiting: Vec<(Id, u64, u64)>,
    current: Option<Id>,
}

impl Model {
    fn wake(&mut self, key: u64, most: usize) -> usize {
        for n in 0..most {
            let Some(at) = self.waiting.iter().position(|w| w.1 == key) else { return n };
            self.ready.push_back(self.waiting.remove(at).0);
        }
        most
    }

    fn expire(&mut self, now: u64) {
        let mut due: Vec<(u64, Id)> =
            self.waiting.iter().filter(|w| w.2 != 0 && w.2 <= now).map(|w| (w.2, w.0)).collect();
        due.sort();
        for (_, id) in due {
            self.waiting.retain(|w| w.0 != id);
            self.ready.push_back(id);
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_lists_would(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut table, mut model) = (Table::new(), Model::default());
        for step in steps {
            match step {
                Step::Add => model.ready.push_back(table.add(0u32).unwrap()),
                Step::AddWaiting(key) => {
                    model.waiting.push((table.add_waiting(0, key * 4).unwrap(), key * 4, 0));
                }
                Step::TakeWaiting(key) => {
                    let at = model.waiting.iter().position(|w| w.1 == key * 4 && w.2 == 0);
                    let Some((id, ..)) = at.map(|at| model.waiting.remove(at)) else { continue };
                    prop_assert_eq!(table.take_waiting((key + 1) * 4, id), None, "under another key");
                    prop_assert_eq!(table.take_waiting(key * 4, id), Some(0));
                    prop_assert_eq!(table.take_waiting(key * 4, id), None, "twice");
                }
                Step::Next if model.current.is_none() => {
                    model.current = model.ready.pop_front();
                    prop_assert_eq!(table.take_next(), model.current);
                }
                Step::Next => {}
                Step::PutBack => {
                    table.put_back();
                    model.ready.extend(model.current.take());
                }
                Step::Block(key, deadline) => {
                    table.block(key * 4, deadline);
                    model.waiting.extend(model.current.take().map(|id| (id, key * 4, deadline)));
                }
                Step::End => prop_assert_eq!(table.end().is_some(), model.current.take().is_some()),
                Step::Wake(key, most) => prop_assert_eq!(table.wake(key * 4, most), model.wake(key * 4, most)),
                Step::Expire(now) => {
                    model.expire(now);
                    let next = model.waiting.iter().map(|w| w.2).filter(|d| *d != 0).min();
                    prop_assert_eq!(table.expire(|| now), next);
                }
            }
            prop_assert_eq!(table.current(), model.current);
            prop_assert_eq!(table.any_ready(), !model.ready.is_empty());
            for key in 0..4 {
                let first = model.waiting.iter().find(|w| w.1 == key * 4).map(|w| w.0);
                prop_assert_eq!(table.first_waiter(key * 4), first);
            }
        }
    }
}
