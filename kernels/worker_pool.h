// Threads that run kernels, and nothing else.
//
// Owned by the conductor, which takes part in every run: a pool of n threads starts n - 1. Between
// runs workers spin briefly (the next operation of a layer follows within microseconds), then
// sleep. Each worker begins with a range of neighbouring tasks, and who is done early takes from
// the ends of the others' ranges, so the caller cuts work into more tasks than threads where they
// may take different time. Which thread runs a task never matters to a result.
#pragma once

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace hearth::kernels {

class WorkerPool {
 public:
  using Body = FunctionRef<void(std::uint32_t task, std::uint32_t worker)>;

  explicit WorkerPool(std::uint32_t threads);  // at least 1
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Calls body(task, worker) for every task in [0, tasks) and returns when all are done; what they
  // wrote is visible to the caller. `worker` is in [0, threads()). Bodies must not throw.
  void run(std::uint32_t tasks, Body body);

  std::uint32_t threads() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::kernels
