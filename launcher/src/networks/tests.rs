use super::*;
use crate::jail::channel::Channel;
use crate::jail::start;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A network of a process that has ended, and the end of the channel that it would speak on.
fn network() -> (GuestNetwork, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut command = Command::new("/bin/true");
    command.stdin(Stdio::null());
    (network_of(command, ours), theirs)
}

fn network_of(command: Command, channel: Channel) -> GuestNetwork {
    let process = start(command, channel).unwrap();
    let args = crate::plan::tests::args(&["-p", "127.0.0.1:80:8080"]);
    let plan = NetworkPlan::resolve(&args, &NetworkFacts::default()).unwrap();
    let link = Link::Any([LinkKind::Packets, LinkKind::Stream].map(|it| pair(it).unwrap()).into());
    GuestNetwork { plan, link, capture: None, process }
}

#[test]
fn a_link_is_what_the_accelerator_takes() {
    for (kind, of_frames) in
        [(LinkKind::Packets, SocketType::SEQPACKET), (LinkKind::Stream, SocketType::STREAM)]
    {
        let (mut network, their_channel) = network();
        network.connect(kind).unwrap();
        let (NetworkConnect { config }, files) = their_channel.receive().unwrap();
        assert_eq!((config.link, config.published.len(), files.len()), (kind, 1, 1));
        let ours = network.take_link().unwrap();
        for end in [&ours, &files[0]] {
            assert_eq!(rustix::net::sockopt::socket_type(end), Ok(of_frames));
        }
        assert!(network.take_link().is_none());
    }
}

#[test]
fn a_port_that_is_not_to_be_had_is_named_with_what_helps() {
    let (network, theirs) = network();
    let publication = network.plan.published[0];
    for (errno, said) in [
        (
            Errno::ADDRINUSE,
            "cofferdam: cannot publish port 8080/tcp on 127.0.0.1:80: Address already in use (os error 98)\n\
             hint: something else here has it: publish on another port\n",
        ),
        (
            Errno::ACCESS,
            "cofferdam: cannot publish port 8080/tcp on 127.0.0.1:80: Permission denied (os error 13)\n\
             hint: ports below 1024 take a privilege: publish on another, or start the outer container with \
             --sysctl net.ipv4.ip_unprivileged_port_start=0\n",
        ),
        (
            Errno::ADDRNOTAVAIL,
            "cofferdam: cannot publish port 8080/tcp on 127.0.0.1:80: Cannot assign requested address (os error 99)\n\
             hint: 127.0.0.1 is no address of this place: leave it out, or name one that is\n",
        ),
    ] {
        let event = NetworkEvent::NotPublished { publication, errno: errno.raw_os_error() };
        theirs.send(&event, &[]).unwrap();
        let failure = Failure::from(network.published().unwrap_err());
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), (said, 125));
    }
    theirs.send(&NetworkEvent::Ready(vec![publication]), &[]).unwrap();
    assert_eq!(network.published().unwrap(), [publication]);
}

#[test]
fn one_that_is_dropped_before_its_machine_is_not_waited_for() {
    let (ours, theirs) = Channel::pair().unwrap();
    // It ends with its channel, as our own does.
    let mut command = Command::new("/bin/cat");
    command.stdin(Stdio::from(theirs.into_fd()));
    let network = network_of(command, ours);
    let begun = Instant::now();
    drop(network);
    assert!(begun.elapsed() < LAST_MOMENTS, "{:?}", begun.elapsed());
}

#[test]
fn what_is_refused_is_told_with_the_name_it_was_for() {
    let refusal = |transport, name: Option<&str>| {
        let to = "169.254.169.254:80".parse().unwrap();
        told(&Refusal { to, transport, name: name.map(str::to_owned) })
    };
    let (tcp, name) = (Some(network::config::Transport::Tcp), Some("metadata.test"));
    let expected = "refused to the sandbox: metadata.test (169.254.169.254:80/tcp)";
    assert_eq!(refusal(tcp, name), expected);
    assert_eq!(refusal(tcp, None), "refused to the sandbox: 169.254.169.254:80/tcp");
    assert_eq!(refusal(None, None), "refused to the sandbox: an echo of 169.254.169.254");
}

#[test]
fn a_process_is_heard_until_it_is_not_to_be_understood() {
    let (network, theirs) = network();
    let refusal = Refusal { to: "1.2.3.4:5".parse().unwrap(), transport: None, name: None };
    let word = Word::Refused(refusal);
    theirs.send(&NetworkEvent::Word(word.clone()), &[]).unwrap();
    assert_eq!(heard(network.process()), Some(word));
    theirs.send(&NetworkEvent::Ready(Vec::new()), &[]).unwrap();
    assert_eq!(heard(network.process()), None);
    drop(theirs);
    assert_eq!(heard(network.process()), None);
}
