use anyhow::bail;

use super::*;

fn workspace(cache: &Path) -> Workspace {
    let nowhere = PathBuf::from("/nonexistent");
    let (root, dist, target) = (nowhere.clone(), nowhere.clone(), nowhere);
    Workspace { root, dist, cache: cache.to_path_buf(), target }
}

fn holding(text: &str) -> impl FnOnce(&Path) -> Result<()> {
    move |place| Ok(fs::write(place.join("file"), text)?)
}

#[test]
fn a_result_is_made_once() {
    let scratch = tempfile::tempdir().unwrap();
    let workspace = workspace(scratch.path());
    let first = entry(&workspace, "kind", "digest", holding("first")).unwrap();
    let second = entry(&workspace, "kind", "digest", holding("second")).unwrap();
    assert_eq!(first, second);
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "first");
}

#[test]
fn a_failure_leaves_nothing_that_passes_for_a_result() {
    let scratch = tempfile::tempdir().unwrap();
    let workspace = workspace(scratch.path());
    let failed = entry(&workspace, "kind", "digest", |place| {
        fs::write(place.join("file"), "half")?;
        bail!("the compiler is missing")
    });
    assert_eq!(failed.unwrap_err().to_string(), "the compiler is missing");
    let made = entry(&workspace, "kind", "digest", holding("whole")).unwrap();
    assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "whole");
}

#[test]
fn what_nobody_asked_for_in_a_month_goes() {
    let scratch = tempfile::tempdir().unwrap();
    let workspace = workspace(scratch.path());
    let [old, used] = ["old", "used"].map(|digest| {
        let place = entry(&workspace, "kind", digest, holding(digest)).unwrap();
        let long_ago = SystemTime::now() - KEPT_UNUSED - Duration::from_secs(60);
        File::open(&place).unwrap().set_modified(long_ago).unwrap();
        place
    });
    entry(&workspace, "kind", "used", holding("")).unwrap();
    entry(&workspace, "kind", "new", holding("")).unwrap();
    assert!(!old.exists());
    assert!(used.exists());
}
