//! Names of hosts, looked up without a thread.
//!
//! Owns: that nothing is waited for in a thread of its own, which the process that asks may not start. How long a
//! lookup takes at most is resolv.conf's to say.

use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

/// ureq's own resolver, which starts a thread only where it is to give up early: as it is on the way to a proxy.
#[derive(Debug, Default)]
pub struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, NextTimeout { after: Duration::NotHappening, ..timeout })
    }
}
