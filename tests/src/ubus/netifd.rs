// SPDX-License-Identifier: BSD-2-Clause
//! A stand-in for netifd: the object `network.interface`, which tells of interfaces as netifd does.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use mlvpnd::message::Status;
use serde_json::{Value, json};

use super::client::Client;

/// An interface of OpenWrt's: its name, and its device while it is up.
#[derive(Clone, Debug)]
pub struct Interface {
    /// As the configuration names it.
    pub name: &'static str,
    /// As the kernel does; none while it is down.
    pub device: Option<&'static str>,
    /// Its IPv4 address.
    pub address: &'static str,
}

impl Interface {
    fn to_json(&self) -> Value {
        let mut fields = json!({
            "interface": self.name,
            "up": self.device.is_some(),
            "pending": false,
            "available": true,
            "proto": "dhcp",
            "ipv4-address": [{"address": self.address, "mask": 24}],
            "data": {},
        });
        if let Some(device) = self.device {
            fields["l3_device"] = device.into();
        }
        fields
    }
}

/// A running netifd; its object is gone when it is dropped.
#[derive(Debug)]
pub struct Netifd {
    changes: Option<Sender<Interface>>,
    thread: Option<JoinHandle<()>>,
}

impl Netifd {
    /// Publishes the object on the bus at `path`.
    ///
    /// # Panics
    /// When the bus refuses.
    #[must_use]
    pub fn start(path: &Path, interfaces: &[Interface]) -> Self {
        let mut client = Client::connect(path);
        let object = client.publish(Some("network.interface")).expect("nobody else is netifd");
        let (changes, changed) = channel();
        let interfaces = interfaces.to_vec();
        let thread = thread::spawn(move || serve(&mut client, object, interfaces, &changed));
        Self { changes: Some(changes), thread: Some(thread) }
    }

    /// An interface went up or down, or got another device.
    ///
    /// # Panics
    /// When the bus went away before.
    pub fn set(&self, interface: Interface) {
        self.changes.as_ref().expect("it runs").send(interface).expect("it runs");
    }
}

impl Drop for Netifd {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(client: &mut Client, object: u32, mut interfaces: Vec<Interface>, changed: &Receiver<Interface>) {
    loop {
        match changed.try_recv() {
            Ok(interface) => {
                let event = if interface.device.is_some() { "interface.update" } else { "interface.down" };
                client.notify(object, event, &interface.to_json());
                interfaces.retain(|known| known.name != interface.name);
                interfaces.push(interface);
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        if let Some(call) = client.poll() {
            let all: Vec<Value> = interfaces.iter().map(Interface::to_json).collect();
            let answer =
                if call.method == "dump" { Ok(json!({"interface": all})) } else { Err(Status::METHOD_NOT_FOUND) };
            client.answer(&call, &answer);
        }
    }
}
