// The choice of one row's experts by a block of up to kMostRouteThreads threads, the row's number
// that of the block. Between two steps that share memory threads wait for each other; all else is
// the thread's own experts and ranks.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/gpu/route.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kMostRouteThreads = 512;  // of a block
constexpr unsigned kRouteGroup = kFewestLanes;

struct RouteShared {
  float scores[kMostRoutedExperts];     // weights are made of these
  float selection[kMostRoutedExperts];  // experts are chosen by these
  float of_groups[kMaxExpertGroups];
  float of_warps[kMostRouteThreads / kRouteGroup];  // of kRouteGroup threads each
  float sum;
  unsigned faulty, refused;
  std::uint16_t ids[kMostExpertsUsed];
  float weights[kMostExpertsUsed];
};

HEARTH_DEVICE float lowest() { return float_of(0xff800000u); }
HEARTH_DEVICE bool is_nan(float x) { return (bits_of(x) & 0x7fffffffu) > 0x7f800000u; }
HEARTH_DEVICE float larger(float a, float b) { return a > b ? a : b; }
HEARTH_DEVICE float smaller(float a, float b) { return a < b ? a : b; }

// Calls body(i) for the i < count of this thread.
template <typename Body>
HEARTH_DEVICE void for_own(std::uint32_t count, Body body) {
  for (std::uint32_t i = thread_index(); i < count; i += block_threads()) body(i);
}

// CpuKernels::softmax of values in shared memory, by the block: the sum in 16 chains.
HEARTH_DEVICE void softmax(float* x, std::uint32_t count, RouteShared& shared) {
  constexpr unsigned kChains = 16;
  float largest = lowest();
  for_own(count, [&](std::uint32_t i) { largest = larger(largest, x[i]); });
  largest = group_max<kRouteGroup>(largest);
  if (thread_index() % kRouteGroup == 0) shared.of_warps[thread_index() / kRouteGroup] = largest;
  sync_threads();
  for (unsigned g = 0; g < block_threads() / kRouteGroup; ++g)
    largest = larger(largest, shared.of_warps[g]);
  for_own(count, [&](std::uint32_t i) { x[i] = exponential(x[i] - largest); });
  sync_threads();
  if (warp_index() == 0) {
    float chain = 0;
    for (std::uint32_t i = thread_index() % kChains; i < count; i += kChains) chain = chain + x[i];
    chain = group_sum<kChains>(chain);
    if (thread_index() == 0) shared.sum = chain;
  }
  sync_threads();
  for_own(count, [&](std::uint32_t i) { x[i] = divide(x[i], shared.sum); });
  sync_threads();
}

HEARTH_DEVICE void sigmoid(float* x, std::uint32_t count) {
  for_own(count, [&](std::uint32_t i) { x[i] = divide(1.0f, 1.0f + exponential(x[i] * -1.0f)); });
}

// As the CPU finds them, NaNs included: in order.
HEARTH_DEVICE float sum_of_two_best(const float* scores, std::uint32_t count) {
  float best = lowest(), second = lowest();
  for (std::uint32_t i = 0; i < count; ++i) {
    const float lower = scores[i] < best ? scores[i] : best;
    second = second < lower ? lower : second;
    best = best < scores[i] ? scores[i] : best;
  }
  return count == 1 ? best : best + second;
}

// Whether score j comes before score i: the smaller index among equals. None is NaN.
HEARTH_DEVICE bool comes_before(const float* scores, std::uint32_t j, std::uint32_t i) {
  return scores[j] > scores[i] || (scores[j] >= scores[i] && j < i);
}

HEARTH_DEVICE void leave_best_groups(const RouterSpec& spec, RouteShared& shared) {
  const std::uint32_t size = spec.experts / spec.groups;
  for_own(spec.groups, [&](std::uint32_t g) {
    const float score = sum_of_two_best(shared.selection + g * size, size);
    shared.of_groups[g] = is_nan(score) ? lowest() : score;
  });
  sync_threads();
  for_own(spec.experts, [&](std::uint32_t i) {
    std::uint32_t better = 0;
    for (std::uint32_t g = 0; g < spec.groups; ++g)
      better += comes_before(shared.of_groups, g, i / size) ? 1 : 0;
    if (better >= spec.groups_used) shared.selection[i] = lowest();
  });
}

