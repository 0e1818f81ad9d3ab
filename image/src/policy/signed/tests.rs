use super::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

const IMAGE: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:aaaac44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A key pair, and the public one as PEM.
fn key() -> (EcdsaKeyPair, String) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let der = [&P256_KEY[..], pair.public_key().as_ref()].concat();
    let body = BASE64.encode(der);
    let (first, rest) = body.split_at(64);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n");
    (pair, pem)
}

fn signed_by(pair: &EcdsaKeyPair, payload: &str) -> Signature {
    let payload = payload.as_bytes().to_vec();
    let signature = pair.sign(&SystemRandom::new(), &payload).unwrap().as_ref().to_vec();
    Signature::Sigstore { payload, signature }
}

fn payload(reference: &str, digest: &str, kind: &str) -> String {
    serde_json::json!({
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        },
        "optional": null,
    })
    .to_string()
}

fn rule(pem: &str, identity: &str) -> Signed {
    let json = format!(r#"{{"keyData": "{}" {identity}}}"#, BASE64.encode(pem));
    serde_json::from_str(&json).unwrap()
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

#[test]
fn it_counts_by_whom_it_is_and_for_what() {
    let ((ours, pem), (theirs, _)) = (key(), key());
    let rule = rule(&pem, "");
    let asked = name("registry.example/team/app:v1");
    let vouched = |signatures: &[Signature]| {
        rule.vouched(Some(&asked), &[IMAGE.parse().unwrap()], signatures)
    };
    let good = payload("registry.example/team/app:v1", IMAGE, KIND);
    assert_eq!(vouched(&[signed_by(&ours, &good)]), Ok(()));
    assert_eq!(vouched(&[signed_by(&theirs, &good), signed_by(&ours, &good)]), Ok(()));
    let why = |signatures: &[Signature]| vouched(signatures).unwrap_err();
    assert_eq!(why(&[]), "there is none");
    assert_eq!(why(&[signed_by(&theirs, &good)]), "none is by a key of the policy's");
    let Signature::Sigstore { signature, .. } = signed_by(&ours, &good) else { unreachable!() };
    let payload_of_other = payload("registry.example/team/app:v1", OTHER, KIND).into();
    let changed = Signature::Sigstore { payload: payload_of_other, signature };
    assert_eq!(why(&[changed]), "none is by a key of the policy's");
    for (document, said) in [
        (payload("registry.example/team/app:v1", OTHER, KIND), "what was signed is another image"),
        (payload("registry.example/team/app:v1", IMAGE, "x"), "what was signed is of another kind"),
        ("{}".to_owned(), "what was signed is no such document"),
        (
            payload("registry.example/team/app:v2", IMAGE, KIND),
            "what was signed is called \"registry.example/team/app:v2\"",
        ),
    ] {
        assert_eq!(why(&[signed_by(&ours, &document)]), said);
    }
}

#[test]
fn names_are_compared_as_the_rule_says() {
    let (_, pem) = key();
    let by_digest = format!("registry.example/app@{IMAGE}");
    let identity = |json: &str| rule(&pem, &format!(r#", "signedIdentity": {json}"#)).identity;
    let repository = identity(r#"{"type": "matchRepository"}"#);
    let exact = identity(r#"{"type": "matchExact"}"#);
    let usual = Identity::default();
    for (asked, signed, expected) in [
        ("registry.example/app:v1", "registry.example/app:v1", [true, true, true]),
        ("registry.example/app:v1", "registry.example/app:v2", [true, false, false]),
        // cosign's own documents name no tag.
        ("registry.example/app:latest", "registry.example/app", [true, false, false]),
        (&by_digest, "registry.example/app", [true, false, true]),
        (&by_digest, "registry.example/other", [false, false, false]),
        ("debian:12", "docker.io/library/debian:12", [true, true, true]),
        ("debian:12", "no name at all", [false, false, false]),
    ] {
        let found = [&repository, &exact, &usual].map(|it| it.fits(Some(&name(asked)), signed));
        assert_eq!(found, expected, "{asked} {signed}");
    }
    let reference = identity(r#"{"type": "exactReference", "dockerReference": "a.example/b:c"}"#);
    assert!(reference.fits(None, "a.example/b:c") && !reference.fits(None, "a.example/b:d"));
    let only = identity(r#"{"type": "exactRepository", "dockerRepository": "a.example/b"}"#);
    assert!(only.fits(None, "a.example/b:c") && !only.fits(None, "a.example/d:c"));
}

#[test]
fn what_is_no_key_or_is_asked_besides_is_refused() {
    let refused = |json: &str| serde_json::from_str::<Signed>(json).unwrap_err().to_string();
    assert!(refused("{}").contains("names no key"));
    assert!(refused(r#"{"keyData": "%"}"#).contains("no base64"));
    assert!(refused(r#"{"keyData": "eA=="}"#).contains("no public key on the curve P-256"));
    // Who asks for more than a key is not to be satisfied by a key.
    assert!(refused(r#"{"keyPath": "/k", "rekorPublicKeyPath": "/r"}"#).contains("unknown field"));
    assert!(refused(r#"{"keyPath": "/k", "signedIdentity": {"type": "other"}}"#).contains("other"));
    let (_, pem) = key();
    let mut rule: Signed = serde_json::from_str(r#"{"keyPaths": ["/a", "/b"]}"#).unwrap();
    let mut read = |path: &std::path::Path| {
        if path.ends_with("a") { Ok(pem.clone().into_bytes()) } else { Ok(b"x".to_vec()) }
    };
    let (path, words) = rule.read_keys(&mut read).unwrap_err();
    assert!(path.ends_with("b") && words.contains("no public key"), "{words}");
}
