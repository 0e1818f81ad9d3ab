//! Says whether `/dev/kvm` is any good.

use std::error::Error;
use std::fs::File;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let kvm = File::options().read(true).write(true).open("/dev/kvm")?;
    println!("{:?}", vmm::probe::measure(kvm.into())?);
    Ok(())
}
