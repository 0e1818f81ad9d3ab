use super::*;

#[test]
fn the_agent_keeps_something_of_every_machine() {
    let meminfo = "MemTotal:         221184 kB\nMemFree:          204800 kB\nMemAvailable:  1 kB\n";
    let free = free_bytes(meminfo).unwrap();
    assert_eq!(free, 200 << 20);
    assert_eq!(memory_for_containers(free), (200 << 20) - (4 << 20) - (200 << 15));
    assert_eq!(free_bytes("MemFree: many kB\n"), None);
    assert_eq!(free_bytes(""), None);
    for mib in [16u64, 40, 200, 4000, 1 << 20] {
        let left = memory_for_containers(mib << 20);
        assert!(left > 0 && left < (mib << 20) - (4 << 20), "{left} of {mib} MiB");
    }
    assert_eq!(threads_for_containers(1600), 1300);
    assert_eq!(threads_for_containers(50), 0);
}
