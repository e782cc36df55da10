// SPDX-License-Identifier: BSD-2-Clause
//! The one file with `unsafe`: system calls that neither `std` nor `nix` offers safely, each behind a safe function.
//!
//! Nothing here decides anything: a function does one call, checks what makes it sound, and hands back the kernel's
//! answer. What an error means is said where the call is used.

use crate::interface::InterfaceName;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Turns the kernel's "-1 and errno" into a result.
fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// An interface request that names `name` and is zero otherwise.
fn interface_request(name: &[u8]) -> libc::ifreq {
    // SAFETY: `ifreq` is a C structure of integers and arrays of them; all zero bytes are a valid value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // One byte fewer than the field holds, so that the name always ends in a zero byte.
    for (slot, &byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

/// Makes `tun` (an open `/dev/net/tun`) the device `name` with `flags` (`IFF_TUN`, `IFF_NO_PI`, ..) and reads back the
/// name the kernel gave it. An empty name or one with `%d` lets the kernel choose.
///
/// # Errors
/// The kernel's refusal of `TUNSETIFF`; `InvalidData` when it answers with a name that is none.
pub(crate) fn attach_tun(tun: impl AsFd, name: &[u8], flags: libc::c_int) -> io::Result<InterfaceName> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(flags).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let mut given = [0_u8; libc::IFNAMSIZ];
    for (byte, &letter) in given.iter_mut().zip(&request.ifr_name) {
        *byte = u8::from_ne_bytes(letter.to_ne_bytes());
    }
    InterfaceName::from_kernel(&given).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Has the kernel leave work to the reader of `tun` (an attached device with `IFF_VNET_HDR`): `offloads` of `TUN_F_*`.
///
/// # Errors
/// The kernel's refusal: `EINVAL` for what it does not know.
pub(crate) fn set_tun_offloads(tun: impl AsFd, offloads: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number and touches no memory of ours; the file descriptor is open for the call.
    let answer = unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) };
    check(answer).map(drop)
}

/// The MTU of the interface `name`, in bytes, asked through any `socket`.
///
/// # Errors
/// The kernel's refusal: `ENODEV` when there is no such interface.
pub(crate) fn interface_mtu(socket: impl AsFd, name: &InterfaceName) -> io::Result<u32> {
    let mut request = interface_request(name.as_bytes());
    // SAFETY: SIOCGIFMTU reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFMTU as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel answered, so it wrote the `ifru_mtu` member of the union; any bits are a valid integer.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Sets the MTU of the interface `name` to `mtu` bytes, through any `socket`.
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `EINVAL` for a size the interface cannot carry.
pub(crate) fn set_interface_mtu(socket: impl AsFd, name: &InterfaceName, mtu: u32) -> io::Result<()> {
    let mut request = interface_request(name.as_bytes());
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: SIOCSIFMTU reads one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFMTU as libc::Ioctl, &raw mut request) })?;
    Ok(())
}

