// Speed of the products of every format on every instruction set.
//
//   bench_matmul [threads] [format] [set]
//
// Columns: GB/s of weights read with one token, from a matrix larger than the caches; G products of
// a weight with an activation per second with 1, 4 and 64 tokens.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/random.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kColumns = 4096;
constexpr std::uint32_t kTaskRows = 32;
constexpr std::size_t kLargeBytes = std::size_t{512} << 20;
constexpr std::uint32_t kMaxTokens = 64;

struct Data {
  std::vector<std::byte> weights;
  std::vector<std::byte> activations;
  ActivationBuffer x;
};

void prepare(Data& data) {
  Random random(1);
  data.weights.resize(kLargeBytes);
  // Bytes from 32 to 63: float scales are finite and no product is denormal in any format.
  for (std::size_t i = 0; i + 8 <= kLargeBytes; i += 8) {
    const std::uint64_t bits = (random.next() & 0x1f1f1f1f1f1f1f1full) | 0x2020202020202020ull;
    std::copy_n(reinterpret_cast<const std::byte*>(&bits), 8, &data.weights[i]);
  }
  data.activations.resize(ActivationBuffer::bytes_needed(kMaxTokens, kColumns).count + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(data.activations.data());
  data.x = ActivationBuffer(std::span(data.activations).subspan((64 - address % 64) % 64),
                            kMaxTokens, kColumns);
  data.x.set_shape(kMaxTokens, kColumns);
  for (std::uint32_t t = 0; t < kMaxTokens; ++t) {
    for (std::uint32_t i = 0; i < kColumns; ++i)
      data.x.values(t)[i] = static_cast<float>(random.normal());
    cpu_kernels(InstructionSet::kScalar)
        .quantize(data.x.values(t), kColumns, data.x.codes(t), data.x.scales(t), data.x.sums(t));
  }
}

// Weights per second with `tokens` tokens over the rows [begin, end), shared by the threads in
// tasks.
double rate(MatmulFn matmul, const WeightMatrix& w, RowRange rows, Activations x,
            std::uint32_t tokens, std::uint32_t threads) {
  x.rows = tokens;
  const auto begin = std::chrono::steady_clock::now();
  const auto work = [&](std::uint32_t thread) {
    std::vector<float> y(std::size_t{kTaskRows} * kMaxTokens);
    for (std::uint32_t r = rows.begin + thread * kTaskRows; r + kTaskRows <= rows.end;
         r += threads * kTaskRows)
      matmul(w, {r, r + kTaskRows}, x, y.data(), kTaskRows);
  };
  std::vector<std::thread> others;
  for (std::uint32_t t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& thread : others) thread.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const std::uint32_t done = (rows.end - rows.begin) / kTaskRows * kTaskRows;
  return static_cast<double>(done) * kColumns * tokens / seconds.count();
}

// The best over the parts of a matrix, taken in turn: other work on the machine can only slow a
// part down, and a part is not read again before all the others were.
double best_rate(MatmulFn matmul, const WeightMatrix& w, std::uint32_t part_rows,
                 const Activations& x, std::uint32_t tokens, std::uint32_t threads) {
  double best = 0;
  for (std::uint32_t r = 0; r + part_rows <= w.rows; r += part_rows)
    best = std::max(best, rate(matmul, w, {r, r + part_rows}, x, tokens, threads));
  return best;
}

void report(InstructionSet set, const WeightFormatTraits& format, const Data& data,
            std::uint32_t threads) {
  const bool slow = set == InstructionSet::kScalar;
  const MatmulFn matmul = cpu_kernels(set).matmul[static_cast<std::size_t>(format.format)];
  WeightMatrix large{format.format, 1, kColumns, data.weights.data()};
  large.rows = static_cast<std::uint32_t>(kLargeBytes / large.row_bytes());
  WeightMatrix small = large;
  small.rows = slow ? 64 : 2048;
  if (slow) large.rows /= 64;
  const std::uint32_t part = large.rows / (slow ? 2 : 32);
  const double bytes_per_weight =
      static_cast<double>(format.bytes_per_block) / format.values_per_block;
  const Activations x = data.x.view();
  const double one = best_rate(matmul, large, part, x, 1, threads);
  const double four = best_rate(matmul, large, part, x, 4, threads);
  const double many = best_rate(matmul, small, slow ? 32 : 128, x, 64, threads);
  fmt::print("{:8} {:8} {:8.1f} {:10.1f} {:10.1f} {:10.1f}\n", format.name, name_of(set),
             one * bytes_per_weight / 1e9, one / 1e9, four / 1e9, many / 1e9);
}

}  // namespace
}  // namespace hearth::kernels

int main(int argc, char** argv) {
  using namespace hearth::kernels;
  const auto threads = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 1);
  const std::string_view only_format = argc > 2 ? argv[2] : "";
  const std::string_view only_set = argc > 3 ? argv[3] : "";
  Data data;
  prepare(data);
  fmt::print("{} thread(s), {} columns\n{:8} {:8} {:>8} {:>10} {:>10} {:>10}\n", threads, kColumns,
             "format", "set", "GB/s", "G/s x1", "G/s x4", "G/s x64");
  for (const WeightFormatTraits& format : kWeightFormats)
    for (const auto set : {InstructionSet::kScalar, InstructionSet::kAvx2, InstructionSet::kAvx512})
      if (supported(set) && (only_format.empty() || only_format == format.name) &&
          (only_set.empty() || only_set == name_of(set)))
        report(set, format, data, threads);
}
