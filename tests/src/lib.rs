// SPDX-License-Identifier: BSD-2-Clause
//! What the tests, simulations and benches of mlvpn share.
