// Blocks and warps by turns.
#include <algorithm>
#include <numeric>
#include <optional>
#include <thread>

#include "tests/ptx/warp.h"

namespace hearth::ptx {
namespace {

constexpr std::uint64_t kResidentBlocks = 4;  // at once, as a multiprocessor has some
constexpr unsigned kPasses = 32;  // over a block's warps before it is another block's turn

std::uint64_t product(const unsigned (&sizes)[3]) {
  return std::uint64_t{sizes[0]} * sizes[1] * sizes[2];
}

// All numbers below a bound, once each, in an order drawn from noise.
class Order {
 public:
  Order(std::uint64_t count, Noise& noise)
      : count_(count), step_(1 + noise.next() % count), next_(noise.next() % count) {
    while (std::gcd(step_, count) != 1) ++step_;
  }
  bool empty() const { return taken_ == count_; }
  std::uint64_t take() {
    ++taken_;
    next_ = (next_ + step_) % count_;
    return next_;
  }

 private:
  std::uint64_t count_, step_, next_, taken_ = 0;
};

void start(Launch& launch, Block& block, std::uint64_t index) {
  const Grid& grid = launch.grid;
  block.index[0] = static_cast<unsigned>(index % grid.blocks[0]);
  block.index[1] = static_cast<unsigned>(index / grid.blocks[0] % grid.blocks[1]);
  block.index[2] = static_cast<unsigned>(index / grid.blocks[0] / grid.blocks[1]);
  block.alive = static_cast<unsigned>(product(grid.threads));
  std::ranges::fill(block.barriers, Block::Barrier{});
  launch.noise.fill(block.shared);
  for (Warp& warp : block.warps) warp.begin();
}

enum class Outcome { kWentOn, kWaited, kStuck };

// Runs each warp that can.
Outcome pass(Launch& launch, Block& block) {
  const auto warps = static_cast<unsigned>(block.warps.size());
  const unsigned first = launch.noise.below(warps);
  Outcome outcome = Outcome::kStuck;
  for (unsigned i = 0; i < warps; ++i) {
    Warp& warp = block.warps[(first + i) % warps];
    if (warp.done() || warp.at_barrier()) continue;
    warp.run();
    if (!warp.waited()) outcome = Outcome::kWentOn;
    if (outcome == Outcome::kStuck) outcome = Outcome::kWaited;
  }
  return outcome;
}

// Whether it went on rather than waited for others.
bool take_turn(Launch& launch, Block& block) {
  for (unsigned i = 0; i < kPasses && block.alive > 0; ++i) {
    const Outcome outcome = pass(launch, block);
    if (outcome == Outcome::kWaited) return i > 0;
    if (outcome == Outcome::kWentOn) continue;
    const auto stuck =
        std::ranges::find_if(block.warps, [](const Warp& warp) { return !warp.done(); });
    stuck->fail(stuck->first_lane(), "threads wait at a barrier for ever: " + stuck->where());
  }
  return true;
}

void check(const Kernel& kernel, const Grid& grid, std::span<const std::byte> parameters) {
  const auto refuse = [&](const std::string& what) { throw Error(kernel.name + ": " + what); };
  if (product(grid.blocks) == 0 || product(grid.threads) == 0) refuse("a grid without threads");
  if (product(grid.threads) > kernel.facts.max_threads)
    refuse(std::to_string(product(grid.threads)) + " threads in a block, at most " +
           std::to_string(kernel.facts.max_threads) + " allowed");
  if (grid.begins_early && !kernel.waits) refuse("begins early and has no griddepcontrol.wait");
  if (parameters.size() != kernel.facts.parameter_bytes)
    refuse(std::to_string(parameters.size()) + " bytes of parameters, not " +
           std::to_string(kernel.facts.parameter_bytes));
}

}  // namespace

void run(const Kernel& kernel, const Grid& grid, std::span<const std::byte> parameters,
         const AddressSpace& space, std::uint64_t seed, Consistency consistency) {
  check(kernel, grid, parameters);
  Launch launch{.kernel = kernel,
                .grid = grid,
                .parameters = parameters,
                .reach = Reach(space, kernel.variables, kernel.code.size()),
                .written = {},
                .noise = Noise(seed)};
  Order order(product(grid.blocks), launch.noise);
  std::vector<Block> blocks(std::min(kResidentBlocks, product(grid.blocks)));
  const auto threads = static_cast<unsigned>(product(grid.threads));
  std::optional<WeakMemory> weak;
  if (consistency == Consistency::kWeak) weak.emplace(launch.reach, launch.noise, blocks.size());
  for (Block& block : blocks) {
    if (weak)
      block.copies = &weak->multiprocessor(static_cast<std::size_t>(&block - blocks.data()));
    block.shared.resize(kernel.dynamic_shared + grid.dynamic_shared);
    block.warps.reserve((threads + kLanes - 1) / kLanes);
    for (unsigned first = 0; first < threads; first += kLanes)
      block.warps.emplace_back(launch, block, first);
    start(launch, block, order.take());
  }
  for (bool running = true, went_on = true; running;) {
    if (weak) weak->pass_time(went_on);
    running = false;
    went_on = false;
    for (Block& block : blocks) {
      if (block.alive == 0 && !order.empty()) start(launch, block, order.take());
      if (block.alive == 0) continue;
      went_on |= take_turn(launch, block);
      running = true;
    }
    if (running && !went_on) std::this_thread::yield();  // to the thread for which all wait
  }
  if (weak) weak->end();
}

}  // namespace hearth::ptx
