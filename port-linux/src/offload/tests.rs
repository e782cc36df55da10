// SPDX-License-Identifier: BSD-2-Clause
//! Cutting and joining, against each other and against the kernel.

use super::cut::Cutter;
use super::join::{Run, Segment};
use super::sum::Sum;
use super::*;
use crate::device::{DeviceKind, TunDevice};
use crate::sandbox;
use proptest::prelude::*;
use std::io::IoSlice;

/// A flow's packets but for what they carry.
#[derive(Clone, Debug)]
struct Flow {
    is_ipv6: bool,
    is_tcp: bool,
    traffic_class: u8,
    hop_limit: u8,
    id: u16,
    dont_fragment: bool,
    sequence: u32,
    flags: u8,
    /// Whole words.
    options: Vec<u8>,
}

impl Flow {
    fn transport_at(&self) -> usize {
        if self.is_ipv6 { IPV6_HEADER } else { IPV4_HEADER }
    }

    fn transport(&self) -> Transport {
        if self.is_tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// A packet without checksums but with the pseudo-header's sum where the transport's goes.
    fn unfinished(&self, payload: &[u8]) -> Vec<u8> {
        let header = if self.is_tcp { TCP_HEADER + self.options.len() } else { UDP_HEADER };
        let body = header + payload.len();
        let mut packet = Vec::new();
        if self.is_ipv6 {
            packet.extend([0x60 | self.traffic_class >> 4, self.traffic_class << 4 | 0x5, 0x43, 0x21]);
            packet.extend((body as u16).to_be_bytes());
            packet.extend([self.transport().protocol(), self.hop_limit]);
            packet.extend([0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
            packet.extend([0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        } else {
            packet.extend([0x45, self.traffic_class]);
            packet.extend(((IPV4_HEADER + body) as u16).to_be_bytes());
            packet.extend(self.id.to_be_bytes());
            packet.extend([if self.dont_fragment { 0x40 } else { 0 }, 0]);
            packet.extend([self.hop_limit, self.transport().protocol(), 0, 0, 10, 1, 0, 2, 10, 2, 0, 2]);
        }
        packet.extend([0x30, 0x39, 0, 80]);
        if self.is_tcp {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([1, 2, 3, 4, (header as u8 / 4) << 4, self.flags, 5, 6, 0, 0, 0, 0]);
            packet.extend(&self.options);
        } else {
            packet.extend((body as u16).to_be_bytes());
            packet.extend([0, 0]);
        }
        packet.extend(payload);
        let addresses = if self.is_ipv6 { 8..40 } else { 12..20 };
        let pseudo = Sum::of(&packet[addresses]).and_word(self.transport().protocol().into()).and_word(body as u16);
        let at = self.transport_at() + self.transport().checksum_at();
        packet[at..at + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
        let len = packet.len();
        put_ip_length(&mut packet, len, self.transport_at()).expect("an IP packet");
        packet
    }

    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.unfinished(payload);
        let at = self.transport_at() + self.transport().checksum_at();
        let sum = !Sum::of(&packet[self.transport_at()..]).fold();
        packet[at..at + 2].copy_from_slice(&written(sum, self.transport()).to_be_bytes());
        packet
    }

    /// What the kernel hands over for a whole of many packets, or takes.
    fn whole(&self, payload: &[u8], segment: usize) -> Vec<u8> {
        let packet = self.unfinished(payload);
        let header = if self.is_tcp { TCP_HEADER + self.options.len() } else { UDP_HEADER };
        let kind = match (self.is_tcp, self.is_ipv6) {
            (false, _) => gso::UDP,
            (true, false) => gso::TCP_IPV4,
            (true, true) => gso::TCP_IPV6,
        };
        let ecn = if self.is_tcp && self.flags & flag::CWR != 0 { gso::ECN } else { 0 };
        let vnet = VnetHeader {
            flags: NEEDS_CHECKSUM,
            gso: kind | ecn,
            header_len: (self.transport_at() + header) as u16,
            gso_size: segment as u16,
            checksum_start: self.transport_at() as u16,
            checksum_offset: self.transport().checksum_at() as u16,
        };
        [&vnet.emit()[..], &packet].concat()
    }
}

fn flows() -> impl Strategy<Value = Flow> {
    let numbers = (any::<u8>(), 2_u8.., any::<u16>(), any::<bool>(), any::<u32>());
    // Options that say nothing, and a timestamp.
    let options = prop_oneof![Just(vec![]), Just(vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]), Just(vec![1; 40])];
    (any::<bool>(), any::<bool>(), numbers, options).prop_map(
        |(is_ipv6, is_tcp, (traffic_class, hop_limit, id, dont_fragment, sequence), options)| Flow {
            is_ipv6,
            is_tcp,
            traffic_class,
            hop_limit,
            id,
            dont_fragment,
            sequence,
            flags: flag::ACK,
            options,
        },
    )
}

/// A checksum as it is written: UDP alone has another form for zero (RFC 768).
const fn written(sum: u16, transport: Transport) -> u16 {
    if sum == 0 && matches!(transport, Transport::Udp) { 0xffff } else { sum }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|byte| (byte % 251) as u8).collect()
}

fn cut(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut cutter = Cutter::new();
    cutter.room()[..whole.len()].copy_from_slice(whole);
    assert!(cutter.take(whole.len()));
    let mut packets = Vec::new();
    let mut out = [0; 1660];
    while let Some(len) = cutter.next(&mut out) {
        packets.push(out[..len].to_vec());
    }
    assert!(cutter.is_empty());
    packets
}

/// Joins as many as continue the first, and returns what would be written and how many they were.
fn join(packets: &[Vec<u8>]) -> Option<(Vec<u8>, usize)> {
    let first = Segment::read(&packets[0], true)?;
    let mut run = Run::new(first);
    let mut payloads = first.payload(&packets[0]).to_vec();
    let mut count = 1;
    for packet in &packets[1..] {
        let Some(segment) = Segment::read(packet, true) else { break };
        if !run.is_of_flow(&packets[0], packet, &segment) || !run.join(&packets[0], packet, &segment) {
            break;
        }
        payloads.extend(segment.payload(packet));
        count += 1;
    }
    let headers = run.headers(&packets[0]).expect("headers");
    Some(([headers.as_bytes(), &payloads].concat(), count))
}

/// The packets of a flow, whose numbers continue, made one by one.
fn one_by_one(flow: &Flow, payload: &[u8], segment: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<_> = payload.chunks(segment).collect();
    let count = chunks.len();
    let packets = chunks.into_iter().enumerate().map(|(number, chunk)| {
        let mut flags = flow.flags;
        if number > 0 {
            flags &= !flag::CWR;
        }
        if number + 1 < count {
            flags &= !(flag::PSH | flag::FIN);
        }
        let sequence = flow.sequence.wrapping_add((number * segment) as u32);
        Flow { flags, sequence, id: flow.id.wrapping_add(number as u16), ..flow.clone() }.packet(chunk)
    });
    packets.collect()
}

proptest! {
    #[test]
    fn a_whole_is_cut_into_the_packets_it_stands_for(
        flow in flows(), len in 1_usize..20_000, segment in 1_usize..1460, flags: u8,
    ) {
        let flow = Flow { flags, ..flow };
        let payload = payload(len.max(segment + 1).min(segment * 64));
        prop_assert_eq!(cut(&flow.whole(&payload, segment)), one_by_one(&flow, &payload, segment));
    }

    #[test]
    fn what_was_joined_is_cut_into_the_same_packets_again(
        flow in flows(), len in 2_usize..60_000, segment in 1_usize..1460, pushes: bool,
    ) {
        let flags = flag::ACK | if pushes { flag::PSH } else { 0 };
        let flow = Flow { flags, ..flow };
        let packets = one_by_one(&flow, &payload(len), segment);
        prop_assume!(packets.len() > 1);
        let (whole, count) = join(&packets).expect("packets of a transfer");
        prop_assert_eq!(count, packets.len().min(64));
        prop_assert_eq!(&cut(&whole)[..], &packets[..count]);
    }

    /// One byte of one packet differs: it is joined only when it comes out as it was.
    #[test]
    fn nothing_is_joined_that_would_come_out_changed(
        flow in flows(), place in 0_usize..100, bit in 0_u8..8, fix: bool,
    ) {
        let mut packets = one_by_one(&flow, &payload(400), 100);
        let second = &mut packets[1];
        let place = place % second.len();
        second[place] ^= 1 << bit;
        let at = flow.transport_at();
        if fix && second[0] >> 4 == if flow.is_ipv6 { 6 } else { 4 } {
            // A difference that a checksum does not give away.
            if !flow.is_ipv6 {
                second[10..12].fill(0);
                let sum = !Sum::of(&second[..20]).fold();
                second[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let checksum = at + flow.transport().checksum_at();
            second[checksum..checksum + 2].fill(0);
            let addresses = if flow.is_ipv6 { 8..40 } else { 12..20 };
            let body = (second.len() - at) as u16;
            let sum = Sum::of(&second[addresses]).and(&second[at..]);
            let sum = !sum.and_word(flow.transport().protocol().into()).and_word(body).fold();
            second[checksum..checksum + 2].copy_from_slice(&written(sum, flow.transport()).to_be_bytes());
        }
        if let Some((whole, count)) = join(&packets) {
            prop_assert_eq!(&cut(&whole)[..], &packets[..count]);
        }
    }

    #[test]
    fn whatever_is_read_is_cut_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut cutter = Cutter::new();
        cutter.room()[..bytes.len()].copy_from_slice(&bytes);
        cutter.take(bytes.len());
        let mut out = [0; 1660];
        let mut steps = 0;
        while cutter.next(&mut out).is_some() && steps < 1000 {
            steps += 1;
        }
        let _ = Segment::read(&bytes, true);
    }
}

#[test]
fn a_damaged_packet_one_out_of_order_or_one_with_another_mark_is_not_joined() {
    let flow = Flow {
        is_ipv6: false,
        is_tcp: true,
        traffic_class: 2,
        hop_limit: 64,
        id: 7,
        dont_fragment: true,
        sequence: u32::MAX - 100,
        flags: flag::ACK,
        options: vec![],
    };
    let packets = one_by_one(&flow, &payload(400), 100);
    let with = |second: Vec<u8>| join(&[packets[0].clone(), second]).map(|(_, count)| count);
    assert_eq!(with(packets[1].clone()), Some(2));
    assert_eq!(with(packets[2].clone()), Some(1), "a gap");
    let next = Flow { sequence: flow.sequence.wrapping_add(100), id: 8, ..flow.clone() };
    assert_eq!(with(next.packet(&payload(101))), Some(1), "longer than the first");
    assert_eq!(with(Flow { traffic_class: 3, ..next.clone() }.packet(&payload(100))), Some(1), "a congestion mark");
    assert_eq!(with(Flow { flags: flag::ACK | flag::FIN, ..next.clone() }.packet(&payload(100))), Some(1), "an end");
    assert_eq!(with(Flow { id: 9, ..next.clone() }.packet(&payload(100))), Some(1), "a gap in the identification");
    assert_eq!(with(Flow { id: 7, ..next.clone() }.packet(&payload(100))), Some(2), "none is fragmented");
    let mut damaged = packets[1].clone();
    damaged[60] ^= 1;
    assert_eq!(with(damaged), Some(1), "a wrong checksum");
    let pushed = Flow { flags: flag::ACK | flag::PSH, ..flow.clone() }.packet(&payload(100));
    assert_eq!(join(&[pushed, packets[1].clone()]).map(|(_, count)| count), Some(1), "nothing follows a push");
    for flags in [0, flag::FIN, flag::ACK | flag::CWR, flag::ACK | 0x02, flag::ACK | 0x04, flag::ACK | 0x20] {
        assert!(join(&[Flow { flags, ..flow.clone() }.packet(&payload(100))]).is_none(), "{flags:#x} travels alone");
    }
    assert!(join(&[flow.packet(&[])]).is_none(), "an acknowledgement travels alone");
}

/// The kernel routes what is written to one device into another that takes no super-segments, and so cuts it itself.
#[test]
fn the_kernel_cuts_the_same_packets_byte_for_byte() {
    sandbox::in_namespace("two TUN devices", || {
        let from = TunDevice::create_offloading("from", DeviceKind::Tun, 1500).expect("create");
        let to = TunDevice::create("to", DeviceKind::Tun, 1500).expect("create");
        let Some(offload) = from.offload() else { return eprintln!("skipped: the kernel has no TUN offloads") };
        for (device, number) in [(&from, 1), (&to, 2)] {
            let name = device.name();
            device.set_up().expect("up");
            sandbox::run(&format!("ip addr add 10.{number}.0.1/24 dev {name}"));
            sandbox::run(&format!("ip addr add fd0{number}::1/64 dev {name} nodad"));
        }
        sandbox::run("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let usual = Flow {
            is_ipv6: false,
            is_tcp: true,
            traffic_class: 0,
            hop_limit: 64,
            id: 65_530,
            dont_fragment: true,
            sequence: u32::MAX - 3000,
            flags: flag::ACK,
            options: vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        };
        let mut compared = 0;
        for is_ipv6 in [false, true] {
            for (is_tcp, flags) in [
                (true, flag::ACK),
                (true, flag::ACK | flag::PSH),
                (true, flag::ACK | flag::PSH | flag::FIN),
                (true, flag::ACK | flag::CWR),
                (true, flag::ACK | flag::CWR | flag::ECE | flag::PSH),
                (false, 0),
            ] {
                if !is_tcp && !offload.udp {
                    continue;
                }
                for traffic_class in [0, 2, 3, 0xb9] {
                    let flow = Flow { is_ipv6, is_tcp, flags, traffic_class, ..usual.clone() };
                    for (len, segment) in [(3000, 1400), (40_000, 1388), (2801, 1400), (2800, 1400), (700, 100)] {
                        let payload = payload(len);
                        from.write_parts(&[IoSlice::new(&flow.whole(&payload, segment))]).expect("written");
                        // On its way the kernel takes one off the hop limit.
                        let expected = cut(&Flow { hop_limit: 63, ..flow.clone() }.whole(&payload, segment));
                        for (number, expected) in expected.iter().enumerate() {
                            let packet = read_of_flow(&to);
                            assert!(
                                packet == *expected,
                                "packet {number} of {flow:?}, {len} by {segment}:\n{packet:?}\n{expected:?}"
                            );
                            compared += 1;
                        }
                    }
                }
            }
        }
        assert!(compared > 500, "{compared}");
    });
}

/// The next packet of the test's own; other chatter (IPv6 router solicitations) is skipped.
fn read_of_flow(device: &TunDevice) -> Vec<u8> {
    let mut buffer = [0; 2000];
    loop {
        match device.read(&mut buffer).expect("read") {
            Some(len) => {
                let packet = &buffer[..len];
                let is_ours = match packet[0] >> 4 {
                    4 => packet[16..20] == [10, 2, 0, 2],
                    _ => packet[24..28] == [0xfd, 2, 0, 0],
                };
                if is_ours {
                    return packet.to_vec();
                }
            }
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}

/// The kernel's own super-segments come out of the device as packets whose checksums are right.
#[test]
fn what_the_kernel_hands_over_is_cut_into_sound_packets() {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    sandbox::in_namespace("a TUN device", || {
        let device = TunDevice::create_offloading("tun0", DeviceKind::Tun, 1400).expect("create");
        let Some(offload) = device.offload() else { return eprintln!("skipped: the kernel has no TUN offloads") };
        device.set_up().expect("up");
        sandbox::run("ip addr add 10.2.0.1/24 dev tun0");
        let socket = UdpSocket::bind("10.2.0.1:7000").expect("bind");
        socket.connect("10.2.0.2:7001").expect("connect");
        crate::sys::set_socket_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1000).expect("an option");
        socket.send(&payload(10_500)).expect("send");
        let mut cutter = Cutter::new();
        let mut came: Vec<u8> = Vec::new();
        let mut reads = 0;
        while came.len() < 10_500 {
            let Some(len) = device.read(cutter.room()).expect("read") else { continue };
            reads += 1;
            assert!(cutter.take(len));
            let mut out = [0; 1660];
            while let Some(len) = cutter.next(&mut out) {
                if out[0] == 0x45 && out[9] == 17 {
                    let segment = Segment::read(&out[..len], true).expect("a sound packet");
                    came.extend(segment.payload(&out[..len]));
                }
            }
        }
        assert!(came == payload(10_500) && (!offload.udp || reads < 8), "{reads} reads");
    });
}
