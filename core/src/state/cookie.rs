// SPDX-License-Identifier: BSD-2-Clause
//! The two MACs of a handshake message, which keep the expensive part of a handshake from whoever did not earn it.
//!
//! mac1 costs one hash to check and proves that the sender knows the receiver's public key (or their shared secret). Under
//! load that is not enough: the responder then answers with a *cookie*, sealed so that only one who saw the initiation
//! and knows the key can read it, and bound to the source address; mac2 proves that the sender got it. The responder
//! remembers nothing for any of this. When it is under load is for the caller to say.

use core::net::{IpAddr, SocketAddr};

use blake2::digest::consts::U16;
use blake2::digest::{Mac, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use ctutils::CtEq;
use zeroize::Zeroizing;

use crate::memory::two::{COOKIE, COOKIE_MESSAGE, COOKIE_NONCE, CookieMessage, Initiation, MAC, before_macs, set_mac2};
use crate::state::identity::{PublicKey, SharedSecret};
use crate::words::limits::TAG;
use crate::words::time::{Duration, Instant};

/// A cookie is good for the period in which it was made and for the next one (WireGuard's two minutes).
pub const COOKIE_PERIOD: Duration = Duration::from_secs(120);

/// The keys of the MACs and cookies in messages to one end. They follow from what its peers know of it, and are no secret
/// among these.
#[derive(Clone)]
pub struct AddresseeKeys {
    mac1: [u8; 32],
    cookie: [u8; 32],
}

impl AddresseeKeys {
    /// The keys for messages to the owner of `key`.
    #[must_use]
    pub fn of_public_key(key: &PublicKey) -> Self {
        Self::of(key.as_bytes())
    }

    /// The keys for messages between those who share `secret`.
    #[must_use]
    pub fn of_secret(secret: &SharedSecret) -> Self {
        Self::of(&Blake2s256::digest(secret.as_bytes()).into())
    }

    fn of(name: &[u8; 32]) -> Self {
        let derive = |label: &[u8]| Blake2s256::new().chain(label).chain(name).finalize().into();
        Self { mac1: derive(b"mlvpn2 mac1"), cookie: derive(b"mlvpn2 cookie") }
    }

    /// The mac1 over `covered`.
    #[must_use]
    pub fn mac1(&self, covered: &[u8]) -> [u8; MAC] {
        mac(&self.mac1, &[covered])
    }

    /// Whether `mac1` is the one over `covered`, found out in constant time.
    #[must_use]
    pub fn is_mac1(&self, covered: &[u8], mac1: &[u8; MAC]) -> bool {
        self.mac1(covered).ct_eq(mac1).into()
    }

    /// Checks mac1 of `initiation`, which was parsed from `datagram`. One hash.
    #[must_use]
    pub fn admit<'d>(&self, initiation: Initiation<'d>, datagram: &'d [u8]) -> Option<Knock<'d>> {
        let genuine = self.is_mac1(before_macs(datagram, 2), &initiation.mac1);
        genuine.then_some(Knock { initiation, datagram, cookie_key: self.cookie })
    }

    /// Opens a cookie that answers the initiation whose mac1 was `mac1`.
    #[must_use]
    pub fn open_cookie(&self, mac1: &[u8; MAC], message: &CookieMessage) -> Option<Cookie> {
        let (&body, tag) = message.sealed.split_first_chunk::<COOKIE>()?;
        let mut cookie = body;
        let cipher = XChaCha20Poly1305::new((&self.cookie).into());
        let tag: &[u8; TAG] = tag.first_chunk()?;
        cipher
            .decrypt_inout_detached((&message.nonce).into(), mac1, (&mut cookie[..]).into(), tag.into())
            .is_ok()
            .then_some(Cookie(cookie))
    }
}

/// An initiation whose mac1 is right: its sender knows whom it writes to. Nothing else is known yet.
pub struct Knock<'d> {
    initiation: Initiation<'d>,
    /// The whole message.
    datagram: &'d [u8],
    /// Under which its receiver seals cookies.
    cookie_key: [u8; 32],
}

impl<'d> Knock<'d> {
    /// What was parsed.
    #[must_use]
    pub const fn initiation(&self) -> &Initiation<'d> {
        &self.initiation
    }

    /// Seals `cookie` for the one who sent this initiation.
    fn seal(&self, cookie: [u8; COOKIE], nonce: &[u8; COOKIE_NONCE]) -> [u8; COOKIE + TAG] {
        let mut sealed = [0; COOKIE + TAG];
        if let Some((body, tag)) = sealed.split_last_chunk_mut::<TAG>() {
            body.copy_from_slice(&cookie);
            let cipher = XChaCha20Poly1305::new((&self.cookie_key).into());
            let made = cipher.encrypt_inout_detached(nonce.into(), &self.initiation.mac1, body.into());
            // Sixteen bytes are never too many; a tag of zeros would be refused.
            *tag = made.map(Into::into).unwrap_or_default();
        }
        sealed
    }
}

