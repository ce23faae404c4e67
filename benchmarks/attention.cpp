// Speed of attention over keys and values of every format, one query row of 32 heads that share 4
// KV heads of 128 channels, behind 1k to 64k positions.
//
//   bench_attention [positions,...] [rounds] [keys/values ...]
//
// The pairs are measured in turn, round after round, layer by layer, so that no pair finds its own
// data in the caches, since those of the others came between. Columns: bytes of keys and values
// that a token reads in one layer; of the kernel alone, on one thread without the pool, GB/s of
// them and G multiply-adds a second, which the core bounds where memory does not
// (kernels/kv/README.md), of the best layer, for what else runs on the machine can only slow it
// down; then through the pool with one and with two threads GB/s, their share of the memory's
// bandwidth, and the time relative to f16 (below 1: faster).
//
// The last three are medians over all layers and rounds. Neighbours of a virtual machine change its
// memory's speed by half within seconds, so a share is that of one layer in a plain read of as much
// memory by the same threads right before it, and a relative time that of one layer in the same
// layer of f16. A host places the processor of a virtual machine anew when it has slept, perhaps as
// the other half of a core in use: all rounds of one number of threads follow each other, after
// some reading.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "kernels/memory_probe.h"
#include "runtime/blocks/cached_attention.h"
#include "runtime/engine.h"
#include "runtime/random_cache.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;
using kernels::KvPart;

constexpr AttentionShape kShape = {.heads = 32, .kv_heads = 4, .key_dim = 128, .value_dim = 128};
constexpr std::uint32_t kWidth = kShape.heads * kShape.key_dim;
constexpr std::uint32_t kMostLayers = 48;
constexpr std::uint64_t kF16Bytes = std::uint64_t{128} << 20;  // of all layers in f16, about
constexpr Bytes kReadBytes = 512 * kMiB;                       // of plain reads, in turn
constexpr Bytes kSettlingBytes = 4 * kGiB;                     // some 100 ms
constexpr std::size_t kLeastRead = std::size_t{4} << 20;
constexpr std::uint32_t kThreads[] = {1, 2};

