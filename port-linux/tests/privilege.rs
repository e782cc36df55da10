// SPDX-License-Identifier: BSD-2-Clause
//! Monitor and worker as real processes. Without libtest's threads (`harness = false`), because a fork wants a process
//! with one thread; each scenario runs in a process of its own, this program started again with the scenario's name.

use mlvpn::config::Config;
use mlvpn::device::{DeviceError, DeviceKind, TunDevice};
use mlvpn::interface;
use mlvpn::privilege::{
    self, Confinement, Identity, LinkGrants, LinkOrder, Monitor, MonitorPlan, Mtu, Notice, Orders, Refused, Request,
    Split, lock_down, split,
};
use mlvpn::reactor::{Batch, Event, Reactor, Signal};
use mlvpn::roles::Plan;
use mlvpn::script::{LinkName, Script, ScriptEnvironment, ScriptEvent};
use mlvpn::title::ProcessTitle;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const CONFIG: &str = "the configuration\n";

/// Links that take rights, and one whose peer is nowhere.
const LINKS: &str = "[general]\nmode = client\npassword = a long enough password\n\
    [low]\nbindhost = 127.0.0.1\nbindport = 53\nbindinterface = lo\nremotehost = 127.0.0.2\nremoteport = 5080\n\
    [named]\nremotehost = nobody.invalid\nremoteport = 5080\n";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--scenario"), Some(name)) => scenario(&name, &PathBuf::from(arguments.next().expect("a directory"))),
        _ if !nix::unistd::geteuid().is_root() => {
            println!("skipped: the tests of monitor and worker need root");
            ExitCode::SUCCESS
        }
        _ => {
            the_worker_gives_up_root_and_the_monitor_serves_it();
            signals_to_the_monitor_reach_the_worker();
            the_worker_ends_with_its_monitor();
            a_worker_that_sends_nonsense_is_stopped();
            a_worker_that_floods_its_monitor_has_to_wait();
            a_locked_worker_opens_no_file_and_starts_nothing();
            println!("monitor and worker: 6 scenarios passed");
            ExitCode::SUCCESS
        }
    }
}

fn the_worker_gives_up_root_and_the_monitor_serves_it() {
    let directory = Directory::new("serve");
    let status = start("serve", &directory.0).wait().expect("the monitor ends");
    assert_eq!(status.code(), Some(7), "the monitor ends with the worker's status");
    let told = std::fs::read_to_string(directory.0.join("out")).expect("the scripts ran");
    assert_eq!(
        told,
        "0 held0 rtun_up adsl old 1400 SigBlk:0000000000000000\n0 held0 tuntap_up  new 1300 SigBlk:0000000000000000\n"
    );
}

fn signals_to_the_monitor_reach_the_worker() {
    let directory = Directory::new("signals");
    let mut monitor = start("signals", &directory.0);
    let mut worker = BufReader::new(monitor.stdout.take().expect("a pipe"));
    let pid = Pid::from_raw(i32::try_from(monitor.id()).expect("a pid"));
    assert_eq!(line(&mut worker), "ready");
    kill(pid, Number::SIGHUP).expect("kill");
    assert_eq!(line(&mut worker), "Reload");
    kill(pid, Number::SIGTERM).expect("kill");
    assert_eq!(line(&mut worker), "Quit");
    assert_eq!(monitor.wait().expect("the monitor ends").code(), Some(5));
}

fn the_worker_ends_with_its_monitor() {
    let directory = Directory::new("orphan");
    let mut monitor = start("signals", &directory.0);
    let mut worker = BufReader::new(monitor.stdout.take().expect("a pipe"));
    assert_eq!(line(&mut worker), "ready");
    monitor.kill().expect("kill");
    monitor.wait().expect("the monitor ends");
    assert_eq!(line(&mut worker), "Quit");
    // The pipe ends when the last process that holds it does.
    let mut rest = String::new();
    worker.read_to_string(&mut rest).expect("the worker ends");
}

fn a_worker_that_sends_nonsense_is_stopped() {
    let directory = Directory::new("nonsense");
    let status = start("nonsense", &directory.0).wait().expect("the monitor ends");
    assert_eq!(status.code(), Some(128 + 9));
}

fn a_worker_that_floods_its_monitor_has_to_wait() {
    let directory = Directory::new("flood");
    let status = start("flood", &directory.0).wait().expect("the monitor ends");
    assert_eq!(status.code(), Some(3));
}

