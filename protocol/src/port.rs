//! The well-known vsock addresses. All other ports are chosen by the launcher and told in a spec.

/// The context identifier of the host side, as the vsock specification fixes it (VirtIO 1.2 §5.10.4).
pub const HOST_CID: u32 = 2;

/// The host port that the agent connects its control channel to.
pub const CONTROL_PORT: u32 = 1;

/// The first host port the launcher may use for streams; it never uses one twice in a sandbox.
pub const FIRST_STREAM_PORT: u32 = 1024;
