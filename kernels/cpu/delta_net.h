// The operations of kernels/delta_net.h, once for all instruction sets (kernels/cpu/lanes.h).
#pragma once

#include "kernels/cpu/exp.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

template <typename Lanes>
struct DeltaNetOps {
  // Rows from the last to the first, so that a row still finds the inputs before it.
  static void convolve(const ConvolutionTask& task) {
    float weights[kMaxConvolutionTaps][kMaxConvolutionChannels];
    float before[kMaxConvolutionTaps - 1][kMaxConvolutionChannels];
    const std::uint32_t kept = task.taps - 1;
    for (std::uint32_t c = 0; c < task.channels; ++c)
      for (std::uint32_t j = 0; j < task.taps; ++j)
        weights[j][c] = task.weights[std::size_t{c} * task.taps + j];
    for (std::uint32_t j = 0; j < kept; ++j)
      copy(task.window + j * task.window_stride, task.channels, before[j]);
    // Input `index` of the window followed by the rows.
    const auto input = [&](std::uint32_t index) -> const float* {
      return index < kept ? before[index] : task.x + (index - kept) * task.stride;
    };
    for (std::uint32_t j = 0; j < kept; ++j)
      copy(input(task.rows + j), task.channels, task.window + j * task.window_stride);
    for (std::uint32_t row = task.rows; row-- > 0;) {
      float* const out = task.x + row * task.stride;
      for (std::uint32_t c = 0; c < task.channels; c += kLanes) {
        Lanes acc = at(weights[0] + c) * at(input(row) + c);
        for (std::uint32_t j = 1; j < task.taps; ++j)
          acc = fma(at(weights[j] + c), at(input(row + j) + c), acc);
        const Lanes one = Lanes::broadcast(1), minus = Lanes::broadcast(-1);
        (acc / (one + exponential(acc * minus))).store(out + c, Whole{});
      }
    }
  }

  static void l2_norm(const float* x, std::uint32_t n, float epsilon, float scale, float* y) {
    Lanes squares = Lanes::broadcast(0);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes value = Lanes::load(x + i, extent);
      squares = fma(value, value, squares);
    });
    const float length = __builtin_sqrtf(squares.sum());
    const Lanes factor = Lanes::broadcast(scale / (length < epsilon ? epsilon : length));
    for_lanes(n, [&](std::size_t i, auto extent) {
      (Lanes::load(x + i, extent) * factor).store(y + i, extent);
    });
  }

  // The rows of a few panels at a time: these stay in the first cache, their sums in registers.
  static void update_delta(const DeltaTask& task) {
    constexpr std::uint32_t kTogether = Lanes::kGroup < 4 ? Lanes::kGroup : 4;
    std::uint32_t panel = 0;
    for (; panel + kTogether <= task.panels; panel += kTogether) update<kTogether>(task, panel);
    for (; panel < task.panels; ++panel) update<1>(task, panel);
  }

  static void fill(CpuKernels& table) {
    table.convolve = convolve;
    table.l2_norm = l2_norm;
    table.update_delta = update_delta;
  }

 private:
  static Lanes at(const float* from) { return Lanes::load(from, Whole{}); }

  static void copy(const float* from, std::uint32_t n, float* to) {
    __builtin_memcpy(to, from, n * sizeof(float));
  }

  template <std::uint32_t kPanels>
  struct Sums {
    Lanes even[kPanels], odd[kPanels];

    Sums() {
      for (std::uint32_t p = 0; p < kPanels; ++p) even[p] = odd[p] = Lanes::broadcast(0);
    }
    Lanes of(std::uint32_t p) const { return even[p] + odd[p]; }
  };

  template <std::uint32_t kPanels>
  static void update(const DeltaTask& task, std::uint32_t first) {
    const std::size_t size = std::size_t{task.key_dim} * kDeltaPanel;
    float* const state = task.state + first * size;
    for (std::uint32_t row = 0; row < task.rows; ++row) {
      const float* const key = task.key + row * task.stride;
      const float* const query = task.query + row * task.stride;
      const float* const value = task.value + row * task.stride + first * kDeltaPanel;
      const Lanes decay = Lanes::broadcast(task.decay[row * task.gate_stride]);
      const Lanes strength = Lanes::broadcast(task.strength[row * task.gate_stride]);

      Sums<kPanels> remembered;
      for (std::uint32_t i = 0; i < task.key_dim; i += 2)
        for (std::uint32_t p = 0; p < kPanels; ++p) {
          const float* const column = state + p * size + i * kDeltaPanel;
          remembered.even[p] = fma(at(column), Lanes::broadcast(key[i]), remembered.even[p]);
          remembered.odd[p] =
              fma(at(column + kDeltaPanel), Lanes::broadcast(key[i + 1]), remembered.odd[p]);
        }
      Lanes change[kPanels];
      for (std::uint32_t p = 0; p < kPanels; ++p)
        change[p] = (at(value + p * kDeltaPanel) - remembered.of(p) * decay) * strength;

      Sums<kPanels> found;
      const auto step = [&](float* column, std::uint32_t i, Lanes by, Lanes& sum) {
        const Lanes next = fma(Lanes::broadcast(key[i]), by, at(column) * decay);
        next.store(column, Whole{});
        sum = fma(next, Lanes::broadcast(query[i]), sum);
      };
      for (std::uint32_t i = 0; i < task.key_dim; i += 2)
        for (std::uint32_t p = 0; p < kPanels; ++p) {
          float* const column = state + p * size + i * kDeltaPanel;
          step(column, i, change[p], found.even[p]);
          step(column + kDeltaPanel, i + 1, change[p], found.odd[p]);
        }
      float* const out = task.out + row * task.out_stride + first * kDeltaPanel;
      for (std::uint32_t p = 0; p < kPanels; ++p) found.of(p).store(out + p * kDeltaPanel, Whole{});
    }
  }
};

}  // namespace hearth::kernels
