//! The network of a sandbox: the process that carries it, and the machine's end of the link.
//!
//! Owns: both, and the ports that are published. Never does: look into a frame.
//!
//! The process is started before the launcher walls itself in, and waits behind its own walls until it is known who
//! runs the machine, for a link is of another kind to each.

use crate::cli::RunArgs;
use crate::error::{Explain, Failure, say};
use crate::host::network::NetworkFacts;
use crate::jail::network::{NetworkConnect, NetworkEvent, NetworkStart};
use crate::jail::{Child, Listen, Role, spawn};
use crate::plan::network::{DockerPublishing, NetworkPlan, is_wanted, name_of};
use network::config::{LinkKind, Publication};
use network::{Refusal, Word};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the process may take until the ports are open. It has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end, once nobody is at the other end of its link.
const LAST_MOMENTS: Duration = Duration::from_secs(3);
/// How much each end of the link holds on its way to the other, in bytes, where the kernel lets it: some of the largest frames.
const HELD_BYTES: usize = 1 << 20;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no way between the guest and the process.
    #[error("cannot connect the process that carries the network")]
    Connect(#[source] Errno),
    /// A port is not to be had.
    #[error("cannot publish port {}/{} on {}", .publication.inside, name_of(.publication.transport), .publication.outside)]
    Publish {
        /// Which.
        publication: Publication,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// There is no file for its frames.
    #[error("cannot write what passes to {}", .path.display())]
    Capture {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The process says why not.
    #[error("cannot carry the network: {0}")]
    Failed(String),
    /// It says nothing.
    #[error("the process that carries the network is gone{}", .0.as_ref().map(|words| format!(": {words}")).unwrap_or_default())]
    Gone(Option<String>),
}

impl Explain for LinkError {
    fn hint(&self) -> Option<String> {
        let LinkError::Publish { publication, source } = self else { return None };
        match *source {
            Errno::ADDRINUSE => Some("something else here has it: publish on another port".into()),
            Errno::ACCESS | Errno::PERM => Some(
                "ports below 1024 take a privilege: publish on another, or start the outer container with \
                 --sysctl net.ipv4.ip_unprivileged_port_start=0"
                    .into(),
            ),
            Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
                let address = publication.outside.ip();
                Some(format!("{address} is no address of this place: leave it out, or name one that is"))
            }
            _ => None,
        }
    }
}

/// A network that is carried.
#[derive(Debug)]
pub struct GuestNetwork {
    plan: NetworkPlan,
    link: Link,
    /// Where all frames are written.
    capture: Option<File>,
    process: Child,
}

/// The link, as far as it is known.
#[derive(Debug)]
enum Link {
    /// Both ends of one of each kind.
    Any(Vec<Pair>),
    /// The machine's end.
    Ours(OwnedFd),
    /// The machine has it.
    Taken,
}

#[derive(Debug)]
struct Pair {
    kind: LinkKind,
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl GuestNetwork {
    /// Starts the process; `None` where no network is wanted. Before the launcher walls itself in: it is to reach what this
    /// process never will.
    ///
    /// # Errors
    /// Where what was typed cannot be, or the process not be started.
    pub fn start(args: &RunArgs) -> Result<Option<Self>, Failure> {
        if !is_wanted(args)? {
            return Ok(None);
        }
        let plan = NetworkPlan::resolve(args, &NetworkFacts::ask())?;
        // Made now, because this process's walls let it say of no socket how much that holds.
        let pairs = [LinkKind::Packets, LinkKind::Stream].into_iter().map(pair);
        let pairs = pairs.collect::<Result<_, _>>().map_err(LinkError::Connect)?;
        let listen = match plan.docker_ports {
            Some(_) => Listen::Anywhere,
            None => Listen::On(plan.tcp_ports()),
        };
        let start = NetworkStart { listen };
        let capture = args.network.pcap.as_deref().map(created).transpose()?;
        let process = spawn(Role::Network, &start, &[]).map_err(Failure::plain)?;
        Ok(Some(Self { plan, link: Link::Any(pairs), capture, process }))
    }

    /// Gives the process its end of a link of this kind. It opens the ports while others do what else is to be done.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn connect(&mut self, kind: LinkKind) -> Result<(), LinkError> {
        let Link::Any(pairs) = std::mem::replace(&mut self.link, Link::Taken) else {
            return Ok(());
        };
        for Pair { kind, ours, theirs } in pairs.into_iter().filter(|pair| pair.kind == kind) {
            let connect = NetworkConnect { config: self.plan.config(kind) };
            let files: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd())
                .chain(self.capture.iter().map(AsFd::as_fd))
                .collect();
            let sent = self.process.channel().send(&connect, &files);
            sent.map_err(|_| self.gone())?;
            self.link = Link::Ours(ours);
        }
        Ok(())
    }

    /// Waits until the ports are open: which they are.
    ///
    /// # Errors
    /// For the first that cannot be opened.
    pub fn published(&self) -> Result<Vec<Publication>, LinkError> {
        let channel = self.process.channel();
        match crate::wait::readable_within(channel, PATIENCE) {
            Ok(true) => {}
            Ok(false) => {
                let late = format!("its process did not answer within {} s", PATIENCE.as_secs());
                return Err(LinkError::Failed(late));
            }
            Err(errno) => return Err(LinkError::Connect(errno)),
        }
        match channel.receive::<NetworkEvent>() {
            Ok((NetworkEvent::Ready(published), _)) => Ok(published),
            Ok((NetworkEvent::NotPublished { publication, errno }, _)) => {
                Err(LinkError::Publish { publication, source: Errno::from_raw_os_error(errno) })
            }
            Ok((NetworkEvent::Failed(why), _)) => Err(LinkError::Failed(why)),
            // It has nothing else to say before it serves.
            Ok((NetworkEvent::Word(_), _)) | Err(_) => Err(self.gone()),
        }
    }

    /// The machine's end of the link. Once.
    pub fn take_link(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.link, Link::Taken) {
            Link::Ours(link) => Some(link),
            Link::Any(_) | Link::Taken => None,
        }
    }

    /// How what Docker publishes in the container is published, if it is.
    pub fn docker_ports(&self) -> Option<DockerPublishing> {
        self.plan.docker_ports
    }

    /// What the container is given.
    pub fn of_container(&self) -> &protocol::Network {
        &self.plan.guest
    }

    /// The process: it ends before its machine only if it fails.
    pub fn process(&self) -> &Child {
        &self.process
    }

    fn gone(&self) -> LinkError {
        LinkError::Gone(self.process.last_words())
    }
}

