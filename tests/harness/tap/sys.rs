//! TAP devices: the calls that make one, which rustix has no safe face for.

#![allow(clippy::cast_sign_loss, reason = "flags that C gives a sign")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// How long `struct virtio_net_hdr_v1` is.
const HEADER_BYTES: libc::c_int = 12;

/// struct ifreq, as far as it is of use here (netdevice(7)).
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes a TAP device in the network namespace of this thread. It is gone with the file, of which each read is a frame,
/// and each write. `headers` has a `virtio_net_hdr_v1` before each, and leaves checksums and segments to whom it goes to.
pub fn tap(name: &str, headers: bool) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let header = if headers { libc::IFF_VNET_HDR } else { 0 };
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TAP | libc::IFF_NO_PI | header) as libc::c_short,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request lives across the call, and is as long as the kernel takes it to be.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    if headers {
        let length = HEADER_BYTES;
        // SAFETY: the length lives across the call.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) })?;
        let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        let offload = libc::c_ulong::from(offload);
        // SAFETY: it takes no address.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, offload) })?;
    }
    Ok(file)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
