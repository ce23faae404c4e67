// Experts of the next MoE layer, gathered ahead while the link has nothing else to do.
//
//   main    resolve l ─┬─ hits … fetched … ─ wait ─ norm ─ … ──── resolve l+1 ─┬─ …
//   guess              └─ router of l+1 → route → prefetch ─┤                  │
//   link                 gather l ──────────────────────────┴─ gather ahead ─ gather l+1
//
// The guess is the next layer's router on this layer's router input, as without a device
// (MoeBlock::prefetch_next), and changes nothing but time. It is made on a stream of its own,
// beside the layer's products and gather, and gives slots before the next layer's router is asked
// (kernels/gpu/prefetch.h).
//
// Nobody waits for the gather ahead but who computes what it brings: resolve puts a guess of the
// same step that was right among the fetched, and those are computed after the gather of their
// layer, which comes behind the gather ahead in the order of the link. Hits are not held up. What
// it could hold up are the fetches of the next layer; so it has no more than the link carries in
// the time of a layer (profiler/lane_tuner.h), and steps are recorded without any of this where
// that does not pay.
//
// A list of what is gathered ahead may still be read while the next layer's guess is made, but not
// while the one after that is: its layer has waited for the link. So there are two.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/gpu/prefetch.h"
#include "profiler/lane_tuner.h"
#include "runtime/gpu/device_scratch.h"
#include "runtime/model.h"

namespace hearth::runtime {

// More rows want more than the link carries, and a step of many has hardly a guess to make.
inline constexpr std::uint32_t kMostPrefetchRows = 2;

// What a guess is made with, in device memory that steps share.
struct PrefetchScratch {
  struct List {
    kernels::ExpertFetch* fetches = nullptr;  // [most]
    std::uint32_t* count = nullptr;
  };
  PrefetchScratch(const Model& model, DeviceArena& arena);

  std::uint32_t most = 0;        // experts of a layer
  DeviceActivations normed;      // [rows][embedding], where routers have norms of their own
  float* scores = nullptr;       // [rows][experts]
  std::uint16_t* ids = nullptr;  // [rows][experts_used]
  float* weights = nullptr;      // likewise; nobody reads them
  std::array<List, 2> lists;
};

// Of all layers.
profiler::PrefetchCounts prefetches_of(std::span<const kernels::ExpertCounters> layers);

class DevicePrefetch {
 public:
  DevicePrefetch(const PrefetchScratch& scratch, kernels::Device& device);

  const PrefetchScratch& scratch() const { return scratch_; }
  // For what is recorded: the stream of the guess begins after `event`, and ends.
  kernels::Stream& begin(const kernels::Event& event) const;
  void end() const { stream_->record(*guessed_); }
  void wait(kernels::Stream& stream) const { stream.wait(*guessed_); }

 private:
  const PrefetchScratch scratch_;
  std::unique_ptr<kernels::Stream> stream_;
  std::unique_ptr<kernels::Event> guessed_;
};

}  // namespace hearth::runtime
