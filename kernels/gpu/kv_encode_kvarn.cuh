// kernels/kv/kvarn_codec.h by a block of 128 threads: each has a position, or a channel.
#pragma once

#include "kernels/gpu/kv_codes.cuh"
#include "kernels/gpu/kv_positions.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kKvarnThreads = kKvLongestTile;

// Positions or channels: the scale of each, its deviation before it is divided by that, and the
// best scales so far.
struct KvarnDimension {
  float scales[kKvLongestTile], deviations[kKvLongestTile], best[kKvLongestTile];
};

struct KvarnShared {
  KvarnDimension positions, channels;
  float extremes[2][2][kKvLongestTile / 32];  // of positions and channels: least, most of a group
  int not_finite;
  std::uint8_t codes[kKvLongestTile * kKvSlice];  // [positions][channels]
};

// A slice of four tiles of f16.
struct KvarnSlice {
  const KvMemory* memory;
  std::uint32_t head;
  std::uint32_t position;  // of the stored tile
  std::uint32_t channel;   // the first one
  std::uint32_t channels;
};
HEARTH_DEVICE float value_at(const KvarnSlice& slice, std::uint32_t position,
                             std::uint32_t channel) {
  const std::byte* const tile = f16_tile(*slice.memory, slice.head, slice.position + position);
  return float_at(AsF16{}, tile,
                  float_index(slice.memory->layout, position % kKvTile, slice.channel + channel));
}

// In 16 sums, which are added in order.
HEARTH_DEVICE float in_order(const float (&sums)[16]) {
  float total = 0;
  for (const float one : sums) total = total + one;
  return total;
}

HEARTH_DEVICE void measure_positions(const KvarnSlice& slice, KvarnShared& shared) {
  const unsigned position = thread_index();
  float sums[16] = {}, squares[16] = {};
  for (std::uint32_t c = 0; c < slice.channels; c += 16)
    for (unsigned k = 0; k < 16; ++k)
      sums[k] =
          sums[k] + value_at(slice, position, c + k) * divide(1.0f, shared.channels.scales[c + k]);
  const float mean = divide(in_order(sums), static_cast<float>(slice.channels));
  for (std::uint32_t c = 0; c < slice.channels; c += 16)
    for (unsigned k = 0; k < 16; ++k) {
      const float scaled =
          value_at(slice, position, c + k) * divide(1.0f, shared.channels.scales[c + k]);
      const float square = (scaled - mean) * (scaled - mean);
      squares[k] = squares[k] + square;
    }
  shared.positions.deviations[position] =
      square_root(divide(in_order(squares), static_cast<float>(slice.channels - 1)));
  sync_threads();
}

HEARTH_DEVICE void measure_channels(const KvarnSlice& slice, KvarnShared& shared) {
  const unsigned channel = thread_index();
  if (channel < slice.channels) {
    float mean = 0, squares = 0;
    for (std::uint32_t p = 0; p < kKvLongestTile; ++p)
      mean = mean + value_at(slice, p, channel) * divide(1.0f, shared.positions.scales[p]);
    mean = divide(mean, static_cast<float>(kKvLongestTile));
    for (std::uint32_t p = 0; p < kKvLongestTile; ++p) {
      const float scaled = value_at(slice, p, channel) * divide(1.0f, shared.positions.scales[p]);
      const float off = scaled - mean;
      squares = squares + off * off;
    }
    shared.channels.deviations[channel] =
        square_root(divide(squares, static_cast<float>(kKvLongestTile - 1)));
  }
  sync_threads();
}

HEARTH_DEVICE float between(float x, float least, float most) {
  return x < least ? least : most < x ? most : x;
}

HEARTH_DEVICE void even_out(std::uint32_t count, KvarnDimension& dimension) {
  constexpr float kLeastScale = 0.74081822f, kMostScale = 22026.466f;  // e^-0.3, e^10
  const unsigned i = thread_index();
  if (i < count) {
    const float scale = dimension.scales[i];
    const float deviation = between(divide(dimension.deviations[i], scale), 1e-3f, 1e3f);
    dimension.scales[i] = between(scale * deviation, kLeastScale, kMostScale);
  }
  sync_threads();
}

// The least and the largest deviation after scaling, of a group of threads.
HEARTH_DEVICE void find_extremes(std::uint32_t count, const KvarnDimension& dimension,
                                 float (&extremes)[2][kKvLongestTile / 32]) {
  const unsigned i = thread_index();
  const float infinity = float_of(0x7f800000u);
  float least = infinity, most = 0;
  if (i < count) least = most = divide(dimension.deviations[i], dimension.scales[i]);
  least = -group_max<32>(-least);
  most = group_max<32>(most);
  if (i % 32 != 0) return;
  extremes[0][i / 32] = least;
  extremes[1][i / 32] = most;
}

HEARTH_DEVICE float imbalance_of(const float (&extremes)[2][kKvLongestTile / 32]) {
  float least = extremes[0][0], most = extremes[1][0];
  for (unsigned i = 1; i < kKvLongestTile / 32; ++i) {
    least = extremes[0][i] < least ? extremes[0][i] : least;
    most = extremes[1][i] > most ? extremes[1][i] : most;
  }
  return divide(most, least > 1e-8f ? least : 1e-8f);
}

