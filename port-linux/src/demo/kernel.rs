// SPDX-License-Identifier: BSD-2-Clause
//! The stage of `--kernel`: two daemons in two network namespaces, real devices, emulated links and the kernel's TCP.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration as StdDuration;

use portable_atomic::AtomicU64;

use mlvpn_core::state::identity::{KeyText, SharedSecret};
use mlvpn_core::words::time::{Duration, Instant};
use zeroize::Zeroizing;

use super::daemon::{CLIENT, Daemon, PrivateDirectory, link_name};
use super::plan::{LINK_MTU, Plan, TUNNEL_MTU};
use super::record::{LinkReading, LinkState, Reading};
use super::run::Stage;
use crate::lab::kernel::{Pair, round_trips};
use crate::lab::link::Counters;
use crate::lab::namespace::{LabError, Namespace, become_root_in_user_namespace};
use crate::lab::realtime::{Emulation, End, LinkId, Running, Way};
use crate::lab::stream::{Course, Stream};

/// Ends of the tunnel.
const USER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 201, 0, 2));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 201, 0, 1));
/// Both fit a network of four addresses.
const PREFIX: u8 = 30;

/// The daemons' device.
const DEVICE: &str = "mlvpn0";

/// Packets on a link that carries no load: keepalives and probes.
const STRAY_PACKETS: u64 = 3;

/// How long a daemon that fails may take from losing its device to its end.
const FAREWELL: StdDuration = StdDuration::from_millis(300);

/// From one probe of a link to the next.
const PROBE_INTERVAL: StdDuration = StdDuration::from_millis(200);

/// The stage. Fields are dropped in order: daemons first, then links, then namespaces.
pub(super) struct Kernel {
    scene: Option<Scene>,
    probes: Vec<Probe>,
    running: Running,
    links: Vec<LinkId>,
    user: Arc<Namespace>,
    far: Arc<Namespace>,
    directory: PrivateDirectory,
    secret: KeyText,
    program: PathBuf,
    plan: Plan,
}

/// What is there during an act.
struct Scene {
    stream: Option<Stream>,
    user: Daemon,
    far: Daemon,
    /// Whether both devices have their addresses.
    is_addressed: bool,
    links: Vec<usize>,
    /// The links' counters when the act began.
    before: Vec<Counters>,
}

impl Kernel {
    /// Makes namespaces and links. `secret` is for the tunnel and the directory's name. Call it while the process has
    /// one thread.
    pub(super) fn new(plan: &Plan, secret: [u8; 32]) -> Result<Self, String> {
        let words = |error: LabError| format!("--kernel: {error}");
        become_root_in_user_namespace().map_err(words)?;
        let program =
            std::env::current_exe().map_err(|error| format!("--kernel: cannot find this program: {error}"))?;
        let [user, far] = [Namespace::new(), Namespace::new()].map(|made| made.map(Arc::new).map_err(words));
        let (user, far) = (user?, far?);
        let mut emulation = Emulation::new();
        let mut links = Vec::new();
        for (index, link) in plan.links.iter().enumerate() {
            let name = link_name(index);
            let [to_user, to_far] = link_addresses(index).map(|address| [(address, PREFIX)]);
            let end = |namespace, addresses| End { namespace, interface: &name, mtu: LINK_MTU, addresses };
            let joined = emulation.join(&end(&user, &to_user), &end(&far, &to_far), &link.spec, index as u64 + 1);
            links.push(joined.map_err(words)?);
        }
        let running = emulation.start().map_err(words)?;
        // What names the directory is no secret any more; 24 bytes are left.
        let mut secret = Zeroizing::new(secret);
        let mark = secret.first_chunk_mut().map_or(0, |first| u64::from_ne_bytes(std::mem::take(first)));
        let secret = SharedSecret::from_random(secret).to_text();
        let directory = PrivateDirectory::create(mark)
            .map_err(|error| format!("--kernel: cannot make a directory for temporary files: {error}"))?;
        let probes = (0..plan.links.len()).map(|index| Probe::start(&user, &far, index)).collect();
        let plan = plan.clone();
        Ok(Self { scene: None, probes, running, links, user, far, directory, secret, program, plan })
    }

    fn start_daemon(&self, is_user: bool, links: &[usize]) -> Result<Daemon, String> {
        let (name, namespace) = if is_user { ("client.conf", &self.user) } else { ("server.conf", &self.far) };
        let config = self.directory.write(name, &self.config(is_user, links));
        let config = config.map_err(|error| format!("--kernel: cannot write {name}: {error}"))?;
        Daemon::start(namespace, &self.program, &config, self.plan.links.len(), links)
    }

    fn config(&self, is_user: bool, links: &[usize]) -> String {
        let mode = if is_user { "client" } else { "server" };
        let peer = if is_user { "far" } else { CLIENT };
        let mut text = format!(
            "[general]\nmode = \"{mode}\"\nprotocol = 2\ninterface_name = \"{DEVICE}\"\nmtu = {TUNNEL_MTU}\n\
             [peer {peer}]\nsecret = \"{}\"\n",
            self.secret.as_str()
        );
        if is_user {
            let far = links.first().map(|&index| link_addresses(index)[1]);
            text.push_str(&far.map(|far| format!("remotehost = \"{far}\"\nremoteport = 5080\n")).unwrap_or_default());
        }
        for &index in links {
            let [user, far] = link_addresses(index);
            let link = &self.plan.links[index];
            let name = link_name(index);
            text.push_str(&if is_user {
                let (upload, download) = (link.up_bps / 8, link.down_bps / 8);
                format!(
                    "[{name}]\nbindhost = \"{user}\"\nremotehost = \"{far}\"\nremoteport = 5080\n\
                     bandwidth_upload = {upload}\nbandwidth_download = {download}\n"
                )
            } else {
                format!("[{name}]\nbindhost = \"{far}\"\nbindport = 5080\n")
            });
        }
        text
    }

