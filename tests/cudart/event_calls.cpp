// Events.
#include <cuda_runtime_api.h>

#include <chrono>

#include "tests/cudart/calls.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

namespace {

constexpr const char* kNoEvent = "no event of that handle";

// `body(stream, event)` with the mutex.
template <typename Body>
cudaError_t with_event(const char* name, cudaStream_t stream_handle, cudaEvent_t event_handle,
                       Body&& body) {
  return called(name, [&] {
    const std::unique_lock lock(state().mutex);
    const auto event = state().events.find(event_handle);
    if (event == nullptr) return refuse(cudaErrorInvalidResourceHandle, kNoEvent);
    const auto stream = state().streams.find(stream_handle);
    if (stream == nullptr)
      return refuse(cudaErrorInvalidResourceHandle,
                    "no stream of that handle (the default one is not modelled)");
    return body(*stream, event);
  });
}

// "It is invalid to synchronize or query the execution status of [...] a captured event".
cudaError_t refuse_to_ask(const Event& event) {
  if (event.capture == nullptr)
    return refuse_if_captures("asking or waiting for an event in a capture");
  if (!event.capture->ended) invalidate(*event.capture);
  return refuse(cudaErrorCapturedEvent, "the event was last recorded in a capture");
}

// The moment that the event stands for, null where it was not recorded.
cudaError_t find_moment(cudaEvent_t handle, std::shared_ptr<Moment>& moment) {
  const std::unique_lock lock(state().mutex);
  const auto event = state().events.find(handle);
  if (event == nullptr) return refuse(cudaErrorInvalidResourceHandle, kNoEvent);
  if (const cudaError_t error = refuse_to_ask(*event); error != cudaSuccess) return error;
  moment = event->moment;
  return cudaSuccess;
}

cudaError_t find_timed_moment(cudaEvent_t handle, std::shared_ptr<Moment>& moment) {
  if (const cudaError_t error = find_moment(handle, moment); error != cudaSuccess) return error;
  const std::unique_lock lock(state().mutex);
  const auto event = state().events.find(handle);
  if (event == nullptr || (event->flags & cudaEventDisableTiming) != 0)
    return refuse(cudaErrorInvalidResourceHandle, "an event without timing");
  if (moment == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, "an event that was never recorded");
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  return called("cudaEventCreateWithFlags", [&] {
    const std::unique_lock lock(state().mutex);
    if (const cudaError_t error = need_context(); error != cudaSuccess) return error;
    if ((flags & ~unsigned{cudaEventDisableTiming | cudaEventBlockingSync}) != 0)
      return refuse(cudaErrorInvalidValue, "flags of events that are not modelled");
    auto event = std::make_shared<Event>();
    event->flags = flags;
    *handle = state().events.add(std::move(event));
    return cudaSuccess;
  });
}

// "An event may be destroyed before it is complete": what waits for it goes on waiting.
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return called("cudaEventDestroy", [&] {
    const std::unique_lock lock(state().mutex);
    const auto event = state().events.remove(handle);
    if (event == nullptr) return refuse(cudaErrorInvalidResourceHandle, kNoEvent);
    event->destroyed = true;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return with_event("cudaEventRecord", stream, event,
                    [](Stream& here, const auto& found) { return record(here, found); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return with_event(
      "cudaEventRecordWithFlags", stream, event, [&](Stream& here, const auto& found) {
        return flags == cudaEventRecordExternal  ? record_external(here, found)
               : flags == cudaEventRecordDefault ? record(here, found)
                                                 : refuse(cudaErrorInvalidValue, "unknown flags");
      });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return with_event("cudaStreamWaitEvent", stream, event, [&](Stream& here, const auto& found) {
    return flags == cudaEventWaitDefault
               ? wait_for(here, *found)
               : refuse(cudaErrorNotSupported, "waits for events from outside of a graph");
  });
}

// "cudaSuccess [...] also if cudaEventRecord() has not been called".
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return called("cudaEventQuery", [&] {
    std::shared_ptr<Moment> moment;
    const cudaError_t error = find_moment(handle, moment);
    if (error != cudaSuccess) return error;
    return moment == nullptr || moment->reached() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return called("cudaEventSynchronize", [&] {
    std::shared_ptr<Moment> moment;
    const cudaError_t error = find_moment(handle, moment);
    if (moment != nullptr) moment->wait();
    return error;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return called("cudaEventElapsedTime", [&] {
    std::shared_ptr<Moment> first, last;
    if (const cudaError_t error = find_timed_moment(from, first); error != cudaSuccess)
      return error;
    if (const cudaError_t error = find_timed_moment(to, last); error != cudaSuccess) return error;
    if (!first->reached() || !last->reached()) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(last->time() - first->time()).count();
    return cudaSuccess;
  });
}
