#include "runtime/gpu/cpu_lane.h"

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"

namespace hearth::runtime {
namespace {

using kernels::ActivationBuffer;
using kernels::LaneJob;

constexpr std::uint64_t kTileFloats = 2ull * kExpertTileRows * kExpertChunk;

struct Room {
  ActivationBuffer* hidden = nullptr;
  std::vector<ActivationBuffer>* tiles = nullptr;
  std::vector<std::span<float>>* tile_out = nullptr;
};

// One list of all pieces serves both the sizing and the carving, which is not done without a room.
template <typename Visitor>
void visit_pieces(const CpuLane::Shape& shape, const Room& room, Visitor&& visit) {
  const auto buffer = [&](ActivationBuffer* piece, std::uint32_t rows, std::uint32_t columns) {
    visit(ActivationBuffer::bytes_needed(rows, columns).count,
          [=](std::span<std::byte> memory) { *piece = ActivationBuffer(memory, rows, columns); });
  };
  buffer(room.hidden, shape.block.pairs(), shape.expert_ff);
  for (std::uint32_t worker = 0; worker < shape.threads; ++worker) {
    buffer(room.tiles ? &(*room.tiles)[worker] : nullptr,
           std::min(shape.block.rows, kExpertTileRows), shape.block.embedding);
    visit(kTileFloats * sizeof(float), [=](std::span<std::byte> memory) {
      (*room.tile_out)[worker] = {reinterpret_cast<float*>(memory.data()), kTileFloats};
    });
  }
}

std::uint64_t padded(std::uint64_t bytes) { return round_up(bytes, io::Arena::kAlignment); }

// Nothing but this process writes there, and yet the pages belong to a device.
[[noreturn]] void throw_damaged(std::uint32_t stamp, const char* what, std::uint32_t value) {
  throw_error(ErrorCode::kDevice,
              "GPU: what it handed over to the CPU at stamp {} is damaged ({} {}); restart, and "
              "check the device's memory if this happens again",
              stamp, what, value);
}

}  // namespace

Bytes CpuLane::bytes_needed(const Shape& shape) {
  std::uint64_t total = 0;
  visit_pieces(shape, {}, [&](std::uint64_t bytes, auto&&) { total += padded(bytes); });
  return Bytes(total);
}

CpuLane::CpuLane(const Options& options, const kernels::CpuKernels& kernels,
                 kernels::WorkerPool& pool, ExpertBytes& experts, io::Arena& arena)
    : options_(options),
      kernels_(kernels),
      pool_(pool),
      experts_(experts),
      tiles_(options.shape.threads),
      tile_out_(options.shape.threads) {
  CHECK_EQ(pool.threads(), options.shape.threads);
  visit_pieces(options.shape, {&hidden_, &tiles_, &tile_out_},
               [&](std::uint64_t bytes, auto&& bind) { bind(arena.take(Bytes(padded(bytes)))); });
  const std::uint32_t pairs = options.shape.block.pairs();
  jobs_.reserve(pairs);
  ids_.reserve(pairs);
  ready_.reserve(pairs);
  x_rows_.resize(pairs);
}

void CpuLane::begin_step() {
  kernels::LaneControl& control = *options_.block.control;
  CHECK(!handed_over());
  error_ = nullptr;
  std::atomic_ref(control.done).store(0, std::memory_order_release);
}

bool CpuLane::serve() {
  kernels::LaneControl& control = *options_.block.control;
  const std::uint32_t stamp = std::atomic_ref(control.doorbell).load(std::memory_order_acquire);
  if (stamp == 0) return false;
  const Nanoseconds start = steady_clock().now();
  std::uint32_t done = kernels::kLaneFailed;
  try {
    if (!error_) {  // else nothing of this step will be used
      compute(stamp);
      done = stamp;
    }
  } catch (...) {
    error_ = std::current_exception();
  }
  time_served_ += steady_clock().now() - start;
  std::atomic_ref(control.doorbell).store(0, std::memory_order_relaxed);
  std::atomic_ref(control.done).store(done, std::memory_order_release);
  return true;
}

void CpuLane::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

void CpuLane::give_up() {
  std::atomic_ref(options_.block.control->done)
      .store(kernels::kLaneFailed, std::memory_order_release);
}

std::optional<LayerIndex> CpuLane::handed_over() const {
  const std::uint32_t stamp =
      std::atomic_ref(options_.block.control->doorbell).load(std::memory_order_acquire);
  if (stamp == 0) return std::nullopt;
  return static_cast<LayerIndex>(stamp - 1);
}

std::uint64_t CpuLane::progress() const {
  kernels::LaneControl& control = *options_.block.control;
  const std::uint64_t handed_over = std::atomic_ref(control.doorbell).load();
  return handed_over << 32 | std::atomic_ref(control.done).load();
}

void CpuLane::compute(std::uint32_t stamp) {
  const ExpertFfn& ffn = take_over(stamp);
  hidden_.set_shape(options_.shape.block.pairs(), ffn.width);
  try {
    experts_.begin(static_cast<LayerIndex>(stamp - 1), ids_);
    compute_as_they_arrive(ffn);
  } catch (...) {
    experts_.end();
    throw;
  }
  experts_.end();
}

// Copies the list before it is checked, and then goes by the copy.
const ExpertFfn& CpuLane::take_over(std::uint32_t stamp) {
  const kernels::LaneBlock& block = options_.block;
  const std::uint32_t pairs = block.shape.pairs(), count = block.control->job_count;
  if (stamp > options_.layers.size() || options_.layers[stamp - 1] == nullptr)
    throw_damaged(stamp, "no such layer of", static_cast<std::uint32_t>(options_.layers.size()));
  const ExpertFfn& ffn = *options_.layers[stamp - 1];
  if (count == 0 || count > pairs) throw_damaged(stamp, "number of experts", count);
  jobs_.assign(block.jobs, block.jobs + count);
  x_rows_.assign(block.x_rows, block.x_rows + pairs);
  ids_.clear();
  for (const LaneJob& job : jobs_) {
    if (job.expert >= ffn.experts) throw_damaged(stamp, "expert", job.expert);
    if (job.begin > pairs || job.rows == 0 || job.rows > pairs - job.begin ||
        job.rows > block.shape.rows)
      throw_damaged(stamp, "rows of an expert", job.rows);
    for (std::uint32_t pair = job.begin; pair < job.begin + job.rows; ++pair)
      if (x_rows_[pair] >= block.shape.rows) throw_damaged(stamp, "row", x_rows_[pair]);
    ids_.push_back(static_cast<std::uint16_t>(job.expert));
  }
  return ffn;
}

void CpuLane::compute_as_they_arrive(const ExpertFfn& ffn) {
  const kernels::LaneBlock& block = options_.block;
  const ExpertPairs pairs{.x = kernels::QuantizeTask{.to = block.x}.result(),
                          .x_rows = x_rows_.data(),
                          .x_weights = block.x_weights,
                          .out = block.results};
  std::size_t left = jobs_.size();
  while (left > 0) {
    ready_.clear();
    for (const ArrivedExpert& one : experts_.arrived()) {
      const LaneJob& job = jobs_[one.place];
      CHECK(block.x.values != nullptr ||
            (kernels::takes_quantized_activations(one.weights.gate.format) &&
             kernels::takes_quantized_activations(one.weights.up.format)));
      ready_.push_back({.weights = one.weights,
                        .index = job.expert,
                        .begin = job.begin,
                        .end = job.begin + job.rows});
    }
    compute_experts(kernels_, pool_, ffn, pairs, {hidden_, tiles_, tile_out_}, ready_,
                    [&] { experts_.poll(); });
    experts_.computed();
    left -= ready_.size();
  }
}

}  // namespace hearth::runtime
