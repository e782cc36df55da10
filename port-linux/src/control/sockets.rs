// SPDX-License-Identifier: BSD-2-Clause
//! Where the daemon is asked: its UNIX socket, and HTTP.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Gid, geteuid};

use crate::config::General;
use crate::interface::InterfaceName;
use crate::log::Topic;
use crate::{log_debug, log_info, log_warn};

/// Where sockets are that no configuration names: one for each device, `DEVICE.sock`.
pub const FOLDER: &str = "/run/mlvpn";

/// The service manager's name for the folder, if it made one (`RuntimeDirectory=` of systemd.exec(5)).
const FOLDER_VARIABLE: &str = "RUNTIME_DIRECTORY";

/// How names of such sockets end.
pub const EXTENSION: &str = "sock";

/// Owner and group may connect, which takes the right to write.
const SOCKET_MODE: u32 = 0o660;

/// Clients the kernel keeps until they are accepted.
const BACKLOG: i32 = 16;

/// The listeners there are.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(crate) unix: Option<UnixListener>,
    pub(crate) http: Option<TcpListener>,
}

/// The socket's path belongs to a daemon that runs.
#[derive(Debug)]
pub struct InUse(PathBuf);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.display();
        write!(
            f,
            "another daemon answers at {path}: this tunnel runs already (see `mlvpn show --socket {path}`), or two \
             configurations have the same control_unix_path; give each its own"
        )
    }
}

impl std::error::Error for InUse {}

/// The folder of sockets that no configuration names.
#[must_use]
pub fn folder() -> PathBuf {
    let given = std::env::var_os(FOLDER_VARIABLE);
    // Several are separated by colons; the first is ours.
    let first = given.as_ref().and_then(|given| std::env::split_paths(given).next());
    first.filter(|path| path.is_absolute()).unwrap_or_else(|| FOLDER.into())
}

/// Where the daemon of this configuration listens.
#[must_use]
pub fn path_of(general: &General, device: &InterfaceName) -> PathBuf {
    general.control_unix_path.clone().unwrap_or_else(|| folder().join(format!("{device}.{EXTENSION}")))
}

impl Sockets {
    /// Opens what the configuration asks for, and the UNIX socket at its usual place when it names none; `group` may
    /// connect to it. What cannot be opened is said in the log, and the tunnel runs without it.
    ///
    /// # Errors
    /// When another daemon answers at the path the configuration names.
    pub fn open(general: &General, device: &InterfaceName, group: Gid) -> Result<Self, InUse> {
        let path = path_of(general, device);
        let is_told = general.control_unix_path.is_some();
        let unix = match open_unix(&path, group, is_told) {
            Ok(listener) => {
                log_info!(Topic::Control, "listening at {}", path.display());
                Some(listener)
            }
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && is_told => return Err(InUse(path)),
            Err(why) if is_told || (geteuid().is_root() && why.kind() != io::ErrorKind::AddrInUse) => {
                log_warn!(Topic::Control, "{}: {why}; `mlvpn show` will not find this tunnel", path.display());
                None
            }
            Err(why) => {
                log_debug!(Topic::Control, "no control socket at {}: {why}", path.display());
                None
            }
        };
        Ok(Self { unix, http: open_http(general) })
    }
}

/// Makes sure that no other daemon answers at the path the configuration names, before anything is touched that may be
/// that daemon's.
///
/// # Errors
/// When one does.
pub fn ensure_free(general: &General) -> Result<(), InUse> {
    match &general.control_unix_path {
        Some(path) if is_socket(path) && is_answered(path) => Err(InUse(path.clone())),
        _ => Ok(()),
    }
}

/// Removes the socket of a daemon that has ended, unless another one answers there by now.
pub fn remove(path: &Path) {
    if is_socket(path) && !is_answered(path) {
        drop(fs::remove_file(path));
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket())
}

/// Whether a process listens there. One whose queue is full does, too.
fn is_answered(path: &Path) -> bool {
    match connect(path) {
        Ok(_) => true,
        Err(why) => why.kind() != io::ErrorKind::ConnectionRefused && why.kind() != io::ErrorKind::NotFound,
    }
}

/// Connects without ever waiting for a daemon that does not accept.
///
/// # Errors
/// The kernel's refusal: `WouldBlock` when too many wait there already.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn open_unix(path: &Path, group: Gid, is_told: bool) -> io::Result<UnixListener> {
    if !is_told && let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err(io::Error::other("there is a file that is no socket; remove it, or name another path"));
        }
        Ok(_) if is_answered(path) => return Err(io::Error::from(io::ErrorKind::AddrInUse)),
        // Its daemon was killed.
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    chown(path, None, Some(group.as_raw()))?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    // Whoever came before the rights were right was refused.
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

/// Everyone may look for the sockets; who may connect, each socket says.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(why),
        _ => Ok(()),
    }
}

/// HTTP, when a port is named: on the loopback unless a host is named, too.
fn open_http(general: &General) -> Option<TcpListener> {
    let port = general.control_bind_port?;
    let bound = match &general.control_bind_host {
        Some(host) => TcpListener::bind((host.as_str(), port)),
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, port)),
    };
    let host = general.control_bind_host.as_deref().unwrap_or("127.0.0.1");
    match bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
        Ok(listener) => {
            let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
            let whom = if is_loopback { "" } else { ", for everyone who can reach it: there is no password" };
            log_info!(Topic::Control, "HTTP at {host} port {port}{whom}");
            Some(listener)
        }
        Err(why) => {
            let advice = "another program may have the port, or the machine not that address; \
                          change control_bind_port or control_bind_host";
            log_warn!(Topic::Control, "no HTTP at {host} port {port}: {why}; {advice}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mlvpn-sockets-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn open(path: &Path) -> Result<Sockets, InUse> {
        let text = format!(
            "[general]\nmode = server\npassword = q3Zt8uW1xYk5rPz9vNc2\ncontrol_unix_path = {}\n[a]\nbindport = 1\n",
            path.display()
        );
        let (config, _) = Config::parse("f", &text).expect("a configuration");
        Sockets::open(&config.general, &"mlvpn0".parse().expect("a name"), nix::unistd::getgid())
    }

    #[test]
    fn a_socket_left_by_a_crash_is_replaced_and_a_living_one_refused() {
        let folder = scratch("replace");
        let path = folder.join("control");
        // Dropping a listener leaves its path, as a killed daemon does.
        drop(UnixListener::bind(&path).expect("a socket"));
        let first = open(&path).expect("the path is free");
        assert!(first.unix.is_some());
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let refused = open(&path).expect_err("somebody answers there").to_string();
        assert!(refused.contains("control_unix_path") && refused.contains(&path.display().to_string()), "{refused}");
        remove(&path);
        assert!(path.exists(), "a socket in use is nobody's to remove");
        drop(first);
        remove(&path);
        assert!(!path.exists());
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn a_daemon_that_accepts_nobody_is_waited_for_by_nobody() {
        let folder = scratch("full");
        let path = folder.join("control");
        let hung = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
        bind(hung.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("a free path");
        listen(&hung, Backlog::new(1).expect("a number")).expect("listening");
        let waiting: Vec<UnixStream> = std::iter::from_fn(|| connect(&path).ok()).take(10).collect();
        assert!((1..10).contains(&waiting.len()));
        assert!(is_answered(&path));
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = scratch("file");
        let path = folder.join("precious");
        fs::write(&path, "precious").expect("a file");
        assert!(open(&path).expect("no daemon").unix.is_none());
        remove(&path);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
        fs::remove_dir_all(folder).expect("ours");
    }
}