// The numbers to choose by, of a row, without NaNs.
HEARTH_DEVICE void rank(const RouteTask& task, RouteShared& shared) {
  const RouterSpec& spec = task.spec;
  const float* const logits = task.logits + block_x() * task.logit_stride;
  for_own(spec.experts, [&](std::uint32_t i) {
    const float logit = logits[i] * spec.logit_scale;
    shared.scores[i] = task.bias != nullptr ? logit + task.bias[i] : logit;
  });
  if (spec.gating == Gating::kSoftmax) {
    sync_threads();
    softmax(shared.scores, spec.experts, shared);
  }
  if (spec.gating == Gating::kSigmoid) sigmoid(shared.scores, spec.experts);
  for_own(spec.experts, [&](std::uint32_t i) {
    const float bias = task.selection_bias != nullptr ? task.selection_bias[i] : 0;
    const float by = task.selection_bias != nullptr ? shared.scores[i] + bias : shared.scores[i];
    if (is_nan(by)) atomic_exchange(&shared.faulty, 1u);
    shared.selection[i] = by;
  });
  if (spec.groups > 1) {
    sync_threads();
    leave_best_groups(spec, shared);
  }
  for_own(spec.experts, [&](std::uint32_t i) {
    if (is_nan(shared.selection[i])) shared.selection[i] = lowest();
  });
  sync_threads();
}

// At least `used` of `count` scores are not below this: the smallest of the largest scores of so
// many groups of threads, those that have scores. Few others are above it.
HEARTH_DEVICE float bound_of_chosen(const float* scores, std::uint32_t count, std::uint32_t used,
                                    RouteShared& shared) {
  const unsigned wanted = (count + kRouteGroup - 1) / kRouteGroup * kRouteGroup;
  const unsigned threads = wanted < block_threads() ? wanted : block_threads();
  unsigned width = kRouteGroup;  // of a group
  while (width > 1 && threads / width < used) width /= 2;
  float bound = lowest();
  for_own(count, [&](std::uint32_t i) { bound = larger(bound, scores[i]); });
  for (unsigned mask = 1; mask < kRouteGroup; mask *= 2) {
    const float other = shuffle_xor(bound, mask);
    bound = mask < width ? larger(bound, other) : smaller(bound, other);
  }
  if (thread_index() % kRouteGroup == 0) shared.of_warps[thread_index() / kRouteGroup] = bound;
  sync_threads();
  bound = shared.of_warps[0];
  for (unsigned g = 1; g < threads / kRouteGroup; ++g) bound = smaller(bound, shared.of_warps[g]);
  return bound;
}

// A collective of a warp: how many of `count` scores come before score i.
HEARTH_DEVICE std::uint32_t place_of(const float* scores, std::uint32_t count, std::uint32_t i) {
  std::uint32_t place = 0;
  for (std::uint32_t begin = 0; begin < count; begin += lanes()) {
    const std::uint32_t j = begin + lane_index();
    const std::uint64_t before = ballot(j < count && comes_before(scores, j, i));
    place += static_cast<std::uint32_t>(count_ones(static_cast<std::uint32_t>(before)) +
                                        count_ones(static_cast<std::uint32_t>(before >> 32)));
  }
  return place;
}

