//! `-v` and `--mount`: what they mean, and what is refused.

use super::{plan, refusal};
use crate::plan::volume::{Mounted, VolumeMount, long, short};
use crate::plan::{ImageDefaults, MAX_SHARES, MAX_VOLUMES, ShareMount};
use proptest::prelude::*;

fn mount(destination: &str, volume: Option<&str>, readonly: bool, copy: bool) -> VolumeMount {
    let volume = volume.map(|name| name.parse().unwrap());
    VolumeMount { destination: destination.to_owned(), volume, readonly, copy }
}

#[test]
fn both_ways_to_write_it_mean_the_same() {
    for (typed, words, expected) in [
        ("cache:/c", "src=cache,dst=/c", mount("/c", Some("cache"), false, true)),
        (
            "cache:/c/:ro",
            "type=volume,source=cache,target=/c,ro",
            mount("/c", Some("cache"), true, true),
        ),
        ("/c//d", "destination=/c/d", mount("/c/d", None, false, true)),
        (
            "cache:/c:nocopy,ro,rw",
            "source=cache,dst=/c,readonly=false,volume-nocopy",
            mount("/c", Some("cache"), false, false),
        ),
    ] {
        assert_eq!(short(typed), Ok(Mounted::Volume(expected.clone())), "{typed}");
        assert_eq!(long(words), Ok(Mounted::Volume(expected)), "{words}");
    }
    let tmpfs = "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700";
    assert_eq!(long(tmpfs), Ok(Mounted::Tmpfs("/t:size=1m,mode=700".to_owned())));
    let mounts = plan(&["--mount", tmpfs]).container.mounts;
    assert!(mounts[0].options.contains(&"mode=700".to_owned()), "{mounts:?}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_started() {
    for (line, said) in [
        (
            &["-v", "src/a:/dst"][..],
            "cofferdam: --volume \"src/a:/dst\": \"src/a\" is neither a volume's name nor a path\n\
             hint: a path begins with / or with a dot: ./src/a\n",
        ),
        (
            &["--mount", "type=bind,dst=/b"],
            "cofferdam: --mount \"type=bind,dst=/b\": it does not say what\n\
             hint: for example --mount type=bind,src=/from,dst=/path\n",
        ),
        (
            &["-v", "c:/c"],
            "cofferdam: --volume \"c:/c\": \"c\" is no name for a volume\n\
             hint: a name is 2 to 128 of A-Z a-z 0-9 _ . - and begins with a letter or digit\n",
        ),
        (
            &["-v", "cache:c"],
            "cofferdam: --volume \"cache:c\": the path \"c\" is not absolute\n\
             hint: write it from the container's root, without \"..\"\n",
        ),
        (
            &["-v", "cache:/"],
            "cofferdam: --volume \"cache:/\": it would hide the container's root file system\n\
             hint: mount it below the root\n",
        ),
        (
            &["-v", "cache:/c:rx"],
            "cofferdam: --volume \"cache:/c:rx\": unknown option \"rx\"\n\
             hint: options are ro, rw and nocopy\n",
        ),
        (
            &["--mount", "type=volume,src=cache"],
            "cofferdam: --mount \"type=volume,src=cache\": it does not say where\n\
             hint: for example --mount type=volume,src=NAME,dst=/path\n",
        ),
        (
            &["--mount", "type=npipe,dst=/c"],
            "cofferdam: --mount \"type=npipe,dst=/c\": unknown type \"npipe\"\n\
             hint: types are bind, volume and tmpfs\n",
        ),
        (
            &["-v", "cache:/c", "--tmpfs", "/c"],
            "cofferdam: /c was given twice\nhint: one mount at each place is enough\n",
        ),
    ] {
        assert_eq!(refusal(line), said);
    }
    let many: Vec<String> =
        (0..=MAX_VOLUMES).flat_map(|it| ["-v".to_owned(), format!("v{it}:/v{it}")]).collect();
    let said = refusal(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("33 volumes are over the limit of 32"), "{said}");
}

#[test]
fn what_begins_as_a_path_is_shared() {
    let share = |source: &str, readonly| ShareMount {
        source: source.into(),
        destination: "/d".to_owned(),
        readonly,
    };
    for (typed, words, expected) in [
        ("/a b:/d", "type=bind,src=/a b,dst=/d", share("/a b", false)),
        (".:/d:ro,z", "type=bind,source=.,target=/d,readonly", share(".", true)),
        ("../x:/d:cached", "type=bind,src=../x,dst=/d/", share("../x", false)),
    ] {
        assert_eq!(short(typed), Ok(Mounted::Share(expected.clone())), "{typed}");
        assert_eq!(long(words), Ok(Mounted::Share(expected)), "{words}");
    }
    // A name with a slash in it can be typed where it is said what it is.
    assert_eq!(long("type=bind,src=a/b,dst=/d"), Ok(Mounted::Share(share("a/b", false))));
    assert_eq!(plan(&["-v", "/a:/d", "-v", "bb:/e"]).container.shares, [share("/a", false)]);
    let said = refusal(&["-v", "/a:/d", "-v", "b1:/d"]);
    assert!(said.contains("/d was given twice"), "{said}");
    let many: Vec<String> =
        (0..=MAX_SHARES).flat_map(|it| ["-v".to_owned(), format!("/x:/v{it}")]).collect();
    let said = refusal(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("65 shared directories are over the limit of 64"), "{said}");
}

#[test]
fn what_an_image_declares_comes_to_what_was_asked_for() {
    let volumes = ["/data", "relative", "/a/../b", "/", "/t", "/cache"].map(str::to_owned);
    let image =
        ImageDefaults { cmd: vec!["sh".into()], volumes: volumes.into(), ..Default::default() };
    let volumes = |line: &[&str]| plan(line).with_image(&image, "abc").unwrap().volumes;
    assert_eq!(
        volumes(&["-v", "cache:/cache", "--tmpfs", "/t"]),
        [mount("/cache", Some("cache"), false, true), mount("/data", None, false, true)]
    );
    // There, nothing can be written to that the user has not named.
    let strict = volumes(&["--profile", "strict", "-v", "cache:/cache"]);
    assert_eq!(strict, [mount("/cache", Some("cache"), false, true)]);
}

proptest! {
    #[test]
    fn whatever_is_typed_ends_below_the_root(typed in "[a-z./:=,~ ]{0,30}") {
        let check = |place: &str| {
            let fine = place.starts_with('/') && place.len() > 1;
            fine && !place.contains("..") && !place.contains("//")
        };
        // A name of the root's may have two dots in it.
        let typed = typed.replace("..", "");
        for mounted in [short(&typed), long(&typed)] {
            match mounted {
                Ok(Mounted::Volume(VolumeMount { destination, .. }) | Mounted::Share(ShareMount { destination, .. })) => {
                    prop_assert!(check(&destination), "{destination:?}");
                }
                Ok(Mounted::Tmpfs(_)) | Err(_) => {}
            }
        }
    }
}