fn a_locked_worker_opens_no_file_and_starts_nothing() {
    let directory = Directory::new("locked");
    let status = start("locked", &directory.0).wait().expect("the monitor ends");
    assert_eq!(status.code(), Some(9));
    for name in ["execute", "unshare"] {
        let status = start(name, &directory.0).wait().expect("the monitor ends");
        assert_eq!(status.code(), Some(128 + Number::SIGSYS as i32), "{name}");
    }
}

fn start(name: &str, directory: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--scenario", name]).arg(directory).stdout(Stdio::piped()).spawn().expect("it starts")
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// What a started scenario does: split, and be the worker the name asks for.
fn scenario(name: &str, directory: &Path) -> ExitCode {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    interface::set_up(&"lo".parse().expect("a name")).expect("loopback up");
    let orders = |ip4: &str| Orders {
        environment: ScriptEnvironment { ip4: ip4.into(), ..Default::default() },
        plan: Plan::default(),
        links: LinkGrants { links: Config::parse("mlvpn.conf", LINKS).expect("links").0.links, ..Default::default() },
    };
    let plan = MonitorPlan {
        config_path: directory.join("mlvpn.conf"),
        script: Some(Script::check(&directory.join("status.sh")).expect("a script")),
        orders: orders("old"),
        read_orders: Box::new(move |mut file, _| {
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read");
            (text == CONFIG).then(|| orders("new"))
        }),
    };
    let device = TunDevice::create("held0", DeviceKind::Tun, 1400).expect("a device");
    match split(plan, device).expect("split") {
        Split::Ended(status) => ExitCode::from(status),
        Split::Worker(monitor, device) => match name {
            "serve" => work(&monitor, &device),
            "signals" => wait_for_quit(),
            "flood" => flood(&monitor),
            "locked" => be_locked(),
            "execute" => {
                lock();
                let failed = std::os::unix::process::CommandExt::exec(&mut Command::new("/bin/true"));
                panic!("it went on: {failed}");
            }
            "unshare" => {
                lock();
                let failed = unshare(CloneFlags::CLONE_NEWUSER);
                panic!("it went on: {failed:?}");
            }
            _ => {
                nix::sys::socket::send(
                    std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&monitor)),
                    b"nonsense",
                    nix::sys::socket::MsgFlags::empty(),
                )
                .expect("send");
                std::thread::sleep(Duration::from_secs(600));
                ExitCode::SUCCESS
            }
        },
    }
}

/// As the daemon does.
fn lock() {
    lock_down(&privilege::identity("nobody", false).expect("a user"), Confinement::Sealed).expect("locked");
}

fn work(monitor: &Monitor, device: &TunDevice) -> ExitCode {
    let nobody = privilege::identity("nobody", false).expect("a user");
    let Identity::User(user) = &nobody else { panic!("{nobody:?}") };
    let title = ProcessTitle::open().expect("a title");
    let status = std::fs::File::open("/proc/self/status").expect("status");
    lock();
    title.set("mlvpn: test !adsl").expect("a title opened before the drop stays writable");
    assert_eq!(nix::unistd::getuid(), user.uid);
    let mut text = [0; 4096];
    let len = std::os::unix::fs::FileExt::read_at(&status, &mut text, 0).expect("status");
    let status = String::from_utf8_lossy(&text[..len]);
    for expected in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(expected), "{expected} in {status}");
    }
    assert!(matches!(device.set_mtu(1300), Err(DeviceError::NotPermitted(_))));
    ask_for_links(monitor);
    let adsl = LinkName::new("adsl").expect("a name");
    for (event, link, mtu) in [
        (ScriptEvent::LinkUp, None, 1400),
        (ScriptEvent::TunnelUp, Some(&adsl), 1400),
        (ScriptEvent::TunnelUp, None, 0),
    ] {
        let refused = monitor.run_script(event, link, mtu).expect_err("nonsense stays here");
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{refused}");
    }
    monitor.run_script(ScriptEvent::LinkUp, Some(&adsl), 1400).expect("ask");
    monitor.ask(&Request::SetMtu(Mtu::new(1300).expect("an MTU"))).expect("ask");
    monitor.ask(&Request::OpenConfig).expect("ask");
    assert_eq!(config(monitor), CONFIG);
    assert_eq!(interface::mtu(&device.name()).expect("mtu"), 1300);
    monitor.run_script(ScriptEvent::TunnelUp, None, 1300).expect("ask");
    ExitCode::from(7)
}

