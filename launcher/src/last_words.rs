//! What the guest kernel says as it dies, and what of it the user is told.
//!
//! Owns: the pipe that a machine's serial port writes to where the user wants no log of it, and the
//! search for the reason in it. Never does: wait for the guest, or believe it: whoever is root in there
//! can write whatever he likes to that port, and these are words for an error's text, no more.

use crate::accelerator::ConsoleSink;
use crate::error::{Failure, shortened};
use rustix::pipe::PipeFlags;
use std::fs::File;
use std::io::Read;
use vmm::Heard;

/// A pipe holds this many bytes where nobody reads: more cannot come.
const MOST_BYTES: u64 = 64 << 10;
const REASON_BYTES: usize = 200;
/// The agent's own last words come before the kernel's, which then only knows that it has lost it.
const MARKS: [&str; 2] = ["cofferdam-agent: ", "Kernel panic - not syncing: "];
/// What the kernel says of an exception of its own (`arch/x86/kernel/dumpstack.c`, `arch/x86/mm/fault.c`): the first of
/// these that is there is the most exact.
const OOPSES: [&str; 3] = ["BUG: ", "Oops: ", "kernel BUG at "];
const PLACE: &str = "RIP: 0010:";

/// The end of the pipe that is read when all is over.
#[derive(Debug)]
pub struct LastWords(Option<File>);

impl LastWords {
    /// Where a machine is to write: everything to this file, or its last words to a new pipe.
    ///
    /// # Errors
    /// Where no pipe can be made.
    pub fn or_everything(file: Option<File>) -> Result<(Self, ConsoleSink), Failure> {
        if let Some(file) = file {
            return Ok((Self(None), ConsoleSink { heard: Heard::Everything, file: file.into() }));
        }
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Failure::plain)?;
        rustix::io::ioctl_fionbio(&read, true).map_err(Failure::plain)?;
        Ok((Self(Some(read.into())), ConsoleSink { heard: Heard::LastWords, file: write }))
    }

    /// Why the kernel died, as it has said itself.
    pub fn reason(self) -> Option<String> {
        let mut text = Vec::new();
        // An error is the end of what is there: nothing here waits.
        let _ = self.0?.take(MOST_BYTES).read_to_end(&mut text);
        reason_in(&String::from_utf8_lossy(&text))
    }
}

fn reason_in(text: &str) -> Option<String> {
    let after = |mark: &str| {
        let words = text.lines().find_map(|line| line.split_once(mark))?.1.trim();
        (!words.is_empty()).then_some(words)
    };
    let reason = MARKS.iter().find_map(|mark| after(mark))?;
    // Of an exception the reason says no more than that: what it was, and where, are above and below it.
    let exception = reason.starts_with("Fatal exception").then(|| {
        let what = OOPSES.iter().find_map(|mark| Some((mark, after(mark)?)));
        let what = what.map(|(mark, words)| format!(": {mark}{words}"));
        let place = after(PLACE).map(|words| format!(", at {words}"));
        [what, place].into_iter().flatten().collect::<String>()
    });
    Some(shortened(&format!("{reason}{}", exception.unwrap_or_default()), REASON_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PANIC: &str = "[    0.9] sysrq: Trigger a crash\n\
        [    0.9] Kernel panic - not syncing: sysrq triggered crash\n\
        [    0.9] CPU: 0 UID: 0 PID: 1 Comm: sh Not tainted\n";

    #[test]
    fn the_kernels_reason_is_found_among_its_other_words() {
        assert_eq!(reason_in(PANIC).unwrap(), "sysrq triggered crash");
        assert_eq!(reason_in("Kernel panic - not syncing: \n"), None);
        assert_eq!(reason_in(""), None);
    }

    #[test]
    fn of_an_exception_it_is_told_what_and_where() {
        let oops = "[    0.8] BUG: unable to handle page fault for address: ffffc90000004ff8\n\
            [    0.8] Oops: Oops: 0002 [#1] SMP NOPTI\n\
            [    0.8] RIP: 0010:handle_irq+0x1/0x80\n\
            [    0.8] Kernel panic - not syncing: Fatal exception in interrupt\n";
        let told = "Fatal exception in interrupt: BUG: unable to handle page fault for address: ffffc90000004ff8, \
            at handle_irq+0x1/0x80";
        assert_eq!(reason_in(oops).unwrap(), told);
        let gp = "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP\n\
            Kernel panic - not syncing: Fatal exception\n";
        let told = "Fatal exception: Oops: general protection fault, probably for non-canonical address 0xdead: 0000 \
            [#1] SMP";
        assert_eq!(reason_in(gp).unwrap(), told);
    }

    #[test]
    fn an_agent_that_died_says_why_itself() {
        let text = format!("[    0.8] cofferdam-agent: cannot mount /proc: EPERM\n{PANIC}");
        assert_eq!(reason_in(&text).unwrap(), "cannot mount /proc: EPERM");
    }

    #[test]
    fn a_guest_that_writes_much_is_cut_short() {
        let text = format!("Kernel panic - not syncing: {}\n", "ß".repeat(100_000));
        assert!((190..=REASON_BYTES).contains(&reason_in(&text).unwrap().len()));
    }

    /// The other end is open still, as that of a process which cannot be killed would be.
    #[test]
    fn an_end_that_stays_open_is_not_waited_for() {
        let (words, sink) = LastWords::or_everything(None).unwrap();
        let mut sink = File::from(sink.file);
        sink.write_all(PANIC.as_bytes()).unwrap();
        assert_eq!(words.reason().unwrap(), "sysrq triggered crash");
    }

    #[test]
    fn whoever_wants_all_reads_it_there() {
        let file = File::open("/dev/null").unwrap();
        let (words, sink) = LastWords::or_everything(Some(file)).unwrap();
        assert_eq!((words.reason(), sink.heard), (None, Heard::Everything));
    }
}
