#include "tools/hearth/doctor_cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "kernels/memory_probe.h"
#include "runtime/blocks/router.h"
#include "runtime/sampler/sampler.h"
#include "tools/hearth/random_blocks.h"

namespace hearth::tools {
namespace {

using kernels::CpuKernels;
using kernels::WorkerPool;

constexpr std::uint32_t kColumns = 2048;
constexpr std::size_t kMatrixBytes = std::size_t{8} << 20;

// An activation buffer with memory of its own.
class OwnedRow {
 public:
  OwnedRow(std::uint32_t columns, const CpuKernels& k, Random& random)
      : memory_(kernels::ActivationBuffer::bytes_needed(1, columns).count / sizeof(Line) + 1),
        buffer_(std::as_writable_bytes(std::span(memory_)), 1, columns) {
    buffer_.set_shape(1, columns);
    for (std::uint32_t i = 0; i < columns; ++i)
      buffer_.values(0)[i] = static_cast<float>(random.normal());
    quantize(k);
  }

  float* values() { return buffer_.values(0); }
  kernels::Activations view() const { return buffer_.view(); }
  void quantize(const CpuKernels& k) {
    k.quantize(buffer_.values(0), buffer_.columns(), buffer_.codes(0), buffer_.scales(0),
               buffer_.sums(0));
  }

 private:
  struct alignas(64) Line {
    std::array<std::byte, 64> bytes;
  };
  std::vector<Line> memory_;
  kernels::ActivationBuffer buffer_;
};

// What a quarter of the calls stay below, of as many as fit `time` and at least nine: calls that
// lost a time slice to another process do not change it.
template <typename Work>
Nanoseconds typical_time(Nanoseconds time, Work&& work) {
  std::vector<Nanoseconds> times;
  const Nanoseconds start = steady_clock().now();
  Nanoseconds now = start;
  while (times.size() < 9 || now - start < time) {
    const Nanoseconds begun = now;
    work();
    now = steady_clock().now();
    times.push_back(now - begun);
  }
  const auto quarter = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 4);
  std::nth_element(times.begin(), quarter, times.end());
  return *quarter;
}

// Copies of a MiB of well-scaled random blocks: codes of any bits would hold numbers that are not
// finite or denormal, which take another time. Returns what of `memory` they fill.
std::span<const std::byte> fill_with_weights(WorkerPool& pool, std::span<std::byte> memory,
                                             kernels::WeightFormat format) {
  const std::size_t block = kernels::traits(format).bytes_per_block;
  std::vector<std::byte> piece((std::size_t{1} << 20) / block * block);
  Random random(1);
  RandomBlocks(format, 1 / std::sqrt(kColumns)).fill(random, piece);
  const auto pieces = static_cast<std::uint32_t>(memory.size() / piece.size());
  pool.run(pieces, [&](std::uint32_t i, std::uint32_t) {
    std::memcpy(memory.data() + i * piece.size(), piece.data(), piece.size());
  });
  return memory.first(pieces * piece.size());
}

// Matrices of one format, one after the other in memory, again and again.
class MatrixWalk {
 public:
  MatrixWalk(std::span<const std::byte> weights, kernels::WeightFormat format)
      : matrix_{.format = format, .rows = 1, .columns = kColumns, .data = weights.data()},
        weights_(weights) {
    matrix_.rows = static_cast<std::uint32_t>(kMatrixBytes / matrix_.row_bytes() / 32 * 32);
    CHECK_LE(matrix_.bytes(), weights_.size());
  }

  const kernels::WeightMatrix& next() {
    if (at_ + matrix_.bytes() > weights_.size()) at_ = 0;
    matrix_.data = weights_.data() + at_;
    at_ += matrix_.bytes();
    return matrix_;
  }

 private:
  kernels::WeightMatrix matrix_;
  std::span<const std::byte> weights_;
  std::size_t at_ = 0;
};

void multiply(WorkerPool& pool, const CpuKernels& k, const kernels::WeightMatrix& weights,
              const kernels::Activations& x, float* out) {
  constexpr std::size_t kTaskBytes = 80 << 10;
  const auto step = static_cast<std::uint32_t>(round_up(kTaskBytes / weights.row_bytes() + 1, 32));
  pool.run((weights.rows + step - 1) / step, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t begin = task * step;
    k.matmul[static_cast<std::size_t>(weights.format)](
        weights, {begin, std::min(begin + step, weights.rows)}, x, out + begin, weights.rows);
  });
}

