// SPDX-License-Identifier: BSD-2-Clause
//! The worker gives up everything it does not need to carry packets.

use super::Identity;
use crate::log::Topic;
use crate::{log_debug, log_info, log_warn, sys};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, chdir, chroot, geteuid, getppid, initgroups, mkdtemp, setresgid, setresuid};
use std::ffi::CString;
use std::io;
use std::path::PathBuf;

/// How far the worker is locked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// An empty root directory, no rights, and only the system calls that carry packets.
    Sealed,
    /// No rights; files are what is around the daemon leaves it, as OpenWrt's jail does, whose daemon finds its bus by
    /// path again when that comes back.
    Jailed,
}

/// Makes the process `identity` for good: no capability, none to be gained by executing anything, no file to be found, no
/// system call but those of a running tunnel, and no memory for swap or a core file. The process dies with its parent,
/// the monitor. Everything the worker starts with must be open, and nothing from the network have been read.
///
/// # Errors
/// The kernel's refusal of any step that matters; the process must then end, as it may have more rights than it should.
pub fn lock_down(identity: &Identity, confinement: Confinement) -> io::Result<()> {
    let parent = getppid();
    let is_sealed = confinement == Confinement::Sealed;
    if is_sealed {
        keep_memory_from_disks();
        enter_empty_root()?;
    }
    match identity {
        Identity::User(user) => {
            drop_bounding_set()?;
            let name = CString::new(user.name.as_str())?;
            initgroups(&name, user.gid)?;
            setresgid(user.gid, user.gid, user.gid)?;
            setresuid(user.uid, user.uid, user.uid)?;
            sys::set_capabilities(0)?;
            if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
                return Err(io::Error::other("the process could become root again"));
            }
        }
        Identity::Root => {
            drop_bounding_set()?;
            sys::set_capabilities(0)?;
        }
        Identity::Unchanged => {}
    }
    prctl::set_no_new_privs()?;
    // Neither a core file nor a debugger of the same user's shows the keys.
    prctl::set_dumpable(false)?;
    // Changing the user makes the kernel forget this, so it is said (again) at the very end.
    die_with_parent(parent)?;
    if is_sealed { restrict_calls() } else { Ok(()) }
}

/// Removes every capability from the bounding set: not even a set-user-id program could bring one back.
fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..64_u8 {
        if !sys::drop_bounding_capability(capability)? {
            break;
        }
    }
    Ok(())
}

/// Has the kernel end this process when `parent` ends: by the signal that lets it say goodbye to its peers.
pub(super) fn die_with_parent(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    // It may have ended before. Its number alone tells: in a jail with process numbers of its own the monitor itself is 1.
    if getppid() != parent {
        return Err(io::Error::other("the privileged process died"));
    }
    Ok(())
}

/// Makes the root directory one that is empty, stays so, and has no name: it is removed while this process is in it.
fn enter_empty_root() -> io::Result<()> {
    if !geteuid().is_root() {
        // Only root may; the list of system calls keeps the others from files as well.
        return Ok(());
    }
    let made = [PathBuf::from("/run"), std::env::temp_dir(), PathBuf::from("/")].into_iter().find_map(|place| {
        let made = mkdtemp(&place.join("mlvpn-empty-XXXXXX"));
        made.inspect_err(|why| log_debug!(Topic::Privsep, "no directory in {}: {why}", place.display())).ok()
    });
    let Some(directory) = made else {
        log_warn!(Topic::Privsep, "no place for an empty root directory; make /run or /tmp writable for the start");
        return Ok(());
    };
    chdir(&directory)?;
    nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, &directory, nix::unistd::UnlinkatFlags::RemoveDir)?;
    match chroot(".") {
        Err(Errno::EPERM) => {
            log_warn!(Topic::Privsep, "no empty root directory: give the daemon CAP_SYS_CHROOT");
            chdir("/")?;
        }
        entered => entered.and_then(|()| chdir("/"))?,
    }
    Ok(())
}

/// Keys stay out of swap, where the kernel allows it; memory is locked as it is used, so that a pool costs what is in it.
fn keep_memory_from_disks() {
    #[cfg(feature = "full")]
    {
        use nix::sys::mman::{MlockAllFlags, mlockall};
        use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
        // Without this an ordinary allocation could fail later, when the right to go beyond the limit is gone.
        let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
        let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault;
        if let Err(why) = unlimited.and_then(|()| mlockall(all)) {
            log_debug!(Topic::Privsep, "memory may be swapped: {why}");
        }
    }
}

#[cfg(all(feature = "full", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn restrict_calls() -> io::Result<()> {
    let count = super::seccomp::restrict()?;
    log_info!(Topic::Privsep, "the worker is locked in: no rights, no files, {count} system calls");
    Ok(())
}

#[cfg(not(all(feature = "full", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
fn restrict_calls() -> io::Result<()> {
    let machine = std::env::consts::ARCH;
    log_info!(Topic::Privsep, "the worker has no rights and no files; there is no list of system calls for {machine}");
    Ok(())
}
