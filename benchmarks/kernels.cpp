// How near the decode kernel of each weight format comes to the memory of this machine.
//
//   bench_kernels [format]
//
// One token meets a GiB of weights, which no cache holds, part by part; memory is read alone for a
// moment after every part, elsewhere in the GiB, so that both figures belong to the same minute.
// Of either, the rate that a quarter of the parts exceed, as in kernels/memory_probe.h. Columns:
// GB/s of weights with 1 and with 2 threads, what that is of memory, and how many times the scalar
// kernel's rate with 1 thread. A format below 60 % with 2 threads is marked.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "io/arena.h"
#include "kernels/cpu_kernels.h"
#include "kernels/memory_probe.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kColumns = 4096;
constexpr std::uint32_t kTaskRows = 32;
constexpr std::size_t kBytes = std::size_t{1} << 30;
// Short enough that a part is often done within a time slice, also where other processes run.
constexpr std::size_t kPartBytes = std::size_t{4} << 20;
constexpr std::size_t kScalarTasks = 32;  // one for each of so many places of the memory
constexpr double kWanted = 0.6;

// An 8-bit exponent of random bits makes denormal numbers, whose products take another time: such
// formats get bytes from 32 to 63.
bool has_wide_exponent(WeightFormat format) {
  return format == WeightFormat::kF32 || format == WeightFormat::kBF16 ||
         format == WeightFormat::kMXFP4;
}

void fill(std::span<std::byte> memory, bool narrow) {
  Random random(1);
  for (std::size_t at = 0; at < memory.size(); at += 8) {
    std::uint64_t bits = random.next();
    if (narrow) bits = (bits & 0x1f1f1f1f1f1f1f1full) | 0x2020202020202020ull;
    std::memcpy(memory.data() + at, &bits, sizeof bits);
  }
}

class OneToken {
 public:
  OneToken() : memory_(ActivationBuffer::bytes_needed(1, kColumns)) {
    buffer_ = ActivationBuffer(memory_.bytes(), 1, kColumns);
    buffer_.set_shape(1, kColumns);
    Random random(2);
    for (std::uint32_t i = 0; i < kColumns; ++i)
      buffer_.values(0)[i] = static_cast<float>(random.normal());
    cpu_kernels(InstructionSet::kScalar)
        .quantize(buffer_.values(0), kColumns, buffer_.codes(0), buffer_.scales(0),
                  buffer_.sums(0));
  }
  Activations view() const { return buffer_.view(); }

 private:
  io::Arena memory_;
  ActivationBuffer buffer_;
};

double exceeded_by_a_quarter(std::vector<double> rates) {
  const auto quarter = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 4);
  std::nth_element(rates.begin(), quarter, rates.end(), std::greater());
  return *quarter;
}

// Bytes per second over whole tasks of `part`.
double decode_rate(WorkerPool& pool, InstructionSet set, WeightFormat format,
                   std::span<const std::byte> part, const Activations& x) {
  const MatmulFn matmul = cpu_kernels(set).matmul[static_cast<std::size_t>(format)];
  WeightMatrix weights{format, kTaskRows, kColumns, part.data()};
  const auto tasks = static_cast<std::uint32_t>(part.size() / weights.bytes());
  weights.rows = tasks * kTaskRows;
  std::vector<float> y(weights.rows);
  const Nanoseconds start = steady_clock().now();
  pool.run(tasks, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t begin = task * kTaskRows;
    matmul(weights, {begin, begin + kTaskRows}, x, y.data() + begin, weights.rows);
  });
  return static_cast<double>(weights.bytes()) / seconds(steady_clock().now() - start);
}

struct Rates {
  double kernel = 0;
  double memory = 0;
};

Rates measure(WorkerPool& pool, WeightFormat format, std::span<const std::byte> memory,
              const Activations& x) {
  std::vector<double> kernel, alone;
  for (std::size_t at = 0; at + kPartBytes <= memory.size(); at += kPartBytes) {
    kernel.push_back(
        decode_rate(pool, best_instruction_set(), format, memory.subspan(at, kPartBytes), x));
    const std::size_t elsewhere = (at + memory.size() / 2) % memory.size();
    alone.push_back(read_memory(pool, memory.subspan(elsewhere, kPartBytes)));
  }
  return {exceeded_by_a_quarter(kernel), exceeded_by_a_quarter(alone)};
}

void report(const WeightFormatTraits& format, std::span<const std::byte> memory,
            const Activations& x) {
  WorkerPool one(1), two(2);
  const std::size_t task = WeightMatrix{format.format, kTaskRows, kColumns, nullptr}.bytes();
  std::vector<double> scalar;
  for (std::size_t i = 0; i < kScalarTasks; ++i)
    scalar.push_back(decode_rate(one, InstructionSet::kScalar, format.format,
                                 memory.subspan(memory.size() / kScalarTasks * i, task), x));
  const Rates with_one = measure(one, format.format, memory, x);
  const Rates with_two = measure(two, format.format, memory, x);
  const double share = with_two.kernel / with_two.memory;
  fmt::print("| {:7} | {:8.1f} | {:4.0f} % | {:8.1f} | {:4.0f} %{} | {:8.1f} |\n", format.name,
             with_one.kernel / 1e9, 100 * with_one.kernel / with_one.memory, with_two.kernel / 1e9,
             100 * share, share < kWanted ? " (<)" : "    ",
             with_one.kernel / exceeded_by_a_quarter(scalar));
  std::fflush(stdout);
}

}  // namespace
}  // namespace hearth::kernels

int main(int argc, char** argv) {
  using namespace hearth;
  using namespace hearth::kernels;
  const std::string_view only = argc > 1 ? argv[1] : "";
  io::Arena arena{Bytes(kBytes)};
  const OneToken token;
  fmt::print("{} kernels, one token, {} columns; (<): below {:.0f} % of memory\n\n",
             name_of(best_instruction_set()), kColumns, 100 * kWanted);
  fmt::print("| format  | 1 thread | memory | 2 threads | memory     | × scalar |\n");
  fmt::print("|---------|---------:|-------:|---------:|-----------:|---------:|\n");
  for (const bool narrow : {true, false}) {
    fill(arena.bytes(), narrow);
    for (const WeightFormatTraits& format : kWeightFormats)
      if (has_wide_exponent(format.format) == narrow && (only.empty() || only == format.name))
        report(format, arena.bytes(), token.view());
  }
}
