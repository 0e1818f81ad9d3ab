//! Segments one by one, where it matters which of them is lost.

use super::super::*;
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { window: 100_000, mss: 1460, most: 1460 * 5 };

/// What the guest is sent: from where, how much, and whether it ends there; and the last that it is told has come.
#[derive(Default)]
struct Sent(Vec<(i32, usize, TcpControl)>, Option<i32>);

impl Inside for Sent {
    fn has_room(&self) -> bool {
        true
    }

    fn segment(&mut self, segment: &TcpRepr<'_>, _: usize) {
        self.1 = segment.ack_number.map(|ack| ack.0);
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

#[test]
fn a_request_is_told_to_have_come_by_its_reply_or_soon() {
    let (mut now, mut sent, mut outside) = (Instant::now(), Sent::default(), Bytes(0));
    let mut connection =
        Connection::asked(&segment(TcpControl::Syn, 100, None, 60_000), 500, LIMITS);
    connection.answered(now, &mut sent);
    let asks =
        |seq, ack| TcpRepr { payload: b"?", ..segment(TcpControl::Psh, seq, Some(ack), 60_000) };
    connection.hear(&asks(101, 501), &mut outside, now, &mut sent);
    connection.settle(&mut outside, now, &mut sent);
    assert_eq!(sent.0.len(), 1, "nothing but SYN yet");
    outside.0 = 7;
    connection.settle(&mut outside, now, &mut sent);
    assert_eq!((sent.0.last(), sent.1), (Some(&(501, 7, TcpControl::Psh)), Some(102)));
    connection.hear(&asks(102, 508), &mut outside, now, &mut sent);
    connection.settle(&mut outside, now, &mut sent);
    assert_eq!(sent.0.len(), 2);
    now = connection.again_at().unwrap();
    connection.remind(now, &mut sent);
    assert_eq!((sent.0.last(), sent.1), (Some(&(508, 0, TcpControl::None)), Some(103)));
    assert_eq!(connection.again_at(), None, "nothing is owed");
}

#[test]
fn a_guest_that_has_answered_a_call_hears_of_it_at_once() {
    let (now, mut sent, mut outside) = (Instant::now(), Sent::default(), Bytes(0));
    let mut connection = Connection::called(500, LIMITS, now, &mut sent);
    connection.hear(&segment(TcpControl::Syn, 100, Some(501), 1000), &mut outside, now, &mut sent);
    connection.settle(&mut outside, now, &mut sent);
    assert_eq!((sent.0.last(), sent.1), (Some(&(501, 0, TcpControl::None)), Some(101)));
}
