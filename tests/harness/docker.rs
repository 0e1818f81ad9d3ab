//! Docker's own daemon in a sandbox.

use super::World;
use super::nets::Nets;
use super::product::Sandbox;
use std::time::Duration;

/// How long a daemon and its first container may take, on a busy machine with an emulator.
pub const PATIENCE: Duration = Duration::from_secs(400);
/// What a shell does first: has a daemon answer, and an image called `box`.
pub const UP: &str = "\
    mkdir -p /tmp/box/bin /tmp/box/www && cp /bin/busybox /tmp/box/bin && echo hello > /tmp/box/www/index.html \
    && for it in sh nc wc dd httpd cat sleep grep nslookup; do ln -s busybox /tmp/box/bin/$it; done \
    && (dockerd > /dockerd.log 2>&1 &) \
    && for it in $(seq 600); do docker version > /dev/null 2>&1 && break; sleep 0.2; done \
    && tar -C /tmp/box -c . | docker import - box > /dev/null";
/// And a container that serves, on every address and on loopback.
pub const WEB: &str = "docker run --detach --name web -p 8080:80 -p 127.0.0.1:8081:80 -p 8082:80 box httpd -f -p 80 -h /www > /dev/null";

/// A sandbox of such a place with Docker in it, to be run with a script that follows [`UP`].
pub fn sandbox<'w>(world: &'w World, nets: &Nets, flags: &[&str]) -> Sandbox<'w> {
    nets.sandbox(world)
        .image(&world.images.docker)
        .machine("1g", "1")
        .flags(&["--privileged"])
        .flags(flags)
}
