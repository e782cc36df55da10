// SPDX-License-Identifier: BSD-2-Clause
//! Which system calls a running tunnel makes; the kernel refuses the worker all others (seccomp).
//!
//! A call beyond the list fails with "operation not permitted" and does not end the process: a C library that looks into
//! one file more after an update then costs a log line at most and no tunnel, and who took the worker over has nothing
//! from a call that fails. What nothing but an attack wants, starting a program or meddling with another process, kills
//! it, and the monitor says so. Memory never becomes executable.

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};
use std::collections::BTreeMap;
use std::io;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls allowed whatever their arguments.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Packets and the loop.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_ppoll, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    libc::SYS_close, libc::SYS_fcntl, libc::SYS_ioctl, libc::SYS_lseek,
    libc::SYS_ftruncate, libc::SYS_fdatasync, libc::SYS_fstat,
    // Sockets that came from the monitor, and clients of listening ones.
    libc::SYS_connect, libc::SYS_bind, libc::SYS_accept4, libc::SYS_shutdown, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt,
    // Clocks and chance.
    libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday, libc::SYS_getrandom,
    // Memory, but for making it executable.
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk,
    // Threads, once they run.
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_clone3, libc::SYS_gettid, libc::SYS_sigaltstack, libc::SYS_membarrier,
    // The end, orderly or by a panic.
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigaction,
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_tgkill, libc::SYS_restart_syscall,
];

/// The same for calls that only old machines have, and old libraries make.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Calls that kill.
#[rustfmt::skip]
const DEADLY: &[i64] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_kexec_load, libc::SYS_bpf, libc::SYS_mount,
    libc::SYS_pivot_root, libc::SYS_unshare, libc::SYS_setns,
];

/// Restricts every thread of this process from here on; says how many calls are left.
///
/// # Errors
/// The kernel has no seccomp or refused.
pub(super) fn restrict() -> io::Result<usize> {
    let allowed = allowed()?;
    let count = allowed.len();
    let deadly: Rules = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
    apply(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;
    // The C library takes this for an old kernel and makes threads by the call whose arguments can be checked.
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    apply(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    // The strictest of the three answers counts.
    apply(allowed, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)?;
    Ok(count)
}

fn allowed() -> io::Result<Rules> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    // Interfaces are asked for by name through these two.
    let families = [libc::AF_UNIX, libc::AF_NETLINK].map(|family| rule(0, SeccompCmpOp::Eq, family.unsigned_abs()));
    rules.insert(libc::SYS_socket, families.into_iter().collect::<io::Result<_>>()?);
    // What an open file is, and nothing about files that are not.
    let of_open_file = |argument| {
        let empty_path = libc::AT_EMPTY_PATH.unsigned_abs();
        rule(argument, SeccompCmpOp::MaskedEq(u64::from(empty_path)), empty_path)
    };
    rules.insert(libc::SYS_statx, vec![of_open_file(2)?]);
    rules.insert(libc::SYS_newfstatat, vec![of_open_file(3)?]);
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, SeccompCmpOp::MaskedEq(executable), 0)?]);
    }
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), libc::CLONE_THREAD.unsigned_abs())?]);
    let naming = [libc::PR_SET_NAME, libc::PR_SET_VMA].map(|option| rule(0, SeccompCmpOp::Eq, option.unsigned_abs()));
    rules.insert(libc::SYS_prctl, naming.into_iter().collect::<io::Result<_>>()?);
    Ok(rules)
}

/// Calls whose argument number `argument` compares so.
fn rule(argument: u8, comparison: SeccompCmpOp, value: u32) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, u64::from(value));
    let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
    rule.map_err(io::Error::other)
}

fn apply(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> io::Result<()> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, machine).map_err(io::Error::other)?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(|why| io::Error::other(format!("seccomp: {why}")))
}
