use super::{Document, ManifestError, Platform, choose, parse_docker_archive};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn manifest(config_type: &str, layers: &str) -> String {
    format!(
        r#"{{"schemaVersion": 2, "unknown": [1], "annotations": null,
            "config": {{"mediaType": "{config_type}", "digest": "{DIGEST}", "size": 2}},
            "layers": {layers}}}"#
    )
}

fn index(manifests: &str) -> String {
    format!(r#"{{"schemaVersion": 2, "manifests": [{manifests}]}}"#)
}

fn entry(more: &str) -> String {
    format!(r#"{{"mediaType": "x", "digest": "{DIGEST}", "size": 7 {more}}}"#)
}

fn error(json: &str) -> ManifestError {
    Document::parse(json.as_bytes()).unwrap_err()
}

#[test]
fn manifests_and_indexes() {
    let layers = format!("[{}, {}]", entry(""), entry(r#", "urls": null"#));
    for config_type in [CONFIG, "application/vnd.docker.container.image.v1+json"] {
        match Document::parse(manifest(config_type, &layers).as_bytes()).unwrap() {
            Document::Manifest { config, layers } => {
                assert_eq!((config.size, layers.len(), layers[1].size), (2, 2, 7));
            }
            other => panic!("{other:?}"),
        }
    }
    let named = entry(r#", "annotations": {"org.opencontainers.image.ref.name": "v1"}"#);
    match Document::parse(index(&format!("{named}, {}", entry(""))).as_bytes()).unwrap() {
        Document::Index(manifests) => {
            assert_eq!(manifests[0].ref_name(), Some("v1"));
            assert_eq!(manifests[1].ref_name(), None);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_refused() {
    for json in ["", "{", "null", r#"{"manifests": 1}"#] {
        assert!(matches!(error(json), ManifestError::Json(_)), "{json}");
    }
    let bad_digest = manifest(CONFIG, "[]").replace("e3b0", "E3B0");
    assert!(matches!(error(&bad_digest), ManifestError::Json(_)));
    assert!(matches!(error(&manifest(CONFIG, "[{}]")), ManifestError::Json(_)));
    assert!(matches!(error(&manifest(CONFIG, r#"[{"size": -1}]"#)), ManifestError::Json(_)));
    let both = manifest(CONFIG, "[]").replace("\"unknown\": [1]", "\"manifests\": []");
    for json in ["{}", "[]", r#"{"manifests": [], "layers": []}"#, &both] {
        assert!(matches!(error(json), ManifestError::Ambiguous), "{json}");
    }
    let helm = manifest("application/vnd.cncf.helm.config.v1+json", "[]");
    assert!(matches!(error(&helm), ManifestError::NotAnImage(_)));
    let many = format!("[{}]", vec![entry(""); 201].join(","));
    let many = error(&manifest(CONFIG, &many));
    assert_eq!(many.to_string(), "the manifest lists 201 layers, over the limit of 200");
    let most = format!("[{}]", vec![entry(""); 200].join(","));
    assert!(Document::parse(manifest(CONFIG, &most).as_bytes()).is_ok());
    let deep = "[".repeat(100_000);
    assert!(matches!(error(&deep), ManifestError::Json(_)));
}

/// Whoever wrote a document writes no more of a message than there is room for, and no controls.
#[test]
fn messages_quote_little() {
    let long = "\\u001b[31m".repeat(100_000);
    let index_of = |os: &str| index(&entry(&format!(r#", "platform": {{"os": "{os}"}}"#)));
    let Document::Index(manifests) = Document::parse(index_of(&long).as_bytes()).unwrap() else {
        panic!()
    };
    let wanted = Platform { os: "linux".into(), architecture: "amd64".into() };
    let platform = choose(&manifests.iter().collect::<Vec<_>>(), &wanted).unwrap_err();
    for error in [
        error(&manifest(&long, "[]")),
        error(&format!(r#"{{"manifests": "{long}"}}"#)),
        parse_docker_archive(format!("\"{long}\"").as_bytes()).unwrap_err(),
        platform,
    ] {
        let message = error.to_string();
        assert!(message.len() < 4000 && !message.contains('\u{1b}'), "{} bytes", message.len());
    }
    assert_eq!(wanted.to_string(), "linux/amd64");
}

#[test]
fn the_platform_chooses() {
    let platform = |os: &str, architecture: &str| {
        format!(r#", "platform": {{"os": "{os}", "architecture": "{architecture}"}}"#)
    };
    let json = index(
        &[
            entry(&platform("unknown", "unknown")),
            entry(&platform("linux", "arm64")),
            entry(&platform("linux", "amd64")).replace("\"size\": 7", "\"size\": 9"),
            entry(&platform("linux", "amd64")),
        ]
        .join(","),
    );
    let Document::Index(manifests) = Document::parse(json.as_bytes()).unwrap() else { panic!() };
    let all: Vec<_> = manifests.iter().collect();
    let wanted =
        |architecture: &str| Platform { os: "linux".into(), architecture: architecture.into() };
    assert_eq!(choose(&all, &wanted("amd64")).unwrap().size, 9);
    let error = choose(&all, &wanted("s390x")).unwrap_err().to_string();
    assert!(error.contains("linux/s390x") && error.contains("linux/arm64"), "{error}");
}

#[test]
fn docker_archives() {
    let json =
        br#"[{"Config": "a.json", "RepoTags": null, "Layers": ["a/layer.tar"], "Parent": ""},
                    {"Config": "b.json"}]"#;
    let images = parse_docker_archive(json).unwrap();
    assert_eq!((images[0].config.as_str(), images[1].layers.is_none()), ("a.json", true));
    assert!(matches!(parse_docker_archive(b"{}"), Err(ManifestError::Json(_))));
    let many = format!(r#"[{{"Config": "", "Layers": [{}]}}]"#, vec!["\"\""; 201].join(","));
    assert!(matches!(parse_docker_archive(many.as_bytes()), Err(ManifestError::TooMany { .. })));
}
