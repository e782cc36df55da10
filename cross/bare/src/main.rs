// SPDX-License-Identifier: BSD-2-Clause
//! A bare-metal program around the engine: no std, no allocator, no operating system. `cross/heap-free.sh` links it.
#![no_std]
#![no_main]

#[cfg(feature = "planted")]
extern crate alloc;

use core::hint::black_box;
use core::panic::PanicInfo;

use mlvpn_core::words::time::{Duration, Instant};

/// The program's entry, named as the linker expects it.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    exercise_engine();
    #[cfg(feature = "planted")]
    black_box(alloc::vec![black_box(0_u8); 64]);
    loop {
        core::hint::spin_loop();
    }
}

/// Calls the engine's public interface. What is not called here is not linked, hence not proved: `black_box` keeps the
/// optimiser from removing what is.
fn exercise_engine() {
    let start = black_box(Instant::from_micros(1_500));
    let span = black_box(Duration::from_secs(2)) * black_box(3);
    black_box((start + span).since(start));
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
