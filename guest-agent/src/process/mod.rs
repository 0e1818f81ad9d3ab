//! One process: from the agent's wish, through a starter of its own, to its program.

pub mod become_process;
pub mod copier;
pub mod docker_ports;
pub mod gate;
pub mod identity;
mod joined;
pub mod launch;
pub mod limits;
pub mod program;
pub mod reaper;
pub mod starter;
mod surroundings;
pub mod tasks;
pub mod witness;
