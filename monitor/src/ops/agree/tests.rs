use super::model::{frame, ram};
use super::world::{World, at, retype, revoke, shared, transfer};
use super::*;

#[test]
fn a_copy_goes_to_another_core_and_from_there_to_a_third() {
    let mut world = shared(frame(0, 4), 2);
    world.ask(2, 9, &transfer(0, frame(0, 4), 1));
    world.settle();
    assert_eq!((world.answers(9), world.copies(1, frame(0, 4))), (&[Ok(())][..], 2));
    world.check_quiet().unwrap();
    assert_eq!([0, 1, 2].map(|n| world.copies(n, frame(0, 4))), [1, 2, 1]);
}

#[test]
fn what_is_not_shared_is_decided_without_a_message() {
    let mut world = World::new(2);
    world.own(0, ram(0, 4));
    world.ask(0, 1, &retype(0, ram(0, 4), CapType::Frame, 1, 2));
    assert_eq!((world.answers(1), world.flights.len()), (&[Ok(())][..], 0));
    world.ask(0, 2, &revoke(0, ram(0, 4), true));
    assert_eq!((world.answers(2), world.flights.len()), (&[Ok(())][..], 0));
    assert_eq!((world.copies(0, ram(0, 4)), world.copies(0, frame(1, 2))), (1, 0));
    world.check_quiet().unwrap();
}

#[test]
fn a_revocation_leaves_the_copy_it_was_asked_with() {
    for asker in 0..3 {
        let mut world = shared(frame(0, 4), 2);
        world.ask(asker, 9, &revoke(0, frame(0, 4), true));
        world.settle();
        assert_eq!(world.answers(9), [Ok(())]);
        for n in 0..3 {
            assert_eq!(world.copies(n, frame(0, 4)), usize::from(n == asker), "core {n}");
        }
        world.check_quiet().unwrap();
        assert_eq!(world.nodes[0].agreement.holders.is_empty(), asker == 0);
    }
}

#[test]
fn a_part_is_retyped_where_it_is_asked_for_and_only_once() {
    let mut world = shared(ram(0, 4), 2);
    world.ask(1, 3, &retype(0, ram(0, 4), CapType::Frame, 0, 2));
    world.settle();
    world.ask(2, 4, &retype(0, ram(0, 4), CapType::VNode, 1, 1));
    world.settle();
    world.ask(2, 5, &retype(0, ram(0, 4), CapType::VNode, 2, 1));
    world.settle();
    world.ask(0, 6, &retype(0, ram(0, 4), CapType::Ram, 0, 1));
    world.settle();
    let results = [3, 4, 5, 6].map(|token| world.answers(token)[0]);
    assert_eq!(results, [Ok(()), Err(Refusal::Occupied), Ok(()), Err(Refusal::Occupied)]);
    assert_eq!(world.copies(1, frame(0, 2)), 1);
    world.check().unwrap();
    world.check_quiet().unwrap();
    // A frame made on core 1 goes on to core 2, and all of it ends with the RAM.
    world.ask(1, 7, &transfer(0, frame(0, 2), 2));
    world.settle();
    assert_eq!((world.answers(7), world.copies(2, frame(0, 2))), (&[Ok(())][..], 1));
    world.check_quiet().unwrap();
    world.ask(0, 8, &revoke(0, ram(0, 4), true));
    world.settle();
    assert_eq!(world.answers(8), [Ok(())]);
    assert_eq!(world.nodes.iter().map(|n| n.store.caps.len()).sum::<usize>(), 1, "the one asked with");
    world.check_quiet().unwrap();
    assert!(world.nodes[0].agreement.holders.is_empty());
}

