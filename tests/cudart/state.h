// The objects of the runtime, all under one mutex, and the rules of captures. Nothing waits while
// it holds the mutex.
#pragma once

#include <driver_types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/cudart/graph.h"
#include "tests/cudart/queue.h"

namespace hearth::cudart {

struct Stream;

// Between cudaStreamBeginCapture and cudaStreamEndCapture.
struct Capture {
  const Stream* origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalidated = false;
  bool ended = false;
  Graph graph;
};

struct Stream {
  unsigned flags;
  int priority;
  std::shared_ptr<Queue> queue;
  std::shared_ptr<Capture> capture;  // that it takes part in
  std::vector<NodeId> last;          // what the next node comes after
  bool behind_kernel = false;        // what was submitted last is one
};

struct Event {
  unsigned flags;
  std::shared_ptr<Moment> moment;    // of its last record; null: none
  std::shared_ptr<Capture> capture;  // where it was last recorded in one
  std::vector<NodeId> after;         // what it stands for there
  bool destroyed = false;
};

// Objects by their handles, which are their addresses.
template <typename Object, typename Handle>
class Handles {
 public:
  Handle add(std::shared_ptr<Object> object) {
    const auto handle = reinterpret_cast<Handle>(object.get());
    objects_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<Object> find(Handle handle) const {
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Object> remove(Handle handle) {
    const auto object = find(handle);
    objects_.erase(handle);
    return object;
  }
  const std::map<Handle, std::shared_ptr<Object>>& all() const { return objects_; }

 private:
  std::map<Handle, std::shared_ptr<Object>> objects_;
};

struct State {
  std::mutex mutex;
  Handles<Stream, cudaStream_t> streams;
  Handles<Event, cudaEvent_t> events;
  Handles<Graph, cudaGraph_t> graphs;
  Handles<Executable, cudaGraphExec_t> executables;
  std::vector<std::shared_ptr<Queue>> queues;  // also of destroyed streams, which end their work
  std::vector<std::shared_ptr<Capture>> captures;
  bool has_context = false;
};
State& state();

// The functions below want the mutex.

// Takes the memory of a context at the first call that needs one.
cudaError_t need_context();

// Calls that are "potentially unsafe" (cudaThreadExchangeStreamCaptureMode): not in a thread with a
// capture that is not relaxed, nor while another thread has a global one; they invalidate it. Its
// documentation names cudaMalloc alone. Here they are whatever allocates, frees, pins, waits or
// asks for the progress of work: the strictest reading.
cudaError_t refuse_if_captures(const char* call);
// "It is also invalid to query the execution status of or synchronize a broader handle which
// encompasses an active stream capture" (programming guide): whoever captures, in whatever mode.
cudaError_t refuse_if_any_captures(const char* call);

// To the end of a stream's queue, or to the graph that it captures.
cudaError_t submit(Stream& stream, Operation operation);

cudaError_t begin_capture(Stream& stream, cudaStreamCaptureMode mode);
cudaError_t end_capture(Stream& stream, cudaGraph_t* graph);
cudaError_t record(Stream& stream, const std::shared_ptr<Event>& event);
cudaError_t record_external(Stream& stream, const std::shared_ptr<Event>& event);
cudaError_t wait_for(Stream& stream, Event& event);
void invalidate(Capture& capture);

// One for each queue that has work; to be waited for without the mutex.
std::vector<std::shared_ptr<Moment>> ends_of_all_work();
// Of all streams, without the mutex.
void wait_for_device();

}  // namespace hearth::cudart
