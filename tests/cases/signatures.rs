//! Signatures that a policy asks for, made by openssl in cosign's format. Debian's skopeo and podman, which could say whether
//! they read them alike, are built without.

use crate::cases;
use crate::harness::registry::{Door, Registry};
use crate::harness::{Running, World};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    Tcg: an_image_is_signed_by_the_policys_key_or_not_used;
}

fn sh(script: &str, words: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh"]).args(words);
    Running::start(command, None).wait().exits(0).text().trim().to_owned()
}

/// A directory with a key pair, `key.pem` and `key.pub`.
fn key(world: &World) -> PathBuf {
    let place = world.fresh_state();
    let make = "cd \"$1\" && openssl ecparam -name prime256v1 -genkey -noout -out key.pem && \
                openssl ec -in key.pem -pubout -out key.pub 2> /dev/null";
    sh(make, &[&place.display().to_string()]);
    place
}

/// Puts a signature beside an image: what is signed, by whom, and for which digest's tag.
fn sign(
    world: &World,
    registry: &Registry,
    repository: &str,
    key: &Path,
    payload: &Value,
    digest: &str,
) {
    let place = world.fresh_state();
    let write = |name: &str, bytes: &[u8]| fs::write(place.join(name), bytes).unwrap();
    let blob = |bytes: &[u8]| {
        fs::create_dir_all(place.join("blobs/sha256")).unwrap();
        write("blob", bytes);
        let hex =
            sh("cd \"$1\" && sha256sum < blob | cut -d ' ' -f 1", &[&place.display().to_string()]);
        write(&format!("blobs/sha256/{hex}"), bytes);
        (format!("sha256:{hex}"), bytes.len())
    };
    let payload = payload.to_string();
    write("payload", payload.as_bytes());
    let [at, key] = [&place, key].map(|path| path.display().to_string());
    let signature =
        sh("openssl dgst -sha256 -sign \"$2/key.pem\" \"$1/payload\" | base64 -w0", &[&at, &key]);
    let described = |kind: &str, (digest, size): (String, usize)| json!({ "mediaType": kind, "digest": digest, "size": size });
    let mut layer =
        described("application/vnd.dev.cosign.simplesigning.v1+json", blob(payload.as_bytes()));
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
    let diff_id = layer["digest"].clone();
    let config = json!({ "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": [diff_id] } });
    let config = blob(config.to_string().as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "layers": [layer],
        "config": described("application/vnd.oci.image.config.v1+json", config),
    });
    let manifest = described(kind, blob(manifest.to_string().as_bytes()));
    write(
        "index.json",
        json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string().as_bytes(),
    );
    write("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#);
    let tag = digest.replace(':', "-") + ".sig";
    registry.push(&format!("oci:{at}"), &format!("{repository}:{tag}"));
}

fn an_image_is_signed_by_the_policys_key_or_not_used(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (state, host) = (world.fresh_state(), registry.host());
    let name = registry.push(&world.images.plain, "team/plain:v1");
    let (ours, theirs) = (key(world), key(world));
    let policy = |key: &Path, identity: &str| {
        let rule = json!([{
            "type": "sigstoreSigned", "keyPath": key.join("key.pub"), "signedIdentity": { "type": identity },
        }]);
        let policy = json!({ "default": [{ "type": "reject" }], "transports": { "docker": { format!("{host}/team"): rule } } });
        world.file("policy.json", &policy.to_string()).display().to_string()
    };
    let of_state = state.display().to_string();
    let pull = |policy: &str| {
        let flags = ["--policy", policy, "--insecure-registry", &host, "--state-dir", &of_state];
        world.command(&[&["pull", "--quiet"], &flags[..], &[&name]].concat())
    };
    let run = |policy: &str| {
        let flags = ["--policy", policy, "--pull", "never"];
        world.sandbox().state(&state).image(&name).flags(&flags).run(&["echo", "runs"])
    };
    let [exact, repository] = ["matchExact", "matchRepository"].map(|it| policy(&ours, it));

    pull(&exact).exits(125).complains(&["asks for a signature", "its rule for", "there is none"]);
    assert_eq!(registry.served("blobs"), 1, "no layer is fetched for nothing: {}", registry.log());

    let digest =
        sh("skopeo inspect --tls-verify=false --format '{{.Digest}}' \"docker://$1\"", &[&name]);
    let payload = |reference: &str, digest: &str| {
        json!({ "critical": {
            "identity": { "docker-reference": reference }, "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        }, "optional": null })
    };
    let signed = |key: &Path, payload: &Value| {
        sign(world, &registry, "team/plain", key, payload, &digest);
    };
    let other = format!("sha256:{}", "0".repeat(64));
    signed(&theirs, &payload(&name, &digest));
    pull(&exact).exits(125).complains(&["none is by a key of the policy's"]);
    signed(&ours, &payload(&name, &other));
    pull(&exact).exits(125).complains(&["what was signed is another image"]);
    let repository_alone = format!("{host}/team/plain");
    signed(&ours, &payload(&repository_alone, &digest));
    pull(&exact).exits(125).complains(&["what was signed is called", &repository_alone]);
    pull(&repository).exits(0);
    signed(&ours, &payload(&name, &digest));
    pull(&exact).exits(0);

    // From now on without the registry; and only for whom it was signed by.
    run(&exact).prints("runs");
    run(&policy(&theirs, "matchExact")).exits(125).complains(&["none is by a key of the policy's"]);
    let prune = ["image", "prune", "--state-dir", &of_state];
    world.command(&prune).exits(0);
    run(&exact).prints("runs");
}
