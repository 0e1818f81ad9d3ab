//! GPG signatures that a policy asks for ("simple signing"): made by skopeo, kept aside, and judged by skopeo too.

use crate::cases;
use crate::harness::registry::{Door, Registry, free_port};
use crate::harness::{Output, Running, World};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

cases! {
    Tcg: an_image_is_signed_by_gpg_or_not_used;
}

/// A server of what is in a directory.
struct Aside {
    process: Child,
    port: u16,
}

impl Aside {
    fn start(directory: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new("busybox");
        command.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"]).arg(directory);
        Self { process: command.spawn().unwrap(), port }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody new signs an image by this name: the directory with the public key and the signature.
fn signed(world: &World, image: &str, name: &str) -> PathBuf {
    // An agent's socket has to have a short name.
    let script = r#"
        export GNUPGHOME=$(mktemp -d /tmp/gpgXXXXXX)
        trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
        cd "$1"
        gpg --batch --quiet --passphrase '' --quick-gen-key Somebody rsa3072 sign never
        gpg --batch --armor --export > key.asc
        skopeo inspect --raw --tls-verify=false "docker://$2" > manifest
        fingerprint=$(gpg --batch --list-keys --with-colons | sed -n 's/^fpr:*\([^:]*\):*/\1/p')
        skopeo standalone-sign --output signature manifest "$3" "$fingerprint"
    "#;
    let place = world.fresh_state();
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh"]).arg(&place).args([image, name]);
    Running::start(command, None).wait().exits(0);
    place
}

/// Whether skopeo accepts an image by a policy.
fn skopeo_takes(world: &World, name: &str, policy: &str, settings: &Path) -> bool {
    let mut command = Command::new("skopeo");
    command.args(["--policy", policy, "--registries.d"]).arg(settings);
    command.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{name}")]);
    command.arg(format!("dir:{}", world.fresh_state().display()));
    Running::start(command, None).wait().code == 0
}

/// A policy that takes a registry's images by somebody's key alone.
fn policy(world: &World, host: &str, key: &Path, identity: &str) -> String {
    let rule = json!([{
        "type": "signedBy", "keyType": "GPGKeys", "keyPath": key.join("key.asc"), "signedIdentity": { "type": identity },
    }]);
    let docker = json!({ host: rule });
    let policy = json!({ "default": [{ "type": "reject" }], "transports": { "docker": docker } });
    world.file("policy.json", &policy.to_string()).display().to_string()
}

fn digest_of(file: &Path) -> String {
    let digest = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    String::from_utf8(digest).unwrap()[..64].to_owned()
}

fn an_image_is_signed_by_gpg_or_not_used(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (home, state, aside) = (world.fresh_state(), world.fresh_state(), world.fresh_state());
    let host = registry.host();
    let name = registry.push(&world.images.plain, "team/plain:v1");
    let (ours, theirs) = (signed(world, &name, &name), signed(world, &name, &name));
    let renamed = signed(world, &name, &format!("{host}/team/other:v1"));

    let server = Aside::start(&aside);
    let settings = home.join(".config/containers/registries.d");
    fs::create_dir_all(&settings).unwrap();
    let place =
        format!("docker:\n  {host}:\n    lookaside: http://127.0.0.1:{}/sigs\n", server.port);
    fs::write(settings.join("test.yaml"), place).unwrap();

    let policy = |key: &Path, identity: &str| policy(world, &host, key, identity);
    let of_state = state.display().to_string();
    let pull = |policy: &str| -> Output {
        let mut command = Command::new(&world.product);
        command.args(["pull", "--quiet", "--policy", policy, "--insecure-registry", &host]);
        command.args(["--state-dir", &of_state, &name]).env("HOME", &home);
        Running::start(command, None).wait()
    };
    let peer = |policy: &str| skopeo_takes(world, &name, policy, &settings);
    let [exact, of_theirs] = [&ours, &theirs].map(|it| policy(it, "matchExact"));

    pull(&exact).exits(125).complains(&[
        "asks for a signature",
        "there is none",
        "hint:",
        "registries.d",
    ]);
    assert!(!peer(&exact));

    let signatures =
        aside.join(format!("sigs/team/plain@sha256={}", digest_of(&ours.join("manifest"))));
    fs::create_dir_all(&signatures).unwrap();
    let put = |number: u32, of: &Path| {
        fs::copy(of.join("signature"), signatures.join(format!("signature-{number}"))).unwrap();
    };
    put(1, &theirs);
    pull(&exact).exits(125).complains(&["none is by a key of the policy's"]);
    assert!(!peer(&exact));
    put(1, &renamed);
    pull(&policy(&renamed, "matchExact")).exits(125).complains(&["what was signed is called"]);
    assert!(!peer(&policy(&renamed, "matchExact")));
    put(2, &ours);
    pull(&exact).exits(0);
    assert!(peer(&exact));

    // From now on without the registry; and only for whom it was signed by.
    let run = |policy: &str| {
        let flags = ["--policy", policy, "--pull", "never"];
        world.sandbox().state(&state).image(&name).flags(&flags).run(&["echo", "runs"])
    };
    run(&exact).prints("runs");
    run(&of_theirs).exits(125).complains(&["none is by a key of the policy's"]);
    world.command(&["image", "prune", "--state-dir", &of_state]).exits(0);
    run(&exact).prints("runs");

    drop(server);
    pull(&exact).exits(125);
    let here = format!("docker:\n  {host}:\n    lookaside: file://{}/sigs\n", aside.display());
    fs::write(settings.join("test.yaml"), here).unwrap();
    they_lie_here(&signatures, &pull, [&exact, &of_theirs]);
    assert!(!peer(&exact));
}

/// The same, where the signatures lie on this machine: the second is by whom the first policy asks for.
fn they_lie_here(signatures: &Path, pull: &dyn Fn(&str) -> Output, [exact, of_theirs]: [&str; 2]) {
    pull(exact).exits(0);
    pull(of_theirs).exits(125).complains(&["none is by a key of the policy's"]);
    fs::remove_file(signatures.join("signature-2")).unwrap();
    pull(exact).exits(125).complains(&["none is by a key of the policy's"]);
    fs::remove_dir_all(signatures).unwrap();
    pull(exact).exits(125).complains(&["there is none"]);
}