/// A link of the configuration is opened as written there, with rights the worker has not, and none that is not there.
fn ask_for_links(monitor: &Monitor) {
    let order = |serial, link: &str, device: Option<&str>| LinkOrder {
        serial,
        link: LinkName::new(link).expect("a name"),
        server: 0,
        device: device.map(|name| name.parse().expect("a name")),
        address: None,
    };
    let ask = |order: LinkOrder| {
        let serial = order.serial;
        monitor.ask(&Request::OpenLink(order)).expect("ask");
        match answer(monitor) {
            Notice::Link { serial: told, outcome } if told == serial => outcome,
            other => panic!("{other:?}"),
        }
    };
    let opened = ask(order(1, "low", Some("lo"))).expect("a link of the configuration");
    let socket = std::net::UdpSocket::from(opened.socket);
    assert_eq!(socket.local_addr().expect("an address").to_string(), "127.0.0.1:53");
    assert_eq!(opened.ends.remote.map(|remote| remote.to_string()).as_deref(), Some("127.0.0.2:5080"));
    socket.send_to(b"hello", "127.0.0.1:9").expect("it sends");
    for (serial, link, device) in [(2, "other", None), (3, "low", None), (4, "low", Some("held0"))] {
        let refused = ask(order(serial, link, device)).expect_err("not in the configuration");
        assert!(matches!(&refused, Refused::Local(why) if why.contains("the configuration")), "{refused:?}");
    }
    assert!(matches!(ask(order(5, "named", None)), Err(Refused::Name(_))));
}

fn flood(monitor: &Monitor) -> ExitCode {
    lock();
    let started = mlvpn::clock::now();
    let mut asked = 0;
    // A bucket of 512 and 125 a second: what comes above that takes its time, however fast it is asked for.
    while asked < 512 + 400 {
        match monitor.ask(&Request::FindServer { serial: asked }) {
            Ok(()) => asked += 1,
            Err(full) if full.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
        while let Ok(Some(_)) = monitor.poll_notice() {}
    }
    // What a socket holds was taken from the worker, and is not served yet.
    let held = mlvpn_core::words::time::Duration::from_millis(8 * 60);
    assert!(mlvpn::clock::now().since(started) >= held, "served at once");
    ExitCode::from(3)
}

fn be_locked() -> ExitCode {
    let before = std::fs::read_dir("/").expect("a root directory").count();
    assert!(before > 0);
    lock();
    for path in ["/etc/passwd", "/proc/self/status", "/", "."] {
        std::fs::File::open(path).expect_err(path);
    }
    std::fs::File::create("/mine").expect_err("no file");
    std::net::UdpSocket::bind("127.0.0.1:0").expect_err("no socket");
    std::os::unix::net::UnixStream::connect("/run/anything").expect_err("nothing there");
    assert!(Command::new("/bin/true").status().is_err(), "no process");
    assert!(nix::unistd::chroot(".").is_err() && nix::unistd::setsid().is_err());
    let sum = std::thread::spawn(|| 40 + 2).join().expect("a thread");
    assert_eq!(sum, 42);
    ExitCode::from(9)
}

fn config(monitor: &Monitor) -> String {
    match answer(monitor) {
        Notice::Config(mut opened) => {
            let mut text = String::new();
            opened.config.read_to_string(&mut text).expect("read");
            text
        }
        other => panic!("{other:?}"),
    }
}

fn answer(monitor: &Monitor) -> Notice {
    loop {
        match monitor.poll_notice().expect("poll") {
            None => std::thread::sleep(Duration::from_millis(1)),
            Some(notice) => return notice,
        }
    }
}

fn wait_for_quit() -> ExitCode {
    // As in the daemon: the change of user must not lose the tie to the monitor.
    let mut reactor = Reactor::new().expect("a reactor");
    let mut batch = Batch::new();
    lock();
    say("ready");
    loop {
        reactor.wait(&mut batch).expect("wait");
        for event in batch.events() {
            if let Event::Signal(signal) = event {
                say(&format!("{signal:?}"));
                if signal == Signal::Quit {
                    return ExitCode::from(5);
                }
            }
        }
    }
}

fn say(word: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{word}").and_then(|()| stdout.flush()).expect("somebody listens");
}

/// A directory with a configuration and a status command, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mlvpn-privilege-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        std::fs::write(path.join("mlvpn.conf"), CONFIG).expect("a configuration");
        let script = path.join("status.sh");
        let text = format!(
            "#!/bin/sh\necho \"$(id -u) $1 $2 $3 $IP4 $MTU $(grep SigBlk /proc/self/status | tr -d '\\t')\" >> {}\n",
            path.join("out").display()
        );
        std::fs::write(&script, text).expect("a script");
        for file in [script, path.join("mlvpn.conf")] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).expect("chmod");
        }
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {why}", self.0.display());
        }
    }
}
