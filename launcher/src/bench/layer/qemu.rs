//! QEMU as a peer: its own microvm with our guest kernel and no container. The tree of a bundle, on an ext4 disk of its
//! own, is its root; a serial port is its stream.

use super::bundle::Bundle;
use super::scratch::Scratch;
use crate::host::place::find_program;
use payload::{Payload, PayloadError};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::process::Command;
use std::sync::Arc;
use vmm::vhost_user_devices::QEMU_CMDLINE;

/// Its memory.
const MEMORY: &str = "1G";
/// How large its disk may grow.
const DISK: &str = "8G";
const MKE2FS: &str = "mke2fs";
/// Where Debian keeps programs of administrators, whatever a user's PATH is.
const ADMINISTRATORS_PATH: &str = "/usr/sbin:/sbin";
/// A disk has whole sectors.
const SECTOR_BYTES: usize = 512;

/// With the timer and the interrupt controller that a serial port needs here, and nothing else of a PC.
const MACHINE: &str = "microvm,acpi=off,pit=on,pic=on,rtc=off,isa-serial=on";

/// The kernel's words. Its messages go nowhere, and its first program's end is the machine's.
const CMDLINE: &str =
    "root=/dev/vda rw rootflags=noinit_itable quiet console=none panic=-1 reboot=t";
/// The first program runs what stands on the second disk.
const FIRST_PROGRAM: &str =
    "init=/bin/sh -c \"mkdir -p /dev /proc /sys; mount -t devtmpfs dev /dev; exec sh /dev/vdb\"";

/// What comes before the program: the serial port becomes its streams, byte for byte.
const BEFORE: &str = "exec </dev/ttyS0 >/dev/ttyS0 2>&1\nstty raw -echo\n\
                      mount -t proc proc /proc\nmount -t sysfs sysfs /sys\ncd /\n\
                      export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
/// What comes after it: what was written is waited for, since the machine ends with this shell.
const AFTER: &str = "\nexec </dev/null >/dev/null 2>&1\nexit\n";

/// A QEMU, and what it boots.
#[derive(Debug)]
pub struct Qemu {
    /// Its program.
    pub program: String,
    is_kvm: bool,
    scratch: Arc<Scratch>,
}

/// Why it cannot boot anything.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// There is no kernel to boot.
    #[error("cannot take the guest kernel out of this program")]
    Kernel(#[from] PayloadError),
    /// It cannot be written.
    #[error("cannot write the guest kernel")]
    Write(#[source] io::Error),
    /// Nothing makes its disk.
    #[error("{MKE2FS} is not installed, and QEMU needs a disk")]
    NoMke2fs,
    /// It was not made.
    #[error("cannot make QEMU's disk of {0:?}: {1}")]
    Disk(std::path::PathBuf, String),
    /// The program that makes it could not be started.
    #[error("cannot start {MKE2FS}")]
    Start(#[source] io::Error),
}

impl Qemu {
    /// Takes the kernel out of this program, and makes a disk of a bundle's tree.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn prepare(
        program: String,
        is_kvm: bool,
        bundle: &Bundle,
        scratch: Arc<Scratch>,
    ) -> Result<Self, QemuError> {
        let myself = File::open(super::MYSELF).map_err(QemuError::Write)?;
        let kernel = Payload::locate(&myself)?.kernel;
        (&myself).seek(SeekFrom::Start(kernel.offset)).map_err(QemuError::Write)?;
        let mut out = File::create(scratch.place("kernel")).map_err(QemuError::Write)?;
        io::copy(&mut myself.take(kernel.length), &mut out).map_err(QemuError::Write)?;

        let path = std::env::var("PATH").unwrap_or_default();
        let mke2fs = find_program(MKE2FS, &format!("{path}:{ADMINISTRATORS_PATH}"));
        let mut made = Command::new(mke2fs.ok_or(QemuError::NoMke2fs)?);
        made.args(["-q", "-F", "-t", "ext4", "-d"]).arg(&bundle.root);
        let made = made.arg(scratch.place("disk")).arg(DISK).output().map_err(QemuError::Start)?;
        if !made.status.success() {
            let said = crate::error::clean(String::from_utf8_lossy(&made.stderr).trim());
            return Err(QemuError::Disk(bundle.root.clone(), said));
        }
        Ok(Self { program, is_kvm, scratch })
    }

    /// The words that boot a machine whose first program runs this one: its script is written by this.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn words(&self, program: &[&str]) -> io::Result<Vec<OsString>> {
        let script = self.scratch.place(&self.scratch.name());
        fs::write(&script, self::script(program))?;
        let place = |name| self.scratch.place(name);
        let (accelerator, processor, more) =
            if self.is_kvm { ("kvm", "host", "") } else { ("tcg", "max,svm=off", QEMU_CMDLINE) };
        let mut words: Vec<OsString> = vec![(&self.program).into()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        add(&["-M", MACHINE, "-accel", accelerator, "-cpu", processor, "-smp", "1", "-m", MEMORY]);
        add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]);
        add(&["-serial", "stdio", "-append", &format!("{CMDLINE} {more} {FIRST_PROGRAM}")]);
        words.extend(["-kernel".into(), place("kernel").into_os_string()]);
        // The kernel is told of the last bus first, and so names what is there.
        let disks = [(script, "readonly=on"), (place("disk"), "snapshot=on")];
        for (index, (file, how)) in disks.into_iter().enumerate() {
            let mut drive = OsString::from(format!("if=none,id=d{index},format=raw,{how},file="));
            // A comma ends a value there, and two of them are one.
            drive.push(file.to_string_lossy().replace(',', ",,"));
            let device = format!("virtio-blk-device,drive=d{index},bus=virtio-mmio-bus.{index}");
            words.extend(["-drive".into(), drive, "-device".into(), device.into()]);
        }
        Ok(words)
    }
}

/// What stands on the second disk.
fn script(program: &[&str]) -> String {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
    let words: Vec<String> = program.iter().map(quoted).collect();
    let mut script = format!("{BEFORE}{}{AFTER}", words.join(" "));
    let padding = script.len().next_multiple_of(SECTOR_BYTES) - script.len();
    script.push_str(&"\n".repeat(padding));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_whole_sectors_and_runs_the_program_as_it_is() {
        let script = script(&["sh", "-c", "echo 'it''s'; echo $n"]);
        assert_eq!(script.len() % SECTOR_BYTES, 0);
        let line = script.lines().find(|line| line.starts_with("'sh'")).unwrap();
        let output = Command::new("sh").args(["-c", line]).env("n", "5").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "its\n5\n");
    }
}
