// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpn keygen`, `mlvpn pubkey` and `mlvpn gensecret`: keys made and turned into text, for pipes and files.
//!
//! Standard output gets the key and a newline, nothing else. What was secret is wiped before the process ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use mlvpn_core::state::identity::{KEY, KeyText, KeyTextError, SecretKey, SharedSecret};
use zeroize::Zeroizing;

/// A key with any blanks people put around it is shorter; the rest of a longer input is not read.
const MAX_INPUT_BYTES: u64 = 256;

/// What to do with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    /// Make a private key.
    Keygen,
    /// Read a private key, and tell the public key that follows from it.
    Pubkey,
    /// Make a secret for both ends.
    Gensecret,
}

impl KeyCommand {
    /// Does it: reads from `input` if at all, and writes one line to `output`.
    ///
    /// # Errors
    /// When the system has no random bytes, `input` is no private key, or one of the two fails.
    pub fn run(self, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
        let text = match self {
            Self::Keygen => SecretKey::from_random(random()?).to_text(),
            Self::Pubkey => read_private_key(input)?.public_key().to_text(),
            Self::Gensecret => SharedSecret::from_random(random()?).to_text(),
        };
        output.write_all(&line(&text))?;
        output.flush()
    }

    /// The same between the process's standard input and output. What it prints being secret, it says on `warnings`
    /// when standard output is a file that others can reach.
    ///
    /// # Errors
    /// As [`KeyCommand::run`].
    pub fn run_in_shell(self, warnings: &mut dyn Write) -> io::Result<()> {
        // Not through the buffers of the standard library, which are never wiped.
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        if self.makes_a_secret() && is_open_to_others(&output)? {
            writeln!(
                warnings,
                "mlvpn: warning: others can reach the file this goes to; run: umask 077, and try again"
            )?;
        }
        self.run(&mut input, &mut output)
    }

    const fn makes_a_secret(self) -> bool {
        matches!(self, Self::Keygen | Self::Gensecret)
    }
}

fn random() -> io::Result<Zeroizing<[u8; KEY]>> {
    let mut bytes = Zeroizing::new([0; KEY]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| io::Error::other(format!("the system's random source failed: {error}")))?;
    Ok(bytes)
}

/// The key as a line of its own, in one piece so that it is written at once.
fn line(key: &KeyText) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(key.as_str().len() + 1));
    line.extend_from_slice(key.as_str().as_bytes());
    line.push(b'\n');
    line
}

fn read_private_key(input: &mut dyn Read) -> io::Result<SecretKey> {
    // Reserved in full: a Vec that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    input.take(MAX_INPUT_BYTES).read_to_end(&mut bytes)?;
    let text = bytes.trim_ascii();
    let invalid = |message| io::Error::new(io::ErrorKind::InvalidData, message);
    if text.is_empty() {
        return Err(invalid("nothing on standard input; give a private key, as in: mlvpn keygen | mlvpn pubkey"));
    }
    let text = std::str::from_utf8(text).map_err(|_| invalid(NO_KEY))?;
    SecretKey::from_text(text).map_err(|error| match error {
        KeyTextError::Zero => invalid("the key is all zeros, which everyone knows; run: mlvpn keygen"),
        KeyTextError::Text | KeyTextError::LowOrder => invalid(NO_KEY),
    })
}

const NO_KEY: &str = "standard input is no private key, which is one line of 44 characters; run: mlvpn keygen";

/// True for a regular file of which the group or others have any rights; a pipe or a terminal is whoever's it is.
fn is_open_to_others(output: &File) -> io::Result<bool> {
    /// All rights of the group and of others.
    const GROUP_OTHER: u32 = 0o077;
    let metadata = output.metadata()?;
    Ok(metadata.is_file() && metadata.permissions().mode() & GROUP_OTHER != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: KeyCommand, input: &[u8]) -> Result<String, String> {
        let (mut input, mut output) = (input, Vec::new());
        match command.run(&mut input, &mut output) {
            Ok(()) => Ok(String::from_utf8(output).expect("base64")),
            Err(error) => {
                assert!(output.is_empty(), "nothing is written when there is no key");
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn the_public_keys_are_those_of_rfc_7748_section_6_1() {
        for (private, public) in [
            ("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="),
            ("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=", "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="),
        ] {
            for input in [private.to_owned(), format!("{private}\n"), format!(" {private}\r\n\n")] {
                assert_eq!(run(KeyCommand::Pubkey, input.as_bytes()), Ok(format!("{public}\n")), "{input:?}");
            }
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused_with_what_to_run() {
        let key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        for input in [key.replace('=', ""), format!("{key}{key}"), format!("{key} x"), "x".repeat(100_000)] {
            assert_eq!(run(KeyCommand::Pubkey, input.as_bytes()), Err(NO_KEY.to_owned()), "{input:.80}");
        }
        assert_eq!(run(KeyCommand::Pubkey, &[0xff; 44]), Err(NO_KEY.to_owned()));
        let empty = run(KeyCommand::Pubkey, b" \n").expect_err("no key");
        assert!(empty.ends_with("mlvpn keygen | mlvpn pubkey"), "{empty}");
        let zero = run(KeyCommand::Pubkey, format!("{}=", "A".repeat(43)).as_bytes()).expect_err("no key");
        assert!(zero.starts_with("the key is all zeros"), "{zero}");
    }

    #[test]
    fn keys_and_secrets_are_new_each_time_and_read_back() {
        let [one, other] = [(); 2].map(|()| run(KeyCommand::Keygen, b"").expect("a key"));
        assert_ne!(one, other);
        assert_eq!(SecretKey::from_text(one.trim_end()).expect("a key").to_text().as_str(), one.trim_end());
        let [one, other] = [(); 2].map(|()| run(KeyCommand::Gensecret, b"").expect("a secret"));
        assert_ne!(one, other);
        assert_eq!(SharedSecret::from_text(one.trim_end()).expect("a secret").to_text().as_str(), one.trim_end());
    }
}
