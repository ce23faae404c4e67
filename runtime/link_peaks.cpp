#include "runtime/link_peaks.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/memory_probe.h"
#include "runtime/available_memory.h"

namespace hearth::runtime {
namespace {

// Weights are read where they lie, as far as this; of less than the least, something larger.
constexpr Bytes kMostProbed = Bytes(1 << 30);
constexpr Bytes kLeastProbed = Bytes(256 << 20);

double ram_peak(Engine& engine) {
  const std::span<const std::byte> largest = engine.largest_arena();
  if (largest.size() >= kLeastProbed.count)
    return kernels::probe_memory(
        engine.pool(), largest.first(std::min<std::size_t>(largest.size(), kMostProbed.count)));
  if (engine.ram_is_bounded() || available_memory() < 2 * kLeastProbed) return 0;
  const io::Arena temporary(kLeastProbed);
  return kernels::probe_memory(engine.pool(), temporary.bytes());
}

// Experts in an order that jumps over the file, each once, again and again.
class Wander {
 public:
  explicit Wander(ExpertSpace space) : space_(space) {}
  ExpertId next() {
    constexpr std::uint32_t kPrime = 7919;  // divides no model's number of experts
    at_ = (at_ + kPrime) % space_.size();
    return space_.id(at_);
  }

 private:
  ExpertSpace space_;
  std::uint32_t at_ = 0;
};

// Fetches experts into their slots with nothing else to do: the sizes, the memory and the queue are
// those of decoding. (Reads into a small buffer are up to 45 % faster: it stays in the cache.)
double disk_peak(Engine& engine) {
  constexpr std::size_t kExpertsInFlight = 4;
  constexpr Nanoseconds kLongest = std::chrono::milliseconds(400);
  constexpr std::uint32_t kMostTimes = 16;  // that a small model is read
  engine.leave_experts();
  ExpertStore& store = engine.experts();
  store.settle();
  store.drop_all();
  Wander wander(store.catalog().space());
  const Bytes before = engine.bytes_read();
  const Nanoseconds start = engine.clock().now();
  Nanoseconds elapsed{0};
  std::uint32_t times = 0;
  while (elapsed < kLongest && times < kMostTimes) {
    for (std::size_t tries = 0; tries < kExpertsInFlight; ++tries) {
      if (store.experts_on_their_way() >= kExpertsInFlight) break;
      const ExpertId id = wander.next();
      if (id.index < store.catalog().layer(id.layer).count &&
          store.state(id) == profiler::ExpertState::kAbsent)
        store.fetch(id, profiler::FillReason::kSeed);
    }
    if (store.reading())
      store.collect(io::AsyncReader::Wait::kOne);
    else
      store.drop_all(), ++times;  // all there: a small model is read again
    elapsed = engine.clock().now() - start;
  }
  const Bytes read = engine.bytes_read() - before;
  store.settle();
  store.drop_all();
  return static_cast<double>(read.count) / seconds(elapsed);
}

}  // namespace

std::unique_ptr<MemoryMeter> MemoryMeter::of(Engine& engine) {
  const std::span<const std::byte> memory = engine.largest_arena();
  if (memory.size() < kLeastProbed.count) return nullptr;
  return std::make_unique<MemoryMeter>(engine.pool(), memory);
}

MemoryMeter::MemoryMeter(kernels::WorkerPool& pool, std::span<const std::byte> memory)
    : pool_(pool), memory_(memory) {
  CHECK_GE(memory.size(), kStretch.count);
}

std::span<const std::byte> MemoryMeter::read() {
  const auto stretch = memory_.subspan(at_, kStretch.count);
  seconds_ += static_cast<double>(kStretch.count) / kernels::read_memory(pool_, stretch);
  ++stretches_;
  at_ += kStretch.count;
  if (at_ + kStretch.count > memory_.size()) at_ = 0;
  return stretch;
}

double MemoryMeter::bytes_per_second() const {
  CHECK_GT(stretches_, 0u);
  return static_cast<double>(stretches_ * kStretch.count) / seconds_;
}

LinkPeaks measure_link_peaks(Engine& engine) { return {disk_peak(engine), ram_peak(engine)}; }

}  // namespace hearth::runtime
