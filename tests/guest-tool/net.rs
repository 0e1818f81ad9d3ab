//! What cases ask of the network from within a guest: `guest-tool net …`.
//!
//! ```text
//!   echo tcp|udp ADDRESS:PORT BYTES     sends so many and wants them back; TCP says that no more come, then reads on
//!   try tcp|udp ADDRESS:PORT            says how a first attempt ends
//!   ports ADDRESS:PORT ADDRESS:PORT     says whether one socket's datagrams come from one port, of those who say who asks
//!   whole ADDRESS:PORT BYTES            sends a datagram that must not be cut until it comes back, or is too long
//!   reset ADDRESS:PORT                  connects, and breaks off
//!   many ADDRESS:PORT COUNT             connects so often, one after the other, and reads to the end each time
//!   hold ADDRESS:PORT COUNT             opens so many, and keeps them for a minute
//!   serve PORT                          TCP and UDP: says who has come, and echoes, for ever
//! ```

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const BLOCK: usize = 65536;

/// Does one of the above.
pub fn run(words: &[&str]) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let address = |word: &str| word.parse::<SocketAddr>().map_err(|_| wrong());
    let number = |word: &str| word.parse::<usize>().map_err(|_| wrong());
    match words {
        ["echo", "tcp", to, bytes] => echo_tcp(address(to)?, number(bytes)?),
        ["echo", "udp", to, bytes] => echo_udp(address(to)?, number(bytes)?),
        ["try", "tcp", to] => {
            let tried = TcpStream::connect_timeout(&address(to)?, PATIENCE);
            print_how(tried.and_then(|mut stream| stream.read(&mut [0]).map(drop)))
        }
        ["try", "udp", to] => print_how(question(address(to)?, b"?").map(drop)),
        ["ports", one, other] => ports(address(one)?, address(other)?),
        ["whole", to, bytes] => whole(address(to)?, number(bytes)?),
        ["reset", to] => {
            let stream = TcpStream::connect_timeout(&address(to)?, PATIENCE)?;
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            Ok(())
        }
        ["many", to, count] => {
            for _ in 0..number(count)? {
                TcpStream::connect_timeout(&address(to)?, PATIENCE)?.read_to_end(&mut Vec::new())?;
            }
            Ok(())
        }
        ["hold", to, count] => {
            let open = |_| TcpStream::connect_timeout(&address(to)?, PATIENCE);
            let held = (0..number(count)?).map(open).collect::<io::Result<Vec<_>>>()?;
            thread::sleep(Duration::from_secs(60));
            drop(held);
            Ok(())
        }
        ["serve", port] => serve(port.parse().map_err(|_| wrong())?),
        _ => Err(wrong()),
    }
}

fn print_how(tried: io::Result<()>) -> io::Result<()> {
    let how = match tried {
        Ok(()) => "open".to_owned(),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => "refused".to_owned(),
            io::ErrorKind::ConnectionReset => "reset".to_owned(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "unreachable".to_owned()
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "silence".to_owned(),
            _ => error.to_string(),
        },
    };
    writeln!(io::stdout(), "{how}")
}

/// Byte number so much of what is sent.
fn byte(at: usize) -> u8 {
    at.wrapping_mul(0x9e37_79b1).to_le_bytes()[2]
}

fn echo_tcp(to: SocketAddr, count: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let sender = thread::spawn(move || -> io::Result<()> {
        for begin in (0..count).step_by(BLOCK) {
            let end = (begin + BLOCK).min(count);
            writer.write_all(&(begin..end).map(byte).collect::<Vec<u8>>())?;
        }
        writer.shutdown(Shutdown::Write)
    });
    let (mut at, mut block) = (0, vec![0; BLOCK]);
    loop {
        let read = stream.read(&mut block)?;
        if read == 0 {
            break;
        }
        let is_it = block.iter().take(read).enumerate().all(|(index, it)| *it == byte(at + index));
        at += read;
        if !is_it {
            return Err(io::Error::other(format!("other bytes come back before {at}")));
        }
    }
    sender.join().map_err(|_| io::Error::other("the sender failed"))??;
    if at != count {
        return Err(io::Error::other(format!("{at} bytes come back of {count}")));
    }
    writeln!(io::stdout(), "echoed {at}")
}

/// A socket for datagrams to a place of this kind.
fn datagrams(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to.ip() {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(socket)
}

fn ports(one: SocketAddr, other: SocketAddr) -> io::Result<()> {
    let socket = datagrams(one)?;
    let mut answers = Vec::new();
    for to in [one, other] {
        socket.send_to(b"?", to)?;
        let mut answer = vec![0; BLOCK];
        let (count, from) = socket.recv_from(&mut answer)?;
        if from != to {
            return Err(io::Error::other(format!("{from} answers for {to}")));
        }
        answer.truncate(count);
        answers.push(answer);
    }
    let how = if answers.first() == answers.last() { "one port" } else { "two ports" };
    writeln!(io::stdout(), "{how}")
}

fn whole(to: SocketAddr, count: usize) -> io::Result<()> {
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover,
        set_ipv6_mtu_discover,
    };
    let socket = datagrams(to)?;
    socket.connect(to)?;
    match to {
        SocketAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
        SocketAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
    }
    let bytes: Vec<u8> = (0..count).map(byte).collect();
    let too_long = |error: &io::Error| error.raw_os_error() == Some(libc::EMSGSIZE);
    for _ in 0..10 {
        let came = socket.send(&bytes).and_then(|_| socket.recv(&mut vec![0; BLOCK]));
        match came {
            Ok(_) => return writeln!(io::stdout(), "whole"),
            Err(error) if too_long(&error) => {
                let most = if to.is_ipv4() { ip_mtu(&socket)? } else { ipv6_mtu(&socket)? };
                return writeln!(io::stdout(), "too long for {most}");
            }
            Err(_) => {}
        }
    }
    writeln!(io::stdout(), "silence")
}

fn question(to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let socket = datagrams(to)?;
    socket.connect(to)?;
    socket.send(bytes)?;
    let mut answer = vec![0; BLOCK];
    let count = socket.recv(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

fn echo_udp(to: SocketAddr, count: usize) -> io::Result<()> {
    let bytes: Vec<u8> = (0..count).map(byte).collect();
    if question(to, &bytes)? != bytes {
        return Err(io::Error::other("another datagram comes back"));
    }
    writeln!(io::stdout(), "echoed {count}")
}

fn serve(port: u16) -> io::Result<()> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let (tcp, udp) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
    thread::spawn(move || -> io::Result<()> {
        let mut datagram = vec![0; BLOCK];
        loop {
            let (count, from) = udp.recv_from(&mut datagram)?;
            let bytes = datagram.get(..count).unwrap_or_default();
            let who = format!("{} ", from.ip().to_canonical());
            udp.send_to(&[who.as_bytes(), bytes].concat(), from)?;
        }
    });
    writeln!(io::stdout(), "serves")?;
    loop {
        let (mut stream, from) = tcp.accept()?;
        thread::spawn(move || -> io::Result<()> {
            stream.write_all(format!("{} ", from.ip().to_canonical()).as_bytes())?;
            let mut reader = stream.try_clone()?;
            io::copy(&mut reader, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        });
    }
}