double seconds_of(auto&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// Reads memory piece after piece, all of it before any of it again: none is in the caches.
class PlainReads {
 public:
  explicit PlainReads(std::span<const std::byte> memory) : memory_(memory) {}

  // Bytes per second of a read of `bytes`, but of no more than there are and no fewer than can be
  // measured.
  double rate(kernels::WorkerPool& pool, std::size_t bytes) {
    bytes = std::clamp(bytes, kLeastRead, memory_.size());
    if (at_ + bytes > memory_.size()) at_ = 0;
    const std::span<const std::byte> piece = memory_.subspan(at_, bytes);
    at_ += bytes;
    return kernels::read_memory(pool, piece);
  }

 private:
  const std::span<const std::byte> memory_;
  std::size_t at_ = 0;
};

// An engine, for its threads, and what a step of one row needs.
struct Runner {
  explicit Runner(std::uint32_t threads)
      : engine({.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                .budget = {.expert_share = 1.0},
                .context = 64,
                .threads = threads}),
        memory(Scratch::bytes_needed(shape(threads))),
        scratch(shape(threads), memory),
        recurrent({}, memory) {}

  static ScratchShape shape(std::uint32_t threads) {
    return {.rows = 1,
            .threads = threads,
            .attention_width = kShape.heads * kShape.value_dim,
            .attention_states = kShape.heads * (kShape.value_dim + 2),
            .key_dim = kShape.key_dim,
            .value_dim = kShape.value_dim};
  }

  Engine engine;
  io::Arena memory;
  Scratch scratch;
  RecurrentState recurrent;  // none
};

// A full cache of some layers, all alike, and one query row.
class LongContext {
 public:
  LongContext(const KvFormats& formats, std::uint32_t positions, std::uint32_t layers,
              Runner& runner)
      : formats_(formats),
        positions_(positions),
        layers_(layers),
        arena_(KvCache::needs(shapes(), formats, "the benchmark").bytes(positions, kStep)),
        kv_(shapes(), formats, positions, kStep, arena_),
        queries_(kWidth) {
    fill(runner);
    Random random(2);
    for (float& value : queries_) value = static_cast<float>(random.normal());
  }

  // Attention of one token in a layer.
  double seconds(Runner& runner, LayerIndex layer) {
    Engine& engine = runner.engine;
    StepTimes times;
    const std::vector<TokenId> tokens(1, 0);
    const auto ignore = [](const profiler::Routing&) {};
    const Step step{.tokens = tokens,
                    .position = positions_ - 1,
                    .kernels = engine.kernels(),
                    .pool = engine.pool(),
                    .experts = engine.experts(),
                    .prefetcher = engine.prefetcher(),
                    .kv = kv_,
                    .recurrent = runner.recurrent,
                    .scratch = runner.scratch,
                    .clock = engine.clock(),
                    .times = times,
                    .on_routed = ignore};
    return seconds_of([&] { attend(step, layer, kShape, {queries_.data(), kWidth}); });
  }

  // The same by calls of the kernel, on this thread, of the layer that took the least.
  double kernel_seconds(const kernels::CpuKernels& kernels) {
    io::Arena memory(AttentionScratch::bytes_needed(kShape.key_dim, kShape.value_dim));
    AttentionScratch own(memory.bytes(), kShape.key_dim, kShape.value_dim);
    constexpr std::uint32_t kGroup = kShape.heads / kShape.kv_heads;
    std::ranges::fill(own.first, 0);
    std::ranges::fill(own.end, positions_);
    std::ranges::fill(own.encoded_keys, kv_.encoded(KvPart::kKeys, positions_ - 1));
    std::ranges::fill(own.encoded_values, kv_.encoded(KvPart::kValues, positions_ - 1));
    const auto attend_to = [&](LayerIndex layer) {
      for (std::uint32_t head = 0; head < kShape.kv_heads; ++head) {
        const float* const queries = queries_.data() + head * kGroup * kShape.key_dim;
        kernels.quantize(queries, kGroup * kShape.key_dim, own.codes.data(), own.scales.data(),
                         own.sums.data());
        kernels.attend({.queries = kGroup,
                        .key_dim = kShape.key_dim,
                        .value_dim = kShape.value_dim,
                        .scale = 0.088f,
                        .values = queries,
                        .codes = own.codes.data(),
                        .scales = own.scales.data(),
                        .sums = own.sums.data(),
                        .folded = {.quantize = kernels.quantize,
                                   .codes = own.folded_codes.data(),
                                   .scales = own.folded_scales.data(),
                                   .sums = own.folded_sums.data(),
                                   .zeros = own.zeros.data()},
                        .first = own.first.data(),
                        .end = own.end.data(),
                        .encoded_keys = own.encoded_keys.data(),
                        .encoded_values = own.encoded_values.data(),
                        .keys = kv_.source(layer, KvPart::kKeys, head),
                        .value_source = kv_.source(layer, KvPart::kValues, head),
                        .chunk_begin = 0,
                        .chunk_end = positions_},
                       own.merged);
      }
    };
    double least = std::numeric_limits<double>::infinity();
    for (std::uint32_t layer = 0; layer < layers_; ++layer)
      least = std::min(least, seconds_of([&] { attend_to(static_cast<LayerIndex>(layer)); }));
    return least;
  }

  // Multiply-adds of a query with a key and of its weight with a value, of all heads of a layer.
  double layer_products() const {
    return static_cast<double>(positions_) * kShape.heads * (kShape.key_dim + kShape.value_dim);
  }
  double layer_bytes() const {
    return KvCache::needs(shapes(1), formats_, "").bytes_read(positions_);
  }

 private:
  static constexpr std::uint32_t kStep = 512;  // rows stored at once

  static std::vector<KvLayer> shapes(std::uint32_t layers) {
    return std::vector<KvLayer>(layers, {kShape.kv_heads, kShape.key_dim, kShape.value_dim});
  }
  std::vector<KvLayer> shapes() const { return shapes(layers_); }
  // The first layer as it would be filled, the others as copies of its bytes.
  void fill(Runner& runner) {
    const RandomCache random(shapes(1), 1);
    for (std::uint32_t p = 0; p < positions_; p += kStep)
      random.append(kv_, runner.engine.pool(), runner.scratch, p, std::min(kStep, positions_ - p));
    if (layers_ == 1) return;
    std::byte* const begin = arena_.bytes().data();
    const std::ptrdiff_t stride = kv_.source(1, KvPart::kKeys, 0).tiles - begin;
    for (std::uint32_t layer = 1; layer < layers_; ++layer)
      std::memcpy(begin + layer * stride, begin, static_cast<std::size_t>(stride));
  }

  const KvFormats formats_;
  const std::uint32_t positions_, layers_;
  io::Arena arena_;
  KvCache kv_;
  std::vector<float> queries_;
};

// Through the pool, one of each for every layer and round.
struct Samples {
  std::vector<double> seconds, share, of_usual;
};

struct Row {
  std::string name;
  std::unique_ptr<LongContext> context;
  double kernel = std::numeric_limits<double>::infinity();  // seconds
  Samples pool[std::size(kThreads)] = {};
};

KvFormats formats_of(const std::string& name) {
  const std::size_t slash = std::min(name.find('/'), name.size());
  const auto keys = kernels::parse_kv_format(name.substr(0, slash));
  const auto values =
      slash == name.size() ? keys : kernels::parse_kv_format(name.substr(slash + 1));
  if (!keys || !values) throw_error(ErrorCode::kUsage, "there is no format {}", name);
  return {.keys = *keys, .values = *values};
}

void measure(std::uint32_t positions, std::uint32_t rounds, std::vector<std::string> names,
             PlainReads& reads) {
  Runner runners[] = {Runner(kThreads[0]), Runner(kThreads[1])};
  const std::uint64_t f16 = std::uint64_t{positions} * 2 * kShape.kv_heads * kShape.key_dim * 2;
  const auto layers =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kF16Bytes / f16, 1, kMostLayers));
  std::vector<Row> rows;
  for (const std::string& name : names)
    rows.push_back(
        {name, std::make_unique<LongContext>(formats_of(name), positions, layers, runners[1])});
  std::vector<double> bandwidth[std::size(kThreads)];
  for (std::uint32_t round = 0; round < rounds; ++round)
    for (Row& row : rows)
      row.kernel = std::min(row.kernel, row.context->kernel_seconds(runners[0].engine.kernels()));
  for (std::size_t t = 0; t < std::size(kThreads); ++t) {
    for (Bytes read{}; read < kSettlingBytes; read += kReadBytes)
      reads.rate(runners[t].engine.pool(), static_cast<std::size_t>(kReadBytes.count));
    for (std::uint32_t round = 0; round < rounds; ++round)
      for (std::uint32_t layer = 0; layer < layers; ++layer)
        for (Row& row : rows) {
          const double bytes = row.context->layer_bytes();
          bandwidth[t].push_back(
              reads.rate(runners[t].engine.pool(), static_cast<std::size_t>(bytes)));
          const double seconds = row.context->seconds(runners[t], static_cast<LayerIndex>(layer));
          Samples& samples = row.pool[t];
          samples.seconds.push_back(seconds);
          samples.share.push_back(bytes / seconds / bandwidth[t].back());
          samples.of_usual.push_back(seconds / rows.front().pool[t].seconds.back());
        }
  }
  fmt::print("\n{} positions, {} layers; memory {:.1f} GB/s with 1 thread, {:.1f} with 2\n",
             positions, layers, median(bandwidth[0]) / 1e9, median(bandwidth[1]) / 1e9);
  fmt::print("{:14} {:>9} {:>7} {:>7} {:>8} {:>6} {:>6} {:>8} {:>6} {:>6}\n", "keys/values",
             "MB/layer", "kernel", "GMAC/s", "1 thread", "of bw", "x f16", "2 thr.", "of bw",
             "x f16");
  for (const Row& row : rows) {
    const double bytes = row.context->layer_bytes();
    fmt::print("{:14} {:9.2f} {:7.1f} {:7.0f}", row.name, bytes / 1e6, bytes / row.kernel / 1e9,
               row.context->layer_products() / row.kernel / 1e9);
    for (const Samples& samples : row.pool)
      fmt::print(" {:8.1f} {:4.0f} % {:6.2f}", bytes / median(samples.seconds) / 1e9,
                 100 * median(samples.share), median(samples.of_usual));
    fmt::print("\n");
  }
}

