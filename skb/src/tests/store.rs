use super::wire::record;
use crate::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// The store does what a set with a limit does.
    #[test]
    fn a_store_is_a_bounded_set(pool in vec(record(), 1..12), steps in vec((0..12usize, any::<bool>()), 0..60)) {
        let (mut store, mut model) = (Store::new(6), HashSet::new());
        for (pick, insert) in steps {
            let record = pool[pick % pool.len()];
            if insert {
                let expected = if model.contains(&record) {
                    Ok(false)
                } else if model.len() == 6 {
                    Err(StoreError::Full { limit: 6 })
                } else {
                    model.insert(record);
                    Ok(true)
                };
                prop_assert_eq!(store.insert(record), expected);
            } else {
                prop_assert_eq!(store.remove(&record), model.remove(&record));
            }
            prop_assert_eq!(store.iter().copied().collect::<HashSet<_>>(), model.clone());
            prop_assert_eq!(store.len(), model.len());
        }
    }

    #[test]
    fn a_store_survives_a_frame(records in vec(record(), 0..20)) {
        let (mut store, mut copy) = (Store::default(), Store::default());
        for record in records {
            store.insert(record).unwrap();
        }
        let mut frame = vec![0xee; store.len() * 64 + 7];
        let used = store.write_to(&mut frame).unwrap();
        prop_assert_eq!(used, store.len() * 64);
        copy.read_from(&frame[..used]).unwrap();
        prop_assert_eq!(&copy, &store);
        if used > 0 {
            prop_assert_eq!(store.write_to(&mut frame[..used - 1]), None);
            prop_assert_eq!(copy.read_from(&frame[..used - 1]), Err(StoreError::Length(used - 1)));
        }
    }
}

#[test]
fn an_island_that_is_given_up_takes_its_facts_along() {
    let mut store = Store::default();
    for island in [0, 1, 1, 2] {
        let origin = Origin { island: IslandId(island), epoch: Epoch(1), source: Source::Discovered };
        let local = store.len() as u16;
        store.add(origin, Core { local, hw: HwId(0), enabled: true, node: 0 }).unwrap();
    }
    assert_eq!(store.forget(IslandId(1)), 2);
    assert_eq!(store.forget(IslandId(1)), 0);
    assert_eq!(store.len(), 2);
}

#[test]
fn a_bad_record_is_refused_by_name() {
    let error = Store::default().read_from(&[0; 64]).unwrap_err();
    assert_eq!(error.to_string(), "fact record: record.version has no valid value");
}