/// A responder's side: makes and checks cookies without remembering any.
pub struct CookieGuard {
    seed: Zeroizing<[u8; 32]>,
}

impl CookieGuard {
    /// A guard whose cookies follow from `seed`, which must be random.
    #[must_use]
    pub const fn new(seed: Zeroizing<[u8; 32]>) -> Self {
        Self { seed }
    }

    /// Whether the sender of `knock` has shown a cookie made for `source` in this period or the last. Two short hashes
    /// and two over the message at the most.
    #[must_use]
    pub fn admits(&self, knock: &Knock<'_>, source: SocketAddr, now: Instant) -> bool {
        let this = period(now);
        let covered = before_macs(knock.datagram, 1);
        [Some(this), this.checked_sub(1)].into_iter().flatten().any(|period| {
            let expected = self.cookie(period, source).mac2(covered);
            expected.ct_eq(&knock.initiation.mac2).into()
        })
    }

    /// The answer to `knock` that tells its sender, if it is at `source`, a cookie. `nonce` must be random. The answer is
    /// shorter than any initiation.
    #[must_use]
    pub fn challenge(
        &self,
        knock: &Knock<'_>,
        source: SocketAddr,
        nonce: [u8; COOKIE_NONCE],
        now: Instant,
    ) -> [u8; COOKIE_MESSAGE] {
        let Cookie(cookie) = self.cookie(period(now), source);
        let sealed = knock.seal(cookie, &nonce);
        CookieMessage { receiver: knock.initiation.sender, nonce, sealed }.emit()
    }

    /// The cookie of a period and an address. The period takes part in the hash, so that no two have cookies in common.
    fn cookie(&self, period: u64, source: SocketAddr) -> Cookie {
        let address = match source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Cookie(mac(&self.seed, &[&period.to_be_bytes(), &address.octets(), &source.port().to_be_bytes()]))
    }
}

/// What an initiator shows a responder under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie([u8; COOKIE]);

impl Cookie {
    /// The mac2 over `covered`: keyed with the cookie, filled up with zeros to a whole key.
    fn mac2(&self, covered: &[u8]) -> [u8; MAC] {
        let mut key = [0; 32];
        key.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        mac(&key, &[covered])
    }
}

/// An initiator's side: the cookie that one responder last gave for one of the initiator's addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CookieJar {
    /// The cookie, and when it came.
    held: Option<(Cookie, Instant)>,
}

impl CookieJar {
    /// Keeps `cookie`.
    pub fn put(&mut self, cookie: Cookie, now: Instant) {
        self.held = Some((cookie, now));
    }

    /// Whether there is a cookie that is still good.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.held.is_some_and(|(_, since)| now.since(since) < COOKIE_PERIOD)
    }

    /// Writes mac2 into an encoded `initiation`: with the cookie while it is good, else zeros.
    pub fn stamp(&self, initiation: &mut [u8], now: Instant) {
        let good = self.held.filter(|(_, since)| now.since(*since) < COOKIE_PERIOD);
        let mac2 = good.map_or([0; MAC], |(cookie, _)| cookie.mac2(before_macs(initiation, 1)));
        set_mac2(initiation, mac2);
    }
}

fn period(now: Instant) -> u64 {
    now.micros().checked_div(COOKIE_PERIOD.micros()).unwrap_or(0)
}

