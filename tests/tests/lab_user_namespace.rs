// SPDX-License-Identifier: BSD-2-Clause
//! An unprivileged process becomes root in a user namespace and makes network namespaces there. Without the test
//! harness, whose threads would forbid it; says why it skips where the machine allows no user namespaces.

use mlvpn::lab::namespace::{LabError, Namespace, Privilege, become_root_in_user_namespace};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

fn main() {
    if geteuid().is_root() {
        // Any unprivileged user will do; 65534 is nobody by convention.
        setgroups(&[]).expect("root may leave its groups");
        setgid(Gid::from_raw(65_534)).expect("root may become another group");
        setuid(Uid::from_raw(65_534)).expect("root may become another user");
        // A process that changed its user may not write its own /proc files until it says so; one started by that user
        // may.
        nix::sys::prctl::set_dumpable(true).expect("a process may make itself dumpable");
    }
    match try_it() {
        Ok(()) => println!("an unprivileged user made a network namespace: ok"),
        Err(error) if error.is_forbidden() => println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
}

fn try_it() -> Result<(), LabError> {
    assert_eq!(become_root_in_user_namespace()?, Privilege::UserNamespace);
    assert!(geteuid().is_root(), "root inside");
    assert_eq!(become_root_in_user_namespace()?, Privilege::Native, "asking again changes nothing");
    let namespace = Namespace::new()?;
    let devices = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?.expect("/proc is mounted");
    assert!(devices.contains("lo:"), "{devices}");
    Ok(())
}
