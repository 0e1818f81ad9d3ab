//! Long runs, for `make soak` alone: many sandboxes, many kills, much data.

use super::{filters, kills, limits, mutations, network, real_clients, real_images, repeat};
use crate::cases;
use crate::harness::kernel::{Misdeed, tiny};
use crate::harness::nets::Kinds;
use crate::harness::{Kind, Random, World, image};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::process::{Command, Stdio};

/// Sandboxes one after the other.
pub const RUNS: u32 = 200;
/// Kills of each kind of process.
pub const KILLS_OF_EACH_KIND: u32 = 6;
/// Archives with mistakes in them, and answers of registries.
pub const MISTAKEN: [u32; 2] = [9000, 1000];
/// Bytes through standard input to standard output.
pub const BYTES: u64 = 1 << 30;

/// Connections, one after the other.
pub const CONNECTIONS: u32 = 1_000_000;

cases! {
    Both: many_in_a_row, kills_of_the_launcher, kills_of_unpacking, kills_of_the_share_process, kills_of_the_network_process, a_gibibyte_comes_back,
        all_the_cpus_there_can_be, each_call_taken_off_its_list_is_missed;
    Kvm: kills_of_the_vmm, kills_of_the_probe_of_a_good_kvm, a_hang_at_boot_without_a_word_of_it;
    Tcg: kills_of_the_emulator, kills_of_its_devices, a_million_connections, mistaken_archives, mistaken_answers,
        real_images_are_what_umoci_makes, real_clients_over_ipv4, real_clients_over_ipv6, real_clients_over_both;
    OpenKvm: kills_of_the_probe;
}

fn many_in_a_row(world: &World) {
    let state = world.fresh_state();
    repeat::in_a_row(world, &state, RUNS);
}

fn each_call_taken_off_its_list_is_missed(world: &World) {
    assert_eq!(filters::unmissed(world), [""; 0]);
}

fn all_the_cpus_there_can_be(world: &World) {
    limits::cpus_that_run(world, 32);
}

fn mistaken_archives(world: &World) {
    mutations::archives(world, MISTAKEN[0]);
}

fn real_images_are_what_umoci_makes(world: &World) {
    real_images::are_what_umoci_makes(world);
}

fn real_clients_over_ipv4(world: &World) {
    real_clients::over(world, Kinds::V4);
}

fn real_clients_over_ipv6(world: &World) {
    real_clients::over(world, Kinds::V6);
}

fn real_clients_over_both(world: &World) {
    real_clients::over(world, Kinds::Both);
}

fn mistaken_answers(world: &World) {
    mutations::answers(world, MISTAKEN[1]);
}

fn kills(world: &World, kind: Kind) {
    kills::kills(world, kind, KILLS_OF_EACH_KIND, true);
}

fn kills_of_the_launcher(world: &World) {
    kills(world, Kind::Launcher);
}

fn kills_of_unpacking(world: &World) {
    kills(world, Kind::Unpack);
}

fn kills_of_the_share_process(world: &World) {
    kills(world, Kind::Share);
}

fn kills_of_the_network_process(world: &World) {
    kills(world, Kind::Network);
}

fn a_million_connections(world: &World) {
    network::connections(world, CONNECTIONS);
}

fn kills_of_the_vmm(world: &World) {
    kills(world, Kind::Vmm);
}

fn kills_of_the_probe(world: &World) {
    kills(world, Kind::Probe);
}

fn kills_of_the_probe_of_a_good_kvm(world: &World) {
    kills(world, Kind::Probe);
}

/// The deadline that nobody asked for.
fn a_hang_at_boot_without_a_word_of_it(world: &World) {
    let kernel = tiny(world, Misdeed::Spin);
    let output = world.sh(&["--kernel", kernel.to_str().unwrap()], "true");
    output.exits(125).complains(&["boot"]);
    let seconds = output.elapsed.as_secs();
    assert!((30..45).contains(&seconds), "{seconds} s");
}

fn kills_of_the_emulator(world: &World) {
    kills(world, Kind::Qemu);
}

fn kills_of_its_devices(world: &World) {
    kills(world, Kind::Devices);
}

fn a_gibibyte_comes_back(world: &World) {
    let mut child = Command::new(&world.product)
        .args(world.sandbox().flags(&["-i"]).arguments(&["cat"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut random = Random::new(world.seed);
    let writer = std::thread::spawn(move || {
        let mut hash = Sha256::new();
        const STEP: usize = 1 << 20;
        for _ in 0..BYTES / STEP as u64 {
            let bytes = random.bytes(STEP);
            hash.update(&bytes);
            stdin.write_all(&bytes).unwrap();
        }
        format!("sha256:{:x}", hash.finalize())
    });
    let (digest, count) = image::digest_of(&mut child.stdout.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((count, digest), (BYTES, writer.join().unwrap()));
}
