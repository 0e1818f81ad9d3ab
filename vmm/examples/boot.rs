//! Boots a kernel and an initramfs on KVM, shows its early log, and says how it ended:
//! `boot KERNEL INITRAMFS [MEMORY_MIB [VCPUS [log | nolog [WORD…]]]]`. A word `disk=FILE` is no word for
//! the kernel but a disk the guest may write to.

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;
use vmm::virtio::vsock::Offers;
use vmm::{DiskConfig, FdSlot, FileExtent, VmConfig};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initramfs, rest @ ..] = arguments.as_slice() else {
        return Err("boot KERNEL INITRAMFS [MEMORY_MIB [VCPUS [log | nolog [WORD…]]]]".into());
    };
    let kvm = File::options().read(true).write(true).open("/dev/kvm")?;
    let (kernel, initramfs) = (File::open(kernel)?, File::open(initramfs)?);
    let whole = |slot, file: &File| -> Result<_, std::io::Error> {
        Ok(FileExtent { file: FdSlot(slot), offset: 0, length: file.metadata()?.len() })
    };
    let (disks, words): (Vec<_>, Vec<_>) =
        rest.iter().skip(3).partition(|word| word.starts_with("disk="));
    let disks: Vec<_> = disks
        .into_iter()
        .map(|word| File::options().read(true).write(true).open(word.trim_start_matches("disk=")))
        .collect::<Result<_, _>>()?;
    let disk = |(slot, file): (u32, &File)| {
        Ok(DiskConfig {
            serial: format!("disk{slot}"),
            extents: vec![whole(slot, file)?],
            writable: true,
        })
    };
    let config = VmConfig {
        kvm: FdSlot(0),
        memory_mib: rest.first().map_or(Ok(256), |mib| mib.parse())?,
        vcpus: rest.get(1).map_or(Ok(1), |count| count.parse())?,
        kernel: whole(1, &kernel)?,
        initramfs: whole(2, &initramfs)?,
        cmdline: words.into_iter().cloned().collect(),
        disks: (4..).zip(&disks).map(disk).collect::<Result<_, std::io::Error>>()?,
        console: rest.get(2).is_none_or(|log| log == "log").then_some(FdSlot(3)),
    };
    let log = std::io::stdout().as_fd().try_clone_to_owned()?;
    let mut descriptors = vec![kvm.into(), kernel.into(), initramfs.into(), log];
    descriptors.extend(disks.into_iter().map(Into::into));
    let begin = Instant::now();
    let vm = vmm::boot(&config, descriptors, Offers::new())?;
    let booted = begin.elapsed();
    let stopped = vm.run();
    println!("{:?} (boot {booted:?}, all {:?})", stopped.exit, begin.elapsed());
    Ok(())
}