    fn counters(&self, index: usize) -> Counters {
        self.links.get(index).map(|&link| self.running.counters(link, Way::Down).model).unwrap_or_default()
    }

    fn link_reading(&self, scene: &Scene, index: usize) -> LinkReading {
        if !scene.links.contains(&index) {
            return LinkReading::default();
        }
        let (now, before) = (self.counters(index), scene.before[index]);
        // What the act before left in the links' queues would spoil the start of this one.
        let held = now.offered + now.duplicated - now.delivered - now.lost.total();
        let is_ready = scene.is_addressed && (scene.stream.is_some() || held <= STRAY_PACKETS);
        let state = match (is_ready, scene.user.link(index), scene.far.link(index)) {
            (false, _, _) | (_, LinkState::Unused, _) | (_, _, LinkState::Unused) => LinkState::Connecting,
            (true, LinkState::Connecting, _) => LinkState::Connecting,
            // The sender's view decides where packets go.
            (true, _, state) => state,
        };
        LinkReading {
            carried_bytes: now.carried_bytes - before.carried_bytes,
            offered: now.offered - before.offered,
            lost: now.lost.total() - before.lost.total(),
            round_trip: self.probes.get(index).and_then(Probe::latest),
            state,
        }
    }
}

impl Stage for Kernel {
    fn open(&mut self, links: &[usize], _now: Instant) -> Result<(), String> {
        let far = self.start_daemon(false, links)?;
        let user = self.start_daemon(true, links)?;
        let before = (0..self.plan.links.len()).map(|index| self.counters(index)).collect();
        self.scene = Some(Scene { stream: None, user, far, is_addressed: false, links: links.to_vec(), before });
        Ok(())
    }

    fn start_transfer(&mut self, _now: Instant) -> Result<(), String> {
        let Some(scene) = &mut self.scene else { return Ok(()) };
        let (sender, receiver) = (Arc::clone(&self.far), Arc::clone(&self.user));
        let course = Course { sender, receiver, address: USER, congestion: "cubic" };
        scene.stream = Some(Stream::start(course).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn set_link(&mut self, link: usize, up: bool, _now: Instant) -> Result<(), String> {
        let Some(&link) = self.links.get(link) else { return Ok(()) };
        self.running.set_up(link, up).map_err(|error| error.to_string())
    }

    fn advance(&mut self, _now: Instant) -> Result<Reading, String> {
        let Some(scene) = &mut self.scene else { return Ok(Reading::default()) };
        scene.user.watch()?;
        scene.far.watch()?;
        if !scene.is_addressed && scene.user.has_device() && scene.far.has_device() {
            for (namespace, address) in [(&self.user, USER), (&self.far, FAR)] {
                let configured = namespace.configure(DEVICE, u32::from(TUNNEL_MTU), &[(address, PREFIX)]);
                if let Err(error) = configured {
                    // A daemon that ended took its device along, and says why itself.
                    thread::sleep(FAREWELL);
                    scene.user.watch()?;
                    scene.far.watch()?;
                    return Err(error.to_string());
                }
            }
            scene.is_addressed = true;
        }
        if let Some(error) = scene.stream.as_ref().and_then(Stream::failure) {
            return Err(format!("the transfer broke: {error}"));
        }
        let stream = scene.stream.as_ref();
        let (payload_bytes, corrupt) = (stream.map_or(0, Stream::received), stream.and_then(Stream::corrupt));
        let Some(scene) = &self.scene else { return Ok(Reading::default()) };
        let links = (0..self.plan.links.len()).map(|index| self.link_reading(scene, index)).collect();
        Ok(Reading { payload_bytes, corrupt, links })
    }

    fn close(&mut self) -> Result<(), String> {
        if let Some(scene) = self.scene.take() {
            // Both at once; dropping them waits.
            scene.user.ask_to_end();
            scene.far.ask_to_end();
        }
        Ok(())
    }
}

/// Addresses of a link's ends: the user's, then the far one.
fn link_addresses(index: usize) -> [IpAddr; 2] {
    let link = u8::try_from(index).unwrap_or(u8::MAX);
    [2, 1].map(|host| Ipv4Addr::new(10, 200, link, host).into())
}

/// Measures a link's round-trip time beside the tunnel, from a thread of its own. Dropping it asks the thread to end;
/// it does within seconds, or with the process.
struct Probe {
    /// In microseconds; 0 while unknown.
    latest: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Probe {
    fn start(user: &Arc<Namespace>, far: &Arc<Namespace>, index: usize) -> Self {
        let probe = Self { latest: Arc::default(), is_over: Arc::default() };
        let (latest, is_over) = (Arc::clone(&probe.latest), Arc::clone(&probe.is_over));
        let (user, far) = (Arc::clone(user), Arc::clone(far));
        let [_, address] = link_addresses(index);
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let pair = Pair { sender: &user, receiver: &far, address };
                // A probe that fails is one that was lost: the figure is missing, nothing else.
                let measured =
                    round_trips(pair, 1, PROBE_INTERVAL).ok().and_then(|trips| trips.first().copied().flatten());
                latest.store(measured.map_or(0, Duration::micros), Ordering::Relaxed);
            }
        });
        probe
    }

    fn latest(&self) -> Option<Duration> {
        Some(self.latest.load(Ordering::Relaxed)).filter(|&micros| micros > 0).map(Duration::from_micros)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
