use super::*;
use proptest::prelude::*;

fn entry(function: u32) -> Entry {
    Entry { function, eax: !0, ebx: !0, ecx: !0, edx: !0, ..Default::default() }
}

fn supported() -> Vec<Entry> {
    let basic = [1, 4, 7, 0xa, 0xb, 0x1f, 0x4000_0000, 0x4000_0001].map(entry);
    let extended = [EXTENDED_FEATURES, ADDRESS_SIZES, SVM, AMD_CACHES, AMD_TOPOLOGY].map(entry);
    let highest = Entry { eax: 0x1f, ..entry(0) };
    [highest].into_iter().chain(basic).chain(extended).collect()
}

fn of(entries: &[Entry], function: u32) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.function == function).copied().collect()
}

#[test]
fn no_guest_sees_nested_virtualisation() {
    let entries = entries(&supported(), Processor { index: 0, count: 2 }, true);
    assert_eq!(of(&entries, FEATURES)[0].ecx & (1 << 5), 0);
    assert_eq!(of(&entries, EXTENDED_FEATURES)[0].ecx & (1 << 2), 0);
    assert_eq!(of(&entries, SVM), []);
}

#[test]
fn features_that_are_nobodys_business_here_pass_through() {
    let entries = entries(&supported(), Processor { index: 0, count: 2 }, true);
    assert_eq!(of(&entries, 7), [entry(7)]);
    assert_eq!(of(&entries, 0x4000_0001), [entry(0x4000_0001)]);
    assert_eq!(of(&entries, FEATURES)[0].ecx | (1 << 5) | (1 << 6), !0);
}

#[test]
fn the_deadline_timer_is_said_only_where_it_is() {
    for has in [false, true] {
        let entries = entries(&supported(), Processor { index: 0, count: 1 }, has);
        assert_eq!(of(&entries, FEATURES)[0].ecx >> 24 & 1, u32::from(has));
    }
}

#[test]
fn a_processor_without_the_topology_leaf_does_not_get_one() {
    let old = [Entry { eax: 7, ..entry(0) }, entry(1)];
    assert_eq!(of(&entries(&old, Processor { index: 0, count: 2 }, true), TOPOLOGY), []);
}

proptest! {
    #[test]
    fn every_leaf_tells_the_same_topology(count in 1u8..=32, pick in 0u8..32) {
        let index = pick % count;
        let id = u32::from(index);
        let entries = entries(&supported(), Processor { index, count }, true);
        let features = of(&entries, FEATURES)[0];
        prop_assert_eq!(features.ebx >> 24, id);
        prop_assert!((features.ebx >> 16 & 0xff) >= u32::from(count));
        prop_assert_eq!(features.edx >> 28 & 1, u32::from(count > 1));

        let levels = of(&entries, TOPOLOGY);
        prop_assert_eq!(levels.len(), 3);
        for (at, level) in (0..).zip(&levels) {
            prop_assert_eq!((level.index, level.ecx & 0xff, level.edx), (at, at, id));
        }
        prop_assert_eq!(levels[1].ebx, u32::from(count));
        prop_assert!(1u32 << levels[1].eax >= u32::from(count));

        let sizes = of(&entries, ADDRESS_SIZES)[0];
        prop_assert_eq!(sizes.ecx & 0xff, u32::from(count) - 1);
        prop_assert_eq!(sizes.ecx >> 12 & 0xf, levels[1].eax);
        let amd = of(&entries, AMD_TOPOLOGY)[0];
        prop_assert_eq!((amd.eax, amd.ebx, amd.ecx), (id, id, 0));
        prop_assert!(of(&entries, CACHES)[0].eax >> 26 >= u32::from(count) - 1);
    }
}
