// Runs kernels on the host from the PTX that nvcc made of them, as strictly as the PTX ISA allows:
// what a card may do in more than one way is drawn from a seed, and what the manual leaves
// undefined is an error. README.md says what that shows.
//
// A module is immutable but for the memory of its variables. Any number of threads may run kernels
// of one module at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace hearth::ptx {

// Of the text: line and statement. Of a launch: kernel, line, block and thread.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Parameter {
  std::size_t offset;
  std::size_t bytes;
};

struct KernelFacts {
  std::vector<Parameter> parameters;
  std::size_t parameter_bytes;
  unsigned static_shared;
  unsigned max_threads;  // of a block: the product of .maxntid, 1024 without
};

class Kernel;  // of a module, which must outlive it
const KernelFacts& facts(const Kernel&);

class Module {
 public:
  // Throws Error at whatever it does not know.
  static std::unique_ptr<Module> parse(std::string_view text);
  virtual ~Module() = default;

  // By mangled name; null where there is none.
  virtual const Kernel* find(std::string_view name) const = 0;
  // The memory of a .global or .const variable, which lives as long as the module; empty where
  // there is none.
  virtual std::span<std::byte> variable(std::string_view name) const = 0;
};

// A stretch of memory that kernels may reach; none where begin == end.
struct Range {
  std::uintptr_t begin;
  std::uintptr_t end;
  bool writable;
};

// Which memory of the process is global memory: that of the device, and pinned memory.
class AddressSpace {
 public:
  // The whole allocation around an address. A launch asks once for each and relies on the answer to
  // its end.
  virtual Range around(std::uintptr_t address) const = 0;

  // Addresses whose memory lies elsewhere in the process, so that the host cannot reach it by them.
  struct Alias {
    std::uintptr_t begin = 0;
    std::uintptr_t bytes = 0;
    std::uintptr_t distance = 0;  // from an address to its memory
  };
  virtual Alias alias() const { return {}; }

 protected:
  ~AddressSpace() = default;
};

struct Grid {
  unsigned blocks[3];
  unsigned threads[3];
  unsigned dynamic_shared;
  bool begins_early = false;  // while the grid before it may still run
};

// What threads see of global memory that others write: at once, or as late as the memory model of
// PTX permits (weak_memory.h).
enum class Consistency { kSequential, kWeak };

// Runs all blocks on the calling thread and returns when the last has ended. `seed` draws the order
// of blocks and warps, what lies in registers and shared memory before anyone wrote there, and what
// weak memory keeps back.
// Throws Error at a trap; at an address outside of the memory that the instruction names, or not at
// a multiple of the access; at a collective whose lanes never meet; where threads leave while
// others wait for them at a barrier. Where a kernel has griddepcontrol.wait, or the grid begins
// early, also at an access of global memory before it, and at an end.
void run(const Kernel&, const Grid&, std::span<const std::byte> parameters, const AddressSpace&,
         std::uint64_t seed, Consistency consistency = Consistency::kSequential);

}  // namespace hearth::ptx
