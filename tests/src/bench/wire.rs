// SPDX-License-Identifier: BSD-2-Clause
//! What a daemon cost: system calls, memory, processor time; and datagrams as fast as they go.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::lab::iperf::processor_time;
use mlvpn::lab::namespace::Namespace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::daemon::Daemon;

/// What a daemon says of its work when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Packets from the device and to it.
    pub packets: u64,
    /// System calls made to carry them.
    pub calls: u64,
}

impl Work {
    /// What stands in a log; none in that of a daemon that does not say.
    #[must_use]
    pub fn read(log: &str) -> Option<Self> {
        let (_, said) = log.rsplit_once("packets carried: ")?;
        let line = said.lines().next()?;
        let digits = line.split(|letter: char| !letter.is_ascii_digit());
        let numbers: Vec<u64> = digits.filter_map(|digits| digits.parse().ok()).collect();
        let [out, into, calls] = numbers[..] else { return None };
        Some(Self { packets: out + into, calls })
    }

    /// Ends the daemon and reads what it says.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn of_ended(mut daemon: Daemon) -> Option<Self> {
        daemon.signal(Signal::SIGTERM);
        daemon.expect_end();
        Self::read(&daemon.log())
    }

    /// System calls for each packet.
    #[must_use]
    pub fn calls_per_packet(&self) -> f64 {
        self.calls as f64 / self.packets.max(1) as f64
    }
}

/// Processor seconds of these processes.
///
/// # Errors
/// When one has ended.
pub fn processor_seconds(pids: &[Pid]) -> io::Result<f64> {
    let of = |pid: &Pid| Ok(processor_time(pid.as_raw().unsigned_abs())?.micros() as f64 / 1e6);
    pids.iter().map(of).sum()
}

/// The most memory a process had at once, in bytes (`VmHWM` of proc_pid_status(5)).
///
/// # Errors
/// When it has ended.
pub fn peak_memory(pid: Pid) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|count| count << 10).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmHWM"))
}

/// Datagrams of `len` bytes that arrive in a second when a sender sends as many as it can for some seconds.
///
/// # Errors
/// When there is no socket to be had.
pub fn datagrams_per_second(
    (from, to): (&Namespace, &Namespace),
    address: IpAddr,
    len: usize,
    seconds: u32,
) -> io::Result<f64> {
    let receiver = to.run(|| UdpSocket::bind((address, 0))).map_err(io::Error::other)??;
    receiver.set_read_timeout(Some(StdDuration::from_millis(200)))?;
    let target = receiver.local_addr()?;
    let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let sender = from.run(|| UdpSocket::bind((any, 0))).map_err(io::Error::other)??;
    sender.connect(target)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let counting = thread::spawn(move || {
        let (mut buffer, mut count) = ([0; 2048], 0_u64);
        loop {
            match receiver.recv(&mut buffer) {
                Ok(_) => count += 1,
                Err(_) if over.load(Ordering::Relaxed) => return count,
                Err(_) => {}
            }
        }
    });
    let over = Arc::clone(&is_over);
    let sending = thread::spawn(move || {
        let datagram = vec![0; len];
        while !over.load(Ordering::Relaxed) {
            // A full queue refuses now and then, as it should.
            let _ = sender.send(&datagram);
        }
    });
    thread::sleep(StdDuration::from_secs(seconds.into()));
    is_over.store(true, Ordering::Relaxed);
    let joined = |_| io::Error::other("a thread panicked");
    sending.join().map_err(joined)?;
    Ok(counting.join().map_err(joined)? as f64 / f64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_work_is_read_and_nothing_else() {
        let log = "12:00 [INFO/tuntap] packets carried: 100 out, 20 in, by 30 system calls\nended\n";
        assert_eq!(Work::read(log), Some(Work { packets: 120, calls: 30 }));
        assert_eq!(Work::read(log).map(|work| work.calls_per_packet()), Some(0.25));
        assert_eq!(Work::read("packets dropped: 3\n"), None);
    }

    #[test]
    fn this_process_has_had_some_memory() {
        assert!(peak_memory(nix::unistd::getpid()).is_ok_and(|bytes| bytes > 100_000));
    }
}
