use super::{ImageName, NameError};
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<ImageName, NameError> {
    text.parse()
}

#[track_caller]
fn means(short: &str, whole: &str, familiar: &str) {
    let name = parse(short).unwrap();
    assert_eq!(name.to_string(), whole);
    assert_eq!(name.familiar(), familiar);
    assert_eq!(parse(whole).unwrap(), name, "the whole name means the same");
    assert_eq!(parse(familiar).unwrap(), name, "the familiar name means the same");
}

#[test]
fn short_names_mean_what_docker_means_by_them() {
    means("debian", "docker.io/library/debian:latest", "debian:latest");
    means("debian:12", "docker.io/library/debian:12", "debian:12");
    means("grafana/grafana", "docker.io/grafana/grafana:latest", "grafana/grafana:latest");
    means("docker.io/debian", "docker.io/library/debian:latest", "debian:latest");
    means("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest");
    means("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
    means("localhost/a", "localhost/a:latest", "localhost/a:latest");
    means("localhost:5000/a:v1", "localhost:5000/a:v1", "localhost:5000/a:v1");
    means("quay.io/a/b/c:v1.2-x_y", "quay.io/a/b/c:v1.2-x_y", "quay.io/a/b/c:v1.2-x_y");
    means("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
    means("Host/a", "Host/a:latest", "Host/a:latest");
    means("a__b/c.d/e---f", "docker.io/a__b/c.d/e---f:latest", "a__b/c.d/e---f:latest");
}

#[test]
fn a_digest_decides() {
    let name = parse(&format!("debian@{DIGEST}")).unwrap();
    assert_eq!((name.tag(), name.version().as_str()), (None, DIGEST));
    let name = parse(&format!("debian:12@{DIGEST}")).unwrap();
    assert_eq!((name.tag(), name.version().as_str()), (Some("12"), DIGEST));
    assert_eq!(parse("debian:12").unwrap().version(), "12");
    assert!(matches!(parse("debian@sha256:12"), Err(NameError::Digest { .. })));
    assert!(matches!(parse(&format!("debian@{DIGEST}@{DIGEST}")), Err(NameError::Digest { .. })));
}

#[test]
fn what_is_no_name() {
    for text in
        ["", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", "-a", "a-", "a b", "é", "a:"]
    {
        assert!(parse(text).is_err(), "{text:?}");
    }
    for text in ["a:.b", "a:-b", "a:b/c:", &format!("a:{}", "b".repeat(129))] {
        assert!(matches!(parse(text), Err(NameError::Tag(_))), "{text:?}");
    }
    for text in
        ["a.:1/b", "h.x:99999/b", "h.x:0/b", "h.x:/b", "[::g]:1/b", "[::1]5/b", "h..x/b", "-h.x/b"]
    {
        assert!(matches!(parse(text), Err(NameError::Registry(_))), "{text:?}");
    }
    assert!(matches!(parse(&"a".repeat(64)), Err(NameError::Id(_))));
    assert!(matches!(parse("b/".repeat(150).trim_end_matches('/')), Err(NameError::TooLong)));
}

/// One whose name is a transport's is printed whole, lest it be read as that.
#[test]
fn a_name_is_no_transport() {
    for word in crate::reference::TRANSPORTS {
        let name = parse(word).unwrap();
        assert_eq!(name.familiar(), format!("docker.io/library/{word}:latest"));
    }
    assert_eq!(parse("docker.io/library/docker").unwrap().familiar(), "docker:latest");
    assert_eq!(parse("docker.io/oci/oci").unwrap().familiar(), "oci/oci:latest");
}

proptest! {
    /// Whatever is taken is printed as something that means the same, and nothing breaks the rest.
    #[test]
    fn printed_and_read_again(text in "[a-zA-Z0-9.:@/_\\[\\]-]{0,60}") {
        if let Ok(name) = parse(&text) {
            prop_assert_eq!(parse(&name.to_string()).unwrap(), name.clone());
            prop_assert_eq!(parse(&name.familiar()).unwrap(), name.clone());
            prop_assert!(!name.repository().contains([':', '@', '?', '#', '%', ' ']));
            prop_assert!(!name.repository().split('/').any(|part| matches!(part, "" | "." | "..")));
        }
    }
}
