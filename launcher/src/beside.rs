//! The processes that stand beside the launcher, not within it: started before it walls itself in, for what it is never
//! to reach.
//!
//! Owns: which there are, what each has for the machine, and what it is that one is gone.

use crate::accelerator::MachineParts;
use crate::cli::RunArgs;
use crate::error::Failure;
use crate::networks::{self, GuestNetwork, LinkError};
use crate::outcome::Outcome;
use crate::plan::network::DockerPublishing;
use crate::shares::Shares;
use crate::state::PublishedPort;
use crate::supervisor::{Orders, Watched};
use network::config::LinkKind;

/// Those that a sandbox has.
#[derive(Debug)]
pub struct Beside {
    shares: Option<Shares>,
    network: Option<GuestNetwork>,
}

impl Beside {
    /// Starts those that `args` ask for.
    ///
    /// # Errors
    /// For the first that cannot be.
    pub fn start(args: &RunArgs) -> Result<Self, Failure> {
        Ok(Self { shares: Shares::start(args)?, network: GuestNetwork::start(args)? })
    }

    /// Tells them who is going to run the machine.
    ///
    /// # Errors
    /// Where one is gone.
    pub fn connect(&mut self, link: LinkKind) -> Result<(), LinkError> {
        self.network.as_mut().map_or(Ok(()), |network| network.connect(link))
    }

    /// Waits until all ports are published: where they are.
    ///
    /// # Errors
    /// For the first that cannot be.
    pub fn published(&self) -> Result<Vec<PublishedPort>, LinkError> {
        let published = self.network.as_ref().map_or(Ok(Vec::new()), GuestNetwork::published)?;
        Ok(published.into_iter().map(PublishedPort::from).collect())
    }

    /// The network that the container is given.
    pub fn network(&self) -> Option<protocol::Network> {
        self.network.as_ref().map(|network| network.of_container().clone())
    }

    /// Gives the machine its ends. Once.
    pub fn give(&mut self, parts: &mut MachineParts) {
        parts.shares = self.shares.as_mut().and_then(Shares::take_connection);
        parts.network = self.network.as_mut().and_then(GuestNetwork::take_link);
    }

    /// What is to be watched while the machine runs.
    pub fn watched(&self) -> Vec<Watched<'_>> {
        let shares = self.shares.iter().map(|shares| Watched {
            process: shares.process(),
            lost: |_| Outcome::SharesLost,
            hear: |_| None,
        });
        let network = self.network.iter().map(|network| Watched {
            process: network.process(),
            lost: |process| Outcome::NetworkLost(process.last_words()),
            hear: networks::heard,
        });
        shares.chain(network).collect()
    }

    /// The way to whoever carries the network, while the machine runs. `quiet` is that what they refuse is not told.
    pub fn orders(&self, quiet: bool) -> Option<Orders<'_>> {
        self.network.as_ref().map(|network| Orders::new(network.process(), quiet))
    }

    /// How what Docker publishes in the container is published, if it is.
    pub fn docker_ports(&self) -> Option<DockerPublishing> {
        self.network.as_ref().and_then(GuestNetwork::docker_ports)
    }
}
