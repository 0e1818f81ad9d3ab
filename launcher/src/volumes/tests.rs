use super::*;
use std::os::unix::fs::symlink;

fn layout() -> Layout {
    Layout::of_bytes(ext4::MIN_BYTES).unwrap()
}

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

#[test]
fn a_volume_is_made_once_and_goes_whole() {
    let state = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(state.path()).unwrap();
    assert!(volumes.create(&name("cache"), &layout()).unwrap());
    assert!(!volumes.create(&name("cache"), &layout()).unwrap());
    let listed = volumes.look_at(&name("cache")).unwrap();
    assert_eq!((listed.record.bytes, listed.in_use), (ext4::MIN_BYTES, false));
    let held = volumes.hold(&name("cache")).unwrap();
    assert_eq!(held.length, ext4::MIN_BYTES);
    assert!(volumes.look_at(&name("cache")).unwrap().in_use);
    drop(held);
    volumes.remove(&name("cache")).unwrap();
    assert_eq!(std::fs::read_dir(state.path().join("volumes")).unwrap().count(), 0);
    let gone = volumes.remove(&name("cache")).unwrap_err();
    assert!(matches!(gone, VolumeError::NotFound(_)), "{gone}");
}

#[test]
fn one_machine_has_it_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(state.path()).unwrap();
    volumes.create(&name("cache"), &layout()).unwrap();
    let held = volumes.hold(&name("cache")).unwrap();
    let other = volumes.hold(&name("cache")).unwrap_err();
    assert!(matches!(other, VolumeError::InUse(_)), "{other}");
    let removed = volumes.remove(&name("cache")).unwrap_err();
    assert!(matches!(removed, VolumeError::InUse(_)), "{removed}");
    // A copy of its open file is as good as itself.
    let copy = held.disk.try_clone().unwrap();
    drop(held);
    assert!(volumes.look_at(&name("cache")).unwrap().in_use);
    drop(copy);
    volumes.hold(&name("cache")).unwrap();
}

/// Who waits for one that is removed, and made anew, does not get the old one's disk.
#[test]
fn a_removed_volume_is_not_held() {
    let state = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(state.path()).unwrap();
    volumes.create(&name("cache"), &layout()).unwrap();
    let held = volumes.hold(&name("cache")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| volumes.hold(&name("cache")));
        std::thread::sleep(Duration::from_millis(200));
        std::fs::remove_dir_all(state.path().join("volumes/cache")).unwrap();
        volumes.create(&name("cache"), &layout()).unwrap();
        drop(held);
        let refused = waiting.join().unwrap().unwrap_err();
        assert!(matches!(refused, VolumeError::NotFound(_)), "{refused}");
    });
}

#[test]
fn what_a_kill_left_is_removed_and_what_is_being_made_stays() {
    let state = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(state.path()).unwrap();
    let place = |name: &str| state.path().join("volumes").join(name);
    for left in [".making-killed", ".removing-killed", ".making-at-work"] {
        std::fs::create_dir(place(left)).unwrap();
        std::fs::write(place(left).join(DISK), "").unwrap();
    }
    let at_work = try_lock(&place(".making-at-work")).unwrap();
    assert!(at_work.is_some());
    volumes.create(&name("cache"), &layout()).unwrap();
    let mut names = volumes.names().unwrap();
    names.sort();
    assert_eq!(names, [".making-at-work", "cache"]);
}

#[test]
fn what_somebody_put_there_is_no_volume() {
    let state = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(state.path()).unwrap();
    let place = |name: &str| state.path().join("volumes").join(name);
    volumes.create(&name("honest"), &layout()).unwrap();
    let outside = state.path().join("outside");
    std::fs::rename(place("honest"), &outside).unwrap();
    symlink(&outside, place("link")).unwrap();
    std::fs::write(place("file"), "").unwrap();
    for bad in ["link", "file"] {
        assert!(matches!(volumes.hold(&name(bad)), Err(VolumeError::NotFound(_))), "{bad}");
        assert!(matches!(volumes.remove(&name(bad)), Err(VolumeError::NotFound(_))), "{bad}");
    }
    std::fs::create_dir(place("odd")).unwrap();
    std::fs::write(place("odd").join(DISK), "no disk").unwrap();
    assert!(matches!(volumes.hold(&name("odd")), Err(VolumeError::Damaged { .. })));
    std::fs::write(place("odd").join("volume.json"), r#"{"version": 7}"#).unwrap();
    let (listed, unreadable) = volumes.list().unwrap();
    assert_eq!((listed.len(), unreadable.len()), (0, 1), "{listed:?} {unreadable:?}");
    volumes.remove(&name("odd")).unwrap();
    assert!(outside.join(DISK).is_file());
}
