//! What a hostile guest may ask of shared directories, as a function from bytes.
//!
//! ```text
//!   opcode, file, user, length: one byte each, then so many bytes of the request's own, in units of 8; and so on
//! ```

use crate::{Share, SharedDirectories};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm::virtio::file_system::Responder;

const MEMORY_BYTES: usize = 1 << 18;
const RINGS: u64 = 0;
const REQUEST: u64 = 0x4000;
const ANSWER: u64 = 0x8000;
const ANSWER_BYTES: u32 = 0x8000;
const HEADER_BYTES: usize = 40;
/// What stands beside what is shared, and no guest ever sees.
const SECRET: &[u8] = b"nobody inside reads this";
/// The most requests of one input.
const MOST: usize = 64;

/// Asks what the bytes say of a directory that was made for it, and looks at what is beside that.
///
/// # Panics
/// Where a guest has reached what is not shared, and where the directory cannot be made.
pub fn requests(bytes: &[u8]) {
    let place = fixture();
    let root = rustix::fs::open(place.path().join("shared"), OFlags::PATH, Mode::empty());
    let share = Share { root: root.expect("it was just made"), readonly: false, first_id: 0 };
    let shared = SharedDirectories::new(vec![share], 16);
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]);
    let memory = memory.expect("some memory");
    // The share itself is the first that there is to know.
    ask(&shared, &memory, (1, 1, 0), b"0\0");
    let mut rest = bytes;
    for _ in 0..MOST {
        let Some((&[opcode, file, user, length], more)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let (body, more) = more.split_at(more.len().min(usize::from(length) * 8));
        ask(&shared, &memory, (u32::from(opcode), u64::from(file), u32::from(user)), body);
        rest = more;
    }
    let secret = fs::read(place.path().join("secret"));
    assert_eq!(secret.ok().as_deref(), Some(SECRET), "what is beside it is as it was");
    let beside = fs::read_dir(place.path()).expect("it is there").count();
    assert_eq!(beside, 2, "nothing was made beside it");
}

/// One request: what is asked for, of which file, by whom; and what goes with it.
fn ask(
    shared: &SharedDirectories,
    memory: &GuestMemoryMmap<()>,
    (opcode, file, user): (u32, u64, u32),
    body: &[u8],
) {
    let length = HEADER_BYTES + body.len();
    let mut request = Vec::with_capacity(length);
    request.extend(u32::try_from(length).unwrap_or_default().to_le_bytes());
    request.extend(opcode.to_le_bytes());
    request.extend(7u64.to_le_bytes());
    request.extend(file.to_le_bytes());
    request.extend(user.to_le_bytes());
    request.extend(user.to_le_bytes());
    request.extend([0; 8]);
    request.extend(body);
    let put = |at: u64, bytes: &[u8]| {
        memory.write_slice(bytes, GuestAddress(at)).expect("it is within memory");
    };
    put(REQUEST, &request);
    put(ANSWER, &vec![0; ANSWER_BYTES as usize]);
    let descriptor = |at: u64, length: u32, flags: u16| {
        let mut bytes = at.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(1u16.to_le_bytes());
        bytes
    };
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    put(RINGS, &descriptor(REQUEST, u32::try_from(length).unwrap_or_default(), NEXT));
    put(RINGS + 16, &descriptor(ANSWER, ANSWER_BYTES, WRITE));
    // One entry is available: the chain that begins at descriptor 0.
    put(RINGS + 0x100, &[0, 0, 1, 0, 0, 0]);
    let mut queue = Queue::new(2).expect("a size");
    queue.set_size(2);
    queue.set_avail_ring_address(Some(0x100), Some(0));
    queue.set_used_ring_address(Some(0x200), Some(0));
    queue.set_ready(true);
    let chain = queue.iter(memory).ok().and_then(|mut available| available.next());
    let written = shared.answer(memory, chain.expect("a chain"));
    assert!(written <= ANSWER_BYTES, "{written} bytes were written where {ANSWER_BYTES} have room");
    let mut answer = vec![0; written as usize];
    memory.read_slice(&mut answer, GuestAddress(ANSWER)).expect("it is within memory");
    let shows = answer.windows(SECRET.len()).any(|bytes| bytes == SECRET);
    assert!(!shows, "a guest has read what is not shared");
}

fn fixture() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let make = |root: &Path| {
        fs::write(root.join("secret"), SECRET)?;
        let shared = root.join("shared");
        fs::create_dir_all(shared.join("directory"))?;
        fs::write(shared.join("file"), "content")?;
        fs::write(shared.join("directory/file"), "more")?;
        symlink("../secret", shared.join("link"))?;
        symlink("..", shared.join("above"))
    };
    make(place.path()).expect("files in it");
    place
}
