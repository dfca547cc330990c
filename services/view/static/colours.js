// SPDX-License-Identifier: Apache-2.0
//
// Figures to background tints. Blue and orange, which colour-blind eyes tell apart; never so strong
// that text on them falls below a contrast of 4.5 to 1 in either scheme.

const BLUE = "0 114 178", ORANGE = "213 94 0", PURPLE = "140 90 210";
const STRONGEST = 0.5;

function tint(colour, share) {
  const alpha = Math.min(1, Math.max(0, share)) * STRONGEST;
  return alpha < 0.02 ? "" : `rgb(${colour} / ${alpha.toFixed(3)})`;
}

// Blue above zero, orange below; as strong as can be at `full`.
export function diverging(value, full = 1) {
  return value === null ? "" : tint(value > 0 ? BLUE : ORANGE, Math.abs(value) / full);
}

export function rising(value, full) {
  return value === null ? "" : tint(PURPLE, value / full);
}

// The less likely the stronger: 1 none, a thousandth full.
export function unlikely(logprob) {
  return logprob === null ? "" : tint(ORANGE, -logprob / Math.log(1000));
}

export function paint(node, colour) {
  node.style.backgroundColor = colour;
}
