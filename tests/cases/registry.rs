//! Images by name: from a real registry, whoever it lets in and however badly the line to it holds.

use crate::cases;
use crate::harness::registry::{Door, PASSWORD, Registry, USER};
use crate::harness::{Output, Running, World, leftovers, trees};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Both: an_image_by_name_runs;
    Tcg: what_was_pulled_is_kept, who_is_let_in, a_token_is_asked_for, who_logs_in_is_let_in, what_is_not_tls_is_asked_only_when_named, a_line_that_breaks,
        a_killed_pull_goes_on, an_interrupted_pull_goes_on, two_pull_at_once, a_tag_that_moved, images_are_listed_and_removed,
        mirrors_and_blocks, what_the_policy_does_not_accept, a_tree_is_what_umoci_makes, a_limit_is_kept;
}

/// What `cofferdam` gives with these arguments and variables, in a state directory.
fn cofferdam(
    world: &World,
    state: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Output {
    Running::start(command(world, state, variables, arguments), None).wait()
}

fn command(world: &World, state: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(&world.product);
    let (verb, rest) = arguments.split_first().unwrap();
    let words: Vec<&str> = verb.split(' ').collect();
    command.args(words);
    // Who logs in leaves nothing there.
    if !verb.starts_with("log") {
        command.arg("--state-dir").arg(state);
    }
    command.args(rest);
    // Whatever this machine's user has of registries is not looked at.
    for name in ["HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

/// The variable that says who vouches for a registry.
fn trusting(registry: &Registry) -> (&'static str, String) {
    ("SSL_CERT_FILE", registry.authority().display().to_string())
}

fn an_image_by_name_runs(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (name, host) = (registry.push(&world.images.plain, "test/plain:v1"), registry.host());
    let sandbox = world.sandbox().state(&world.fresh_state()).image(&name);
    sandbox.flags(&["--insecure-registry", &host]).sh("echo from $0").prints("from sh");
    assert!(registry.served("") > 2, "{}", registry.log());
}

/// Nothing comes in over the limit, what is there stays, and a higher one lets the rest in.
fn a_limit_is_kept(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (name, host) = (registry.push(&world.images.heavy, "test/heavy:v1"), registry.host());
    let state = world.fresh_state();
    let run = |arguments: &[&str]| cofferdam(world, &state, &[], arguments);
    let pull = || run(&["pull", "--insecure-registry", &host, &name]);
    run(&["system limit"]).prints("none");
    run(&["system limit", "1m"]).prints("1 MiB");
    let said = ["the store may take 1048576 bytes", "hint: cofferdam image prune"];
    pull().exits(125).complains(&said);
    run(&["system limit", "1g"]).prints("1 GiB");
    pull().exits(0);
    run(&["system limit", "1"]).prints("1 bytes");
    pull().exits(0);
    run(&["images", "-q"]).exits(0);
    run(&["system limit", "much"]).exits(125).complains(&["\"much\" is no size", "or none"]);
    std::fs::write(state.join("store/limit"), "much").unwrap();
    run(&["system limit"]).exits(125).complains(&["is no number of bytes", "hint: "]);
    run(&["system limit", "none"]).prints("none");
}

fn what_was_pulled_is_kept(world: &World) {
    let registry = Registry::start(world, Door::Open);
    let name = registry.push(&world.images.layered, "test/layered:v1");
    let state = world.fresh_state();
    let (variable, authority) = trusting(&registry);
    let sandbox = world.sandbox().state(&state).image(&name).launcher_env(variable, &authority);
    sandbox.sh("cat /part/replaced").prints("middle");
    // Once more, and nobody is asked: not even who vouches for whom.
    drop(registry);
    let sandbox = world.sandbox().state(&state).image(&name);
    sandbox.sh("cat /part/replaced").prints("middle");
    let sandbox = world.sandbox().state(&state).image(&name).flags(&["--pull", "always"]);
    sandbox.run(&["true"]).exits(125).complains(&["cannot reach it", "hint:"]);
    let sandbox = world.sandbox().state(&state).image("localhost:1/no").flags(&["--pull=never"]);
    sandbox.run(&["true"]).exits(125).complains(&["not in the store", "hint: --pull"]);
}

fn who_is_let_in(world: &World) {
    let registry = Registry::start(world, Door::Basic);
    let name = registry.push(&world.images.plain, "private/plain:v1");
    let (variable, authority) = trusting(&registry);
    let trusted = (variable, authority.as_str());
    let state = world.fresh_state();
    let pull = |variables: &[(&str, &str)], flags: &[&str]| {
        let arguments = [&["pull"], flags, &[&name]].concat();
        cofferdam(world, &state, &[&[trusted], variables].concat(), &arguments)
    };
    pull(&[], &[]).exits(125).complains(&["401", "hint:", "cofferdam login"]);
    let file = |auth: &Value| {
        let host = registry.host();
        world.file("auth.json", &json!({ "auths": { host: auth } }).to_string())
    };
    let wrong = file(&json!({ "username": USER, "password": "guess" })).display().to_string();
    let output = pull(&[], &["--authfile", &wrong]);
    output.exits(125).complains(&["401", "credentials that are known"]);
    assert!(!output.stderr.contains("guess"), "{}", output.stderr);
    let right = file(&json!({ "username": USER, "password": PASSWORD }));
    let by_variable = ("REGISTRY_AUTH_FILE", right.to_str().unwrap());
    pull(&[by_variable], &[]).exits(0);
    // As Docker keeps it, and by a helper.
    let home = world.scratch_file("home");
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    std::fs::copy(&right, home.join(".docker/config.json")).unwrap();
    pull(&[("HOME", home.to_str().unwrap())], &[]).exits(0);
    let answer = json!({ "ServerURL": registry.host(), "Username": USER, "Secret": PASSWORD });
    let helper = home.join("docker-credential-test");
    std::fs::write(
        &helper,
        format!(
            "#!/bin/sh\nread server\ncase $1$server in get{}) echo '{answer}';; esac\n",
            registry.host()
        ),
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&helper, mode).unwrap();
    let config = json!({ "credsStore": "test" }).to_string();
    std::fs::write(home.join(".docker/config.json"), config).unwrap();
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap_or_default());
    let variables = [("HOME", home.to_str().unwrap()), ("PATH", path.as_str())];
    pull(&variables, &[]).exits(0);
    pull(&variables[..1], &[]).exits(125).complains(&["docker-credential-test", "hint:"]);
}

/// Credentials that the registry takes are kept for nobody else to read, and forgotten when that is asked.
fn who_logs_in_is_let_in(world: &World) {
    for door in [Door::Basic, Door::Token] {
        let registry = Registry::start(world, door);
        let name = registry.push(&world.images.plain, "private/plain:v1");
        let (variable, authority) = trusting(&registry);
        let (state, home) = (world.fresh_state(), world.scratch_file("home"));
        std::fs::create_dir_all(&home).unwrap();
        let variables = [(variable, authority.as_str()), ("HOME", home.to_str().unwrap())];
        let host = registry.host();
        let log_in = |password: &str| {
            let arguments = ["login", "--username", USER, "--password-stdin", &host];
            let command = command(world, &state, &variables, &arguments);
            Running::start(command, Some(password.as_bytes().to_vec())).wait()
        };
        let kept = home.join(".docker/config.json");
        let output = log_in("guess\n");
        output.exits(125).complains(&[&host, "does not take these credentials", "401"]);
        assert!(!kept.exists(), "what is not taken is not kept");
        log_in(&format!("{PASSWORD}\n")).exits(0).shows(".docker/config.json");
        let mode = std::os::unix::fs::PermissionsExt::mode(&kept.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let pull = || cofferdam(world, &world.fresh_state(), &variables, &["pull", &name]);
        pull().exits(0);
        let log_out = || cofferdam(world, &state, &variables, &["logout", &host]);
        log_out().exits(0).prints(&format!("logged out of {host}"));
        pull().exits(125).complains(&["401", "cofferdam login"]);
        log_out().exits(125).complains(&["no credentials are kept"]);
    }
}

fn a_token_is_asked_for(world: &World) {
    let registry = Registry::start(world, Door::Token);
    let name = registry.push(&world.images.plain, "private/plain:v1");
    let (variable, authority) = trusting(&registry);
    let state = world.fresh_state();
    let auth = json!({ "auths": { registry.host(): { "username": USER, "password": PASSWORD } } });
    let file = world.file("auth.json", &auth.to_string()).display().to_string();
    let trusted = [(variable, authority.as_str())];
    let arguments = ["pull", "--authfile", &file, &name];
    cofferdam(world, &state, &trusted, &arguments).exits(0);
    let output = cofferdam(world, &world.fresh_state(), &trusted, &["pull", &name]);
    output.exits(125).complains(&["401", "who are you?", "hint:"]);
}

fn what_is_not_tls_is_asked_only_when_named(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let name = registry.push(&world.images.plain, "plain:v1");
    let state = world.fresh_state();
    let output = cofferdam(world, &state, &[], &["pull", &name]);
    output.exits(125).complains(&["hint:", "--insecure-registry"]);
    assert_eq!(registry.served("manifests"), 0, "nobody spoke to it without TLS");
    let host = registry.host();
    let flags = ["pull", "--insecure-registry", &host, &name];
    cofferdam(world, &state, &[], &flags).exits(0);
    // A certificate that nobody vouches for.
    let other = Registry::start(world, Door::Open);
    let name = other.push(&world.images.plain, "plain:v1");
    let output = cofferdam(world, &state, &[], &["pull", &name]);
    output.exits(125).complains(&["no secure connection", "certs.d"]);
    let host = other.host();
    cofferdam(world, &state, &[], &["pull", "--insecure-registry", &host, &name]).exits(0);
}

fn a_line_that_breaks(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    registry.push(&world.images.heavy, "heavy:v1");
    let port = registry.breaking(400_000);
    let host = format!("localhost:{port}");
    let state = world.fresh_state();
    let name = format!("{host}/heavy:v1");
    let flags = ["pull", "--insecure-registry", &host, &name];
    cofferdam(world, &state, &[], &flags).exits(0);
    assert!(registry.log().contains("\" 206 "), "nothing was taken up again: {}", registry.log());
    world.sandbox().state(&state).image(&name).run(&["echo", "whole"]).prints("whole");
}

/// Kill -9 in the middle: what is there is used, and nothing is left.
fn a_killed_pull_goes_on(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let name = registry.push(&world.images.heavy, "heavy:v1");
    let host = registry.host();
    let state = world.fresh_state();
    let flags = ["pull", "--insecure-registry", &host, &name];
    for moment in [5, 20, 60, 120] {
        let mut child = command(world, &state, &[], &flags).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    cofferdam(world, &state, &[], &flags).exits(0);
    let left = state.join("store/downloads");
    let left: Vec<_> = std::fs::read_dir(left).unwrap().flatten().map(|it| it.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(std::fs::read_dir(state.join("store/partial")).unwrap().count(), 0);
    world.sandbox().state(&state).image(&name).run(&["echo", "whole"]).prints("whole");
}

/// As PID 1 of its container, where no signal ends a process that does not take it. A line that stands still is what it
/// waits for.
fn an_interrupted_pull_goes_on(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    registry.push(&world.images.heavy, "heavy:v1");
    let port = registry.stalling(1_000_000);
    let (state, host) = (world.fresh_state(), format!("localhost:{port}"));
    let name = format!("{host}/heavy:v1");
    let flags = ["pull", "--insecure-registry", &host, &name];
    let pull = command(world, &state, &[], &flags);
    let mut within = Command::new("unshare");
    within.args(["--pid", "--fork", "--kill-child"]).arg(pull.get_program()).args(pull.get_args());
    let running = Running::start(within, None);
    let deadline = Instant::now() + Duration::from_secs(60);
    let fetched = || leftovers::files(&state).iter().any(|file| file.contains("downloads/sha256-"));
    while !fetched() {
        assert!(Instant::now() < deadline, "nothing comes: {}", registry.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid1 = leftovers::descent(running.pid())[1];
    kill_process(Pid::from_raw(pid1.cast_signed()).unwrap(), Signal::INT).unwrap();
    let output = running.wait();
    output.exits(130).complains(&["what was fetched is kept"]);
    cofferdam(world, &state, &[], &flags).exits(0);
}

fn two_pull_at_once(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let name = registry.push(&world.images.heavy, "heavy:v1");
    let state = world.fresh_state();
    let host = registry.host();
    let flags = ["pull", "--insecure-registry", &host, &name];
    let both = [(); 2].map(|()| Running::start(command(world, &state, &[], &flags), None));
    for running in both {
        running.wait().exits(0);
    }
    let layers = manifest(world, &name)["layers"].as_array().unwrap().clone();
    for layer in layers {
        let digest = layer["digest"].as_str().unwrap();
        assert_eq!(registry.served(digest), 1, "{digest}: {}", registry.log());
    }
}

/// An image's manifest, as skopeo has it.
fn manifest(_: &World, name: &str) -> Value {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    serde_json::from_slice(&skopeo.output().unwrap().stdout).unwrap()
}

const FILES: [&str; 3] = ["sh", "-c", "find / -xdev -type f | sort"];

fn a_tag_that_moved(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let name = registry.push(&world.images.plain, "moving:now");
    let (state, host) = (world.fresh_state(), registry.host());
    let flags = ["--insecure-registry", &host];
    let run = |pull: &str| {
        let flags = [&flags[..], &["--pull", pull]].concat();
        world.sandbox().state(&state).image(&name).flags(&flags).run(&FILES)
    };
    let before = run("missing");
    before.exits(0);
    let by_digest = {
        let listed = cofferdam(world, &state, &[], &["images", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.exits(0).stdout).unwrap();
        format!("{host}/moving@{}", listed[0]["digest"].as_str().unwrap())
    };
    registry.push(&world.images.setuid, "moving:now");
    assert_eq!(run("missing").text(), before.text());
    let outdated = || {
        let arguments = [&["images", "--outdated", "--json"], &flags[..]].concat();
        let output = cofferdam(world, &state, &[], &arguments);
        serde_json::from_slice::<Value>(&output.exits(0).stdout).unwrap()
    };
    assert_eq!(outdated()[0]["name"], name);
    let pulled = cofferdam(world, &state, &[], &[&["pull"], &flags[..], &[&name]].concat());
    pulled.exits(0).complains(&["replaced by a newer one"]);
    assert_eq!(outdated(), json!([]));
    let after = run("never");
    assert_ne!(after.exits(0).text(), before.text());
    // By its digest it is what it was.
    let sandbox = world.sandbox().state(&state).image(&by_digest).flags(&flags);
    assert_eq!(sandbox.run(&FILES).exits(0).text(), before.text());
}

fn images_are_listed_and_removed(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (state, host) = (world.fresh_state(), registry.host());
    let plain = registry.push(&world.images.plain, "a/plain:v1");
    let setuid = registry.push(&world.images.setuid, "a/setuid:v1");
    let pull = ["pull", "--quiet", "--insecure-registry", &host, &plain, &setuid];
    cofferdam(world, &state, &[], &pull).exits(0).prints(&format!("{plain}\n{setuid}"));
    let images = |arguments: &[&str]| cofferdam(world, &state, &[], arguments);
    let listed = images(&["images"]);
    let text = listed.exits(0).text();
    assert!(text.starts_with("REPOSITORY") && text.contains("a/setuid   v1"), "{text}");
    assert_eq!(images(&["images", &plain]).text().lines().count(), 2);
    let inspected = images(&["image inspect", &plain]);
    let inspected: Value = serde_json::from_slice(&inspected.exits(0).stdout).unwrap();
    assert_eq!(inspected[0]["config"]["config"]["Cmd"], json!(["sh"]));
    let id = inspected[0]["id"].as_str().unwrap().trim_start_matches("sha256:")[..12].to_owned();
    // What both have stays as long as one is there.
    images(&["rmi", &id]).exits(0).shows(&format!("untagged: {plain}\nremoved: 0 layers"));
    world.sandbox().state(&state).image(&setuid).flags(&["--pull=never"]).run(&["true"]).exits(0);
    images(&["rmi", &plain]).exits(125).complains(&["no image is called", "hint:"]);
    images(&["rmi", &setuid]).exits(0);
    assert_eq!(images(&["images", "--quiet"]).text(), "");
    images(&["image prune", "--all"]).exits(0).prints("removed: 0 layers, 0 B");
    let layers = state.join("store/layers/sha256");
    let layers = std::fs::read_dir(layers).unwrap().count();
    assert_eq!(layers, 0);
}

fn mirrors_and_blocks(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    registry.push(&world.images.plain, "mirrored/library/plain:v1");
    let state = world.fresh_state();
    let settings = format!(
        "[[registry]]\nprefix = 'docker.io'\n[[registry.mirror]]\nlocation = '{}/mirrored'\ninsecure = true\n\
         [[registry]]\nprefix = 'docker.io/blocked'\nblocked = true\n",
        registry.host()
    );
    let settings = world.file("registries.conf", &settings).display().to_string();
    let variables = [("CONTAINERS_REGISTRIES_CONF", settings.as_str())];
    let begun = Instant::now();
    let output = cofferdam(world, &state, &variables, &["pull", "plain:v1"]);
    output.exits(0).prints("docker.io/library/plain:v1");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let output = cofferdam(world, &state, &variables, &["pull", "blocked/any"]);
    output.exits(125).complains(&["block"]);
}

/// What a container sees of an image is what another's unpacking makes of it, file by file.
fn a_tree_is_what_umoci_makes(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (state, host) = (world.fresh_state(), registry.host());
    for (image, tag) in [(&world.images.layered, "layered"), (&world.images.setuid, "setuid")] {
        let name = registry.push(image, &format!("tree:{tag}"));
        let flags = ["--privileged", "--insecure-registry", &host];
        let sandbox = world.sandbox().state(&state).image(&name).flags(&flags);
        let ours = sandbox.run(&["guest-tool", "tree", "/"]).exits(0).text();
        let theirs = trees::by_umoci(world, &name);
        assert_eq!(trees::differing(&ours, &theirs), [""; 0]);
    }
}

/// A refused image names the rule, and a rejected one is not even asked for.
fn what_the_policy_does_not_accept(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    let (state, host) = (world.fresh_state(), registry.host());
    let name = registry.push(&world.images.plain, "team/plain:v1");
    let pull = |policy: &Value| {
        let file = world.file("policy.json", &policy.to_string()).display().to_string();
        let flags = ["pull", "--policy", &file, "--insecure-registry", &host, &name];
        cofferdam(world, &state, &[], &flags)
    };
    let anything = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    let team = format!("{host}/team");
    let rejected =
        json!({ "default": anything, "transports": { "docker": { team.clone(): reject } } });
    pull(&rejected).exits(125).complains(&["rejects it", "its rule for", &team, "hint:"]);
    assert_eq!(registry.served("manifests"), 0, "{}", registry.log());
    let other = format!("sha256:{}", "0".repeat(64));
    let pinned = |digest: &str| {
        let rule = json!([{ "type": "pinned", "digests": [digest] }]);
        json!({ "default": reject, "transports": { "docker": { team.clone(): rule } } })
    };
    pull(&pinned(&other)).exits(125).complains(&["accepts other digests", &team]);
    assert_eq!(cofferdam(world, &state, &[], &["images", "--quiet"]).text(), "");
    let digest = |json: &Value| json[0]["digest"].as_str().unwrap().to_owned();
    pull(&json!({ "default": anything })).exits(0);
    let listed = cofferdam(world, &state, &[], &["images", "--json"]);
    let digest = digest(&serde_json::from_slice(&listed.stdout).unwrap());
    pull(&pinned(&digest)).exits(0);
    // Also what is in the store already.
    let file = world.file("policy.json", &pinned(&other).to_string()).display().to_string();
    let sandbox = world.sandbox().state(&state).image(&name).flags(&["--policy", &file]);
    sandbox.run(&["true"]).exits(125).complains(&["accepts other digests"]);
}
