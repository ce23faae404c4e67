// Stream capture, by the rules of the programming guide, "Creating a Graph Using Stream Capture".
#include <cuda_runtime_api.h>

#include <algorithm>
#include <iterator>

#include "tests/cudart/calls.h"
#include "tests/cudart/state.h"

namespace hearth::cudart {
namespace {

void merge(std::vector<NodeId>& into, const std::vector<NodeId>& others) {
  std::vector<NodeId> all;
  std::ranges::set_union(into, others, std::back_inserter(all));
  into = std::move(all);
}

// Whether all of `nodes` are among `last` or come before them.
bool are_joined(const Graph& graph, const std::vector<NodeId>& last,
                const std::vector<NodeId>& nodes) {
  std::vector<bool> seen(graph.nodes.size());
  std::vector<NodeId> open = last;
  while (!open.empty()) {
    const NodeId id = open.back();
    open.pop_back();
    if (seen[id]) continue;
    seen[id] = true;
    open.insert(open.end(), graph.nodes[id].after.begin(), graph.nodes[id].after.end());
  }
  return std::ranges::all_of(nodes, [&](NodeId id) { return seen[id]; });
}

bool is_joined(const Capture& capture, const Stream& origin) {
  for (const auto& [handle, stream] : state().streams.all())
    if (stream->capture.get() == &capture && !are_joined(capture.graph, origin.last, stream->last))
      return false;
  return true;
}

void end(Capture& capture) {
  for (const auto& [handle, stream] : state().streams.all())
    if (stream->capture.get() == &capture) {
      stream->capture = nullptr;
      stream->last.clear();
      stream->behind_kernel = false;
    }
  capture.ended = true;
  std::erase_if(state().captures, [&](const auto& other) { return other.get() == &capture; });
}

}  // namespace

void invalidate(Capture& capture) { capture.invalidated = true; }

cudaError_t refuse_if_captures(const char* call) {
  bool found = false;
  for (const auto& capture : state().captures) {
    const bool own = capture->thread == std::this_thread::get_id();
    if (own ? capture->mode == cudaStreamCaptureModeRelaxed
            : capture->mode != cudaStreamCaptureModeGlobal)
      continue;
    invalidate(*capture);
    found = true;
  }
  return found ? refuse(cudaErrorStreamCaptureUnsupported, call) : cudaSuccess;
}

cudaError_t refuse_if_any_captures(const char* call) {
  if (state().captures.empty()) return cudaSuccess;
  for (const auto& capture : state().captures) invalidate(*capture);
  return refuse(cudaErrorStreamCaptureUnsupported, call);
}

// "It may only be initiated if the stream is not already in capture mode" (cudaStreamBeginCapture).
cudaError_t begin_capture(Stream& stream, cudaStreamCaptureMode mode) {
  if (stream.capture != nullptr)
    return refuse(cudaErrorIllegalState, "the stream is already in capture mode");
  auto capture = std::make_shared<Capture>();
  capture->origin = &stream;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  state().captures.push_back(capture);
  stream.capture = std::move(capture);
  stream.behind_kernel = false;
  return cudaSuccess;
}

// "Capture must be ended on the same stream in which it was initiated", and "if mode is not
// relaxed, from the same thread". An invalid one ends with an error and no graph.
cudaError_t end_capture(Stream& stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const auto capture = stream.capture;
  if (capture == nullptr) return refuse(cudaErrorIllegalState, "the stream is not in capture mode");
  if (capture->origin != &stream)
    return refuse(cudaErrorStreamCaptureUnmatched, "the capture began in another stream");
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id())
    return refuse(cudaErrorStreamCaptureWrongThread, "the capture began in another thread");
  const bool joined = is_joined(*capture, stream);
  end(*capture);
  if (capture->invalidated)
    return refuse(cudaErrorStreamCaptureInvalidated, "an error during capture invalidated it");
  if (!joined)
    return refuse(cudaErrorStreamCaptureUnjoined, "a stream was not joined with the first one");
  *graph = state().graphs.add(std::make_shared<Graph>(std::move(capture->graph)));
  return cudaSuccess;
}

cudaError_t record(Stream& stream, const std::shared_ptr<Event>& event) {
  if (stream.capture != nullptr) {
    if (stream.capture->invalidated)
      return refuse(cudaErrorStreamCaptureInvalidated, "the capture of this stream is invalid");
    event->capture = stream.capture;
    event->after = stream.last;
    return cudaSuccess;
  }
  event->capture = nullptr;
  auto moment = std::make_shared<Moment>();
  event->moment = moment;
  return submit(
      stream, {.what = "record of an event", .run = [moment] { moment->reach(); }, .always = true});
}

// "Event is captured in the graph as an external event node when performing stream capture. This
// flag is invalid outside of stream capture" (cudaEventRecordExternal).
cudaError_t record_external(Stream& stream, const std::shared_ptr<Event>& event) {
  if (stream.capture == nullptr)
    return refuse(cudaErrorInvalidValue, "cudaEventRecordExternal outside of a capture");
  const auto record_again = [event] {
    auto moment = std::make_shared<Moment>();
    moment->reach();
    const std::lock_guard lock(state().mutex);
    if (event->destroyed) throw std::runtime_error("the event of this node was destroyed");
    event->capture = nullptr;
    event->moment = std::move(moment);
  };
  return submit(stream, {.what = "record of an event in a graph", .run = record_again});
}

cudaError_t wait_for(Stream& stream, Event& event) {
  if (event.capture == nullptr) {
    if (stream.capture != nullptr) {
      invalidate(*stream.capture);
      return refuse(cudaErrorStreamCaptureIsolation,
                    "a captured stream waits for an event that was not captured");
    }
    if (event.moment == nullptr) return cudaSuccess;  // "has no effect" before it was recorded
    return submit(stream, {.what = "wait for an event",
                           .run = [moment = event.moment] { moment->wait(); },
                           .always = true});
  }
  if (event.capture->ended)
    return refuse(cudaErrorCapturedEvent, "the capture that recorded the event has ended");
  if (event.capture->invalidated)
    return refuse(cudaErrorStreamCaptureInvalidated, "the capture of this event is invalid");
  if (stream.capture == nullptr) {
    stream.capture = event.capture;
    stream.last = event.after;
    stream.behind_kernel = false;
    return cudaSuccess;
  }
  if (stream.capture != event.capture) {
    invalidate(*stream.capture);
    invalidate(*event.capture);
    return refuse(cudaErrorStreamCaptureMerge, "a wait would merge two captures");
  }
  merge(stream.last, event.after);
  stream.behind_kernel = false;
  return cudaSuccess;
}

}  // namespace hearth::cudart
