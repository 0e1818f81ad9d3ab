//! When a guest hears that its bytes have come: by the reply to them, where there are replies as a rule, or else at once.
//!
//! RFC 9293, 3.8.6.3, and what Linux does: whoever answers each request at once would say all in two segments. Whoever writes
//! twice before there is a reply may wait for word of the first (RFC 896), so that nothing waits long here, and not again
//! where it was in vain.

use std::time::{Duration, Instant};

/// How long a word waits for a reply: whoever is on this machine has answered by then.
const DELAY: Duration = Duration::from_millis(2);
/// After so many replies, one after the other, that came as soon, the next is expected.
const EXPECTED_AFTER: u8 = 3;

/// What is owed to a guest.
#[derive(Debug)]
pub struct DelayedAck {
    /// How many replies have come soon, without a word between that had none.
    replies: u8,
    word: Word,
}

/// How it is with a word to the guest.
#[derive(Debug, PartialEq)]
enum Word {
    /// A reply has told it all.
    Settled,
    /// It had one alone then, and no reply since.
    Said(Instant),
    /// One waits for a reply no longer than until then.
    Due(Instant),
}

impl DelayedAck {
    /// Of a connection that is new: most begin with a request.
    pub fn new() -> Self {
        Self { replies: EXPECTED_AFTER, word: Word::Settled }
    }

    /// Something has come that the guest does not know of. Whether it is told now, which is so wherever that may not wait.
    pub fn owe(&mut self, may_wait: bool, now: Instant) -> bool {
        if may_wait && self.replies >= EXPECTED_AFTER {
            let due = self.due().unwrap_or(now + DELAY);
            if now < due {
                self.word = Word::Due(due);
                return false;
            }
        }
        if self.word != Word::Settled {
            self.replies = 0;
        }
        self.word = Word::Said(now);
        true
    }

    /// Nothing is owed any more; with `reply`, because bytes have told of it.
    pub fn settled(&mut self, reply: bool, now: Instant) {
        match self.word {
            Word::Said(said) if reply => {
                let is_soon = now.saturating_duration_since(said) < DELAY;
                self.replies = if is_soon { self.replies.saturating_add(1) } else { 0 };
                self.word = Word::Settled;
            }
            Word::Due(_) => self.word = Word::Settled,
            Word::Said(_) | Word::Settled => {}
        }
    }

    /// When what is owed is to be said.
    pub fn due(&self) -> Option<Instant> {
        match self.word {
            Word::Due(due) => Some(due),
            Word::Said(_) | Word::Settled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const LATE: Duration = Duration::from_millis(20);

    #[test]
    fn a_request_waits_for_its_reply_until_none_came() {
        let (mut ack, mut now) = (DelayedAck::new(), Instant::now());
        for _ in 0..5 {
            assert!(!ack.owe(true, now));
            assert_eq!(ack.due(), Some(now + DELAY));
            now += SOON;
            ack.settled(true, now);
            assert_eq!(ack.due(), None);
        }
        assert!(!ack.owe(true, now));
        assert!(ack.owe(true, now + LATE), "no reply");
        now += LATE;
        ack.settled(true, now + SOON);
        assert!(ack.owe(true, now + LATE), "one reply is no rule");
    }

    #[test]
    fn replies_that_come_soon_are_expected_again() {
        let (mut ack, mut now) = (DelayedAck::new(), Instant::now());
        assert!(!ack.owe(true, now) && ack.owe(true, now + LATE));
        now += LATE;
        for round in 1..=EXPECTED_AFTER {
            ack.settled(true, now + SOON);
            now += LATE;
            assert_eq!(ack.owe(true, now), round < EXPECTED_AFTER, "round {round}");
        }
    }

    #[test]
    fn whoever_writes_twice_before_there_is_a_reply_waits_once() {
        let (mut ack, mut now) = (DelayedAck::new(), Instant::now());
        assert!(!ack.owe(true, now) && ack.owe(true, now + DELAY));
        for _ in 0..20 {
            now += LATE;
            assert!(ack.owe(true, now), "the second");
            ack.settled(true, now + SOON);
            assert!(ack.owe(true, now + SOON), "the first of two");
        }
    }

    #[test]
    fn what_may_not_wait_does_not() {
        let (mut ack, now) = (DelayedAck::new(), Instant::now());
        assert!(ack.owe(false, now) && ack.owe(false, now));
        assert!(ack.owe(true, now), "no replies to either");
    }
}
