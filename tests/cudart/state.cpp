#include "tests/cudart/state.h"

#include <algorithm>
#include <utility>

#include "tests/cudart/calls.h"
#include "tests/cudart/exit_report.h"
#include "tests/cudart/memory.h"

namespace hearth::cudart {
namespace {

constexpr Bytes kContext{64 << 20};

}  // namespace

State& state() {
  static State* const all = new State;  // to the very end of the process
  return *all;
}

cudaError_t need_context() {
  if (state().has_context) return cudaSuccess;
  if (!memory().take(kContext))
    return refuse(cudaErrorMemoryAllocation, "the device has no memory for a context");
  state().has_context = true;
  report_at_exit();
  return cudaSuccess;
}

cudaError_t submit(Stream& stream, Operation operation) {
  stream.behind_kernel = operation.is_kernel;
  if (stream.capture == nullptr) {
    stream.queue->push(std::move(operation));
    return cudaSuccess;
  }
  if (stream.capture->invalidated)
    return refuse(cudaErrorStreamCaptureInvalidated, "the capture of this stream is invalid");
  auto& nodes = stream.capture->graph.nodes;
  nodes.push_back({std::move(operation), std::exchange(stream.last, {})});
  stream.last = {static_cast<NodeId>(nodes.size() - 1)};
  return cudaSuccess;
}

std::vector<std::shared_ptr<Moment>> ends_of_all_work() {
  std::vector<std::shared_ptr<Moment>> ends;
  auto& queues = state().queues;
  std::erase_if(queues, [](const auto& queue) { return queue->ended(); });
  for (const auto& queue : queues)
    if (!queue->idle()) ends.push_back(queue->end());
  return ends;
}

void wait_for_device() {
  std::unique_lock lock(state().mutex);
  const auto ends = ends_of_all_work();
  lock.unlock();
  for (const auto& end : ends) end->wait();
}

}  // namespace hearth::cudart
