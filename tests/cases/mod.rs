//! All cases: one file for each thing that a user would give a name.

use crate::harness::Case;

mod again;
mod agent_container;
mod agent_machine;
mod agent_protocol;
mod agent_streams;
mod apparmor;
mod archives;
mod attempts;
mod audit;
mod bench;
mod console;
mod copy;
mod detached;
mod disasters;
mod disk;
mod docker_command;
mod docker_default;
mod docker_job;
mod docker_ports;
mod doctor;
mod endurance;
mod engine_walls;
mod engines;
mod escapes;
mod events;
mod exec;
mod exit_codes;
mod filters;
mod gpg_signatures;
mod health;
mod hostile_state;
mod image_config;
mod joined;
mod kernel_tcp;
mod kills;
mod layers;
mod lifecycle;
mod limits;
mod mutations;
mod network;
mod opened;
mod pause;
mod posix;
mod privileges;
mod process;
mod proxies;
mod published_sockets;
mod real_clients;
mod real_images;
mod records;
mod registry;
mod repeat;
mod rootfs;
mod seccomp;
mod shares;
mod signals;
mod signatures;
pub mod soak;
mod stats;
mod stories;
mod streams;
mod strict;
mod terminal;
mod update;
mod user_namespace;
mod volumes;

/// Every case of `make test`.
pub fn all() -> Vec<Case> {
    [
        copy::CASES,
        exec::CASES,
        exit_codes::CASES,
        gpg_signatures::CASES,
        streams::CASES,
        terminal::CASES,
        process::CASES,
        proxies::CASES,
        image_config::CASES,
        rootfs::CASES,
        disk::CASES,
        volumes::CASES,
        shares::CASES,
        pause::CASES,
        posix::CASES,
        layers::CASES,
        privileges::CASES,
        seccomp::CASES,
        filters::CASES,
        opened::CASES,
        attempts::CASES,
        audit::CASES,
        bench::CASES,
        docker_default::CASES,
        docker_command::CASES,
        docker_ports::CASES,
        apparmor::CASES,
        strict::CASES,
        update::CASES,
        user_namespace::CASES,
        limits::CASES,
        lifecycle::CASES,
        signals::CASES,
        stats::CASES,
        records::CASES,
        registry::CASES,
        signatures::CASES,
        mutations::CASES,
        network::CASES,
        published_sockets::CASES,
        kernel_tcp::CASES,
        archives::CASES,
        events::CASES,
        health::CASES,
        hostile_state::CASES,
        console::CASES,
        doctor::CASES,
        detached::CASES,
        again::CASES,
        disasters::CASES,
        repeat::CASES,
        stories::CASES,
        escapes::CASES,
        joined::CASES,
        kills::CASES,
        engines::CASES,
        engine_walls::CASES,
        agent_container::CASES,
        agent_machine::CASES,
        agent_protocol::CASES,
        agent_streams::CASES,
    ]
    .concat()
}

/// Every case of `make soak`.
pub fn long() -> Vec<Case> {
    [soak::CASES, docker_job::CASES, endurance::CASES].concat()
}

/// Whether a case runs Docker's daemon in a sandbox, of which an image has to be made.
pub fn runs_docker(case: &Case) -> bool {
    let name = case.name();
    ["docker_command::", "docker_ports::"].iter().any(|it| name.starts_with(it))
        || name == "filters::a_docker"
}

/// Whether a case runs a job of CI, whose place has to be made.
pub fn runs_job_of_ci(case: &Case) -> bool {
    case.name().starts_with("docker_job::")
}
