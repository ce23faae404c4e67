#include "kernels/kv/kvarn_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kv/code_planes.h"
#include "kernels/quant/half.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kPositions = kKvLongestTile;
constexpr int kIterations = 16;
constexpr float kLeastScale = 0.74081822f;  // e^-0.3
constexpr float kMostScale = 22026.466f;    // e^10
constexpr float kLeastStep = 1e-10f;
constexpr float kLargestF16 = 65504;
constexpr std::uint32_t kSums = 16;  // independent sums, for vectors

// Of positions, or of channels.
using Vector = float[kKvSlice];

float sum(const float (&sums)[kSums]) {
  float total = 0;
  for (const float one : sums) total += one;
  return total;
}

// One slice of rows as it lies in memory.
struct Slice {
  const float* rows;
  std::uint32_t channels, stride;

  const float* row(std::uint32_t position) const { return rows + std::size_t{position} * stride; }

  bool finite() const {
    for (std::uint32_t p = 0; p < kPositions; ++p)
      for (std::uint32_t c = 0; c < channels; ++c)
        if (!(std::abs(row(p)[c]) <= kLargestF16)) return false;
    return true;
  }

  // Deviation of each position, whose values are divided by the scales of the channels.
  void position_deviations(const Vector& channel_scales, Vector& deviations) const {
    Vector factors, scaled;
    for (std::uint32_t c = 0; c < channels; ++c) factors[c] = 1 / channel_scales[c];
    for (std::uint32_t p = 0; p < kPositions; ++p) {
      float sums[kSums] = {}, squares[kSums] = {};
      for (std::uint32_t c = 0; c < channels; c += kSums)
        for (std::uint32_t k = 0; k < kSums; ++k) {
          scaled[c + k] = row(p)[c + k] * factors[c + k];
          sums[k] += scaled[c + k];
        }
      const float mean = sum(sums) / static_cast<float>(channels);
      for (std::uint32_t c = 0; c < channels; c += kSums)
        for (std::uint32_t k = 0; k < kSums; ++k)
          squares[k] += (scaled[c + k] - mean) * (scaled[c + k] - mean);
      deviations[p] = std::sqrt(sum(squares) / static_cast<float>(channels - 1));
    }
  }

  // Deviation of each channel, whose values are divided by the scales of the positions.
  void channel_deviations(const Vector& position_scales, Vector& deviations) const {
    Vector factors;
    for (std::uint32_t p = 0; p < kPositions; ++p) factors[p] = 1 / position_scales[p];
    for (std::uint32_t c = 0; c < channels; c += kSums) {
      float means[kSums] = {}, squares[kSums] = {};
      for (std::uint32_t p = 0; p < kPositions; ++p)
        for (std::uint32_t k = 0; k < kSums; ++k) means[k] += row(p)[c + k] * factors[p];
      for (float& mean : means) mean /= static_cast<float>(kPositions);
      for (std::uint32_t p = 0; p < kPositions; ++p)
        for (std::uint32_t k = 0; k < kSums; ++k) {
          const float off = row(p)[c + k] * factors[p] - means[k];
          squares[k] += off * off;
        }
      for (std::uint32_t k = 0; k < kSums; ++k)
        deviations[c + k] = std::sqrt(squares[k] / static_cast<float>(kPositions - 1));
    }
  }
};

// Positions or channels, with the scale of each and its deviation before it is divided by that.
struct Dimension {
  std::uint32_t count;
  Vector scales, deviations;

  explicit Dimension(std::uint32_t n) : count(n) { std::fill_n(scales, n, 1.0f); }

  void even_out() {
    for (std::uint32_t i = 0; i < count; ++i) {
      const float deviation = std::clamp(deviations[i] / scales[i], 1e-3f, 1e3f);
      scales[i] = std::clamp(scales[i] * deviation, kLeastScale, kMostScale);
    }
  }
  float imbalance() const {
    float least = std::numeric_limits<float>::infinity(), most = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      least = std::min(least, deviations[i] / scales[i]);
      most = std::max(most, deviations[i] / scales[i]);
    }
    return most / std::max(least, 1e-8f);
  }
};

// The header's iteration: keys begin with positions, values with channels, their columns.
// Deviations are those of values that only the other dimension scales, so that one's own scale
// divides them.
void balance(const Slice& slice, KvPart part, Dimension& positions, Dimension& channels) {
  const auto measure_positions = [&] {
    slice.position_deviations(channels.scales, positions.deviations);
  };
  const auto measure_channels = [&] {
    slice.channel_deviations(positions.scales, channels.deviations);
  };
  measure_positions();
  measure_channels();
  float of_best = positions.imbalance() + channels.imbalance();
  Dimension best_positions = positions, best_channels = channels;
  for (int i = 0; i < kIterations; ++i) {
    if (part == KvPart::kKeys) {
      positions.even_out();
      measure_channels();
      channels.even_out();
      measure_positions();
    } else {
      channels.even_out();
      measure_positions();
      positions.even_out();
      measure_channels();
    }
    const float now = positions.imbalance() + channels.imbalance();
    if (!(now <= of_best)) continue;
    of_best = now;
    best_positions = positions;
    best_channels = channels;
  }
  positions = best_positions;
  channels = best_channels;
}

// The vectors of a stored slice, as f32.
struct StoredScales {
  std::uint32_t axes, others;
  Vector scale, zero, other;

  StoredScales(KvPart part, std::uint32_t channels)
      : axes(part == KvPart::kKeys ? channels : kPositions),
        others(part == KvPart::kKeys ? kPositions : channels) {}

