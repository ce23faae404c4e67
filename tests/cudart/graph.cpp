#include "tests/cudart/graph.h"

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "tests/cudart/memory.h"
#include "tests/cudart/settings.h"
#include "tests/cudart/workers.h"

namespace hearth::cudart {
namespace {

Bytes memory_of(std::size_t nodes) { return Bytes(nodes * (64 << 10)); }

// One run. Each node that is ready has a thread of its own, for it may wait for the host; or all
// have one, since nothing promises that branches run at once.
class GraphRun : public std::enable_shared_from_this<GraphRun> {
 public:
  GraphRun(const std::vector<Node>& nodes, const std::vector<std::vector<NodeId>>& next)
      : nodes_(nodes), next_(next), random_(draw()), left_(nodes.size()) {
    for (NodeId id = 0; id < nodes.size(); ++id) {
      missing_.push_back(nodes[id].after.size());
      if (nodes[id].after.empty()) ready_.push_back(id);
    }
  }

  void run() {
    {
      const std::lock_guard lock(mutex_);
      call_workers(ready_.size());
    }
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return left_ == 0; });
  }

 private:
  void call_workers(std::size_t count) {
    if (one_by_one_) count = std::exchange(has_worker_, true) ? 0 : 1;
    for (; count > 0; --count) run_on_worker([self = shared_from_this()] { self->work(); });
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!ready_.empty()) {
      std::swap(ready_[random_.below(ready_.size())], ready_.back());
      const NodeId id = ready_.back();
      ready_.pop_back();
      lock.unlock();
      perform(nodes_[id].operation);
      lock.lock();
      std::size_t released = 0;
      for (const NodeId next : next_[id])
        if (--missing_[next] == 0) {
          ready_.push_back(next);
          ++released;
        }
      if (released > 1) call_workers(released - 1);
      if (--left_ == 0) ended_.notify_all();
      if (released == 0 && !one_by_one_) return;  // whatever else is ready has its own thread
    }
  }

  const std::vector<Node>& nodes_;
  const std::vector<std::vector<NodeId>>& next_;
  std::mutex mutex_;
  std::condition_variable ended_;
  Random random_;
  std::vector<NodeId> ready_;
  std::vector<std::size_t> missing_;
  std::size_t left_;
  const bool one_by_one_ = settings().one_by_one;
  bool has_worker_ = false;
};

}  // namespace

std::shared_ptr<Executable> Executable::try_make(const Graph& graph) {
  if (!memory().take(memory_of(graph.nodes.size()))) return nullptr;
  return std::shared_ptr<Executable>(new Executable(graph));
}

Executable::Executable(const Graph& graph) : nodes_(graph.nodes), next_(graph.nodes.size()) {
  for (NodeId id = 0; id < nodes_.size(); ++id)
    for (const NodeId before : nodes_[id].after) next_[before].push_back(id);
}

Executable::~Executable() { memory().give_back(memory_of(nodes_.size())); }

void Executable::run() const {
  if (!nodes_.empty()) std::make_shared<GraphRun>(nodes_, next_)->run();
}

}  // namespace hearth::cudart