impl Drop for GuestNetwork {
    fn drop(&mut self) {
        // It ends by itself: from behind its own walls, this process may not be able to end it.
        self.link = Link::Taken;
        // Fails only where it has ended.
        let _ = rustix::net::shutdown(self.process.channel(), Shutdown::Both);
        self.process.end(LAST_MOMENTS);
    }
}

/// Hears what the process says while it serves; `None` where it is not to be understood.
pub fn heard(process: &Child) -> Option<Word> {
    match process.channel().receive::<NetworkEvent>() {
        Ok((NetworkEvent::Word(word), _)) => Some(word),
        _ => None,
    }
}

/// Tells the user of a refusal. The name is a guest's, and is cleaned as it is printed.
pub fn tell(refusal: &Refusal) {
    say(&told(refusal));
}

fn told(Refusal { to, transport, name }: &Refusal) -> String {
    let place = match transport {
        Some(transport) => format!("{to}/{}", name_of(*transport)),
        None => format!("an echo of {}", to.ip()),
    };
    match name {
        Some(name) => format!("refused to the sandbox: {name} ({place})"),
        None => format!("refused to the sandbox: {place}"),
    }
}

fn created(path: &Path) -> Result<File, LinkError> {
    File::create(path).map_err(|source| LinkError::Capture { path: path.to_owned(), source })
}

/// Both ends of a link.
fn pair(kind: LinkKind) -> Result<Pair, Errno> {
    let of_frames = match kind {
        LinkKind::Packets => SocketType::SEQPACKET,
        LinkKind::Stream => SocketType::STREAM,
    };
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, of_frames, SocketFlags::CLOEXEC, None)?;
    for end in [&ours, &theirs] {
        // Less is slower, and no failure.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, HELD_BYTES);
    }
    Ok(Pair { kind, ours, theirs })
}

#[cfg(test)]
mod tests;
