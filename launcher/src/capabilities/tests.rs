use super::*;

fn granted_names(add: &[&str], drop: &[&str]) -> Vec<String> {
    let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    names(granted(&owned(add), &owned(drop)).unwrap())
}

#[test]
fn the_default_is_the_one_that_docker_documents() {
    // CapEff of `docker run --rm alpine grep CapEff /proc/self/status`.
    assert_eq!(docker_default(), CapabilitySet(0xa804_25fb));
    // CapEff of `docker run --privileged` on a kernel with 41 capabilities.
    assert_eq!(all(), CapabilitySet(0x1ff_ffff_ffff));
}

#[test]
fn names_are_taken_in_any_spelling() {
    for name in ["SYS_ADMIN", "sys_admin", "CAP_SYS_ADMIN", "cap_sys_admin", "Cap_Sys_Admin"] {
        assert_eq!(number(name), Some(21), "{name}");
    }
}

#[test]
fn all_added_less_those_dropped() {
    let granted = granted(&["ALL".into()], &["net_raw".into(), "CAP_MKNOD".into()]).unwrap();
    assert_eq!(granted.0, all().0 & !(1 << 13) & !(1 << 27));
}

#[test]
fn all_dropped_leaves_those_added() {
    assert_eq!(granted_names(&["NET_ADMIN"], &["all"]), ["CAP_NET_ADMIN"]);
    assert!(granted_names(&[], &["ALL"]).is_empty());
}

#[test]
fn one_both_dropped_and_added_stays() {
    assert!(granted_names(&["CHOWN"], &["CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
    assert_eq!(granted_names(&["SYS_TIME"], &["CHOWN"]).len(), 14);
}

#[test]
fn an_unknown_name_is_refused_with_the_flag_and_a_near_one() {
    let error = granted(&[], &["CAP_SYS_ADMINS".into()]).unwrap_err();
    assert_eq!(error.to_string(), "--cap-drop \"CAP_SYS_ADMINS\": there is no such capability");
    assert!(error.hint().unwrap().contains("did you mean SYS_ADMIN?"));
    let error = granted(&["".into()], &[]).unwrap_err();
    assert_eq!(error.hint().unwrap(), "capabilities(7) lists them; ALL stands for all");
}
