// The thread of the CPU lane, and the conductor's wait for a step.
//
//   sleeps --begin_step--> looks at the doorbell --end_step--> sleeps
//
// While a step is under way the thread looks at the doorbell, which a GPU can ring but not wake
// anybody with: without a pause for about as long as a step takes, since many layers in a row may
// have nothing for the CPU and a late answer holds up all of the next one; then between naps. In
// between steps it sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/clock.h"
#include "base/function_ref.h"
#include "kernels/gpu/watchdog.h"
#include "runtime/gpu/cpu_lane.h"

namespace hearth::runtime {

class CpuLaneThread {
 public:
  explicit CpuLaneThread(CpuLane& lane);  // which outlives it
  ~CpuLaneThread();                       // waits for a layer that is being served
  CpuLaneThread(const CpuLaneThread&) = delete;
  CpuLaneThread& operator=(const CpuLaneThread&) = delete;

  // By the conductor, before a step is launched and after it is finished. The latter waits until
  // the thread has left the lane, and throws what prevented the lane from serving.
  void begin_step();
  void end_step();

 private:
  enum class State : std::uint32_t { kSleeps, kServes, kLeaves, kStops };

  void run();
  void serve_step();

  CpuLane& lane_;
  std::atomic<State> state_{State::kSleeps};
  std::thread thread_;
};

struct StepBound {
  // In which no layer is handed over, none is done, and the step does not end: far longer than any
  // layer takes, also where its experts come from a slow disk.
  Nanoseconds silence{0};
  Nanoseconds after_end{0};  // for the GPU to finish once its waits for the lane were ended
};
inline constexpr StepBound kStepBound{.silence = kernels::kDeviceSilence,
                                      .after_end = std::chrono::seconds(2)};

// Waits until `finished` says so; throws what that throws. A step that exceeds its bound ends with
// Error(kDevice), one line that says who did not answer: then the waits of the GPU for the lane
// were ended, and the step's results are not to be used. Costs the conductor no core: it naps.
void wait_for_step(FunctionRef<bool()> finished, CpuLane& lane, const Clock& clock,
                   const StepBound& bound = kStepBound);

}  // namespace hearth::runtime
