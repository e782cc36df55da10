// SPDX-License-Identifier: BSD-2-Clause
//! Filters against tcpdump's verdicts: those that are recorded, and its own where it is installed.

mod packets;
mod tcpdump;

use mlvpn::filter::compile;
use mlvpn_core::stages::filter::{Base, Comparison, Next, Step, Width, matches};
use mlvpn_tests::random::Random;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// What tcpdump said of each packet of `packets.pcap`.
#[derive(Serialize, Deserialize)]
struct Recorded {
    /// Which tcpdump, in its own words.
    tcpdump: Vec<String>,
    verdicts: Vec<Verdict>,
}

/// One expression, and a digit for each packet: 1 where it matches.
#[derive(Serialize, Deserialize)]
struct Verdict {
    expression: String,
    packets: String,
}

fn recorded() -> Recorded {
    serde_json::from_slice(&std::fs::read(tcpdump::vectors("verdicts.json")).unwrap()).unwrap()
}

fn ours(expression: &str, packets: &[Vec<u8>]) -> String {
    let steps = compile(expression).unwrap_or_else(|fault| panic!("{expression}: {fault:?}"));
    packets.iter().map(|packet| if matches(&steps, packet) { '1' } else { '0' }).collect()
}

/// Which packets two verdicts differ about.
fn differences(one: &str, other: &str) -> Vec<usize> {
    assert_eq!(one.len(), other.len());
    one.bytes().zip(other.bytes()).zip(0..).filter(|((a, b), _)| a != b).map(|(_, at)| at).collect()
}

#[test]
fn every_packet_gets_the_verdict_tcpdump_gave_it() {
    if std::env::var_os("MLVPN_RECORD").is_some() {
        return println!("skipped: they are being recorded");
    }
    let packets = tcpdump::read(&std::fs::read(tcpdump::vectors("packets.pcap")).unwrap());
    let recorded = recorded();
    assert!(packets.len() >= 300 && recorded.verdicts.len() >= 100);
    let mut of_both_kinds = 0;
    for Verdict { expression, packets: theirs } in &recorded.verdicts {
        let differs = differences(&ours(expression, &packets), theirs);
        assert_eq!(differs, [0; 0], "{expression}");
        of_both_kinds += usize::from(theirs.contains('0') && theirs.contains('1'));
    }
    assert!(of_both_kinds * 10 >= recorded.verdicts.len() * 9, "the packets tell few expressions apart");
}

/// With `MLVPN_RECORD` set it writes them down.
#[test]
fn the_recorded_packets_and_verdicts_are_those_of_this_tcpdump() {
    let Some(version) = tcpdump::version() else { return println!("skipped: there is no tcpdump") };
    let packets = packets::corpus(1);
    let pcap = tcpdump::write(&packets);
    let expressions: Vec<String> = recorded().verdicts.into_iter().map(|verdict| verdict.expression).collect();
    let verdicts = expressions.into_iter().map(|expression| {
        let packets = tcpdump::verdicts(&pcap, packets.len(), &expression).expect("tcpdump takes it");
        Verdict { expression, packets }
    });
    let now = Recorded { tcpdump: version, verdicts: verdicts.collect() };
    if std::env::var_os("MLVPN_RECORD").is_some() {
        std::fs::write(tcpdump::vectors("packets.pcap"), &pcap).unwrap();
        let text = serde_json::to_string_pretty(&now).unwrap() + "\n";
        std::fs::write(tcpdump::vectors("verdicts.json"), text).unwrap();
    }
    assert!(std::fs::read(tcpdump::vectors("packets.pcap")).unwrap() == pcap, "another corpus than the recorded one");
    for (now, then) in now.verdicts.iter().zip(recorded().verdicts) {
        assert_eq!(now.packets, then.packets, "{}", now.expression);
    }
}

/// Of whole packets: of one that is cut within its headers the verdict hangs on which of them libpcap's optimiser has looked
/// at, and it drops what cannot change the others'.
#[test]
fn expressions_nobody_thought_of_get_tcpdumps_verdicts() {
    if tcpdump::version().is_none() {
        return println!("skipped: there is no tcpdump");
    }
    let packets = packets::whole(2);
    let pcap = tcpdump::write(&packets);
    for seed in 0..60 {
        let expression = packets::expression(&mut Random::new(seed));
        let theirs = tcpdump::verdicts(&pcap, packets.len(), &expression);
        let theirs = theirs.unwrap_or_else(|why| panic!("seed {seed}, {expression}: {why}"));
        let differs = differences(&ours(&expression, &packets), &theirs);
        assert_eq!(differs, [0; 0], "seed {seed}: {expression}");
    }
}

/// Ours, so that tcpdump cannot say: they mean what they stand for.
#[test]
fn marks_are_those_of_the_header() {
    let packets = packets::corpus(3);
    for (short, long) in [
        ("dscp ef", "ip[1] & 0xfc = 184 or (ip6 and ip6[0:2] & 0xfc0 = 0xb80)"),
        ("dscp 34", "(ip[1] & 0xfc) >> 2 = 34 or ip6[0:2] >> 6 & 63 = 34"),
        ("tos 0xb8", "ip[1] = 0xb8 or ip6[0:2] & 0xff0 = 0xb80"),
        ("not dscp af41 and dscp cs0", "ip[1] & 0xfc = 0 or ip6[0:2] & 0xfc0 = 0"),
    ] {
        let verdict = ours(short, &packets);
        assert_eq!(verdict, ours(long, &packets), "{short}");
        assert!(verdict.contains('1'), "{short}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let next = || prop_oneof![Just(Next::Accept), Just(Next::Reject), (0_u16..40).prop_map(Next::Step)];
    let base = prop_oneof![
        Just(Base::Length),
        any::<u16>().prop_map(Base::Packet),
        (0_u16..64).prop_map(Base::Packet),
        any::<u16>().prop_map(Base::BehindIpv4),
    ];
    let width = prop_oneof![Just(Width::Byte), Just(Width::Half), Just(Width::Word)];
    let comparison = prop_oneof![Just(Comparison::Equal), Just(Comparison::Above), Just(Comparison::AtLeast)];
    (base, width, any::<u32>(), any::<u8>(), comparison, any::<u32>(), next(), next()).prop_map(
        |(base, width, mask, shift, comparison, value, yes, no)| Step {
            base,
            width,
            mask,
            shift,
            comparison,
            value,
            yes,
            no,
        },
    )
}

proptest! {
    #[test]
    fn any_steps_end_on_any_packet(
        steps in prop::collection::vec(step(), 0..32),
        packet in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let accepted = matches(&steps, &packet);
        prop_assert!(accepted || !steps.is_empty());
    }

    #[test]
    fn any_text_is_an_expression_or_a_fault_within_it(text in "[ -~]{0,40}") {
        if let Err(fault) = compile(&text) {
            prop_assert!(fault.at <= text.len());
        }
    }

    #[test]
    fn the_steps_of_an_expression_only_go_forward(seed in any::<u64>()) {
        let steps = compile(&packets::expression(&mut Random::new(seed))).unwrap();
        for (step, at) in steps.iter().zip(0_u16..) {
            for next in [step.yes, step.no] {
                if let Next::Step(place) = next {
                    prop_assert!(place > at && usize::from(place) < steps.len());
                }
            }
        }
    }
}
