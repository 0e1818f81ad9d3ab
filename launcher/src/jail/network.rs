//! The network process: carries what a guest sends to the sockets that it becomes, and opens the ports that are published.
//!
//! It is started before the launcher walls itself in, and so is not within the launcher's walls: it reaches what nobody else
//! does. Its own are as narrow: sockets of two families and two kinds, and no file.
//!
//! ```text
//!   NetworkStart ──▶ walls ──▶ NetworkConnect + the link's end ──▶ Ready, or why not ──▶ serves: orders in, words out
//! ```

use super::channel::{Channel, ChannelError};
use super::filter::List;
use super::landlock::{Listen, Reach, close_in};
use super::walls::Walls;
use super::{JailError, filter_calls};
use ::network::config::{Config, Publication};
use ::network::{Network, NetworkError, Order, Owner, Word};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};

/// The first message: what has to be known for the walls.
#[derive(Debug, Serialize, Deserialize)]
pub struct NetworkStart {
    /// The TCP ports that it is going to listen on.
    pub listen: Listen,
}

/// The second message, once it is known who runs the machine. Its open files are the link's end and, where there is one, the
/// file to which all frames are written. Each further one is an [`Order`].
#[derive(Debug, Serialize, Deserialize)]
pub struct NetworkConnect {
    /// What it does.
    pub config: Config,
}

/// What the process says: once whether it serves, and then what there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkEvent {
    /// It serves; these are the published ports, each with the number that it has got.
    Ready(Vec<Publication>),
    /// A port is not to be had.
    NotPublished {
        /// Which.
        publication: Publication,
        /// Why not: the kernel's number.
        errno: i32,
    },
    /// It does not work, for another reason.
    Failed(String),
    /// While it serves.
    Word(Word),
}

/// Whose network it is.
struct Launcher(Channel);

impl Owner for Launcher {
    fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn order(&mut self) -> Option<Order> {
        self.0.receive().ok().map(|(order, _)| order)
    }

    fn tell(&mut self, word: Word) {
        // Nobody to tell is the end of all this, as is seen where orders come.
        let _ = self.0.send(&NetworkEvent::Word(word), &[]);
    }
}

/// What the process does, until its link ends, or the launcher.
///
/// # Errors
/// Where the launcher cannot be heard or told, or the process not be walled in.
pub fn run(channel: Channel) -> Result<(), JailError> {
    let (NetworkStart { listen }, _) = channel.receive()?;
    close_in(Walls::here(), &Reach { network: Some(listen), ..Reach::default() })?;
    filter_calls(List::NetworkStart)?;
    #[cfg(feature = "trial")]
    super::trial::attempt(super::Role::Network.process_name());
    let (NetworkConnect { config }, descriptors) = channel.receive()?;
    let mut descriptors = descriptors.into_iter();
    let link = descriptors.next().ok_or(ChannelError::Closed)?;
    let mut network = match Network::new(&config, link) {
        Ok(network) => network,
        Err(error) => return Ok(channel.send(&refusal(&error), &[])?),
    };
    if let Some(file) = descriptors.next() {
        network.capture(file);
    }
    channel.send(&NetworkEvent::Ready(network.publications()), &[])?;
    // Where it cannot be watched, this process ends as it is begun, and that is noticed.
    let obeys = network.obey(Box::new(Launcher(channel)));
    super::confine_thread(List::Network);
    let served = obeys.is_ok() && network.serve().is_ok();
    crate::sys::exit_now(i32::from(!served));
}

fn refusal(error: &NetworkError) -> NetworkEvent {
    if let NetworkError::Publish { publication, source } = error
        && let Some(errno) = source.raw_os_error()
    {
        return NetworkEvent::NotPublished { publication: *publication, errno };
    }
    NetworkEvent::Failed(crate::error::chain(error))
}
