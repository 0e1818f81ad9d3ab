use super::{ConfigError, ImageConfig};
use crate::manifest::Platform;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn wanted() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into() }
}

fn parse(json: &str) -> Result<(ImageConfig, usize), ConfigError> {
    let json = json.replace("DIGEST", DIGEST);
    ImageConfig::parse(json.as_bytes(), &wanted()).map(|(config, ids)| (config, ids.len()))
}

#[test]
fn all_that_an_image_may_say() {
    let (config, layers) = parse(
        r#"{"os": "linux", "architecture": "amd64", "created": "2026", "history": null,
            "config": {"User": "app:grp", "Env": ["A=1", "B="], "Entrypoint": ["/init"],
                "Cmd": ["x", "y z"], "WorkingDir": "/srv", "StopSignal": "SIGQUIT",
                "Labels": {"k": "v"}, "Volumes": {"/var/lib": {}, "/data": {}}, "ExposedPorts": {"80/tcp": {}},
                "Healthcheck": {"Test": ["NONE"]}, "OnBuild": null},
            "rootfs": {"type": "layers", "diff_ids": ["DIGEST", "DIGEST"]}}"#,
    )
    .unwrap();
    assert_eq!(layers, 2);
    assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("app:grp", "/srv"));
    assert_eq!(config.env, ["A=1", "B="]);
    assert_eq!(
        (config.entrypoint, config.cmd),
        (vec!["/init".into()], vec!["x".into(), "y z".into()])
    );
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(config.volumes, ["/data", "/var/lib"]);
    assert_eq!(config.health.test, ["NONE"]);
}

#[test]
fn nothing_said_is_nothing() {
    for config in
        ["", r#""config": null,"#, r#""config": {"Env": null, "Cmd": null, "StopSignal": ""},"#]
    {
        let json = format!(r#"{{{config} "rootfs": {{"diff_ids": ["DIGEST"]}}}}"#);
        let (config, _) = parse(&json).unwrap();
        assert!(config.env.is_empty() && config.cmd.is_empty() && config.user.is_empty());
        assert_eq!(config.stop_signal, None);
    }
}

/// It is Docker's alone: whatever stands there, the image can be run.
#[test]
fn a_health_check_is_read_where_it_is_one() {
    let read = |text: &str| {
        let json = format!(
            r#"{{"config": {{"Healthcheck": {text}}}, "rootfs": {{"diff_ids": ["DIGEST"]}}}}"#
        );
        parse(&json).unwrap().0.health
    };
    let full =
        read(r#"{"Test": ["CMD", "x"], "Interval": 5000000000, "Timeout": 7, "Retries": 2}"#);
    assert_eq!((full.test.join(" ").as_str(), full.retries), ("CMD x", 2));
    assert_eq!((full.interval_ns, full.timeout_ns, full.start_period_ns), (5_000_000_000, 7, 0));
    for odd in ["null", "3", r#"{"Test": 5}"#, r#"{"Test": ["CMD"], "Interval": "soon"}"#, "{}"] {
        assert!(read(odd).test.is_empty(), "{odd}");
    }
}

#[test]
fn what_is_refused() {
    let rootfs = r#""rootfs": {"diff_ids": ["DIGEST"]}"#;
    let arm = format!(r#"{{"os": "linux", "architecture": "arm64", {rootfs}}}"#);
    assert!(matches!(parse(&arm), Err(ConfigError::Platform { .. })));
    for json in ["{}", r#"{"rootfs": null}"#, r#"{"rootfs": {"diff_ids": []}}"#] {
        assert!(matches!(parse(json), Err(ConfigError::LayerCount(0))), "{json}");
    }
    let long = "x".repeat(100_000);
    for json in [
        format!(r#"{{"os": "{long}", "architecture": "amd64", {rootfs}}}"#),
        format!(r#"{{"config": {{"Env": "{long}"}}, {rootfs}}}"#),
    ] {
        let message = parse(&json).unwrap_err().to_string();
        assert!(message.len() < 1000, "{} bytes", message.len());
    }
    let bad = format!(r#"{{"config": {{"Env": "A=1"}}, {rootfs}}}"#);
    assert!(matches!(parse(&bad), Err(ConfigError::Json(_))));
    assert!(matches!(parse(&rootfs.replace("DIGEST", "sha256:0")), Err(ConfigError::Json(_))));
}
