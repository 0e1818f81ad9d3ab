use super::*;

const MAX_ENCODED_BYTES: usize = 1 << 20;

fn encoded() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    write(&directory.path().join("disk"), &mut bytes).unwrap();
    bytes
}

#[test]
fn two_builds_give_the_same_small_template() {
    let first = encoded();
    assert!(first.len() < MAX_ENCODED_BYTES, "{} bytes", first.len());
    assert_eq!(first, encoded());
}

/// What the launcher does with it: decoded, it is a clean file system of the full size.
#[test]
fn what_is_decoded_passes_fsck() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    let file = File::create_new(&disk).unwrap();
    let size = payload::sparse::decode(encoded().as_slice(), &file).unwrap();
    assert_eq!(size, 100 << 30);
    let check = Command::new("/sbin/e2fsck").arg("-fn").arg(&disk).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
