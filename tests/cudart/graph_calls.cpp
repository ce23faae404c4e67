// Graphs and their executables.
#include <cuda_runtime_api.h>

#include <utility>

#include "tests/cudart/calls.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, std::size_t* count) {
  return called("cudaGraphGetNodes", [&] {
    const std::unique_lock lock(state().mutex);
    const auto graph = state().graphs.find(handle);
    if (graph == nullptr) return refuse(cudaErrorInvalidValue, "no graph of that handle");
    if (nodes != nullptr) return refuse(cudaErrorNotSupported, "handles of nodes");
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  return called("cudaGraphDestroy", [&] {
    const std::unique_lock lock(state().mutex);
    return state().graphs.remove(handle) != nullptr
               ? cudaSuccess
               : refuse(cudaErrorInvalidValue, "no graph of that handle");
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* handle, cudaGraph_t graph_handle,
                                 unsigned long long flags) {
  return called("cudaGraphInstantiate", [&] {
    const std::unique_lock lock(state().mutex);
    *handle = nullptr;
    const auto graph = state().graphs.find(graph_handle);
    if (graph == nullptr) return refuse(cudaErrorInvalidValue, "no graph of that handle");
    if (const cudaError_t error = refuse_if_captures("building a graph in a capture");
        error != cudaSuccess)
      return error;
    constexpr unsigned long long kKnown = cudaGraphInstantiateFlagUseNodePriority;
    if ((flags & ~kKnown) != 0)
      return refuse(cudaErrorInvalidValue, "flags of graphs that are not modelled");
    auto executable = Executable::try_make(*graph);
    if (executable == nullptr)
      return refuse(cudaErrorMemoryAllocation, "the device has no memory for a graph");
    *handle = state().executables.add(std::move(executable));
    return cudaSuccess;
  });
}

// "If the executable graph is in-flight, it will not be terminated, but rather freed asynchronously
// on completion" (cuGraphExecDestroy).
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return called("cudaGraphExecDestroy", [&] {
    const std::unique_lock lock(state().mutex);
    return state().executables.remove(handle) != nullptr
               ? cudaSuccess
               : refuse(cudaErrorInvalidValue, "no executable of that handle");
  });
}

namespace {

// `body(stream, executable)` with the mutex, where the stream is not captured.
template <typename Body>
cudaError_t with_executable(const char* name, cudaGraphExec_t handle, cudaStream_t stream_handle,
                            Body&& body) {
  return called(name, [&] {
    const std::unique_lock lock(state().mutex);
    const auto executable = state().executables.find(handle);
    if (executable == nullptr) return refuse(cudaErrorInvalidValue, "no executable of that handle");
    const auto stream = state().streams.find(stream_handle);
    if (stream == nullptr) return refuse(cudaErrorInvalidResourceHandle, "a graph on no stream");
    // The documentation says nothing of it; what a graph of a graph would be is not modelled.
    if (stream->capture != nullptr) {
      invalidate(*stream->capture);
      return refuse(cudaErrorStreamCaptureUnsupported, "a graph on a stream that is captured");
    }
    return body(*stream, executable);
  });
}

}  // namespace

cudaError_t cudaGraphUpload(cudaGraphExec_t handle, cudaStream_t stream) {
  return with_executable("cudaGraphUpload", handle, stream, [](Stream& here, const auto&) {
    return submit(here, {.what = "upload of a graph", .run = [] {}});
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  return with_executable(
      "cudaGraphLaunch", handle, stream, [](Stream& here, const auto& executable) {
        auto end = std::make_shared<Moment>();
        auto run = [executable, before = std::exchange(executable->last_launch, end), end] {
          if (before != nullptr) before->wait();
          executable->run();
          end->reach();
        };
        return submit(here, {.what = "graph", .run = std::move(run), .always = true});
      });
}
