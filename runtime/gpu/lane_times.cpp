#include "runtime/gpu/lane_times.h"

namespace hearth::runtime {

LaneTimes::LaneTimes(kernels::Device& device, std::uint32_t layers)
    : layers_(layers), marks_(layers * kLaneMoments) {
  for (Mark& mark : marks_) mark.event = device.new_event(kernels::EventTiming::kTimed);
}

void LaneTimes::mark(kernels::Stream& stream, LayerIndex layer, LaneMoment moment) {
  Mark& mark = mark_of(layer, moment);
  stream.mark(*mark.event);
  mark.recorded = true;
}

// Nothing for a layer that has not both: one without experts, or a step without lanes.
Nanoseconds LaneTimes::between(LayerIndex layer, LaneMoment from, LaneMoment to) {
  const Mark& begin = mark_of(layer, from);
  const Mark& end = mark_of(layer, to);
  return begin.recorded && end.recorded ? end.event->since(*begin.event) : Nanoseconds(0);
}

void LaneTimes::add_step() {
  time_.steps += 1;
  for (std::uint32_t l = 0; l < layers_; ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    time_.hits += between(layer, LaneMoment::kBegins, LaneMoment::kHitsDone);
    time_.gather += between(layer, LaneMoment::kGatherBegins, LaneMoment::kGathered);
    time_.waits_for_link += between(layer, LaneMoment::kHitsDone, LaneMoment::kLinkDone);
    time_.fetched += between(layer, LaneMoment::kLinkDone, LaneMoment::kFetchedDone);
    time_.waits_for_cpu += between(layer, LaneMoment::kFetchedDone, LaneMoment::kAllDone);
  }
}

}  // namespace hearth::runtime
