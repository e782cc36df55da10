// SPDX-License-Identifier: BSD-2-Clause
//! Packets and expressions that have to do with one another.

use mlvpn_tests::random::Random;

const HOSTS: [[u8; 4]; 6] =
    [[10, 0, 0, 1], [10, 1, 2, 3], [192, 168, 1, 7], [192, 0, 2, 1], [224, 0, 0, 5], [198, 51, 100, 200]];
const PORTS: [u16; 10] = [22, 53, 80, 443, 1024, 5060, 5061, 10_000, 16_384, 50_000];
const PROTOCOLS4: [u8; 12] = [6, 6, 6, 17, 17, 17, 132, 1, 1, 2, 47, 50];
const PROTOCOLS6: [u8; 11] = [6, 6, 6, 17, 17, 17, 132, 58, 58, 51, 103];

/// The addresses differ in each of their four words.
fn host6(random: &mut Random) -> [u8; 16] {
    let mut host = [0; 16];
    host[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    match random.below(6) {
        0 => host[15] = 1,
        1 => host[15] = 2,
        2 => (host[4], host[15]) = (0x80, 1),
        3 => (host[9], host[15]) = (7, 1),
        4 => host[..2].copy_from_slice(&[0xff, 0x02]),
        _ => host[..2].copy_from_slice(&[0xfd, 0x00]),
    }
    host
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

/// Packets of every kind a tunnel sees, whole.
pub(crate) fn whole(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    (0..320).map(|_| packet(&mut random)).collect()
}

/// The same, and some that are nothing.
pub(crate) fn corpus(seed: u64) -> Vec<Vec<u8>> {
    let mut packets = whole(seed);
    packets.extend([vec![0x15; 24], vec![0x40; 30], vec![0x4f; 70], vec![0x65; 41]]);
    packets
}

fn packet(random: &mut Random) -> Vec<u8> {
    if random.one_in(3) { ipv6(random) } else { ipv4(random) }
}

fn traffic_class(random: &mut Random) -> u8 {
    pick(random, &[0, 0, 0xb8, 0x88, 0x03, 0xff])
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let words = pick(random, &[5, 5, 5, 5, 6, 15]);
    let protocol = pick(random, &PROTOCOLS4);
    let fragment: u16 = pick(random, &[0, 0, 0, 0x4000, 0x2000, 0x2064, 0x0064]);
    let mut packet = vec![0x40 | words, traffic_class(random), 0, 0, 0, 7];
    packet.extend(fragment.to_be_bytes());
    packet.extend([pick(random, &[1, 5, 64]), protocol, 0, 0]);
    packet.extend(pick(random, &HOSTS));
    packet.extend(pick(random, &HOSTS));
    packet.resize(usize::from(words) * 4, 1);
    packet.extend(payload(random, protocol));
    let len = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let protocol = pick(random, &PROTOCOLS6);
    let class = traffic_class(random);
    let mut payload = payload(random, protocol);
    let next = match random.below(8) {
        0 => {
            payload.splice(0..0, [protocol, 0, 0, 1, 0, 0, 0, 9]);
            44
        }
        1 => {
            payload.splice(0..0, [protocol, 0, 1, 4, 0, 0, 0, 0]);
            60
        }
        _ => protocol,
    };
    let mut packet = vec![0x60 | class >> 4, class << 4 | 5, 0, 9];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(host6(random));
    packet.extend(host6(random));
    packet.extend(payload);
    packet
}

fn payload(random: &mut Random, protocol: u8) -> Vec<u8> {
    let mut payload = match protocol {
        1 => vec![pick(random, &[0, 3, 8, 11]), pick(random, &[0, 4])],
        58 => vec![pick(random, &[1, 2, 128, 135]), 0],
        _ => [pick(random, &PORTS).to_be_bytes(), pick(random, &PORTS).to_be_bytes()].concat(),
    };
    payload.resize(12, 0);
    payload.extend([0x50, pick(random, &[0x02, 0x12, 0x10, 0x18, 0x11, 0x04])]);
    let room = pick(random, &[0, 8, 8, 30, 30, 90, 400]);
    payload.resize(20 + random.below(room + 1) as usize, 0x5a);
    payload
}

/// An expression of the parts that tcpdump has, too.
pub(crate) fn expression(random: &mut Random) -> String {
    let mut text = term(random, 2);
    for _ in 0..random.below(4) {
        let join = pick(random, &[" and ", " or ", " && ", " || "]);
        let next = term(random, 2);
        text = format!("{text}{join}{next}");
    }
    text
}

fn term(random: &mut Random, depth: u32) -> String {
    let not = pick(random, &["", "", "", "not ", "! "]);
    if depth > 0 && random.one_in(4) {
        let (one, other) = (term(random, depth - 1), term(random, depth - 1));
        let join = pick(random, &["and", "or"]);
        return format!("{not}({one} {join} {other})");
    }
    format!("{not}{}", simple(random))
}

fn simple(random: &mut Random) -> String {
    let end = pick(random, &["", "", "src ", "dst ", "src or dst ", "src and dst "]);
    let host = pick(random, &HOSTS).map(|byte| byte.to_string()).join(".");
    match random.below(11) {
        0 => format!("{end}host {host}"),
        1 => format!("{end}net {}", pick(random, &["10.0.0.0/8", "192.168", "2001:db8::/33", "198.51.100.128/25"])),
        2 => format!("{end}host {}", pick(random, &["2001:db8::1", "2001:db8:8000::1", "fd00:db8::"])),
        3 => format!("{}{end}port {}", pick(random, &["", "tcp ", "udp ", "sctp "]), pick(random, &PORTS)),
        4 => {
            let (one, other) = (pick(random, &PORTS), pick(random, &PORTS));
            format!("{}{end}portrange {one}-{other}", pick(random, &["", "tcp ", "udp "]))
        }
        5 => format!("port {} or {}", pick(random, &PORTS), pick(random, &PORTS)),
        6 => pick(random, &["tcp", "udp", "icmp", "icmp6", "ip", "ip6", "sctp", "igmp", "esp", "ah", "pim"]).to_owned(),
        7 => format!("{}proto {}", pick(random, &["", "ip ", "ip6 "]), pick(random, &PROTOCOLS6)),
        8 => format!("{} {}", pick(random, &["less", "greater"]), random.below(120)),
        9 => relation(random),
        _ => {
            let one = pick(random, &["net 10.0.0.0/8", "net 192.168", "host 192.0.2.1", "src host 10.0.0.1"]);
            format!("{one} or {host}")
        }
    }
}

fn relation(random: &mut Random) -> String {
    let sign = pick(random, &["=", "==", "!=", "<", "<=", ">", ">="]);
    let (left, bound) = pick(
        random,
        &[
            ("ip[8]", 66),
            ("ip[1] & 0xfc", 0xb9),
            ("(ip[1] & 0xfc) >> 2", 47),
            ("ip[2:2]", 130),
            ("tcp[13] & 2", 3),
            ("tcp[tcpflags] & (tcp-syn|tcp-ack)", 19),
            ("udp[4:2]", 40),
            ("icmp[icmptype]", 9),
            ("icmp6[0]", 130),
            ("ip6[4:2]", 60),
            ("ip6[0:2] >> 6 & 63", 47),
            ("len", 130),
        ],
    );
    format!("{left} {sign} {}", random.below(bound))
}