HEARTH_DEVICE float imbalance(const KvarnSlice& slice, KvarnShared& shared) {
  find_extremes(kKvLongestTile, shared.positions, shared.extremes[0]);
  find_extremes(slice.channels, shared.channels, shared.extremes[1]);
  sync_threads();
  const float sum = imbalance_of(shared.extremes[0]) + imbalance_of(shared.extremes[1]);
  sync_threads();
  return sum;
}

HEARTH_DEVICE void keep_best(KvarnShared& shared) {
  const unsigned i = thread_index();
  shared.positions.best[i] = shared.positions.scales[i];
  shared.channels.best[i] = shared.channels.scales[i];
}

// Keys begin with positions, values with channels.
HEARTH_DEVICE void balance(const KvarnSlice& slice, KvarnShared& shared) {
  constexpr int kIterations = 16;
  shared.positions.scales[thread_index()] = 1;
  shared.channels.scales[thread_index()] = 1;
  sync_threads();
  measure_positions(slice, shared);
  measure_channels(slice, shared);
  float of_best = imbalance(slice, shared);
  keep_best(shared);
  for (int i = 0; i < kIterations; ++i) {
    if (slice.memory->layout.part == KvPart::kKeys) {
      even_out(kKvLongestTile, shared.positions);
      measure_channels(slice, shared);
      even_out(slice.channels, shared.channels);
      measure_positions(slice, shared);
    } else {
      even_out(slice.channels, shared.channels);
      measure_positions(slice, shared);
      even_out(kKvLongestTile, shared.positions);
      measure_channels(slice, shared);
    }
    const float now = imbalance(slice, shared);
    if (!(now <= of_best)) continue;
    of_best = now;
    keep_best(shared);
  }
  sync_threads();
}

// The codes of this thread's row of B: a channel of keys, a position of values.
HEARTH_DEVICE void encode_row(const KvarnSlice& slice, std::byte* to, KvarnShared& shared) {
  const KvLayout& layout = slice.memory->layout;
  const bool keys = layout.part == KvPart::kKeys;
  const KvarnDimension& axis = keys ? shared.channels : shared.positions;
  const KvarnDimension& other = keys ? shared.positions : shared.channels;
  const unsigned row = thread_index();
  const std::uint32_t count = keys ? kKvLongestTile : slice.channels;
  const auto value = [&](std::uint32_t i) {
    const float x = keys ? value_at(slice, i, row) : value_at(slice, row, i);
    return divide(divide(x, other.best[i]), axis.best[row]);
  };
  float least = value(0), most = least;
  for (std::uint32_t i = 1; i < count; ++i) {
    const float x = value(i);
    least = x < least ? x : least;
    most = x < most ? most : x;
  }
  const int codes = 1 << layout.bits, centre = codes / 2;
  const float range = divide(most - least, static_cast<float>(codes - 1));
  const float step = range > 1e-10f ? range : 1e-10f;
  for (std::uint32_t i = 0; i < count; ++i) {
    const int rounded = static_cast<int>(divide(value(i) - least, step) + 0.5f);
    const int code = rounded < codes - 1 ? rounded : codes - 1;
    shared.codes[keys ? i * slice.channels + row : row * slice.channels + i] =
        static_cast<std::uint8_t>(layout.bits == 8 ? code - centre : code);
  }
  const float middle = static_cast<float>(centre) * step;
  reinterpret_cast<std::uint16_t*>(to)[row] = f16_of_f32(axis.best[row] * step);
  reinterpret_cast<std::uint16_t*>(to + layout.of_slice.second)[row] =
      f16_of_f32(axis.best[row] * (least + middle));
}

// A slice with a value that is not finite is NaN.
HEARTH_DEVICE void encode_nan(const KvarnSlice& slice, std::byte* to, KvarnShared& shared) {
  for (unsigned i = thread_index(); i < slice.memory->layout.of_slice.codes / 2;
       i += block_threads())
    reinterpret_cast<std::uint16_t*>(to)[i] = 0x7e00;
  for (unsigned i = thread_index(); i < kKvLongestTile * slice.channels; i += block_threads())
    shared.codes[i] = 0;
}

// Scales and codes of a slice: codes to shared memory, all else to where the slice is. Ends with a
// barrier.
HEARTH_DEVICE void encode_kvarn(const KvarnSlice& slice, std::byte* to, KvarnShared& shared) {
  const KvLayout& layout = slice.memory->layout;
  const bool keys = layout.part == KvPart::kKeys;
  if (thread_index() == 0) shared.not_finite = 0;
  sync_threads();
  for (std::uint32_t c = 0; c < slice.channels; ++c)
    if (!((bits_of(value_at(slice, thread_index(), c)) & 0x7fffffffu) < 0x7f800000u))
      shared.not_finite = 1;
  sync_threads();
  if (shared.not_finite != 0) {
    encode_nan(slice, to, shared);
  } else {
    balance(slice, shared);
    const std::uint32_t others = keys ? kKvLongestTile : slice.channels;
    if (thread_index() < others)
      reinterpret_cast<std::uint16_t*>(to + layout.of_slice.third)[thread_index()] = f16_of_f32(
          keys ? shared.positions.best[thread_index()] : shared.channels.best[thread_index()]);
    if (thread_index() < (keys ? slice.channels : kKvLongestTile)) encode_row(slice, to, shared);
  }
  sync_threads();
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