// What one layer does beside reading weights, in the order of runtime/blocks.
class LayerWork {
 public:
  LayerWork(const CpuKernels& k, WorkerPool& pool) : k_(k), pool_(pool) {
    for (auto* row : {&norm_, &gate_, &up_, &product_, &cosine_, &sine_})
      row->assign(kWidest, 0.5f);
    for (float& score : scores_) score = static_cast<float>(random_.normal());
  }

  void run() {
    normalize();
    join();  // query, key and value
    prepare_heads();
    join();  // attention over the keys, which are counted as bytes
    attended_.quantize(k_);
    join();  // output
    k_.add(out_.data(), kColumns, hidden_.data());
    normalize();
    join();  // router
    route();
    pool_.run(kUsed * kExpertWidth / kChunk,
              [&](std::uint32_t task, std::uint32_t) { activate(task * kChunk); });
    join();  // down
    std::fill(out_.begin(), out_.end(), 0.0f);
    for (std::uint32_t i = 0; i < kUsed; ++i)
      k_.add_scaled(gate_.data(), weights_[i], kColumns, out_.data());
    k_.add(out_.data(), kColumns, hidden_.data());
  }

 private:
  static constexpr std::uint32_t kHeads = 32, kKvHeads = 4, kHeadDim = 128;
  static constexpr std::uint32_t kExperts = 128, kUsed = 8, kExpertWidth = 768, kChunk = 64;
  static constexpr std::size_t kWidest = kUsed * kExpertWidth;

  // A region whose tasks are so small that only waking the workers and waiting for them counts.
  void join() {
    pool_.run(pool_.threads(), [](std::uint32_t, std::uint32_t) {});
  }

  void normalize() {
    k_.rms_norm(hidden_.data(), norm_.data(), kColumns, 1e-6f, normed_.values());
    normed_.quantize(k_);
  }

  void prepare_heads() {
    for (std::uint32_t h = 0; h < kHeads + kKvHeads; ++h) {
      float* const head = projected_.data() + h * kHeadDim;
      k_.rms_norm(head, norm_.data(), kHeadDim, 1e-6f, head);
      k_.rope_halves(head, cosine_.data(), sine_.data(), kHeadDim / 2);
    }
    for (std::uint32_t h = 0; h < 2 * kKvHeads; ++h)
      kernels::store_row(kernels::KvFormat::kF16,
                         h % 2 == 0 ? kernels::KvPart::kKeys : kernels::KvPart::kValues,
                         projected_.data() + (kHeads + h) * kHeadDim, kHeadDim, 0, tile_.data());
  }

  void route() {
    std::array<float, kExperts> scores = scores_;
    router_.choose(k_, scores, {}, chosen_, weights_);
  }

  void activate(std::uint32_t begin) {
    k_.silu_multiply(gate_.data() + begin, up_.data() + begin, kChunk, product_.data() + begin);
    k_.quantize(product_.data() + begin, kChunk, codes_.data() + begin, scales_.data() + begin / 32,
                sums_.data() + begin / 16);
  }

  const CpuKernels& k_;
  WorkerPool& pool_;
  Random random_{1};
  OwnedRow normed_{kColumns, k_, random_};
  OwnedRow attended_{kHeads * kHeadDim, k_, random_};
  std::vector<float> hidden_ = std::vector<float>(kColumns, 1.0f);
  std::vector<float> out_ = std::vector<float>(kColumns);
  std::vector<float> projected_ = std::vector<float>((kHeads + 2 * kKvHeads) * kHeadDim, 1.0f);
  std::vector<float> norm_, gate_, up_, product_, cosine_, sine_;
  std::vector<std::byte> tile_ = std::vector<std::byte>(
      kernels::kv_tile_bytes(kernels::KvFormat::kF16, kernels::KvPart::kKeys, kHeadDim));
  std::vector<std::int8_t> codes_ = std::vector<std::int8_t>(kWidest);
  std::vector<float> scales_ = std::vector<float>(kWidest / 32);
  std::vector<std::int16_t> sums_ = std::vector<std::int16_t>(kWidest / 16);
  std::array<float, kExperts> scores_{};
  const runtime::Router router_{{.experts = kExperts, .used = kUsed}, {}};
  std::array<std::uint16_t, kUsed> chosen_{};
  std::array<float, kUsed> weights_{};
};

// What a token does outside of its layers.
class TokenWork {
 public:
  explicit TokenWork(const CpuKernels& k) : k_(k) {
    for (float& logit : logits_) logit = static_cast<float>(random_.normal());
  }

