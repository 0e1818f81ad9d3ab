//! Turns at this machine's cores: two emulators at a time is what two of them bear.
//!
//! Owns: how many are at work. Never does: say which goes first; who asks first, has it.

use std::sync::{Condvar, Mutex};

static FREE: Mutex<usize> = Mutex::new(2);
static FREED: Condvar = Condvar::new();

/// A core of one's own, until it is dropped.
#[derive(Debug)]
pub struct Core(());

/// Waits for a core.
pub fn take() -> Core {
    let free = FREE.lock().expect("nobody panics with it");
    let mut free = FREED.wait_while(free, |free| *free == 0).expect("nobody panics with it");
    *free -= 1;
    Core(())
}

impl Drop for Core {
    fn drop(&mut self) {
        *FREE.lock().expect("nobody panics with it") += 1;
        FREED.notify_one();
    }
}
