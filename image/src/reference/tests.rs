use super::{Reference, ReferenceError, Selector, normalise_docker_name};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<Reference, ReferenceError> {
    text.parse()
}

#[test]
fn what_skopeo_takes() {
    assert_eq!(
        parse("oci:/images/debian").unwrap(),
        Reference::OciLayout { path: "/images/debian".into(), selector: Selector::Only }
    );
    assert_eq!(
        parse("oci:a/b:v1:x").unwrap(),
        Reference::OciLayout { path: "a/b".into(), selector: Selector::Name("v1:x".into()) }
    );
    assert_eq!(
        parse("oci-archive:x.tar:ghcr.io/a/b:1").unwrap(),
        Reference::OciArchive {
            path: "x.tar".into(),
            selector: Selector::Name("ghcr.io/a/b:1".into())
        }
    );
    assert_eq!(
        parse("docker-archive:x.tar:docker.io/library/debian").unwrap(),
        Reference::DockerArchive { path: "x.tar".into(), name: Some("debian:latest".into()) }
    );
    assert_eq!(
        parse("docker-archive:x.tar").unwrap(),
        Reference::DockerArchive { path: "x.tar".into(), name: None }
    );
}

#[test]
fn digests_select() {
    let by_digest = Selector::Digest(DIGEST.parse().unwrap());
    for text in [format!("oci:dir@{DIGEST}"), format!("oci:dir:name@{DIGEST}")] {
        assert_eq!(
            parse(&text).unwrap(),
            Reference::OciLayout { path: "dir".into(), selector: by_digest.clone() }
        );
    }
    assert!(matches!(parse("oci:dir@sha256:12"), Err(ReferenceError::Digest { .. })));
    // An @ that begins no digest is part of the path.
    assert_eq!(
        parse("oci:a@b").unwrap(),
        Reference::OciLayout { path: "a@b".into(), selector: Selector::Only }
    );
}

#[test]
fn what_is_no_reference() {
    for text in ["docker-daemon:debian:12", "containers-storage:debian"] {
        assert!(matches!(parse(text), Err(ReferenceError::Transport(_))), "{text}");
    }
    for text in ["", "OCI:dir", "dir:/tmp/x", "docker:///x", "https://a/b"] {
        assert!(matches!(parse(text), Err(ReferenceError::Name(_))), "{text}");
    }
    assert!(matches!(parse("oci:"), Err(ReferenceError::NoPath(_))));
    assert!(matches!(parse("docker-archive::name"), Err(ReferenceError::NoPath(_))));
    assert!(matches!(parse("oci:dir:"), Err(ReferenceError::EmptyName(_))));
}

#[test]
fn what_has_no_transport_is_a_registrys() {
    for text in ["debian:12", "docker://debian:12", "docker://docker.io/library/debian:12"] {
        assert_eq!(parse(text).unwrap(), Reference::Registry("debian:12".parse().unwrap()));
    }
    assert!(matches!(parse("localhost:5000/a").unwrap(), Reference::Registry(_)));
}

#[test]
fn printed_as_typed() {
    for text in
        ["oci:dir", "oci:dir:tag", "oci-archive:a:b:c", "docker-archive:a:debian:12", "debian:12"]
    {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    let text = format!("oci:dir@{DIGEST}");
    assert_eq!(parse(&text).unwrap().to_string(), text);
}

#[test]
fn docker_names_are_compared_in_one_form() {
    for name in ["debian", "debian:latest", "library/debian", "docker.io/library/debian:latest"] {
        assert_eq!(normalise_docker_name(name), "debian:latest");
    }
    assert_eq!(normalise_docker_name("localhost:5000/a"), "localhost:5000/a:latest");
}
