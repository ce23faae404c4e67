#include "kernels/gpu/sample.h"

#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kSampleThreads = 256;
constexpr unsigned kSampleGroups = kSampleThreads / 32;
constexpr unsigned kKeysPerThread = kSampleSpan / kSampleThreads;

// Keys order candidates as the sampler does: by logit, where -0 is 0, then the smaller id. The
// largest stand for logits that are not finite, 0 for none.
using Key = std::uint64_t;
constexpr std::uint32_t kNotFinite = 0xffffffffu;

HEARTH_DEVICE bool is_finite(float x) { return (bits_of(x) & 0x7fffffffu) < 0x7f800000u; }

HEARTH_DEVICE Key key_of(float logit, TokenId id) {
  const std::uint32_t bits = logit == 0 ? 0 : bits_of(logit);
  const std::uint32_t sign = bits >> 31;
  const std::uint32_t rising = bits ^ (sign != 0 ? 0xffffffffu : 0x80000000u);
  return Key{is_finite(logit) ? rising : kNotFinite} << 32 | ~static_cast<std::uint32_t>(id);
}

// CpuKernels::softcap.
HEARTH_DEVICE float capped(float x, float cap) {
  const float power = exponential(2.0f * divide(x, cap));
  return cap * (1.0f - divide(2.0f, 1.0f + power));
}

// What the blocks of a launch choose from: the logits themselves, or what a launch before chose.
struct SampleLevel {
  const Candidate* from = nullptr;  // [rows][items]; null: the logits
  std::uint32_t items = 0;          // of a row
  Candidate* to = nullptr;          // [rows][spans × count]
};

HEARTH_DEVICE Key load_key(const SampleTask& task, const SampleLevel& level, std::uint32_t row,
                           std::uint32_t item) {
  if (level.from != nullptr) {
    const Candidate& found = level.from[std::uint64_t{row} * level.items + item];
    return found.id < 0 ? 0 : key_of(found.logit, found.id);
  }
  float& logit = task.logits[row * task.stride + item];
  if (task.softcap > 0 && is_finite(logit)) logit = capped(logit, task.softcap);
  return key_of(logit, static_cast<TokenId>(item));
}

HEARTH_DEVICE Candidate candidate_of(const SampleTask& task, std::uint32_t row, Key key) {
  if (key == 0) return {};
  const auto id = static_cast<TokenId>(~static_cast<std::uint32_t>(key));
  const bool finite = key >> 32 != kNotFinite;
  return {finite ? task.logits[row * task.stride + static_cast<std::uint32_t>(id)]
                 : float_of(0x7fc00000u),
          id};
}

struct SampleShared {
  Key best[2][kSampleGroups];  // of groups of 32 threads, in turn: one barrier each
  Key chosen[kMostCandidates];
};

// Of all threads, whose groups of 32 have this largest key each.
HEARTH_DEVICE Key largest_key(Key of_group, Key (&best)[kSampleGroups]) {
  if (thread_index() % 32 == 0) best[thread_index() / 32] = of_group;
  sync_threads();
  Key largest = 0;
  for (const Key key : best) largest = key > largest ? key : largest;
  return largest;
}

// Takes a key out of those of a thread and returns the largest that is left.
HEARTH_DEVICE Key take_out(Key taken, Key (&keys)[kKeysPerThread]) {
  Key largest = 0;
  for (Key& key : keys) {
    if (key == taken) key = 0;
    largest = key > largest ? key : largest;
  }
  return largest;
}

// Block (span, row).
HEARTH_KERNEL(kSampleThreads) choose_candidates(SampleTask task, SampleLevel level) {
  wait_for_previous();
  HEARTH_SHARED(SampleShared, shared);
  HEARTH_ASSERT(task.count <= kMostCandidates);
  const std::uint32_t row = block_y();
  Key keys[kKeysPerThread];
  for (unsigned i = 0; i < kKeysPerThread; ++i) {
    const std::uint32_t item = block_x() * kSampleSpan + i * kSampleThreads + thread_index();
    keys[i] = item < level.items ? load_key(task, level, row, item) : 0;
  }
  Key own = take_out(0, keys), of_group = 0;
  bool changed = true;
  for (std::uint32_t rank = 0; rank < task.count; ++rank) {
    if (any_lane(changed)) of_group = group_max<32>(own);  // of few warps
    const Key largest = largest_key(of_group, shared.best[rank % 2]);
    if (thread_index() == 0) shared.chosen[rank] = largest;
    changed = own == largest;
    if (changed) own = take_out(largest, keys);
  }
  sync_threads();
  Candidate* const to = level.to + (std::uint64_t{row} * grid_x() + block_x()) * task.count;
  for (std::uint32_t rank = thread_index(); rank < task.count; rank += block_threads())
    to[rank] = candidate_of(task, row, shared.chosen[rank]);
}

void launch_sample(const SampleTask& task, NativeStream stream) {
  if (task.rows == 0 || task.count == 0) return;
  SampleLevel level{.items = task.vocabulary};
  Candidate* free = task.scratch;
  for (bool last = false; !last;) {
    const std::uint32_t spans = level.items == 0 ? 1 : (level.items - 1) / kSampleSpan + 1;
    last = spans == 1;
    level.to = last ? task.chosen : free;
    launch(choose_candidates, {.blocks_x = spans, .blocks_y = task.rows, .threads = kSampleThreads},
           stream, task, level);
    if (!last) free += std::size_t{task.rows} * spans * task.count;
    level = {.from = level.to, .items = spans * task.count};
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
