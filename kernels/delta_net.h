// Gated delta net: linear attention whose memory is one matrix per head, corrected by every token
// (Yang, Kautz & Hatamizadeh 2024), behind a short causal convolution.
//
// The arithmetic, of each row by itself given the state that the rows before it left. So a prompt
// fed in chunks gives the bits of single tokens, and channels, heads and columns of a state may be
// computed by any thread.
//
//   convolution, per channel with inputs x[t] and taps w[0 .. n-1], the newest last:
//     acc = w[0] × x[t - n + 1], then acc = fma(w[j], x[t - n + 1 + j], acc) for j = 1 .. n-1
//     u   = acc / (1 + exp(-acc))                      exp is kernels/cpu/exp.h
//   l2 norm of a head: f = scale / max(sqrt(sum of x²), epsilon), y = x × f; the sum is that of
//     rms_norm
//   gates of a head: kernels/delta_gates.h
//   state S [key][value], per column j, with decay g and strength b, key k, query q, value v:
//     r  = fold2 of fma(S[i][j], k[i], ·) over i      what is remembered for this key
//     d  = (v[j] - r × g) × b
//     S' = fma(k[i], d, S[i][j] × g)
//     o  = fold2 of fma(S'[i][j], q[i], ·) over i
//   fold2: even and odd i have accumulators of their own, which are added at the end. Two, so that
//   the additions of a column need not wait for each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels {

inline constexpr std::uint32_t kMaxConvolutionTaps = 8;
inline constexpr std::uint32_t kMaxConvolutionChannels = 256;  // of one task
inline constexpr std::uint32_t kDeltaPanel = 16;  // columns of a state that lie together

struct DeltaNetShape {
  // Which key head a value head reads: neighbours share one (grouped), or those that are key_heads
  // apart (tiled).
  enum class Heads : std::uint32_t { kTiled, kGrouped };

  std::uint32_t key_heads = 0;
  std::uint32_t value_heads = 0;  // a multiple of key_heads
  std::uint32_t key_dim = 0;      // per head, a multiple of 16; so is value_dim
  std::uint32_t value_dim = 0;
  std::uint32_t taps = 0;  // of the convolution, 2 to kMaxConvolutionTaps
  Heads heads = Heads::kTiled;

  constexpr std::uint32_t keys() const { return key_heads * key_dim; }
  constexpr std::uint32_t values() const { return value_heads * value_dim; }
  constexpr std::uint32_t channels() const { return 2 * keys() + values(); }
  constexpr std::uint32_t heads_per_key() const { return value_heads / key_heads; }
  constexpr std::uint32_t key_head_of(std::uint32_t value_head) const {
    return heads == Heads::kTiled ? value_head % key_heads : value_head / heads_per_key();
  }
};

// Rows of some channels, in place: x[t] becomes u[t], and the window the newest inputs.
struct ConvolutionTask {
  std::uint32_t rows = 0;
  std::uint32_t channels = 0;      // a multiple of 16, at most kMaxConvolutionChannels
  std::uint32_t taps = 0;          // 2 to kMaxConvolutionTaps
  const float* weights = nullptr;  // [channels][taps]
  float* window = nullptr;         // [taps - 1][channels], the oldest first
  std::size_t window_stride = 0;   // floats from one of its rows to the next
  float* x = nullptr;              // [rows][channels]
  std::size_t stride = 0;
};

// Rows of some columns of one head. A state lies in panels: [panels][key_dim][kDeltaPanel].
struct DeltaTask {
  std::uint32_t rows = 0;
  std::uint32_t key_dim = 0;  // even
  std::uint32_t panels = 0;
  float* state = nullptr;
  const float* query = nullptr;  // [rows][key_dim]
  const float* key = nullptr;    // [rows][key_dim]
  const float* value = nullptr;  // [rows][panels × kDeltaPanel]
  std::size_t stride = 0;        // floats from row to row, of these three
  const float* decay = nullptr;  // [rows]
  const float* strength = nullptr;
  std::size_t gate_stride = 0;
  float* out = nullptr;  // [rows][panels × kDeltaPanel]
  std::size_t out_stride = 0;
};

}  // namespace hearth::kernels
