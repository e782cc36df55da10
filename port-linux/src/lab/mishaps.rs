// SPDX-License-Identifier: BSD-2-Clause
//! What chance does to the packets of one link.

use mlvpn_core::words::time::Duration;

use super::chance::Dice;
use super::direction::{Direction, RandomDelay};
use super::link::Loss;

/// One stream of chance for each kind of mishap, so that they do not disturb each other.
#[derive(Clone, Debug)]
pub(super) struct Mishaps {
    random: Dice,
    /// Decides over turning good or bad, and `burst_loss` over the packets.
    burst_state: Dice,
    burst_loss: Dice,
    is_bad: bool,
    handover: Dice,
    duplicate: Dice,
    jitter: Dice,
    stall: Dice,
    reorder: Dice,
}

impl Mishaps {
    pub(super) fn new(seed: u64) -> Self {
        let dice = |stream| Dice::new(seed, stream);
        Self {
            random: dice(1),
            burst_state: dice(2),
            burst_loss: dice(3),
            is_bad: false,
            handover: dice(4),
            duplicate: dice(5),
            jitter: dice(6),
            stall: dice(7),
            reorder: dice(8),
        }
    }

    /// Whether, and to what, a packet is lost that left the bottleneck `since_start` after the model's start.
    pub(super) fn loss(&mut self, direction: &Direction, since_start: Duration) -> Option<Loss> {
        let random = self.random.happens(direction.random_loss).then_some(Loss::Random);
        let burst = self.meets_burst(direction).then_some(Loss::Burst);
        let handover = self.meets_handover(direction, since_start).then_some(Loss::Handover);
        random.or(burst).or(handover)
    }

    pub(super) fn duplicates(&mut self, direction: &Direction) -> bool {
        self.duplicate.happens(direction.duplicate)
    }

    /// Jitter and stall together.
    pub(super) fn delay(&mut self, direction: &Direction) -> Duration {
        random_delay(&mut self.jitter, direction.jitter) + random_delay(&mut self.stall, direction.stall)
    }

    /// How far the packet falls behind those after it.
    pub(super) fn setback(&mut self, direction: &Direction) -> Duration {
        match direction.reorder {
            Some(reorder) if self.reorder.happens(reorder.chance) => reorder.extra,
            _ => Duration::ZERO,
        }
    }

    fn meets_burst(&mut self, direction: &Direction) -> bool {
        let Some(burst) = direction.burst_loss else { return false };
        let turn = if self.is_bad { burst.leave } else { burst.enter };
        self.is_bad ^= self.burst_state.happens(turn);
        let loss = if self.is_bad { burst.loss_in_bad } else { burst.loss_in_good };
        self.burst_loss.happens(loss)
    }

    fn meets_handover(&mut self, direction: &Direction, since_start: Duration) -> bool {
        let Some(handover) = direction.handover else { return false };
        let hit = self.handover.happens(handover.loss);
        let period = handover.period.micros().max(1);
        let into_period = since_start.micros() % period;
        hit && since_start.micros() >= period && into_period < handover.length.micros()
    }
}

fn random_delay(dice: &mut Dice, delay: Option<RandomDelay>) -> Duration {
    match delay {
        Some(delay) if dice.happens(delay.chance) => dice.span(delay.shape, delay.scale),
        _ => Duration::ZERO,
    }
}
