// The operations on rows of f32, once for all instruction sets (kernels/cpu/lanes.h).
#pragma once

#include "kernels/cpu/exp.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

template <typename Lanes>
struct VectorOps {
  // y = (x × r) × weight with r = 1 / sqrt(sum / n + epsilon), every step rounded once; the sum of
  // squares by fused multiply-adds in the lanes, then folded.
  static void rms_norm(const float* x, const float* weight, std::uint32_t n, float epsilon,
                       float* y) {
    Lanes squares = Lanes::broadcast(0);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes value = Lanes::load(x + i, extent);
      squares = fma(value, value, squares);
    });
    const float mean = squares.sum() / static_cast<float>(n);
    const Lanes factor = Lanes::broadcast(1.0f / __builtin_sqrtf(mean + epsilon));
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes scaled = Lanes::load(x + i, extent) * factor;
      if (weight == nullptr)
        scaled.store(y + i, extent);
      else
        (scaled * Lanes::load(weight + i, extent)).store(y + i, extent);
    });
  }

  // (a, b) becomes (-(b × sin) + (a × cos), (b × cos) + (a × sin)): the product with a is rounded,
  // the one with b is fused into the sum.
  static void rope_halves(float* x, const float* cosine, const float* sine, std::uint32_t half) {
    for_lanes(half, [&](std::size_t i, auto extent) {
      const Lanes a = Lanes::load(x + i, extent), b = Lanes::load(x + half + i, extent);
      const Lanes c = Lanes::load(cosine + i, extent), s = Lanes::load(sine + i, extent);
      fma(negated(b), s, a * c).store(x + i, extent);
      fma(b, c, a * s).store(x + half + i, extent);
    });
  }

  // The arithmetic of rope_halves on 16 pairs at a time, taken apart and put together again.
  static void rope_pairs(float* x, const float* cosine, const float* sine, std::uint32_t half) {
    for_lanes(half, [&](std::size_t i, auto extent) {
      float a[kLanes] = {}, b[kLanes] = {};
      const std::uint32_t count = count_of(extent);
      for (std::uint32_t k = 0; k < count; ++k) {
        a[k] = x[2 * (i + k)];
        b[k] = x[2 * (i + k) + 1];
      }
      const Lanes first = Lanes::load(a, Whole{}), second = Lanes::load(b, Whole{});
      const Lanes c = Lanes::load(cosine + i, extent), s = Lanes::load(sine + i, extent);
      fma(negated(second), s, first * c).store(a, Whole{});
      fma(second, c, first * s).store(b, Whole{});
      for (std::uint32_t k = 0; k < count; ++k) {
        x[2 * (i + k)] = a[k];
        x[2 * (i + k) + 1] = b[k];
      }
    });
  }

  // (x / (1 + exp(-x))) × up.
  static void silu_multiply(const float* gate, const float* up, std::uint32_t n, float* out) {
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes x = Lanes::load(gate + i, extent);
      const Lanes silu = x / (Lanes::broadcast(1) + exponential(negated(x)));
      (silu * Lanes::load(up + i, extent)).store(out + i, extent);
    });
  }

  static void sigmoid_multiply(const float* gate, std::uint32_t n, float* y) {
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes power = exponential(negated(Lanes::load(gate + i, extent)));
      (Lanes::load(y + i, extent) / (Lanes::broadcast(1) + power)).store(y + i, extent);
    });
  }

  // -2u = x × fma(x², -2 × sqrt(2 / pi) × 0.044715, -2 × sqrt(2 / pi)).
  static void gelu_multiply(const float* gate, const float* up, std::uint32_t n, float* out) {
    const Lanes one = Lanes::broadcast(1);
    const Lanes linear = Lanes::broadcast(-1.5957691216f), cubic = Lanes::broadcast(-0.0713548163f);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes x = Lanes::load(gate + i, extent);
      const Lanes gelu = x / (one + exponential(x * fma(x * x, cubic, linear)));
      (gelu * Lanes::load(up + i, extent)).store(out + i, extent);
    });
  }

  static void clamped_multiply(const float* gate, const float* up, std::uint32_t n, float* out) {
    const Lanes one = Lanes::broadcast(1), limit = Lanes::broadcast(7);
    const Lanes steepness = Lanes::broadcast(-1.702f);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes x = at_most(Lanes::load(gate + i, extent), limit);
      const Lanes high = at_most(Lanes::load(up + i, extent), limit);
      const Lanes u = select_less(high, negated(limit), negated(limit), high);
      const Lanes gated = x / (one + exponential(steepness * x));
      (gated * (u + one)).store(out + i, extent);
    });
  }

  static void sigmoid(float* x, std::uint32_t n) {
    const Lanes one = Lanes::broadcast(1);
    for_lanes(n, [&](std::size_t i, auto extent) {
      (one / (one + exponential(negated(Lanes::load(x + i, extent))))).store(x + i, extent);
    });
  }

  static void softcap(float* x, std::uint32_t n, float cap) {
    const Lanes one = Lanes::broadcast(1), two = Lanes::broadcast(2);
    const Lanes whole = Lanes::broadcast(cap);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes power = exponential(two * (Lanes::load(x + i, extent) / whole));
      (whole * (one - two / (one + power))).store(x + i, extent);
    });
  }

  static void softmax(float* x, std::uint32_t n) {
    Lanes maxima = Lanes::broadcast(-__builtin_inff());
    for_lanes(n, [&](std::size_t i, auto extent) {
      maxima = larger(maxima, load_or_lowest(x + i, extent));
    });
    const Lanes maximum = Lanes::broadcast(maxima.largest());
    Lanes sums = Lanes::broadcast(0);
    for_lanes(n, [&](std::size_t i, auto extent) {
      const Lanes power = exponential_of_negative(load_or_lowest(x + i, extent) - maximum);
      power.store(x + i, extent);
      sums = sums + power;
    });
    const Lanes sum = Lanes::broadcast(sums.sum());
    for_lanes(n, [&](std::size_t i, auto extent) {
      (Lanes::load(x + i, extent) / sum).store(x + i, extent);
    });
  }

  static void add(const float* x, std::uint32_t n, float* y) {
    for_lanes(n, [&](std::size_t i, auto extent) {
      (Lanes::load(y + i, extent) + Lanes::load(x + i, extent)).store(y + i, extent);
    });
  }

  static void scale(float factor, std::uint32_t n, float* y) {
    for_lanes(n, [&](std::size_t i, auto extent) {
      (Lanes::load(y + i, extent) * Lanes::broadcast(factor)).store(y + i, extent);
    });
  }

  static void add_scaled(const float* x, float factor, std::uint32_t n, float* y) {
    for_lanes(n, [&](std::size_t i, auto extent) {
      fma(Lanes::load(x + i, extent), Lanes::broadcast(factor), Lanes::load(y + i, extent))
          .store(y + i, extent);
    });
  }

  // The Walsh-Hadamard transform of each `size` values, times 1 / sqrt(size): additions and
  // subtractions of values 1, 2, 4, ... apart, in that order.
  static void rotate(float* x, std::uint32_t n, std::uint32_t size) {
    const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(size));
    for (std::uint32_t begin = 0; begin < n; begin += size)
      for (std::uint32_t half = 1; half < size; half *= 2)
        for (std::uint32_t i = begin; i < begin + size; i += 2 * half) butterfly(x + i, half);
    scale(factor, n, x);
  }

  // 0 × x is a zero of either sign where x is finite, and NaN where it is not.
  static bool all_finite(const float* x, std::uint32_t n) {
    const Lanes zero = Lanes::broadcast(0);
    Lanes zeros = zero;
    for_lanes(n, [&](std::size_t i, auto extent) {
      zeros = fma(Lanes::load(x + i, extent), zero, zeros);
    });
    return zeros.sum() == 0;
  }

  static void fill(CpuKernels& table) {
    table.rms_norm = rms_norm;
    table.rope_halves = rope_halves;
    table.rope_pairs = rope_pairs;
    table.silu_multiply = silu_multiply;
    table.sigmoid_multiply = sigmoid_multiply;
    table.gelu_multiply = gelu_multiply;
    table.clamped_multiply = clamped_multiply;
    table.sigmoid = sigmoid;
    table.softcap = softcap;
    table.softmax = softmax;
    table.add = add;
    table.scale = scale;
    table.add_scaled = add_scaled;
    table.rotate = rotate;
    table.all_finite = all_finite;
  }

 private:
  // (a, b) becomes (a + b, a - b) for the values of two neighbouring halves.
  static void butterfly(float* x, std::uint32_t half) {
    if (half < kLanes) {
      for (std::uint32_t i = 0; i < half; ++i) {
        const float a = x[i], b = x[half + i];
        x[i] = a + b;
        x[half + i] = a - b;
      }
      return;
    }
    for (std::uint32_t i = 0; i < half; i += kLanes) {
      const Lanes a = Lanes::load(x + i, Whole{}), b = Lanes::load(x + half + i, Whole{});
      (a + b).store(x + i, Whole{});
      (a - b).store(x + half + i, Whole{});
    }
  }

  // The sign flipped (0 - x would lose the sign of a zero).
  static Lanes negated(Lanes x) { return x * Lanes::broadcast(-1); }

  static Lanes at_most(Lanes x, Lanes limit) { return select_less(limit, x, limit, x); }

  static std::uint32_t count_of(Whole) { return kLanes; }
  static std::uint32_t count_of(Part part) { return part.count; }

  // Missing lanes count neither for the maximum nor, as exp(-infinity) = 0, for the sum.
  static Lanes load_or_lowest(const float* from, Whole whole) { return Lanes::load(from, whole); }
  static Lanes load_or_lowest(const float* from, Part part) {
    return Lanes::load(from, part, -__builtin_inff());
  }
};

}  // namespace hearth::kernels
