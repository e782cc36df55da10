// SPDX-License-Identifier: BSD-2-Clause
//! Monitor and worker as real processes. Without libtest's threads (`harness = false`), because a fork wants a process
//! with one thread; each scenario runs in a process of its own, this program started again with the scenario's name.

use mlvpn::device::{DeviceError, DeviceKind, TunDevice};
use mlvpn::interface;
use mlvpn::privilege::{self, Identity, Monitor, MonitorPlan, Notice, Request, Split, drop_privileges, split};
use mlvpn::reactor::{Batch, Event, Reactor, Signal};
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
            println!("monitor and worker: 4 scenarios passed");
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
    let environment = ScriptEnvironment { ip4: "old".into(), ..Default::default() };
    let plan = MonitorPlan {
        config_path: directory.join("mlvpn.conf"),
        script: Some(Script::check(&directory.join("status.sh")).expect("a script")),
        environment,
        read_environment: Box::new(|mut file, _| {
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read");
            (text == CONFIG).then(|| ScriptEnvironment { ip4: "new".into(), ..Default::default() })
        }),
    };
    match split(plan).expect("split") {
        Split::Ended(status) => ExitCode::from(status),
        Split::Worker(monitor) => match name {
            "serve" => work(&monitor),
            "signals" => wait_for_quit(),
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

fn work(monitor: &Monitor) -> ExitCode {
    let device = TunDevice::create("held0", DeviceKind::Tun, 1400).expect("a device");
    monitor.ask(&Request::NameDevice(device.name())).expect("ask");
    let nobody = privilege::identity("nobody", false).expect("a user");
    let Identity::User(user) = &nobody else { panic!("{nobody:?}") };
    let title = ProcessTitle::open().expect("a title");
    drop_privileges(&nobody, &[privilege::Capability::BindLowPorts]).expect("drop");
    title.set("mlvpn: test !adsl").expect("a title opened before the drop stays writable");
    assert_eq!(nix::unistd::getuid(), user.uid);
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    for expected in
        ["CapPrm:\t0000000000000400", "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1"]
    {
        assert!(status.contains(expected), "{expected} in {status}");
    }
    assert!(matches!(device.set_mtu(1300), Err(DeviceError::NotPermitted(_))));
    std::net::UdpSocket::bind("0.0.0.0:53").expect("the right that was kept");
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
    monitor.ask(&Request::SetMtu(1300)).expect("ask");
    monitor.ask(&Request::OpenConfig).expect("ask");
    assert_eq!(answer(monitor), CONFIG);
    assert_eq!(interface::mtu(&device.name()).expect("mtu"), 1300);
    monitor.run_script(ScriptEvent::TunnelUp, None, 1300).expect("ask");
    ExitCode::from(7)
}

fn answer(monitor: &Monitor) -> String {
    loop {
        match monitor.poll_notice().expect("poll") {
            None => std::thread::sleep(Duration::from_millis(1)),
            Some(Notice::Config(mut opened)) => {
                let mut text = String::new();
                opened.config.read_to_string(&mut text).expect("read");
                return text;
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

fn wait_for_quit() -> ExitCode {
    // As in the daemon: the change of user must not lose the tie to the monitor.
    drop_privileges(&privilege::identity("nobody", false).expect("a user"), &[]).expect("drop");
    let mut reactor = Reactor::new().expect("a reactor");
    let mut batch = Batch::new();
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
