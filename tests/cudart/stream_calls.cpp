// Streams, host functions and captures. The default stream is not modelled: it is no stream here.
#include <cuda_runtime_api.h>

#include "tests/cudart/calls.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

namespace {

constexpr const char* kNoStream = "no stream of that handle (the default one is not modelled)";

// `body(stream)` with the mutex.
template <typename Body>
cudaError_t on_stream(const char* name, cudaStream_t handle, Body&& body) {
  return called(name, [&] {
    const std::unique_lock lock(state().mutex);
    const auto stream = state().streams.find(handle);
    return stream == nullptr ? refuse(cudaErrorInvalidResourceHandle, kNoStream) : body(*stream);
  });
}

// "It is invalid to synchronize or query the execution status of a stream which is being captured".
cudaError_t refuse_to_ask(Stream& stream) {
  if (stream.capture == nullptr)
    return refuse_if_captures("asking or waiting for a stream in a capture");
  invalidate(*stream.capture);
  return refuse(cudaErrorStreamCaptureUnsupported, "asking or waiting for a captured stream");
}

}  // namespace

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int priority) {
  return called("cudaStreamCreateWithPriority", [&] {
    const std::unique_lock lock(state().mutex);
    if (const cudaError_t error = need_context(); error != cudaSuccess) return error;
    if (const cudaError_t error = refuse_if_captures("a new stream in a capture");
        error != cudaSuccess)
      return error;
    if (flags != cudaStreamNonBlocking)
      return refuse(cudaErrorNotSupported, "streams that the default stream waits for");
    auto stream = std::make_shared<Stream>();
    stream->flags = flags;
    stream->priority = priority;
    stream->queue = Queue::start();
    state().queues.push_back(stream->queue);
    *handle = state().streams.add(std::move(stream));
    return cudaSuccess;
  });
}

// "In case the device is still doing work in the stream [...], the function will return immediately
// and the resources [...] will be released automatically once the device has completed all work".
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return called("cudaStreamDestroy", [&] {
    const std::unique_lock lock(state().mutex);
    const auto stream = state().streams.find(handle);
    if (stream == nullptr) return refuse(cudaErrorInvalidResourceHandle, kNoStream);
    if (stream->capture != nullptr) {
      invalidate(*stream->capture);
      return refuse(cudaErrorStreamCaptureUnsupported, "destroying a stream that is captured");
    }
    state().streams.remove(handle);
    stream->queue->close();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  std::shared_ptr<Moment> end;
  return called("cudaStreamSynchronize", [&] {
    const cudaError_t error = on_stream("cudaStreamSynchronize", handle, [&](Stream& stream) {
      if (const cudaError_t refused = refuse_to_ask(stream); refused != cudaSuccess) return refused;
      end = stream.queue->end();
      return cudaSuccess;
    });
    if (end != nullptr) end->wait();
    return error;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return on_stream("cudaStreamQuery", handle, [&](Stream& stream) {
    if (const cudaError_t refused = refuse_to_ask(stream); refused != cudaSuccess) return refused;
    return stream.queue->idle() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* context) {
  return on_stream("cudaLaunchHostFunc", handle, [&](Stream& stream) {
    if (function == nullptr) return refuse(cudaErrorInvalidValue, "no function");
    return submit(stream, {.what = "host function", .run = [=] {
                             const HostFunctionScope scope;
                             function(context);
                           }});
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return on_stream("cudaStreamBeginCapture", handle,
                   [&](Stream& stream) { return begin_capture(stream, mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return on_stream("cudaStreamEndCapture", handle,
                   [&](Stream& stream) { return end_capture(stream, graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return on_stream("cudaStreamIsCapturing", handle, [&](Stream& stream) {
    *status = stream.capture == nullptr     ? cudaStreamCaptureStatusNone
              : stream.capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                            : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}
