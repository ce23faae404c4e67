// What a generation cost, and how near each link came to its measured peak.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/gpu/device_work.h"
#include "runtime/link_peaks.h"
#include "runtime/session.h"

namespace hearth::tools {

// How often each expert was chosen. Attached to a session as its routing listener.
class ExpertHeat {
 public:
  explicit ExpertHeat(ExpertSpace space) : space_(space), counts_(space.size()) {}
  void add(const profiler::Routing& routing);
  std::vector<double> layer(LayerIndex index) const;

 private:
  ExpertSpace space_;
  std::vector<std::uint64_t> counts_;
};

// Counters of an engine and a session at one moment; the difference of two is a phase.
struct Moment {
  Nanoseconds now{0};
  runtime::StepTimes times;
  Nanoseconds disk_wait{0};
  Bytes read;  // from the disk, read windows included
  std::uint64_t hits = 0, misses = 0;
  runtime::DeviceWork device;

  static Moment of(const runtime::Engine& engine, const runtime::Session& session);
};

struct RunReport {
  std::uint32_t prompt_tokens = 0;
  std::uint32_t generated_tokens = 0;
  Moment start, prefilled, end;
  std::uint64_t logits_hash = 0;
  Bytes peak_memory;  // of the process, before the links were measured
};

void print_report(const RunReport& report, const runtime::Engine& engine, const ExpertHeat& heat,
                  const runtime::LinkPeaks& peaks);

}  // namespace hearth::tools
