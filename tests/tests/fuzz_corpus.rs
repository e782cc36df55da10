// SPDX-License-Identifier: BSD-2-Clause
//! What the fuzz targets do, on stable: over the committed corpus, and over random input.

use std::collections::BTreeMap;
use std::path::Path;

use mlvpn::privilege::{LinkOrder, Mtu, Request, Run};
use mlvpn::script::{LinkName, ScriptEvent};
use mlvpn_tests::fuzz::TARGETS;
use mlvpn_tests::random::Random;

#[test]
fn the_committed_corpus_passes() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

/// Requests of a worker, each with the name of its seed.
fn sound_requests() -> Vec<(&'static str, Request)> {
    let mtu = Mtu::new(1_428).expect("an MTU");
    let adsl = || LinkName::new("adsl").expect("a name");
    let run = |event, link| Request::RunScript(Run::new(event, link, mtu).expect("it fits together"));
    let near = LinkOrder { serial: 1, link: adsl(), server: 0, device: None, address: None };
    let far = LinkOrder {
        serial: u64::MAX,
        link: LinkName::new(&"x".repeat(LinkName::MAX_BYTES)).expect("a name"),
        server: u16::MAX,
        device: "wwan0".parse().ok(),
        address: "2001:db8::1".parse().ok(),
    };
    vec![
        ("set-mtu", Request::SetMtu(mtu)),
        ("open-config", Request::OpenConfig),
        ("tunnel-up", run(ScriptEvent::TunnelUp, None)),
        ("tunnel-down", run(ScriptEvent::TunnelDown, None)),
        ("link-up", run(ScriptEvent::LinkUp, Some(adsl()))),
        ("link-down", run(ScriptEvent::LinkDown, Some(adsl()))),
        ("open-link", Request::OpenLink(near)),
        ("open-link-with-everything", Request::OpenLink(far)),
        ("find-server", Request::FindServer { serial: 7 }),
    ]
}

/// What no worker sends, each made of a request by a change to its bytes.
fn wild_requests() -> Vec<(&'static str, Vec<u8>)> {
    let of = |wanted: &str| {
        let found = sound_requests().into_iter().find(|(name, _)| *name == wanted);
        found.expect("a request of this name").1.encode()
    };
    let with = |wanted: &str, old: &[u8], new: &[u8]| {
        let bytes = of(wanted);
        let at = bytes.windows(old.len()).position(|window| window == old).expect("it is in there");
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    };
    let len = u8::try_from(LinkName::MAX_BYTES + 1).expect("postcard says it in a byte");
    let too_long = [&[len], &[b'x'; LinkName::MAX_BYTES + 1][..]].concat();
    let cut = |wanted: &str| of(wanted)[..of(wanted).len() - 1].to_vec();
    vec![
        ("empty", Vec::new()),
        ("no-kind", vec![5]),
        ("kind-in-two-bytes", vec![0x81, 0]),
        ("open-config-and-more", [of("open-config"), b"x".to_vec()].concat()),
        ("mtu-too-small", vec![0, 67]),
        ("mtu-too-large", vec![0, 0x80, 0x80, 4]),
        ("script-cut", cut("link-up")),
        ("no-event", [&[2, 4], &of("link-up")[2..]].concat()),
        ("tunnel-with-name", [&[2, 0], &of("link-up")[2..]].concat()),
        ("link-without-name", [&[2, 2], &of("tunnel-up")[2..]].concat()),
        ("name-not-utf8", with("open-link", b"adsl", b"ad\xffl")),
        ("name-with-a-line-end", with("open-link", b"adsl", b"ad\nl")),
        ("name-longer-than-said", with("open-link", b"adsl", b"adsla")),
        ("name-too-long", with("open-link", b"\x04adsl", &too_long)),
        ("device-with-slash", with("open-link-with-everything", b"wwan0", b"ww/n0")),
        ("address-cut", cut("open-link-with-everything")),
    ]
}

#[test]
fn the_seeds_of_the_monitors_requests_are_in_the_form_of_now() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/monitor_request");
    let sound = sound_requests().into_iter().map(|(name, request)| (name, request.encode()));
    let all: BTreeMap<&str, Vec<u8>> = sound.chain(wild_requests()).collect();
    for (name, request) in sound_requests() {
        assert_eq!(Request::decode(&all[name]), Some(request), "{name}");
    }
    for (name, bytes) in wild_requests() {
        assert_eq!(Request::decode(&bytes), None, "{name}");
    }
    if std::env::var_os("MLVPN_BLESS").is_some() {
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        all.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
    }
    for (name, bytes) in &all {
        let kept = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(kept, *bytes, "{name} is old; MLVPN_BLESS=1 writes it anew");
    }
}

/// A folder without a target is replayed by nobody, and so is a target that only one of the two lists has.
#[test]
fn every_target_has_a_corpus_and_a_program_and_there_are_no_others() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    for folder in ["corpus", "fuzz_targets"] {
        let entries = std::fs::read_dir(fuzz.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, known, "{folder}");
    }
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut programs: Vec<&str> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    programs.sort_unstable();
    assert_eq!(programs, known, "Cargo.toml");
}

#[test]
fn random_input_passes() {
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let len = random.below(500) as usize;
        let data = random.bytes(len);
        for (name, target) in TARGETS {
            let result = std::panic::catch_unwind(|| target(&data));
            assert!(result.is_ok(), "{name} fails with the {len} bytes of seed {seed}");
        }
    }
}
