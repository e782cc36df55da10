// SPDX-License-Identifier: BSD-2-Clause
//! tcpdump, asked about a file of raw IP packets.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file's header in pcap's format (draft-ietf-opsawg-pcap): little-endian, version 2.4, 64 KiB at most of a packet,
/// LINKTYPE_RAW, as MLVPN 2.3.5 compiles its filters for.
const HEADER: [u8; 24] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0];

/// Bytes of a packet's own header: seconds, microseconds, bytes there are, bytes there were.
const RECORD: usize = 16;

pub(crate) fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/filters").join(name)
}

/// What tcpdump says of itself and its library; none when there is no tcpdump.
pub(crate) fn version() -> Option<Vec<String>> {
    let output = Command::new("tcpdump").arg("--version").output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).lines().take(2).map(str::to_owned).collect())
}

/// A file of these packets. Each one's time is its place, by which it is known again.
pub(crate) fn write(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = HEADER.to_vec();
    for (packet, place) in packets.iter().zip(0_u32..) {
        let len = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend([place.to_le_bytes(), [0; 4], len, len].concat());
        file.extend(packet);
    }
    file
}

/// The packets of such a file.
pub(crate) fn read(file: &[u8]) -> Vec<Vec<u8>> {
    records(file).map(|(_, packet)| packet.to_vec()).collect()
}

fn records(file: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = file.strip_prefix(&HEADER[..16]).expect("a pcap file").get(8..).expect("a whole header");
    std::iter::from_fn(move || {
        let number = |at: usize| u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?).try_into().ok();
        let (place, len): (usize, usize) = (number(0)?, number(8)?);
        let packet = rest.get(RECORD..RECORD + len)?;
        rest = &rest[RECORD + len..];
        Some((place, packet))
    })
}

/// A digit for each of `count` packets: 1 where the expression matches.
pub(crate) fn verdicts(file: &[u8], count: usize, expression: &str) -> Result<String, String> {
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-r", "-", "-w", "-", "-U"]).arg(expression);
    tcpdump.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tcpdump.spawn().map_err(|why| why.to_string())?;
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It stops reading where it takes the expression for wrong.
        scope.spawn(move || input.write_all(file));
        child.wait_with_output()
    });
    let output = output.map_err(|why| why.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut digits = vec![b'0'; count];
    if said.contains("expression rejects all packets") {
        // It found that out while compiling.
        return Ok(String::from_utf8(digits).unwrap());
    }
    if !output.status.success() {
        return Err(said);
    }
    for (place, _) in records(&output.stdout) {
        digits[place] = b'1';
    }
    Ok(String::from_utf8(digits).unwrap())
}
