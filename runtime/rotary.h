// Tables of the rotary embedding: how far each pair of channels of a head is turned at a position
// (Su et al. 2021). A model has one for each kind of its layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// Pair i turns by position × base^(-2i / dims) / factors[i] at most. With interpolation that is
// slowed down to `speed` of it; YaRN (Peng et al. 2023) does so only where a pair turns too rarely
// within the context of the training: not at all for beta_fast turns, fully for beta_slow.
struct RotarySpec {
  std::uint32_t dims = 0;  // channels of a head that are turned, the first ones
  float base = 10000;
  WeightVector factors;                // [dims / 2]; optional
  float speed = 1;                     // 1 / scaling factor
  std::uint32_t original_context = 0;  // of YaRN; 0: all pairs are slowed down alike
  float beta_fast = 32;
  float beta_slow = 1;
  float magnitude = 1;  // by which sines and cosines are multiplied
};

// Where a table lies in a row of Scratch::rope_cosine and rope_sine; half 0: nothing is turned.
struct RotaryPlace {
  std::uint32_t begin = 0;
  std::uint32_t half = 0;  // pairs
};

struct RotaryTable {
  RotarySpec spec;
  RotaryPlace place;
};

// Radians by which pair i turns from one position to the next.
double rotary_frequency(const RotarySpec& spec, std::uint32_t i);

// Channels of all tables together.
std::uint32_t rotary_dims(std::span<const RotaryTable> tables);

// Cosines and sines [rows][rotary_dims / 2] of rows from `position` on, once for all layers. In
// double, so that positions far out keep their precision and every machine gets the same f32
// values.
struct RotaryRows {
  std::uint32_t position = 0;
  std::uint32_t rows = 0;
  float* cosine = nullptr;
  float* sine = nullptr;
};
void fill_rotary(std::span<const RotaryTable> tables, const RotaryRows& to);

}  // namespace hearth::runtime
