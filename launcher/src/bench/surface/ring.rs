//! A page of the kernel's trace buffer, as `trace_pipe_raw` gives it, with what the function tracer writes. Pure.
//!
//! Specification: Linux, `Documentation/trace/ring-buffer-map.rst`, `include/linux/ring_buffer.h` and
//! `events/ftrace/function/format` of tracefs.

/// The time of the page, and how much of it is used.
const HEADER_BYTES: usize = 16;
/// The bits of the second that count bytes.
const COMMIT_MASK: u64 = (1 << 20) - 1;
/// Events that came before were lost.
const MISSED: u64 = 1 << 31;
/// An event's first word has its type, or its length in words, in so many bits; the time since the last one follows.
const TYPE_BITS: u32 = 5;
/// No more events; or a stretch of so many bytes.
const PADDING: u32 = 29;
/// A word more of time.
const TIME_EXTEND: u32 = 30;
/// An absolute time, of a word more.
const TIME_STAMP: u32 = 31;
const WORD: usize = 4;
/// The function tracer's number of its events.
const FUNCTION: u16 = 1;

/// A function that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// For which thread.
    pub process: u32,
    /// The function's address.
    pub function: u64,
}

/// It is not as the kernel's documentation says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a page of the kernel's trace makes no sense at byte {0}")]
pub struct MalformedPage(usize);

/// Tells of every call in a page; gives whether some before it were lost. An empty page has none.
///
/// # Errors
/// Where it is no such page.
pub fn calls(page: &[u8], mut each: impl FnMut(Call)) -> Result<bool, MalformedPage> {
    if page.is_empty() {
        return Ok(false);
    }
    let commit = number(page, 8).ok_or(MalformedPage(0))?;
    let used = usize::try_from(commit & COMMIT_MASK).map_err(|_| MalformedPage(8))?;
    let events = page.get(HEADER_BYTES..HEADER_BYTES + used).ok_or(MalformedPage(8))?;
    let mut at = 0;
    while at < events.len() {
        let malformed = || MalformedPage(HEADER_BYTES + at);
        let first = word(events, at).ok_or_else(malformed)?;
        let (kind, delta) = (first & ((1 << TYPE_BITS) - 1), first >> TYPE_BITS);
        let data = at + WORD;
        // A length stands in the event's next word, which it counts.
        let long = || word(events, data).and_then(|it| usize::try_from(it).ok());
        let (start, length) = match kind {
            PADDING if delta == 0 => break,
            PADDING => (None, long().ok_or_else(malformed)?),
            TIME_EXTEND | TIME_STAMP => (None, WORD),
            0 => (Some(data + WORD), long().ok_or_else(malformed)?),
            words => (Some(data), words as usize * WORD),
        };
        if length < WORD || length > events.len() - data.min(events.len()) {
            return Err(malformed());
        }
        if let Some(start) = start {
            call(events.get(start..data + length).ok_or_else(malformed)?).map(&mut each);
        }
        at = data + length.next_multiple_of(WORD);
    }
    Ok(commit & MISSED != 0)
}

/// An event of the function tracer: type, flags, a count, thread, function, caller.
fn call(event: &[u8]) -> Option<Call> {
    let kind = u16::from_ne_bytes(*event.first_chunk()?);
    let call = Call { process: word(event, 4)?, function: number(event, 8)? };
    (kind == FUNCTION).then_some(call)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(process: u32, function: u64) -> Vec<u8> {
        let data = [&[1, 0, 0, 0][..], &process.to_ne_bytes(), &function.to_ne_bytes(), &[0; 8]];
        [&(6u32 | 7 << TYPE_BITS).to_ne_bytes()[..], &data.concat()].concat()
    }

    fn page(events: &[u8], flags: u64) -> Vec<u8> {
        let header = [99u64.to_ne_bytes(), (events.len() as u64 | flags).to_ne_bytes()].concat();
        let mut page = [&header, events].concat();
        page.resize(4096, 0xa5);
        page
    }

    fn read(page: &[u8]) -> Result<(Vec<Call>, bool), MalformedPage> {
        let mut all = Vec::new();
        let missed = calls(page, |call| all.push(call))?;
        Ok((all, missed))
    }

    #[test]
    fn calls_are_found_between_times_and_padding() {
        let word = |word: u32| word.to_ne_bytes();
        let other = [&word(2)[..], &[9, 0, 0, 0, 0, 0, 0, 0]].concat();
        let long = [&word(0)[..], &word(28), &event(6, 12)[4..]].concat();
        let padding = [&word(PADDING | 1 << TYPE_BITS)[..], &word(8), &word(0)].concat();
        let events = [
            &event(4, 10)[..],
            &word(TIME_EXTEND),
            &word(1),
            &other,
            &padding,
            &long,
            &word(TIME_STAMP),
            &word(5),
            &event(5, 11),
            &word(PADDING),
        ];
        let expected =
            [(4, 10), (6, 12), (5, 11)].map(|(process, function)| Call { process, function });
        assert_eq!(read(&page(&events.concat(), 0)), Ok((expected.to_vec(), false)));
        assert!(read(&page(&event(4, 10), MISSED)).unwrap().1);
        assert_eq!(read(&[]), Ok((Vec::new(), false)));
    }

    #[test]
    fn what_runs_out_of_the_page_is_refused() {
        assert_eq!(read(&page(&event(4, 10)[..20], 0)), Err(MalformedPage(HEADER_BYTES)));
        assert!(read(&page(&[], 4090)).is_err());
        assert!(read(&[0; 12]).is_err());
    }

    proptest! {
        #[test]
        fn any_page_is_borne(mut page in prop::collection::vec(any::<u8>(), 0..300), used in 0u8..=255) {
            if let Some(bytes) = page.get_mut(8..16) {
                bytes.copy_from_slice(&u64::from(used).to_ne_bytes());
            }
            let _ = read(&page);
        }
    }
}