// The ids and scores of the best, in order. A warp finds the places of those of its threads'
// experts that may be among them, one after the other.
HEARTH_DEVICE void choose(const RouterSpec& spec, RouteShared& shared) {
  const float bound = bound_of_chosen(shared.selection, spec.experts, spec.used, shared);
  for (std::uint32_t begin = 0; begin < spec.experts; begin += block_threads()) {
    const std::uint32_t own = begin + thread_index();
    const std::uint64_t all = ballot(own < spec.experts && shared.selection[own] >= bound);
    for (unsigned first = 0; first < lanes(); first += 32)
      for (auto left = static_cast<std::uint32_t>(all >> first); left != 0; left &= left - 1) {
        const auto lane = static_cast<unsigned>(count_ones((left & (0 - left)) - 1));
        const std::uint32_t i = begin + warp_index() * lanes() + first + lane;
        const std::uint32_t place = place_of(shared.selection, spec.experts, i);
        if (lane_index() != 0 || place >= spec.used) continue;
        shared.ids[place] = static_cast<std::uint16_t>(i);
        shared.weights[place] = shared.scores[i];
      }
  }
  sync_threads();
}

HEARTH_DEVICE void weigh(const RouterSpec& spec, RouteShared& shared) {
  float* const weights = shared.weights;
  if (spec.gating == Gating::kSoftmaxOfChosen) softmax(weights, spec.used, shared);
  if (spec.gating == Gating::kSigmoidOfChosen) sigmoid(weights, spec.used);
  sync_threads();
  if (thread_index() == 0) {
    float sum = 0;
    for (std::uint32_t k = 0; k < spec.used; ++k) sum = sum + weights[k];
    shared.sum = sum < kLeastWeightSum ? kLeastWeightSum : sum;
  }
  sync_threads();
  for_own(spec.used, [&](std::uint32_t k) {
    const float weight = spec.normalized ? divide(weights[k], shared.sum) : weights[k];
    weights[k] = weight * spec.weight_scale;
    if (is_nan(weights[k])) atomic_exchange(&shared.faulty, 1u);
  });
}

HEARTH_DEVICE void force(const RouteTask& task, RouteShared& shared) {
  const ForcedRoutes& forced = task.forced;
  const std::uint64_t first = forced.first != nullptr ? *forced.first : 0;
  const std::uint64_t entry = first + block_x();
  const bool exists = entry < forced.entries;
  const std::uint64_t at = exists ? entry * task.spec.used : 0;
  for_own(task.spec.used, [&](std::uint32_t k) {
    if (!exists || forced.ids[at + k] >= task.spec.experts) atomic_exchange(&shared.refused, 1u);
  });
  sync_threads();
  if (shared.refused != 0) return;
  for_own(task.spec.used, [&](std::uint32_t k) {
    shared.ids[k] = forced.ids[at + k];
    shared.weights[k] = forced.weights[at + k];
  });
}

HEARTH_DEVICE void store(const RouteTask& task, const RouteShared& shared) {
  const RouteRecord& record = task.record;
  const std::uint64_t row = std::uint64_t{block_x()} * task.spec.used;
  std::uint64_t recorded = 0;
  if (record.ids != nullptr) recorded = *record.step % record.steps * record.stride + row;
  for_own(task.spec.used, [&](std::uint32_t k) {
    task.ids[row + k] = shared.ids[k];
    task.weights[row + k] = shared.weights[k];
    if (record.ids == nullptr) return;
    record.ids[recorded + k] = shared.ids[k];
    if (record.weights != nullptr) record.weights[recorded + k] = shared.weights[k];
  });
}

// All threads may read shared.ids and shared.weights afterwards.
HEARTH_DEVICE void route_row(const RouteTask& task, RouteShared& shared) {
  HEARTH_ASSERT(task.spec.experts <= kMostRoutedExperts && task.spec.used <= kMostExpertsUsed);
  HEARTH_ASSERT(block_threads() <= kMostRouteThreads);
  if (thread_index() == 0) shared.faulty = shared.refused = 0;
  sync_threads();
  rank(task, shared);
  choose(task.spec, shared);
  weigh(task.spec, shared);
  if (task.forced.ids != nullptr) force(task, shared);
  store(task, shared);
  sync_threads();
  if (thread_index() == 0 && task.faults != nullptr && (shared.faulty | shared.refused) != 0)
    atomic_add(task.faults, 1u);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