std::vector<std::uint32_t> numbers(std::string_view list) {
  std::vector<std::uint32_t> result;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    result.push_back(static_cast<std::uint32_t>(
        std::atoi(std::string(list.substr(begin, end - begin)).c_str())));
    begin = end + 1;
  }
  return result;
}

}  // namespace
}  // namespace hearth::runtime

int main(int argc, char** argv) try {
  using namespace hearth;
  const auto positions = runtime::numbers(argc > 1 ? argv[1] : "1024,8192,32768,65536");
  const auto rounds = static_cast<std::uint32_t>(argc > 2 ? std::atoi(argv[2]) : 7);
  std::vector<std::string> names = {"f16/f16"};  // what the others are compared with
  for (int i = 3; i < argc; ++i) names.emplace_back(argv[i]);
  if (names.size() == 1) {
    for (const kernels::KvFormatTraits& row : kernels::kKvFormats)
      if (row.format != kernels::KvFormat::kF16)
        names.push_back(fmt::format("{}/{}", row.name, row.name));
    names.insert(names.end(), {"q8_0/f16", "f16/q8_0", "q8_0/q4_0"});
  }
  const io::Arena memory(runtime::kReadBytes);
  runtime::PlainReads reads(memory.bytes());
  for (const std::uint32_t count : positions) runtime::measure(count, rounds, names, reads);
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_attention: {}\n", error.what());
  return 1;
}