  void run() {
    for (std::uint32_t i = 0; i < kAngles; ++i) {
      const double angle = std::pow(1e6, -2.0 * i / (2 * kAngles)) * ++position_;
      angles_[i] = static_cast<float>(std::cos(angle) + std::sin(angle));
    }
    k_.rms_norm(row_.values(), norm_.data(), kColumns, 1e-6f, row_.values());
    row_.quantize(k_);
    CHECK(k_.all_finite(logits_.data(), kVocabulary));
    sampler_.accept(sampler_.sample(logits_));
  }

 private:
  static constexpr std::uint32_t kVocabulary = 151'936, kAngles = 64;

  const CpuKernels& k_;
  Random random_{1};
  double position_ = 0;
  std::array<float, kAngles> angles_{};
  OwnedRow row_{kColumns, k_, random_};
  std::vector<float> norm_ = std::vector<float>(kColumns, 1.0f);
  std::vector<float> logits_ = std::vector<float>(kVocabulary);
  runtime::Sampler sampler_{{.seed = 1}, kVocabulary, 4096};
};

std::vector<std::unique_ptr<WorkerPool>> pools_of(const CpuProbe& probe) {
  std::vector<std::unique_ptr<WorkerPool>> pools;
  for (const std::uint32_t threads : probe.threads)
    pools.push_back(std::make_unique<WorkerPool>(threads));
  return pools;
}

}  // namespace

std::vector<std::uint32_t> thread_counts(std::uint32_t most, bool few) {
  std::vector<std::uint32_t> counts;
  for (std::uint32_t count = 1; count < most; count = few ? most : 2 * count)
    counts.push_back(count);
  counts.push_back(most);
  return counts;
}

std::vector<profiler::ThreadRate> measure_memory(const CpuProbe& probe) {
  std::vector<profiler::ThreadRate> rates;
  for (const auto& pool : pools_of(probe)) {
    probe.progress(fmt::format("memory, {} threads", pool->threads()));
    rates.push_back(
        {.threads = pool->threads(), .rate = kernels::probe_memory(*pool, probe.memory)});
  }
  return rates;
}

std::vector<profiler::KernelRate> measure_kernels(const CpuProbe& probe) {
  const auto pools = pools_of(probe);
  Random random(1);
  const OwnedRow x(kColumns, probe.kernels, random);
  std::vector<float> out;
  std::vector<profiler::KernelRate> kernels;
  for (const kernels::WeightFormatTraits& format : kernels::kWeightFormats) {
    probe.progress(fmt::format("kernels, {}", format.name));
    MatrixWalk walk(fill_with_weights(*pools.back(), probe.memory, format.format), format.format);
    out.resize(walk.next().rows);
    profiler::KernelRate kernel{.format = std::string(format.name), .rates = {}};
    for (const auto& pool : pools) {
      const Nanoseconds time = typical_time(
          probe.time, [&] { multiply(*pool, probe.kernels, walk.next(), x.view(), out.data()); });
      kernel.rates.push_back({.threads = pool->threads(),
                              .rate = static_cast<double>(walk.next().bytes()) / seconds(time)});
    }
    kernels.push_back(std::move(kernel));
  }
  std::ranges::sort(kernels, {}, &profiler::KernelRate::format);
  return kernels;
}

std::function<Bytes()> product_load(WorkerPool& pool, const CpuKernels& kernels,
                                    std::span<std::byte> memory) {
  struct Load {
    MatrixWalk walk;
    OwnedRow x;
    std::vector<float> out;
  };
  constexpr kernels::WeightFormat kFormat = *kernels::format_of_name(kCommonFormat);
  Random random(1);
  const auto load =
      std::make_shared<Load>(Load{.walk = {fill_with_weights(pool, memory, kFormat), kFormat},
                                  .x = {kColumns, kernels, random},
                                  .out = {}});
  load->out.resize(load->walk.next().rows);
  return [&pool, &kernels, load] {
    const kernels::WeightMatrix& weights = load->walk.next();
    multiply(pool, kernels, weights, load->x.view(), load->out.data());
    return Bytes(weights.bytes());
  };
}

FixedCosts measure_fixed_costs(const CpuProbe& probe) {
  probe.progress("fixed costs");
  WorkerPool pool(probe.threads.back());
  LayerWork layer(probe.kernels, pool);
  TokenWork token(probe.kernels);
  return {.layer = typical_time(probe.time, [&] { layer.run(); }),
          .token = typical_time(probe.time, [&] { token.run(); })};
}

}  // namespace hearth::tools