#[test]
fn who_holds_no_copy_may_not_ask() {
    let mut world = World::new(3);
    world.own(0, frame(0, 4));
    world.ask(2, 1, &revoke(0, frame(0, 4), true));
    world.ask(0, 2, &revoke(0, frame(8, 4), true));
    world.ask(0, 3, &transfer(0, frame(8, 4), 1));
    world.ask(0, 4, &retype(0, frame(0, 4), CapType::Ram, 0, 1));
    world.ask(0, 5, &retype(0, frame(0, 4), CapType::Ram, 3, 2));
    world.settle();
    let refused = |token| world.answers(token)[0];
    assert_eq!([1, 2, 3].map(refused), [Err(Refusal::NoCap); 3]);
    assert_eq!([4, 5].map(refused), [Err(Refusal::BadRequest); 2]);
    assert_eq!(world.copies(0, frame(0, 4)), 1);
    world.check_quiet().unwrap();
}

#[test]
fn an_island_that_is_lost_holds_nothing_up() {
    let mut world = shared(frame(0, 4), 2);
    world.kill(2);
    world.ask(1, 9, &revoke(0, frame(0, 4), true));
    world.settle();
    assert_eq!(world.answers(9), []);
    world.hear(0, 2);
    world.settle();
    assert_eq!(world.answers(9), [Ok(())]);
    world.hear(1, 2);
    world.check_quiet().unwrap();
}

#[test]
fn what_a_lost_island_owned_is_gone() {
    let mut world = shared(frame(0, 4), 2);
    world.ask(1, 9, &revoke(0, frame(0, 4), true));
    world.kill(0);
    for n in [1, 2] {
        world.hear(n, 0);
        assert_eq!(world.copies(n, frame(0, 4)), 0);
    }
    world.settle();
    assert_eq!(world.answers(9), [Err(Refusal::Lost)]);
    world.check_quiet().unwrap();
}

#[test]
fn what_is_asked_beyond_the_limit_is_refused_and_all_else_answered() {
    let mut world = shared(frame(0, 4), 2);
    for token in 100..100 + 2 * MAX_ASKED as u32 {
        world.ask(1, token, &revoke(0, frame(0, 4), false));
    }
    let at_once =
        (100..100 + 2 * MAX_ASKED as u32).filter(|t| world.answers(*t) == [Err(Refusal::Busy)]).count();
    assert_eq!(at_once, MAX_ASKED);
    world.settle();
    assert!((100..100 + 2 * MAX_ASKED as u32).all(|t| world.answers(t).len() == 1));
    world.check_quiet().unwrap();
}

#[test]
fn who_says_nothing_within_the_bound_does_not_hold_others_up() {
    let mut world = shared(frame(0, 4), 2);
    world.bound = 100;
    world.ask(0, 9, &revoke(0, frame(0, 4), true));
    // The question to core 2 is lost on the way.
    let question = world.flights.iter().position(|f| f.to == 2).expect("a question");
    world.flights.remove(question);
    world.settle();
    world.now = world.nodes[0].agreement.deadline().expect("a deadline");
    world.with(0, |_, _| ());
    assert_eq!(world.answers(9), [Err(Refusal::TimedOut)]);
    world.settle();
    world.check_quiet().unwrap();
    assert_eq!([1, 2].map(|n| world.copies(n, frame(0, 4))), [1, 1]);
}

#[test]
fn an_invalidation_ends_when_exactly_those_concerned_have_done_it() {
    let mut world = World::new(4);
    let span = Span { base: 0x1000, end: 0x3000 };
    world.with(0, |agreement, cx| agreement.invalidate(9, 5, span, &[0, 1, 3].map(at), cx));
    assert_eq!(world.nodes[0].store.forgotten, [(5, span)]);
    while let Some(flight) = world.flights.first() {
        let (last, to) = (world.flights.len() == 1, flight.to);
        world.deliver(0);
        assert_eq!(world.answers(9).len(), usize::from(last && to == 0));
    }
    let done = [0, 1, 2, 3].map(|n| world.nodes[n].store.forgotten.len());
    assert_eq!((world.answers(9), done), (&[Ok(())][..], [1, 1, 0, 1]));
    world.check_quiet().unwrap();
    world.with(0, |agreement, cx| agreement.invalidate(10, 5, span, &[at(0)], cx));
    assert_eq!((world.answers(10), world.flights.len()), (&[Ok(())][..], 0), "alone, it sends nothing");
}