/// Keyed BLAKE2s with 16 bytes of output.
fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; MAC] {
    let mut mac = <Blake2sMac<U16> as KeyInit>::new(key.into());
    parts.iter().for_each(|part| Update::update(&mut mac, part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::memory::two::{MAX_INITIATION, NOISE_SECRET, Pattern, set_mac1};
    use crate::words::ids::SessionIndex;

    const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5080);
    const NOW: Instant = Instant::from_micros(500_000_000);

    fn keys() -> AddresseeKeys {
        AddresseeKeys::of_public_key(&PublicKey::from_bytes([3; 32]))
    }

    /// An initiation to the owner of `keys()`.
    fn initiation() -> ([u8; MAX_INITIATION], usize) {
        let mut out = [0; MAX_INITIATION];
        let initiation = Initiation {
            pattern: Pattern::Secret,
            sender: SessionIndex::new(77).expect("24 bits"),
            noise: &[9; NOISE_SECRET],
            mac1: [0; MAC],
            mac2: [0; MAC],
        };
        let len = initiation.emit(&mut out).expect("the noise message has its length");
        let mac1 = keys().mac1(before_macs(&out[..len], 2));
        set_mac1(&mut out[..len], mac1);
        (out, len)
    }

    fn knock(datagram: &[u8]) -> Option<Knock<'_>> {
        keys().admit(Initiation::parse(datagram).expect("an initiation"), datagram)
    }

    fn cookie_for(guard: &CookieGuard, source: SocketAddr, now: Instant) -> CookieJar {
        let (out, len) = initiation();
        let knock = knock(&out[..len]).expect("mac1 is right");
        let message = guard.challenge(&knock, source, [4; COOKIE_NONCE], now);
        assert!(message.len() <= len);
        let message = CookieMessage::parse(&message).expect("a cookie message");
        let mut jar = CookieJar::default();
        jar.put(keys().open_cookie(&knock.initiation().mac1, &message).expect("it is for us"), now);
        jar
    }

    fn is_admitted(guard: &CookieGuard, jar: &CookieJar, source: SocketAddr, now: Instant) -> bool {
        let (mut out, len) = initiation();
        jar.stamp(&mut out[..len], now);
        guard.admits(&knock(&out[..len]).expect("mac1 is right"), source, now)
    }

    #[test]
    fn without_mac1_nobody_is_heard() {
        let (mut out, len) = initiation();
        for at in 8..len - MAC {
            out[at] ^= 1;
            assert!(knock(&out[..len]).is_none(), "byte {at}");
            out[at] ^= 1;
        }
        let other = AddresseeKeys::of_public_key(&PublicKey::from_bytes([4; 32]));
        assert!(other.admit(Initiation::parse(&out[..len]).expect("an initiation"), &out[..len]).is_none());
        assert!(knock(&out[..len]).is_some());
    }

    #[test]
    fn a_cookie_admits_its_own_address_and_port_only() {
        let guard = CookieGuard::new(Zeroizing::new([1; 32]));
        assert!(!is_admitted(&guard, &CookieJar::default(), SOURCE, NOW));
        let jar = cookie_for(&guard, SOURCE, NOW);
        assert!(is_admitted(&guard, &jar, SOURCE, NOW));
        assert!(!is_admitted(&guard, &jar, SocketAddr::new(SOURCE.ip(), 5081), NOW));
        assert!(!is_admitted(&guard, &jar, SocketAddr::new(Ipv4Addr::new(192, 0, 2, 2).into(), 5080), NOW));
        let restarted = CookieGuard::new(Zeroizing::new([2; 32]));
        assert!(!is_admitted(&restarted, &jar, SOURCE, NOW));
    }

    #[test]
    fn a_cookie_is_good_while_the_jar_keeps_it_and_not_after_the_next_period() {
        let guard = CookieGuard::new(Zeroizing::new([1; 32]));
        for offset in [0, 1, 60_000_000, 119_999_999] {
            let made = Instant::from_micros(480_000_000 + offset);
            let jar = cookie_for(&guard, SOURCE, made);
            let last = made + (COOKIE_PERIOD - Duration::from_micros(1));
            assert!(jar.is_full(last) && is_admitted(&guard, &jar, SOURCE, last), "made at {made:?}");
            assert!(!jar.is_full(made + COOKIE_PERIOD));
            assert!(!is_admitted(&guard, &jar, SOURCE, made + COOKIE_PERIOD));
            let (mut out, len) = initiation();
            jar.stamp(&mut out[..len], made);
            let stale = knock(&out[..len]).expect("mac1 is right");
            assert!(!guard.admits(&stale, SOURCE, made + COOKIE_PERIOD + COOKIE_PERIOD), "made at {made:?}");
        }
    }

    #[test]
    fn a_cookie_is_read_only_by_who_saw_the_initiation_and_knows_the_key() {
        let guard = CookieGuard::new(Zeroizing::new([1; 32]));
        let (out, len) = initiation();
        let knock = knock(&out[..len]).expect("mac1 is right");
        let sent = guard.challenge(&knock, SOURCE, [4; COOKIE_NONCE], NOW);
        let mac1 = knock.initiation().mac1;
        let other = AddresseeKeys::of_public_key(&PublicKey::from_bytes([4; 32]));
        let message = CookieMessage::parse(&sent).expect("a cookie message");
        assert_eq!(keys().open_cookie(&[0; MAC], &message), None);
        assert_eq!(other.open_cookie(&mac1, &message), None);
        for at in 8..sent.len() {
            let mut forged = sent;
            forged[at] ^= 0x80;
            let message = CookieMessage::parse(&forged).expect("a cookie message");
            assert_eq!(keys().open_cookie(&mac1, &message), None, "byte {at}");
        }
        assert!(keys().open_cookie(&mac1, &message).is_some());
    }
}
