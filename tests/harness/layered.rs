//! The three layers that prove what a layer means: what each adds, hides and keeps.
//!
//! Specification: OCI image-spec v1.1, `layer.md`; the guest's half is in `cases/layers.rs`.

use super::image::Layer;
use tar::EntryType;

/// VFS_CAP_REVISION_2, effective, with CAP_NET_RAW (bit 13) permitted.
const NET_RAW_CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The layers, lowest first.
pub fn layers(base: &[u8]) -> Vec<Vec<u8>> {
    vec![lowest(base), middle(), upper()]
}

/// busybox, and what the others change.
fn lowest(base: &[u8]) -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut layer = Layer::new();
    layer
        .directory("part", 0o755, 0)
        .file("part/kept", 0o644, b"lowest\n")
        .file("part/replaced", 0o644, b"lowest\n")
        .file("part/removed", 0o644, b"lowest\n")
        .file("part/file-then-directory", 0o644, b"lowest\n")
        .directory("part/directory-then-file", 0o755, 0)
        .file("part/directory-then-file/inner", 0o644, b"lowest\n")
        .directory("part/removed-directory", 0o755, 0)
        .file("part/removed-directory/inner", 0o644, b"lowest\n")
        .directory("part/opaque", 0o755, 0)
        .file("part/opaque/hidden", 0o644, b"lowest\n")
        .directory("part/merged", 0o755, 0)
        .file("part/merged/low", 0o644, b"lowest\n")
        .file("part/link-a", 0o644, b"linked\n")
        .link(EntryType::Link, "part/link-b", "part/link-a")
        .link(EntryType::Symlink, "part/symbolic", "kept")
        .node(EntryType::Char, "part/null", 0o666, (1, 3))
        .node(EntryType::Block, "part/block", 0o600, (7, 250))
        .node(EntryType::Fifo, "part/fifo", 0o644, (0, 0))
        .file("part/setuid", 0o4755, b"x")
        .file_with_xattrs("part/attributed", 0o644, b"x", &[("user.note", b"a\0b")])
        .file_with_xattrs(
            "part/busybox",
            0o755,
            &busybox,
            &[("security.capability", &NET_RAW_CAPABILITY)],
        );
    append(base, layer)
}

/// Whiteouts and an opaque directory over the lowest.
fn middle() -> Vec<u8> {
    let mut layer = Layer::new();
    layer
        .file("part/.wh.removed", 0o644, b"")
        .file("part/.wh.removed-directory", 0o644, b"")
        .directory("part/opaque", 0o755, 0)
        .file("part/opaque/.wh..wh..opq", 0o644, b"")
        .file("part/opaque/seen", 0o644, b"middle\n")
        .file("part/replaced", 0o600, b"middle\n")
        .directory("part/merged", 0o700, 1234)
        .file("part/merged/mid", 0o644, b"middle\n")
        .directory("part/file-then-directory", 0o755, 0)
        .file("part/file-then-directory/inner", 0o644, b"middle\n")
        .file("part/directory-then-file", 0o644, b"middle\n");
    layer.finish()
}

/// What was hidden comes back, and something new is hidden.
fn upper() -> Vec<u8> {
    let mut layer = Layer::new();
    layer
        .file("part/removed", 0o644, b"upper\n")
        .directory("part/removed-directory", 0o755, 0)
        .directory("part/merged", 0o700, 1234)
        .file("part/removed-directory/new", 0o644, b"upper\n")
        .file("part/merged/high", 0o644, b"upper\n")
        .file("part/merged/.wh.mid", 0o644, b"");
    layer.finish()
}

/// One archive after another: the first without the blocks of zeroes that end it.
fn append(base: &[u8], more: Layer) -> Vec<u8> {
    let end =
        base.chunks(512).rposition(|block| block.iter().any(|b| *b != 0)).map_or(0, |n| n + 1);
    let mut bytes = base[..end * 512].to_vec();
    bytes.extend(more.finish());
    bytes
}