/// Sets the interface `name` up, through any `socket`, leaving its other flags as they are.
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` when there is no such interface.
pub(crate) fn set_interface_up(socket: impl AsFd, name: &InterfaceName) -> io::Result<()> {
    let mut request = interface_request(name.as_bytes());
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: SIOCGIFFLAGS reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel answered, so it wrote the `ifru_flags` member of the union; any bits are a valid integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request) })?;
    Ok(())
}

/// Sets the socket option `name` of `level`, one whose value is an integer.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn set_socket_option(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `size` bytes from `value`, which has that size and outlives the call.
    check(unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), size) })?;
    Ok(())
}

/// The socket option `name` of `level`, one whose value is an integer.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn socket_option(socket: impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes to `value`, which has that size, and the length to `size`.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut size) })?;
    Ok(value)
}

/// Undoes a datagram `socket`'s connect, so that the next chooses the local address anew.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn disconnect(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: `sockaddr` is a C structure of integers; all zero bytes are a valid value of it.
    let mut nobody: libc::sockaddr = unsafe { mem::zeroed() };
    nobody.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).map_err(io::Error::other)?;
    let size = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `size` bytes from `nobody`, which has that size and outlives the call.
    check(unsafe { libc::connect(socket.as_fd().as_raw_fd(), &raw const nobody, size) })?;
    Ok(())
}

/// Descriptors the kernel lets a message carry (SCM_MAX_FD, include/net/scm.h).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Receives one message from a UNIX `socket` into `buffer`: its length, and the file descriptors that came with it.
///
/// # Errors
/// The kernel's refusal: `WouldBlock` when none waits.
pub(crate) fn receive_with_descriptors(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut space = nix::cmsg_space!([libc::c_int; MAX_DESCRIPTORS]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            for raw in received {
                // SAFETY: the kernel has just opened `raw` for this process, and nothing else knows of it, so the
                // value made here owns it alone. All are taken, so none stays open unseen.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
    }
    Ok((message.bytes, descriptors))
}

/// Messages that one call of [`send_messages`] or [`receive_messages`] carries at most: with the kernel's cutting and
/// joining of datagrams few are used, without it a call carries 16 packets; their headers lie on the stack.
pub(crate) const MESSAGES_PER_CALL: usize = 16;

/// Bytes of control messages that come with a datagram: a traffic class and a segment size take 48.
const CONTROL_BYTES: usize = 64;

/// One control message of at most an integer, laid out as the kernel reads a row of them.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    header: libc::cmsghdr,
    data: [u8; size_of::<usize>()],
}

// SAFETY: CMSG_SPACE only computes.
const _: () = assert!(size_of::<Control>() == unsafe { libc::CMSG_SPACE(4) } as usize);

impl Control {
    /// A control message of `level` and `kind` that holds `value`, as long as the kernel wants it.
    pub(crate) fn new<const LEN: usize>(level: libc::c_int, kind: libc::c_int, value: [u8; LEN]) -> Self {
        const { assert!(LEN <= size_of::<libc::c_int>()) };
        // SAFETY: `cmsghdr` is a C structure of integers; all zero bytes are a valid value of it.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let len = mem::offset_of!(Self, data).saturating_add(LEN);
        #[allow(clippy::useless_conversion, reason = "C libraries differ in the length's type")]
        let len = len.try_into().unwrap_or_default();
        header.cmsg_len = len;
        let mut data = [0; size_of::<usize>()];
        for (place, byte) in data.iter_mut().zip(value) {
            *place = byte;
        }
        Self { header, data }
    }
}

/// One message to send.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Its bytes, in pieces.
    pub(crate) parts: &'a [io::IoSlice<'a>],
    pub(crate) to: &'a SockaddrStorage,
    pub(crate) controls: &'a [Control],
}

/// Sends messages, [`MESSAGES_PER_CALL`] at most, and says how many the kernel took.
///
/// # Errors
/// The kernel's refusal of the first.
#[allow(clippy::useless_conversion, reason = "C libraries differ in the lengths' types")]
pub(crate) fn send_messages(socket: impl AsFd, messages: &[Message<'_>]) -> io::Result<usize> {
    // SAFETY: `mmsghdr` is a C structure of integers and pointers; all zero bytes are a valid value of it.
    let mut headers: [libc::mmsghdr; MESSAGES_PER_CALL] = unsafe { mem::zeroed() };
    for (entry, message) in headers.iter_mut().zip(messages) {
        let header = &mut entry.msg_hdr;
        header.msg_name = message.to.as_ptr().cast_mut().cast();
        header.msg_namelen = message.to.len();
        header.msg_iov = message.parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = message.parts.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        header.msg_control = message.controls.as_ptr().cast_mut().cast();
        let bytes = size_of_val(message.controls);
        header.msg_controllen = bytes.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    }
    let count = libc::c_uint::try_from(messages.len().min(MESSAGES_PER_CALL)).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the first `count` headers were set above: each names an address, pieces (an `IoSlice` is laid out as an
    // `iovec`) and control messages with their lengths, which `messages` borrows for longer than the call. The kernel
    // only reads them, and writes to `headers` how much it sent.
    let sent = check(unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, 0) })?;
    usize::try_from(sent).map_err(io::Error::other)
}

/// What came with a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Envelope {
    /// Bytes of the message in its part of the buffer.
    pub(crate) len: usize,
    pub(crate) from: Option<SockaddrStorage>,
    /// The traffic class of its IP header, where the kernel tells.
    pub(crate) class: u8,
    /// When the kernel joined several datagrams: how long each is, but the last, which may be shorter.
    pub(crate) segment: Option<usize>,
}

/// Where the kernel writes control messages, aligned as they are.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct ControlSpace([u8; CONTROL_BYTES]);

/// Receives messages without waiting, each into its `part` bytes of `buffer`, [`MESSAGES_PER_CALL`] at most; says how
/// many came. What does not fit its part is cut off.
///
/// # Errors
/// The kernel's refusal: `WouldBlock` when none waits.
#[allow(clippy::useless_conversion, reason = "C libraries differ in the lengths' types")]
pub(crate) fn receive_messages(
    socket: impl AsFd,
    buffer: &mut [u8],
    part: usize,
    envelopes: &mut [Envelope; MESSAGES_PER_CALL],
) -> io::Result<usize> {
    // SAFETY: both are C structures of integers and pointers; all zero bytes are a valid value of them.
    let (mut headers, mut names): ([libc::mmsghdr; MESSAGES_PER_CALL], [libc::sockaddr_storage; MESSAGES_PER_CALL]) =
        unsafe { mem::zeroed() };
    let mut controls = [ControlSpace([0; CONTROL_BYTES]); MESSAGES_PER_CALL];
    // An `IoSliceMut` is laid out as an `iovec`, which has no lifetime to keep.
    let mut parts = buffer.chunks_exact_mut(part.max(1)).map(io::IoSliceMut::new);
    let mut pieces: [Option<io::IoSliceMut<'_>>; MESSAGES_PER_CALL] = std::array::from_fn(|_| parts.next());
    let mut count: libc::c_uint = 0;
    let places = headers.iter_mut().zip(&mut names).zip(&mut controls).zip(pieces.iter_mut().flatten());
    for (((entry, name), control), piece) in places {
        let header = &mut entry.msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
        header.msg_iov = (&raw mut *piece).cast();
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control.0).cast();
        header.msg_controllen = CONTROL_BYTES.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        count = count.saturating_add(1);
    }
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the first `count` headers were set above: each names room for an address, one piece of `buffer` and room
    // for control messages, with their lengths; all of these outlive the call and none overlaps another.
    let came =
        unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, std::ptr::null_mut()) };
    let came = usize::try_from(check(came)?).map_err(io::Error::other)?;
    for (envelope, entry) in envelopes.iter_mut().zip(&headers).take(came) {
        *envelope = read_envelope(entry);
    }
    Ok(came)
}

/// What the kernel wrote beside a message. `entry` must be one that [`libc::recvmmsg`] has just filled.
fn read_envelope(entry: &libc::mmsghdr) -> Envelope {
    let header = &entry.msg_hdr;
    // SAFETY: the kernel wrote `msg_namelen` bytes of an address there, and the room for it is still borrowed.
    let from = unsafe { SockaddrStorage::from_raw(header.msg_name.cast(), Some(header.msg_namelen)) };
    let len = usize::try_from(entry.msg_len).unwrap_or(0);
    let mut envelope = Envelope { len, from, ..Envelope::default() };
    // SAFETY: `msg_control` and `msg_controllen` describe what the kernel wrote.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only pointers to whole headers inside the room.
        let (level, kind) = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
        // SAFETY: the pointer is to a whole header, behind which its data lies.
        let data = unsafe { libc::CMSG_DATA(control) };
        match (level, kind) {
            // SAFETY: this control message holds one byte (ip(7)).
            (libc::IPPROTO_IP, libc::IP_TOS) => envelope.class = unsafe { data.read() },
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: this control message holds an integer (ipv6(7)), wherever it lies.
                let class = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                envelope.class = u8::try_from(class).unwrap_or(0);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: this control message holds an integer (udp(7)), wherever it lies.
                let size = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                envelope.segment = usize::try_from(size).ok().filter(|size| *size > 0);
            }
            _ => {}
        }
        // SAFETY: as for the first.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    envelope
}

/// How many threads this process has, as the 20th word of proc(5)'s `stat`: qemu-user, which has threads of its own beside
/// the program's, puts 0 there.
fn threads() -> io::Result<u32> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second word is a name in parentheses, which may hold anything.
    let words = stat.rsplit_once(')').map_or("", |(_, words)| words);
    let threads = words.split_whitespace().nth(17).and_then(|word| word.parse().ok());
    threads.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has no number of threads"))
}

/// Which of the two processes a [`fork`] returned in.
pub(crate) enum Forked {
    /// The process that called, told the child's process id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Splits the process in two.
///
/// # Errors
/// `WouldBlock` when other threads run (a copy of one thread of several could find locks held for ever), or the
/// kernel's refusal.
pub(crate) fn fork() -> io::Result<Forked> {
    if threads()? > 1 {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "a process with several threads cannot fork safely"));
    }
    // SAFETY: this is the only thread (checked above, and nobody else is there to start another), so the child is a
    // full copy of the program with no lock held by a thread that did not come along.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}

/// Starts `program` with `arguments` (the first of which is its name) and nothing but `environment`: as the leader of a
/// session and process group of its own, in the root directory, with nothing to read and nobody to write to but standard
/// error, and with no signal blocked or ignored: a program inherits what its parent blocked, and a reactor's owner blocks
/// the signals that should end a program. (`std`'s `Command` does this and more, for 20 KB of a router's flash.)
///
/// # Errors
/// What kept it from starting, in this process or in the new one.
pub(crate) fn start_session(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Result<Pid> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let (mut told, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map(|(told, tell)| (File::from(told), tell))?;
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let become_program = || -> nix::Result<()> {
        SigSet::empty().thread_set_mask()?;
        // SAFETY: no handler is installed, but the default taken.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
        nix::unistd::setsid()?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::chdir(c"/")?;
        // SAFETY: both lists end in a null pointer, and their strings in zero bytes; the caller holds them.
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        Err(Errno::last())
    };
    // SAFETY: in the child only system calls run, which are async-signal-safe: whatever other threads there were, no lock
    // of theirs is needed, and nothing is allocated.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            let errno = become_program().err().unwrap_or(Errno::UnknownErrno) as i32;
            // Nobody may be left to read it.
            let _ = nix::unistd::write(&tell, &errno.to_ne_bytes());
            // SAFETY: it ends the process at once and does not return.
            unsafe { libc::_exit(127) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop(tell);
            let mut errno = [0; 4];
            // The end that would tell is closed when the program begins.
            if told.read_exact(&mut errno).is_err() {
                return Ok(child);
            }
            nix::sys::wait::waitpid(child, None)?;
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
    }
}

/// Runs `work` on a thread of its own, which nobody waits for. (`std`'s threads have names, which musl sets by its `printf`:
/// with what else they can, 20 KB of a router's flash.)
///
/// # Errors
/// The system's refusal of another thread.
pub(crate) fn start_thread(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the pointer is the box that was given away below, and comes here once.
        let work = unsafe { Box::from_raw(work.cast::<Box<dyn FnOnce() + Send>>()) };
        work();
        std::ptr::null_mut()
    }
    let mut thread = mem::MaybeUninit::uninit();
    let work = Box::into_raw(Box::new(work));
    // SAFETY: both pointers are valid, the attributes may be absent, and `run` takes what it is given.
    let refused = unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), run, work.cast()) };
    if refused != 0 {
        // SAFETY: there is no thread that would have it.
        drop(unsafe { Box::from_raw(work) });
        return Err(io::Error::from_raw_os_error(refused));
    }
    // SAFETY: the thread was made, and neither detached nor joined before. It cannot fail then.
    unsafe { libc::pthread_detach(thread.assume_init()) };
    Ok(())
}

/// The header `capset` wants: version 3 (64 capabilities in two words), this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// One word of each of the three sets `capset` takes.
#[repr(C)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h, since Linux 2.6.26.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Makes `set` (bit n is capability n) the thread's effective and permitted capabilities; none are inheritable.
///
/// # Errors
/// `EPERM` when `set` holds a capability the process has not.
pub(crate) fn set_capabilities(set: u64) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let words = [set & 0xffff_ffff, set >> 32].map(|word| {
        let bits = u32::try_from(word).unwrap_or(0);
        CapabilityWords { effective: bits, permitted: bits, inheritable: 0 }
    });
    // SAFETY: version 3 of the call reads one header and two sets of words, which is what the pointers lead to.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Removes capability number `capability` from the bounding set, so that no later exec can bring it back. `false` when
/// this kernel has no capability of that number.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub(crate) fn drop_bounding_capability(capability: u8) -> io::Result<bool> {
    let number = libc::c_ulong::from(capability);
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
    match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, zero, zero, zero) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Local calendar time of `seconds` since 1970: year, month (1-12), day, hour, minute, second. `None` for a time the C
/// library cannot name.
pub(crate) fn local_time(seconds: i64) -> Option<[i32; 6]> {
    // The C library's own width, 32 bits on some routers.
    #[allow(clippy::useless_conversion, reason = "the C library's time has 32 bits on some routers")]
    let seconds = seconds.try_into().ok()?;
    // SAFETY: `tm` is a C structure of integers and one pointer; all zero bytes are a valid value of it.
    let mut broken: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers lead to values of the right type that outlive the call; the answer is only tested.
    let answer = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken) };
    if answer.is_null() {
        return None;
    }
    Some([
        broken.tm_year.saturating_add(1900),
        broken.tm_mon.saturating_add(1),
        broken.tm_mday,
        broken.tm_hour,
        broken.tm_min,
        broken.tm_sec,
    ])
}