  void fill(float value) {
    std::fill_n(scale, axes, value);
    std::fill_n(zero, axes, value);
    std::fill_n(other, others, value);
  }
  void store(const KvSliceLayout& layout, std::byte* slice) const {
    store(scale, axes, slice);
    store(zero, axes, slice + layout.second);
    store(other, others, slice + layout.third);
  }
  void load(const KvSliceLayout& layout, const std::byte* slice) {
    load(slice, axes, scale);
    load(slice + layout.second, axes, zero);
    load(slice + layout.third, others, other);
  }

 private:
  static void store(const Vector& from, std::uint32_t n, std::byte* to) {
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint16_t bits = f16_of_f32(from[i]);
      std::memcpy(to + 2 * i, &bits, 2);
    }
  }
  static void load(const std::byte* from, std::uint32_t n, Vector& to) {
    for (std::uint32_t i = 0; i < n; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, from + 2 * i, 2);
      to[i] = f32_of_f16(bits);
    }
  }
};

// Codes of a slice [128 positions][channels].
using Codes = std::uint8_t[kPositions * kKvSlice];

// The values of one row of B: code `stride` apart from code.
void encode_axis(std::uint32_t bits, const Vector& values, std::uint32_t n, float of_row,
                 std::size_t stride, std::uint8_t* codes, float& scale, float& zero) {
  const auto [least, most] = std::minmax_element(values, values + n);
  const int count = 1 << bits, centre = count / 2;
  const float step = std::max((*most - *least) / static_cast<float>(count - 1), kLeastStep);
  for (std::uint32_t i = 0; i < n; ++i) {
    const int code = std::min(static_cast<int>((values[i] - *least) / step + 0.5f), count - 1);
    codes[i * stride] = static_cast<std::uint8_t>(bits == 8 ? code - centre : code);
  }
  scale = of_row * step;
  zero = of_row * (*least + static_cast<float>(centre) * step);
}

void encode_codes(std::uint32_t bits, KvPart part, const Slice& slice, const Dimension& positions,
                  const Dimension& channels, Codes& codes, StoredScales& stored) {
  Vector values;
  if (part == KvPart::kKeys) {
    std::copy_n(positions.scales, kPositions, stored.other);
    for (std::uint32_t c = 0; c < slice.channels; ++c) {
      for (std::uint32_t p = 0; p < kPositions; ++p)
        values[p] = slice.row(p)[c] / positions.scales[p] / channels.scales[c];
      encode_axis(bits, values, kPositions, channels.scales[c], slice.channels, codes + c,
                  stored.scale[c], stored.zero[c]);
    }
    return;
  }
  std::copy_n(channels.scales, slice.channels, stored.other);
  for (std::uint32_t p = 0; p < kPositions; ++p) {
    for (std::uint32_t c = 0; c < slice.channels; ++c)
      values[c] = slice.row(p)[c] / channels.scales[c] / positions.scales[p];
    encode_axis(bits, values, slice.channels, positions.scales[p], 1, codes + p * slice.channels,
                stored.scale[p], stored.zero[p]);
  }
}

// body(offset of a block in the slice, index of its first code)
template <typename Body>
void for_blocks(KvFormat format, const KvSliceLayout& layout, std::uint32_t channels, Body body) {
  std::size_t at = layout.codes;
  for (std::uint32_t p = 0; p < kPositions; p += kKvTile)
    for (std::uint32_t c = 0; c < channels; c += kKvBlock, at += kv_planes(format).block_bytes())
      body(at, p * channels + c);
}

}  // namespace

void encode_kvarn(KvFormat format, KvPart part, const float* rows, std::uint32_t channels,
                  std::uint32_t stride, std::byte* at) {
  const Slice slice{rows, channels, stride};
  const KvSliceLayout layout = kv_slice_layout(format, part, channels);
  StoredScales stored(part, channels);
  Codes codes{};
  if (slice.finite()) {
    Dimension of_positions(kPositions), of_channels(channels);
    balance(slice, part, of_positions, of_channels);
    encode_codes(traits(format).bits, part, slice, of_positions, of_channels, codes, stored);
  } else {
    stored.fill(std::numeric_limits<float>::quiet_NaN());
  }
  stored.store(layout, at);
  for_blocks(format, layout, channels, [&](std::size_t block, std::size_t first) {
    pack_codes(format, part, codes + first, channels, at + block);
  });
}

void decode_kvarn(KvFormat format, KvPart part, const std::byte* at, std::uint32_t channels,
                  std::uint32_t stride, float* rows) {
  const KvSliceLayout layout = kv_slice_layout(format, part, channels);
  StoredScales stored(part, channels);
  stored.load(layout, at);
  Codes codes;
  for_blocks(format, layout, channels, [&](std::size_t block, std::size_t first) {
    unpack_codes(format, part, at + block, channels, codes + first);
  });
  for (std::uint32_t p = 0; p < kPositions; ++p)
    for (std::uint32_t c = 0; c < channels; ++c) {
      const std::uint32_t axis = part == KvPart::kKeys ? c : p;
      const std::uint32_t other = part == KvPart::kKeys ? p : c;
      const auto code = static_cast<float>(kv_code_value(format, codes[p * channels + c]));
      rows[std::size_t{p} * stride + c] =
          (code * stored.scale[axis] + stored.zero[axis]) * stored.other[other];
    }
}

}  // namespace hearth::kernels
