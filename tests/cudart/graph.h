// Graphs: nodes and what each comes after. An executable runs them in any order that this allows,
// independent branches at once, as the seed draws.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/units.h"
#include "tests/cudart/operation.h"

namespace hearth::cudart {

using NodeId = std::uint32_t;

struct Node {
  Operation operation;
  std::vector<NodeId> after;  // those before it in the list
};

struct Graph {
  std::vector<Node> nodes;
};

class Executable {
 public:
  // Null: no room on the device.
  static std::shared_ptr<Executable> try_make(const Graph& graph);
  ~Executable();
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // Performs all nodes; one call at a time.
  void run() const;

  // The end of its latest launch, which the next one comes after: cudaGraphLaunch is "ordered
  // behind both any previous work in stream and any previous launches of graphExec".
  std::shared_ptr<Moment> last_launch;

 private:
  explicit Executable(const Graph& graph);

  std::vector<Node> nodes_;
  std::vector<std::vector<NodeId>> next_;
};

}  // namespace hearth::cudart
