//! testcontainers for Rust, as a test of somebody's has it: a database of its own, which is asked.

use std::error::Error;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{GenericImage, ImageExt};

fn main() -> Result<(), Box<dyn Error>> {
    let ready = WaitFor::message_on_stdout("database system is ready to accept connections");
    let image = GenericImage::new("cofferdam-services", "latest")
        .with_exposed_port(5432.tcp())
        .with_wait_for(ready);
    let database = image.with_cmd(["/job/database"]).with_mount(mount()).start()?;
    let port = database.get_host_port_ipv4(5432.tcp())?;
    let address = format!("host={} port={port} user=postgres", database.get_host()?);
    let mut client = postgres::Client::connect(&address, postgres::NoTls)?;
    let sum: i64 = client.query_one("SELECT sum(it) FROM generate_series(1, 1000) it", &[])?.get(0);
    println!("testcontainers for Rust: {sum}");
    Ok(())
}

/// The job's directory, which the daemon sees at its own path.
fn mount() -> testcontainers::core::Mount {
    let here = std::env::current_dir().expect("there is one");
    testcontainers::core::Mount::bind_mount(here.display().to_string(), "/job")
}
