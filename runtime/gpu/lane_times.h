// Where the time of a layer with experts goes: moments in the graph of a step, which the device
// takes as it passes them.
//
//   main    begins, hits, kHitsDone, wait, kLinkDone, fetched, kFetchedDone, wait, kAllDone
//   link    kGatherBegins, gather, kGathered
//
// Each moment is a node more, so that a step with them takes longer than one without: recorded for
// the purpose, and only there (DeviceModel::time_lanes).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

enum class LaneMoment : std::uint8_t {
  kBegins,
  kHitsDone,
  kGatherBegins,
  kGathered,
  kLinkDone,
  kFetchedDone,
  kAllDone,
};
inline constexpr std::size_t kLaneMoments = 7;

// Of all layers and steps together.
struct LaneTime {
  std::uint64_t steps = 0;
  Nanoseconds hits{0};            // computing what is in VRAM, and shared experts
  Nanoseconds gather{0};          // on the link, beside it
  Nanoseconds waits_for_link{0};  // with nothing else to do
  Nanoseconds fetched{0};         // computing what was fetched
  Nanoseconds waits_for_cpu{0};   // with nothing else to do
};

class LaneTimes {
 public:
  LaneTimes(kernels::Device& device, std::uint32_t layers);

  // For what is recorded.
  void mark(kernels::Stream& stream, LayerIndex layer, LaneMoment moment);
  // After a step with these moments has run.
  void add_step();

  const LaneTime& time() const { return time_; }
  void reset() { time_ = {}; }

 private:
  struct Mark {
    std::unique_ptr<kernels::Event> event;
    bool recorded = false;
  };
  Mark& mark_of(LayerIndex layer, LaneMoment moment) {
    return marks_[layer * kLaneMoments + static_cast<std::size_t>(moment)];
  }
  Nanoseconds between(LayerIndex layer, LaneMoment from, LaneMoment to);

  const std::uint32_t layers_;
  std::vector<Mark> marks_;  // [layers][kLaneMoments]
  LaneTime time_;
};

}  // namespace hearth::runtime
