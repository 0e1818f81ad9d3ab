//! Segments one by one, where it matters which of them is lost.

use super::super::*;
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { window: 100_000, mss: 1460, most: 1460 * 5 };

/// What the guest is sent: from where, how much, and whether it ends there.
#[derive(Default)]
struct Sent(Vec<(i32, usize, TcpControl)>);

impl Inside for Sent {
    fn has_room(&self) -> bool {
        true
    }

    fn segment(&mut self, segment: &TcpRepr<'_>, _: usize) {
        self.0.push((segment.seq_number.0, segment.payload.len(), segment.control));
    }
}

/// So many bytes outside.
struct Bytes(usize);

impl Outside for Bytes {
    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let count = most.min(self.0);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        into.extend(vec![0; count]);
        self.0 -= count;
        Ok(count)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }

    fn end(&mut self) {}
}

fn segment(control: TcpControl, seq: i32, ack: Option<i32>, window_len: u16) -> TcpRepr<'static> {
    TcpRepr {
        src_port: 1,
        dst_port: 2,
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

#[test]
fn a_guest_that_took_nothing_is_asked_whether_it_does_by_now() {
    let (mut now, mut sent, mut outside) = (Instant::now(), Sent::default(), Bytes(2500));
    let syn = segment(TcpControl::Syn, 100, None, 1000);
    let mut connection = Connection::asked(&syn, 500, LIMITS);
    connection.answered(now, &mut sent);
    let mut hear = |connection: &mut Connection, sent: &mut Sent, now, ack, window| {
        let segment = segment(TcpControl::None, 101, Some(ack), window);
        connection.hear(&segment, &mut outside, now, sent);
        connection.settle(&mut outside, now, sent);
    };
    hear(&mut connection, &mut sent, now, 501, 1000);
    assert_eq!(sent.0.last(), Some(&(501, 1000, TcpControl::Psh)));
    // All has arrived, and nobody takes it from there. That somebody did later, is lost on its way.
    hear(&mut connection, &mut sent, now, 1501, 0);
    for _ in 0..30 {
        now += Duration::from_secs(20);
        connection.remind(now, &mut sent);
        assert_eq!(sent.0.last(), Some(&(1501, 1, TcpControl::Psh)), "it is asked");
        hear(&mut connection, &mut sent, now, 1501, 0);
    }
    connection.remind(now + Duration::from_secs(20), &mut sent);
    hear(&mut connection, &mut sent, now, 1502, 1000);
    assert_eq!(sent.0.last(), Some(&(1502, 1000, TcpControl::Psh)));
}
