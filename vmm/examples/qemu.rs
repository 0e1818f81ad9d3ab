//! Boots a guest on QEMU's TCG with its disks and sockets served from here over vhost-user.
//!
//! `cargo run -p vmm --example qemu -- KERNEL INITRAMFS [--cmdline WORDS] [-w DISK | DISK]…`
//!
//! The guest's serial port is stdout. What the guest may connect to: port 5 echoes, 6 sends a gibibyte
//! of a known sequence, 7 takes one and says whether it was that, 16 and 17 likewise without looking,
//! 8 reads one byte and closes, 9 counts. The program ends with the machine and says how it ended.

use rustix::io::{FdFlags, fcntl_setfd};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;
use vmm::virtio::vsock::Offers;
use vmm::{Descriptors, DiskConfig, FdSlot, FileExtent, VhostUserConfig};

const MIB: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let kernel = arguments.next().ok_or("which kernel?")?;
    let initramfs = arguments.next().ok_or("which initramfs?")?;
    let mut qemu = Qemu::new(&kernel, &initramfs);
    let (mut cmdline, mut writable) = (String::new(), false);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--cmdline" => cmdline = arguments.next().ok_or("which words?")?,
            "-w" => writable = true,
            path => qemu.add_disk(path, std::mem::take(&mut writable))?,
        }
    }
    let offers = Offers::new();
    offer_all(&offers)?;
    let began = Instant::now();
    let (status, end) = qemu.run(&cmdline, offers)?;
    eprintln!("QEMU {status}, {end:?}, {:?}", began.elapsed());
    Ok(())
}

struct Qemu {
    command: Command,
    disks: Vec<(DiskConfig, FdSlot)>,
    descriptors: Descriptors,
    theirs: Vec<UnixStream>,
}

impl Qemu {
    fn new(kernel: &str, initramfs: &str) -> Self {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(vmm::vhost_user_devices::QEMU_MACHINE.split_whitespace());
        command.args(["-m", "256", "-object", "memory-backend-memfd,id=mem,size=256M,share=on"]);
        command.args(["-display", "none", "-serial", "stdio", "-kernel", kernel]);
        command.args(["-initrd", initramfs]);
        Self { command, disks: Vec::new(), descriptors: Vec::new(), theirs: Vec::new() }
    }

    fn add_disk(&mut self, path: &str, writable: bool) -> Result<(), Box<dyn Error>> {
        let file = OpenOptions::new().read(true).write(writable).open(path)?;
        let length = file.metadata()?.len();
        let slot = self.slot(file.into());
        let extents = vec![FileExtent { file: slot, offset: 0, length }];
        let serial = format!("disk{}", self.disks.len());
        let name = format!("c{}", self.theirs.len());
        let connection = self.connect()?;
        let device = format!("vhost-user-blk,chardev={name}");
        self.command.args(["-device", &device]);
        self.disks.push((DiskConfig { serial, extents, writable }, connection));
        Ok(())
    }

    fn run(
        mut self,
        cmdline: &str,
        offers: Offers,
    ) -> Result<(std::process::ExitStatus, vmm::vhost_user_devices::VhostUserEnd), Box<dyn Error>>
    {
        let name = format!("c{}", self.theirs.len());
        let vsock = self.connect()?;
        self.command.args(["-device", &format!("vhost-user-vsock-device,chardev={name}")]);
        let always = "console=ttyS0 quiet reboot=panic_warm,t panic=-1";
        let clock = vmm::vhost_user_devices::QEMU_CMDLINE;
        self.command.args(["-append", &format!("{always} {clock} {cmdline}")]);
        let config = VhostUserConfig { disks: self.disks, vsock };
        let devices = vmm::vhost_user_devices::serve(&config, self.descriptors, offers)?;
        let mut qemu = self.command.spawn()?;
        drop(self.theirs);
        let status = qemu.wait()?;
        Ok((status, devices.wait()))
    }

    fn connect(&mut self) -> Result<FdSlot, Box<dyn Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        fcntl_setfd(&theirs, FdFlags::empty())?;
        let chardev = format!("socket,id=c{},fd={}", self.theirs.len(), theirs.as_raw_fd());
        self.command.args(["-chardev", &chardev]);
        self.theirs.push(theirs);
        Ok(self.slot(ours.into()))
    }

    fn slot(&mut self, descriptor: OwnedFd) -> FdSlot {
        self.descriptors.push(descriptor);
        FdSlot(u32::try_from(self.descriptors.len() - 1).unwrap_or(u32::MAX))
    }
}

fn offer_all(offers: &Offers) -> Result<(), Box<dyn Error>> {
    for _ in 0..300 {
        serve_port(offers, 5, |mut stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            stream.write_all(&bytes)
        })?;
    }
    serve_port(offers, 6, |mut stream| {
        let mut sequence = Sequence::new();
        (0..1024 * 16).try_for_each(|_| stream.write_all(sequence.next_block()))
    })?;
    serve_port(offers, 7, |mut stream| {
        let (mut sequence, mut block) = (Sequence::new(), vec![0; 64 * 1024]);
        let mut same = true;
        for _ in 0..1024 * 16 {
            stream.read_exact(&mut block)?;
            same &= block == sequence.next_block();
        }
        let left = stream.read_to_end(&mut Vec::new())?;
        write!(stream, "same={same} left={left}")
    })?;
    serve_port(offers, 16, |mut stream| {
        let block = vec![1; MIB];
        (0..1024).try_for_each(|_| stream.write_all(&block))
    })?;
    for port in [17, 9] {
        serve_port(offers, port, move |mut stream| {
            let (mut count, mut block) = (0, vec![0; MIB]);
            while let read @ 1.. = stream.read(&mut block)? {
                count += read;
            }
            eprintln!("port {port}: {count} bytes");
            let _ = write!(stream, "{count} bytes");
            Ok(())
        })?;
    }
    serve_port(offers, 8, |mut stream| stream.read_exact(&mut [0]))?;
    Ok(())
}

fn serve_port(
    offers: &Offers,
    port: u32,
    serve: impl FnOnce(UnixStream) -> std::io::Result<()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    offers.offer(port, theirs.into())?;
    std::thread::spawn(move || {
        if let Err(error) = serve(ours) {
            eprintln!("port {port}: {error}");
        }
    });
    Ok(())
}

/// A sequence that both sides can make: xorshift64.
struct Sequence {
    state: u64,
    block: Vec<u8>,
}

impl Sequence {
    fn new() -> Self {
        Self { state: 88_172_645_463_325_252, block: vec![0; 64 * 1024] }
    }

    fn next_block(&mut self) -> &[u8] {
        for word in self.block.chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        &self.block
    }
}
