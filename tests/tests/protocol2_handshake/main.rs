// SPDX-License-Identifier: BSD-2-Clause
//! The handshake of protocol 2: between two of our ends, against attackers, against a second Noise implementation, and
//! against the recorded vectors.

mod attacks;
mod document;
mod ends;
mod layouts;
mod peers;
mod second_noise;
mod vectors;
